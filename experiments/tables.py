"""One list of rows, four ways to print it: Markdown, CSV, LaTeX, and JSON for machines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from envs.suites import Reference
from experiments.budget import human

Row = dict[str, Any]
COSTS = {
    "parameters": "trained_parameters",
    "state": "state_bytes",
    "FLOPs/decision": "flops_per_step",
    "steps": "steps",
    "seconds": "seconds",
}
"""Columns of what agents cost, left out where no agent costs anything."""
WIDE = 5
"""With more scores than this a table is laid on its side: a line for each score, a column for each agent."""
FOOTNOTE = (
    "Several seeds: interquartile mean over seeds, 95 % bootstrap interval over seeds. One seed: mean and interval "
    "over episodes.\nWorst 10 %: mean {metric} of the worst tenth of all episodes."
)
FEW = "\n(k of n): the score means something in k of the n episodes only, and this is their mean."


def markdown(rows: list[Row]) -> str:
    """Markdown tables, aligned so that they can be read as they are; several where there are many scores."""
    parts = []
    for title, cells in grids(rows):
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
        rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
        parts.append("\n".join([*([f"{title}\n"] if title else []), lines[0], rule, *lines[1:]]))
    return "\n\n".join([*parts, footnote(rows)])


def footnote(rows: list[Row]) -> str:
    """Say what the numbers are."""
    few = any(row[name]["episodes"] < row["episodes"] for row in rows for name in scores_of(rows) if row.get(name))
    return FOOTNOTE.format(metric=_headline(rows)) + FEW * few


def references(published: tuple[Reference, ...]) -> str:
    """Published scores to stand beside, a line each, with what differs; empty without any."""
    lines = [f"* {r.env_id}: {r.agent}, {r.metric} {r.value:g} ({r.source}; {r.note})" for r in published]
    return "\n".join(["\nPublished:\n", *lines]) if lines else ""


def latex(rows: list[Row]) -> str:
    """LaTeX tabulars, rules from booktabs."""
    parts = []
    for title, cells in grids(rows):
        head, *body = (" & ".join(map(_escape, line)) + r" \\" for line in cells)
        columns = "ll" + "r" * (len(cells[0]) - 2)
        frame = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
        parts.append("\n".join([*([f"% {title}"] if title else []), *frame, r"\bottomrule", r"\end{tabular}"]))
    return "\n\n".join(parts)


def comma_separated(rows: list[Row]) -> str:
    """CSV with every number in full; a metric becomes NAME_mean, NAME_iqm, NAME_low, NAME_high."""
    flat = [_flatten(row) for row in rows]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in flat for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue().rstrip()


def as_json(rows: list[Row]) -> str:
    """A JSON list of rows with every number in full; what is not known is null."""
    return json.dumps(rows, indent=2, allow_nan=False)


FORMATS: dict[str, Callable[[list[Row]], str]] = {
    "md": markdown,
    "csv": comma_separated,
    "tex": latex,
    "json": as_json,
}


def grids(rows: list[Row]) -> list[tuple[str, list[list[str]]]]:
    """Lay rows out as titled lists of lines of cells, the header first."""
    scores = [name for name in scores_of(rows) if name != "length"]
    costs = [name for name, key in COSTS.items() if any(row[key] for row in rows)]
    head, columns = _headline(rows), []
    for row in rows:
        cost = {name: _cost(name, row[COSTS[name]]) for name in costs}
        score = {name: _score(row.get(name), row["episodes"]) for name in scores}
        worst = {"worst 10 %": _number((row.get(head) or {}).get("worst"))}
        columns.append(
            {"agent": row["agent"], "env": row["env"], "seeds": str(len(row["seeds"]))} | cost | score | worst
        )
    if len(scores) <= WIDE:
        return [("", [list(columns[0]), *(list(column.values()) for column in columns)])]
    together = []
    for env_id in dict.fromkeys(row["env"] for row in rows):
        here = [column for column in columns if column["env"] == env_id]
        names = [name for name in here[0] if name not in ("agent", "env") and any(column[name] for column in here)]
        lines = [[name, *(column[name] for column in here)] for name in names]
        together.append((env_id, [["", *(column["agent"] for column in here)], *lines]))
    return together


def scores_of(rows: list[Row]) -> list[str]:
    """Return the names of the scores that any row has, success first."""
    longest_first = sorted(rows, key=lambda row: -sum(isinstance(value, dict) for value in row.values()))
    found = dict.fromkeys(name for row in longest_first for name, value in row.items() if isinstance(value, dict))
    return sorted(found, key=lambda name: name != "success")


def _headline(rows: list[Row]) -> str:
    """The score that the worst episodes are told of."""
    return "success" if any(row.get("success") for row in rows) else "return"


def _cost(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if name == "seconds" else human(value) + ("B" if name == "state" else "")


def _score(metric: dict[str, Any] | None, episodes: int) -> str:
    """The value and its interval, if it has one, and of how many episodes where it means nothing in the others."""
    if metric is None:
        return ""
    interval = "" if metric["low"] is None else f" [{_number(metric['low'])}, {_number(metric['high'])}]"
    few = f" ({metric['episodes']} of {episodes})" if metric["episodes"] < episodes else ""
    return f"{_number(metric['iqm'])}{interval}{few}"


def _number(value: float | None) -> str:
    """Three digits after the point for what lies around 1, fewer for what is larger."""
    if value is None:
        return ""
    return f"{value:.{3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}"


def _flatten(row: Row) -> Row:
    flat: Row = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{key}_{part}": number for part, number in value.items()}
        elif value is not None or key in COSTS.values():  # a score that means nothing here has no columns
            flat[key] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def _escape(text: str) -> str:
    return text.replace("%", r"\%").replace("_", r"\_").replace("&", r"\&").replace("#", r"\#")
