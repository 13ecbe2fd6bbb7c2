"""One list of rows, four ways to print it: Markdown, CSV, LaTeX, and JSON for machines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from experiments.budget import human

Row = dict[str, Any]
HEADER = (
    "agent",
    "env",
    "seeds",
    "parameters",
    "state",
    "FLOPs/decision",
    "steps",
    "seconds",
    "success",
    "return",
)


def markdown(rows: list[Row]) -> str:
    """A Markdown table; columns are aligned, so that it can be read as it is."""
    cells = [HEADER, *map(_cells, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADER))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def latex(rows: list[Row]) -> str:
    """A LaTeX tabular, rules from booktabs."""
    body = [" & ".join(map(_escape, cells)) + r" \\" for cells in (HEADER, *map(_cells, rows))]
    columns = "ll" + "r" * (len(HEADER) - 2)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


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


def _cells(row: Row) -> tuple[str, ...]:
    seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
    steps = "" if row["steps"] is None else human(row["steps"])
    return (
        row["agent"],
        row["env"],
        str(len(row["seeds"])),
        human(row["trained_parameters"]),
        f"{human(row['state_bytes'])}B",
        human(row["flops_per_step"]),
        steps,
        seconds,
        _score(row["success"]),
        _score(row["return"]),
    )


def _score(metric: dict[str, float | None] | None) -> str:
    """IQM with its interval, or the value alone for one seed."""
    if metric is None:
        return ""
    interval = "" if metric["low"] is None else f" [{metric['low']:.3f}, {metric['high']:.3f}]"
    return f"{metric['iqm']:.3f}{interval}"


def _flatten(row: Row) -> Row:
    flat: Row = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{key}_{part}": number for part, number in value.items()}
        elif key not in ("success", "return", "length"):  # there, None: the metric has no columns
            flat[key] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def _escape(text: str) -> str:
    return text.replace("%", r"\%").replace("_", r"\_").replace("&", r"\&").replace("#", r"\#")
