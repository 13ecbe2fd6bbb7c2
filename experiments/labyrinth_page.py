"""Labyrinth: agents beside the 19 mice on every measure, in one self-contained HTML page.

    python evaluate.py --agent lifetime --suite labyrinth --lives 100 --report labyrinth.html

The lives of every agent are watched while they are played; random and four-bias walks and the oracle are played beside
them. The figures need matplotlib (extra `plot`); beside the page stand each of them as PNG and as CSV.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from envs import labyrinth_view
from envs.labyrinth import Labyrinth
from envs.world import Transition, World
from experiments import plots
from experiments.evaluation import Life as Ended
from experiments.evaluation import Watch
from experiments.labyrinth_mice import RUN_LENGTHS, mice
from experiments.labyrinth_scores import MEASURES, Life, distinct_ends, explores, home_runs, life, water_runs
from experiments.plots import Panel, Plot, Series
from experiments.report import STYLE
from experiments.trajectories import Recorder

BESIDE = ("random", "four-bias", "oracle")
"""Agents without training that are shown beside the others."""
SOURCE = "Rosenberg, Zhang, Perona and Meister 2021, eLife 10:e66175"
_WINDOWS = (4, 8, 16, 32, 64, 128, 256, 512)
_MICE_ENDS = (2.99, 5.32, 9.49, 16.61, 27.44, 40.69, 52.49, 59.65)
"""Distinct ends in windows of so many end-node visits of exploration, mean over the 19 mice; `distinct_ends` of their
node sequences in the public repository sobecker/sim_nov."""
_REPLAY = 600
"""Arrivals shown in the replay of a life."""

Lives = Mapping[str, Sequence[Life]]
"""Lives by "agent, environment"."""


class Chronicle(Watch):
    """Keeps the node sequence of every life that is played in a labyrinth."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self._recorder: Recorder | None = None

    def begin(self, world: World) -> None:
        """Start to write."""
        if isinstance(world.unwrapped, Labyrinth):
            self._recorder = Recorder(world, frozenset({"node", "port"}))

    def step(self, actions: np.ndarray, out: Transition) -> None:
        """Note a step."""
        if self._recorder:
            self._recorder.step(actions, out)

    def end(self, ended: Ended) -> None:
        """Keep a life."""
        if self._recorder:
            log = self._recorder.log(ended.env)
            self.lives.append(life(log["node"], log["reward"], int(log["port"][0])))


def write(page: Path, lives: Lives, command: str) -> None:
    """Write the page, and beside it in `page_files/` each figure as PNG and CSV.

    Raises:
        ValueError: if it cannot be written.
        ImportError: without matplotlib.
    """
    files = page.with_name(f"{page.stem}_files")
    told = {name: list(some) for name, some in lives.items() if some}
    try:
        files.mkdir(parents=True, exist_ok=True)
        first = next(iter(told), ", ").rsplit(", ", 1)[1]  # the other tracks are in the table alone
        drawn = {name.removesuffix(f", {first}"): some for name, some in told.items() if name.endswith(f", {first}")}
        parts = [_figure(plot, tuple(drawn), files, command) for plot in (run_lengths(drawn), new_ends(drawn))]
        parts += [_pictures(drawn, 0, "First paths home"), _pictures(drawn, _REPLAY, "The beginning of a life")]
        head = (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>Labyrinth</title><style>{STYLE}</style>"
            f"<h1>Labyrinth</h1><p>Made by <code>{html.escape(command)}</code>. Mice: {html.escape(SOURCE)}.</p>"
        )
        page.write_text(head + measures_table(told) + "".join(parts) + "</html>")
    except OSError as error:
        raise ValueError(f"cannot write {page}: {error.strerror or error}.") from error


def measures_table(lives: Lives) -> str:
    """Every measure: median (tenth to ninetieth percentile) over lives, and mice; lives without a value are counted."""
    rows = ["<tr><th>measure</th><th>19 mice</th>" + "".join(f"<th>{html.escape(name)}</th>" for name in lives)]
    for name, measure in MEASURES.items():
        cells = [_cell(mice(name))] + [_cell(np.array([measure.of(one) for one in some])) for some in lives.values()]
        better = "less is better" if measure.lower_is_better else "more is better"
        about = f"{name}: {measure.about} ({better})"
        rows.append(f"<tr><td>{html.escape(about)}</td>" + "".join(f"<td>{cell}</td>" for cell in cells))
    counts = "".join(f"<td>{len(some)}</td>" for some in lives.values())
    rows.append(f"<tr><td>lives</td><td>19 (10 with water)</td>{counts}")
    return (
        "<h2>Measures</h2><div class=wide><table>" + "".join(rows) + "</table></div>"
        "<p>Median, and tenth to ninetieth percentile, over lives. “never” counts lives in which it did not happen.</p>"
    )


