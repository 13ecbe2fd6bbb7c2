"""Figures as data: panels of series, drawn by matplotlib (extra `plot`) as SVG and PNG, written as CSV."""

from __future__ import annotations

import csv
import io
import re
from typing import Any, NamedTuple

import numpy as np

from experiments.budget import human

_COLOURS = ("#0b3c5d", "#d1495b", "#edae49", "#00798c", "#7b4b94", "#66a182", "#8d6346", "#5c5c5c")
"""Distinct also to most colour-blind eyes; agents get them in order of appearance."""
_MARKERS = "osD^vPX*"


class Series(NamedTuple):
    """One line, or one point: values at `x` with their interval, (P,) each; NaN where there is no interval."""

    label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Panel(NamedTuple):
    """One pair of axes."""

    x_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    lines: tuple[tuple[str, float], ...] = ()
    """Horizontal lines with their names: floor and ceiling."""


class Plot(NamedTuple):
    """A figure and what is said of it."""

    name: str
    """Of its files."""
    title: str
    about: str
    y_label: str
    panels: tuple[Panel, ...]
    joined: bool = True
    """Lines; otherwise points."""
    log_y: bool = False


def table(plot: Plot) -> str:
    """Every number of a figure as CSV: panel, series, x, y, low, high."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("panel", "series", "x", "y", "low", "high"))
    for panel in plot.panels:
        for label, *columns in panel.series:
            for row in zip(*(column.tolist() for column in columns), strict=True):
                writer.writerow((panel.x_label, label, *("" if value != value else value for value in row)))
        writer.writerows((panel.x_label, label, "", y, "", "") for label, y in panel.lines)
    return out.getvalue()


def draw(plot: Plot, order: tuple[str, ...] = ()) -> tuple[str, bytes]:
    """Draw a figure: (SVG to put into a page, PNG). ImportError without matplotlib.

    Series take their colours in the given order, the same in every figure, and then in the order of appearance.
    """
    style = {
        "font.family": "sans-serif", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
        "axes.grid": True, "grid.color": "#e8e6e1", "axes.axisbelow": True, "svg.fonttype": "none",
        "svg.hashsalt": plot.name,
    }  # fmt: skip
    figure_module, rc_context = _matplotlib()
    with rc_context(style):
        found = dict.fromkeys(series.label for panel in plot.panels for series in panel.series)
        labels = [*order, *found] if set(found) <= set(order) else list(found)
        figure = figure_module.Figure(figsize=(3.7 * len(plot.panels) + 2.4, 3.4), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(plot.panels), sharey=True))
        for ax, panel in zip(axes, plot.panels, strict=True):
            _fill(ax, panel, labels, plot.joined)
        axes[0].set_ylabel(plot.y_label)
        if plot.log_y:
            axes[0].set_yscale("log")
            axes[0].yaxis.set_major_formatter(lambda value, _: human(value))
        handles, names = axes[0].get_legend_handles_labels()
        if names:
            figure.legend(handles, names, loc="outside right upper", frameon=False)
        vector, raster = io.StringIO(), io.BytesIO()
        figure.savefig(vector, format="svg", metadata={"Date": None})
        figure.savefig(raster, format="png", dpi=160)
    svg = vector.getvalue()
    # Ids are unique in a file, not in a page of several.
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{plot.name}-", svg[svg.index("<svg") :])
    return svg, raster.getvalue()


def _fill(ax: Any, panel: Panel, labels: list[str], joined: bool) -> None:
    for series in panel.series:
        k = labels.index(series.label)
        colour, marker = _COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]
        known = np.isfinite(series.low) & np.isfinite(series.high)
        if joined:
            few = len(series.x) <= 20
            ax.plot(series.x, series.y, color=colour, label=series.label, marker=marker if few else None, ms=4, lw=1.6)
            ax.fill_between(series.x[known], series.low[known], series.high[known], color=colour, alpha=0.15, lw=0)
        else:
            ax.plot(series.x, series.y, marker, color=colour, label=series.label, ms=7)
            ax.vlines(series.x[known], series.low[known], series.high[known], color=colour, lw=1.4)
    for name, y in panel.lines:
        ax.axhline(y, color="#8a867d", lw=1, ls="--")
        ax.annotate(name, (1, y), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="#6b675f", size=8)
    if panel.log_x:
        ax.set_xscale("log")
        ticks = sorted({float(x) for series in panel.series for x in series.x})
        if ticks and not joined:  # within a decade or two there may be no power of ten to mark
            ticks = sorted({*np.geomspace(ticks[0], ticks[-1], 3).tolist()}) if ticks[-1] < 100 * ticks[0] else []
        if 0 < len(ticks) <= 8:
            ax.set_xticks(ticks)
        ax.minorticks_off()
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}" if abs(value) < 10_000 else human(value))
    ax.set_xlabel(panel.x_label)


def _matplotlib() -> tuple[Any, Any]:
    """Import it late, without a window system: it is an extra."""
    try:
        from matplotlib import figure, rc_context
    except ImportError as error:
        raise ImportError("figures need matplotlib, which is not installed: pip install 'matplotlib>=3.8'") from error
    return figure, rc_context
