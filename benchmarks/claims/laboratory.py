"""What the claims share: a margin, above 0 where a claim survives its kill rule, and a page."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.stats import aggregate_mean, interval_estimate

SEEDS = range(100, 120)  # reporting seeds; whatever was tried out was tried on seeds 0-9
IMAGES = Path(__file__).parents[2] / "docs" / "images"


class Report(NamedTuple):
    """What a claim script returns."""

    claim: str  # what is claimed
    rule: str  # what would kill it: the margin, in words
    margin: np.ndarray  # one for each of `over`
    table: list[list[str]]  # the head first
    figure: Figure
    reading: str = ""  # what else the table says
    over: str = "seeds"

    @property
    def verdict(self) -> str:
        """Holds or fails where the 95 % interval of the mean margin is clear of 0, else undecided."""
        _, low, high = interval_estimate(self.margin, aggregate_mean)
        return "holds" if low > 0 else "fails" if high < 0 else "undecided"


def cell(scores: np.ndarray, digits: int = 2) -> str:
    """Mean over seeds with its 95 % bootstrap interval."""
    value, low, high = interval_estimate(scores, aggregate_mean)
    return f"{value:.{digits}f} [{low:.{digits}f} {high:.{digits}f}]"


def grid(table: list[list[str]]) -> str:
    """A table in Markdown, the head first."""
    head, *rows = table
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def page(name: str, report: Report) -> str:
    """A claim as a section of Markdown; its picture is saved."""
    IMAGES.mkdir(exist_ok=True)
    report.figure.savefig(IMAGES / f"claim-{name}.png", dpi=100, metadata={"Software": None})
    return "\n".join(
        [
            f"## {name}: {report.verdict}",
            "",
            f"**Claim.** {report.claim}",
            "",
            f"**Killed if** {report.rule}",
            "",
            f"**Verdict: {report.verdict}.** Margin {cell(report.margin, 3)} over {len(report.margin)} {report.over}.",
            *(["", report.reading] if report.reading else []),
            "",
            grid(report.table),
            "",
            f"![{name}](images/claim-{name}.png)",
            "",
        ]
    )


def canvas(xlabel: str, ylabel: str) -> Figure:
    """A figure with one pair of axes."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    figure.subplots().set(xlabel=xlabel, ylabel=ylabel)
    return figure
