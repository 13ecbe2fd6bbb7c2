"""The page: complete, self-contained, escaped; its figures are the numbers in the CSV files beside it."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

import evaluate
from experiments import compare, figures, plots, report, run
from experiments.compare import Entry
from experiments.config import RunConfig
from experiments.evaluation import Episodes

pytest.importorskip("matplotlib")


def entry(agent: str, env: str, seed: int, success: float, **costs: float) -> Entry:
    """An evaluated run that never was."""
    row = {"agent": agent, "label": agent.split()[0], "trained_on": "", "env": env, "run": "", "seed": seed}
    row |= (
        dict.fromkeys(compare.SPENT, 0) | {"trained_parameters": 100, "state_bytes": 64, "flops_per_step": 1e3} | costs
    )
    return Entry(row, Episodes(np.full(4, success), np.full(4, 10), np.full(4, success)))


def invented() -> list[Entry]:
    entries = [entry("random", f"Recall-N{n}-D0-v0", 0, 0.5) for n in (8, 16)]
    for seed in range(3):
        for n, loss in ((8, 0.0), (16, 0.2)):
            env = f"Recall-N{n}-D0-v0"
            entries.append(entry("a <b>", env, seed, 0.9 - loss + 0.01 * seed, trained_parameters=10))
            entries.append(entry("c dim=64", env, seed, 0.7 - loss))
            entries.append(entry("c dim=256", env, seed, 0.8 - loss))
    return entries


def test_which_figures_there_are() -> None:
    found = {plot.name: plot for plot in figures.all_of(invented())}
    assert set(found) == {"ladder-Recall-N--D0-v0", "dimension", "frontier", "profile"}
    (panel,) = found["ladder-Recall-N--D0-v0"].panels
    assert panel.x_label == "pairs to keep (load)" and panel.lines == (("random", 0.5),)
    line = panel.series[0]
    np.testing.assert_array_equal(line.x, [8, 16])
    np.testing.assert_allclose(line.y, [0.91, 0.71], atol=1e-9)
    assert (line.low <= line.y).all() and (line.y <= line.high).all()
    assert found["frontier"].panels[0].x_label == "trained parameters"
    assert len(found["dimension"].panels[0].series) == 2


def test_everything_together_compares_with_the_first_agent() -> None:
    head, first, *others = figures.aggregates(invented())
    assert head[-1] == "better than the first" and first[0] == "a <b>" and first[-1] == ""
    assert all(line[-1].startswith("0.") for line in others)
    assert figures.aggregates(invented()[:1]) == []


def test_agents_trained_apart_for_each_environment_are_compared_too() -> None:
    apart = [e for e in invented() if not e.row["agent"].startswith("random")]
    for e in apart:
        e.row.update(run=f"{e.row['env']}/{e.row['agent']}/{e.row['seed']}", trained_on=e.row["env"])
    head, *rows = figures.aggregates(apart)
    assert head[1:3] == ("runs", "IQM") and [row[:2] for row in rows] == [
        (agent, "3") for agent in ("a <b>", "c dim=64", "c dim=256")
    ]
    assert rows[0][3].startswith("0.810 [")


def test_returns_have_no_common_scale() -> None:
    mixed = invented()
    mixed[-1] = mixed[-1]._replace(episodes=Episodes(np.full(4, 30.0), np.full(4, 10), np.full(4, np.nan)))
    assert figures.aggregates(mixed) == []


def test_numbers_of_a_figure_as_csv() -> None:
    plot = next(iter(figures.all_of(invented())))
    rows = list(csv.DictReader(plots.table(plot).splitlines()))
    assert {row["series"] for row in rows} == {"a <b>", "c dim=64", "c dim=256", "random"}
    assert float(rows[0]["y"]) == pytest.approx(0.91)


class Page(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_the_page_of_real_runs(tmp_path: Path) -> None:
    config = RunConfig(
        agent="superposed", env="RecallMix-N8-D0-v0", budget="steps=512", logdir=str(tmp_path / "runs"),
        hp={"num_envs": 8, "num_steps": 16, "dim": 16},
    )  # fmt: skip
    for agent, hp in (("superposed", config.hp), ("gru", {"num_envs": 8, "num_steps": 16, "hidden": 8})):
        for seed in (0, 1):
            run.train(replace(config, agent=agent, hp=hp, seed=seed))
    page = tmp_path / "it's #1.html"
    words = ["Recall-N2-D0-v0", "Recall-N4-D0-v0", "--episodes", "4", "--report", str(page)]
    assert evaluate.main([str(tmp_path / "runs"), "--env", *words]) == 0
    text = page.read_text()
    parser = Page()
    parser.feed(text)
    links = [source for source in parser.sources if not source.startswith(("data:", "#"))]
    assert links and all((tmp_path / unquote(link)).is_file() for link in links)  # only what stands beside it
    assert not re.search(r"(src|@import|url\()\s*=?\s*['\"]?https?:", text)
    assert text.count("<svg") == text.count("<figcaption><b>") >= 3 and text.count("data:image/gif") == 4
    for part in (
        "Learning RecallMix-N8-D0-v0",
        "Score against cost",
        "random",
        "oracle",
        "--report",
        "environment steps",
    ):
        assert part in text
    assert {path.suffix for path in (tmp_path / "it's #1_files").iterdir()} == {".png", ".csv", ".gif"}


def test_what_agents_are_called_is_escaped(tmp_path: Path) -> None:
    entries = invented()
    rows = compare.rows(entries)
    report.write(tmp_path / "a.html", rows, entries, {}, "evaluate.py '<script>'")
    text = (tmp_path / "a.html").read_text()
    assert "<script>" not in text and "a &lt;b&gt;" in text
    with pytest.raises(ValueError, match="cannot write"):
        report.write(tmp_path / "a.html" / "b.html", rows, entries, {}, "")


def test_axes_of_costs_that_are_close_are_marked() -> None:
    """Between 10,300 and 10,600 parameters lies no power of ten."""
    near = tuple(plots.Series(f"a{x}", *np.array([[x], [0.5], [0.4], [0.6]])) for x in (10_300.0, 10_600.0))
    svg, _ = plots.draw(
        plots.Plot("f", "F", "f", "score", (plots.Panel("parameters", near, log_x=True),), joined=False)
    )
    assert "10.3k" in svg and "10.6k" in svg
