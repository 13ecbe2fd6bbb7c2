"""One self-contained HTML page of a comparison: tables, curves, frontiers, replays, each figure with its command.

`evaluate.py RUNS... --report page.html` writes it. Beside the page, in `page_files/`, stand every figure as PNG and
its numbers as CSV, and all rows as CSV; the page itself needs neither them nor a network.
"""

from __future__ import annotations

import base64
import html
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from experiments import figures, plots, tables
from experiments.budget import slug
from experiments.compare import Entry, Row
from experiments.provenance import commit
from experiments.video import PAGE_FRAMES, Film

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #2d2a26; background: #fdfcf9; margin: 2rem auto; max-width: 76rem;
       padding: 0 1.5rem }
h1, h2 { font-weight: 600; line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd8cc }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; margin: 1rem 0 }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid #eeeae0; white-space: nowrap }
.wide { overflow-x: auto } figure { margin: 1.5rem 0 } figure svg { max-width: 100%; height: auto }
figcaption { font-size: .9rem; color: #57534c } code { background: #f1eee6; padding: .1rem .3rem; font-size: .85em;
       overflow-wrap: anywhere } .films { display: flex; flex-wrap: wrap; gap: 1rem } .films figure { margin: 0 }
.films img { width: 15rem; display: block } details { margin: 1rem 0 }
"""


def write(page: Path, rows: list[Row], entries: list[Entry], films: dict[tuple[str, str], Film], command: str) -> None:
    """Write the page and its files.

    Args:
        page: where to; `page_files/` stands beside it.
        rows: what the tables show, one for each agent and environment.
        entries: what the rows were made of, one for each run and environment.
        films: the beginning of an episode, by agent and environment.
        command: what made all this, to be printed with every figure.

    Raises:
        ValueError: if it cannot be written.
        ImportError: without matplotlib.
    """
    files = page.with_name(f"{page.stem}_files")
    try:
        files.mkdir(parents=True, exist_ok=True)
        (files / "rows.csv").write_text(tables.comma_separated(rows) + "\n")
        agents = sorted(dict.fromkeys(entry.row["agent"] for entry in entries), key=lambda a: a[:10] != "superposed")
        labels = (entry.row["label"] for entry in entries if entry.row["run"])  # curves know no "dim=64"
        order = tuple(dict.fromkeys([*agents, *labels]))
        parts = [_figure(plot, order, files, command) for plot in figures.all_of(entries)]
        replays = [_film(*key, film, files) for key, film in films.items() if film.frames]
        page.write_text(_page(page.stem, rows, entries, parts, replays, command))
    except OSError as error:
        raise ValueError(f"cannot write {page}: {error.strerror or error}.") from error


def _page(title: str, rows: list[Row], entries: list[Entry], parts: list[str], replays: list[str], command: str) -> str:
    """Put the page together."""
    made = (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {platform.system()} {platform.machine()}, commit {commit() or 'unknown'}"
    )
    tags = "".join(
        f"<h3>{html.escape(name)}</h3>{_table(cells)}" if name else _table(cells) for name, cells in tables.grids(rows)
    )
    together = _table(figures.aggregates(entries))
    sections = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>",
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>",
        f"<h1>{html.escape(title)}</h1><p>Made by <code>{html.escape(command)}</code><br>{html.escape(made)}</p>",
        f"<h2>Scores</h2>{tags}<p>{html.escape(tables.footnote(rows))}</p>",
        f"<h2>All environments together</h2>{together}<p>{html.escape(figures.AGGREGATES)}</p>" if together else "",
        "<h2>Figures</h2>" + "".join(parts) if parts else "",
        f"<h2>Replays</h2><div class=films>{''.join(replays)}</div>" if replays else "",
        f"<h2>Runs</h2><details><summary>Folders</summary>{_runs(rows)}</details></html>",
    ]
    return "\n".join(section for section in sections if section) + "\n"


def _table(cells: Sequence[Sequence[str]]) -> str:
    """Cells, the header first, as HTML; empty for none."""
    if not cells:
        return ""
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in line) for line in cells]
    head, *body = (f"<tr>{line}</tr>" for line in lines)
    return f"<div class=wide><table>{head.replace('td>', 'th>')}{''.join(body)}</table></div>"


def _figure(plot: plots.Plot, agents: tuple[str, ...], files: Path, command: str) -> str:
    """Draw a figure, each agent in its own colour, write PNG and CSV, and return its part of the page."""
    svg, png = plots.draw(plot, agents)
    (files / f"{plot.name}.png").write_bytes(png)
    (files / f"{plot.name}.csv").write_text(plots.table(plot))
    beside = quote(f"{files.name}/{plot.name}")
    links = " ".join(f"<a href='{beside}.{kind}'>{kind}</a>" for kind in ("png", "csv"))
    caption = (
        f"<b>{html.escape(plot.title)}</b> {html.escape(plot.about)} {links}<br><code>{html.escape(command)}</code>"
    )
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _film(agent: str, env_id: str, film: Film, files: Path) -> str:
    """Write a replay as GIF, and return it as a part of the page."""
    path = files / f"{slug(f'{agent}-{env_id}')}.gif"
    film.frames = film.frames[:PAGE_FRAMES]
    Film.write(path, [film])
    data = base64.b64encode(path.read_bytes()).decode()
    name = html.escape(f"{agent} on {env_id}")
    return f"<figure><img alt='{name}' src='data:image/gif;base64,{data}'><figcaption>{name}</figcaption></figure>"


def _runs(rows: list[Row]) -> str:
    folders = dict.fromkeys(folder for row in rows for folder in row["runs"] if folder)
    return "<ul>" + "".join(f"<li><code>{html.escape(folder)}</code></li>" for folder in folders) + "</ul>"