def _cell(values: np.ndarray) -> str:
    known = values[~np.isnan(values)]
    never = f", never in {len(values) - len(known)}" if len(known) < len(values) else ""
    if not known.size:
        return "never"
    low, middle, high = np.quantile(known, (0.1, 0.5, 0.9)).tolist()
    share = f", mean {known.mean():.2f}" if set(known.tolist()) <= {0.0, 1.0} else ""
    return f"{middle:.3g} ({low:.3g} to {high:.3g}{share}){never}"


def run_lengths(lives: Lives) -> Plot:
    """Median moves to the port against rewards before."""
    edges = np.array([(low, high) for low, high, *_ in RUN_LENGTHS])
    x = edges[:, 0] + 1.0
    middle = np.array([row[-1] for row in RUN_LENGTHS], float)
    blank = np.full(len(x), np.nan)
    series = [Series("mice", x, middle, blank, blank)]
    for name, some in lives.items():
        runs = [water_runs(one) for one in some]
        length, rewards = (np.concatenate([getattr(run, part) for run in runs]) for part in ("length", "rewards"))
        parts = [length[(rewards >= low) & (rewards < high)] for low, high in edges]
        quartiles = np.array([np.quantile(part, (0.5, 0.25, 0.75)) if part.size else [np.nan] * 3 for part in parts])
        series.append(Series(name, x, *quartiles.T))
    about = (
        "Moves from node 0 to the first arrival at the port in each bout that reaches it, median; "
        "the band holds the middle half of the runs. Perfect is 6."
    )
    panel = Panel("rewards before, plus 1", tuple(series), log_x=True, lines=(("perfect", 6.0),))
    return Plot("run-length", "From wandering to a route", about, "moves to the port", (panel,), log_y=True)


def new_ends(lives: Lives) -> Plot:
    """Distinct ends against end-node visits of exploration."""
    x = np.array(_WINDOWS, float)
    blank = np.full(len(x), np.nan)
    series = [Series("mice", x, np.array(_MICE_ENDS), blank, blank)]
    for name, some in lives.items():
        curves = np.full((len(some), len(x)), np.nan)
        for i, one in enumerate(some):
            visits = one.path[one.ends & explores(one)]
            widths = [width for width in _WINDOWS if width <= len(visits)]
            curves[i, : len(widths)] = distinct_ends(visits, widths)
        known = ~np.isnan(curves).all(0)
        middle = np.full((3, len(x)), np.nan)
        middle[:, known] = np.nanquantile(curves[:, known], (0.5, 0.1, 0.9), axis=0)
        series.append(Series(name, x, *middle))
    about = "Distinct end nodes in windows of so many end-node visits, paths straight to water or home left out."
    panel = Panel("end-node visits", tuple(series), log_x=True, lines=(("all", 64.0),))
    return Plot("new-ends", "How much of the maze is seen again before the rest", about, "distinct ends", (panel,))


def _figure(plot: Plot, names: tuple[str, ...], files: Path, command: str) -> str:
    svg, png = plots.draw(plot, ("mice", *names))
    (files / f"{plot.name}.png").write_bytes(png)
    (files / f"{plot.name}.csv").write_text(plots.table(plot))
    caption = f"{html.escape(plot.about)} <code>{html.escape(command)}</code>"
    return f"<h2>{html.escape(plot.title)}</h2><figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _pictures(lives: Lives, arrivals: int, title: str) -> str:
    """One picture for each agent: so many arrivals of its first life, or with 0 its first way home."""
    shown = []
    for name, some in lives.items():
        one = some[0]
        path = one.path[: arrivals + 1] if arrivals else _way_home(one)
        line = f"{len(path) - 1} arrivals" if len(path) else "it never went home"
        picture = labyrinth_view.draw(one.depth, path.tolist() or [one.home], one.port, name, line)
        shown.append(f"<figure><img src='data:image/png;base64,{_png(picture)}' alt=''></figure>")
    return f"<h2>{title}</h2><div class=films>{''.join(shown)}</div>"


def _way_home(one: Life) -> np.ndarray:
    """The home run of the first bout that went beyond node 0."""
    homes = np.flatnonzero(one.path == one.home)
    deep = np.flatnonzero(np.diff(homes) > 2)
    if not deep.size:
        return one.path[:0]
    end = homes[deep[0] + 1]
    return one.path[end - int(home_runs(one)[deep[0]]) : end + 1]


def _png(picture: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()
