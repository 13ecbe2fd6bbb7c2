"""Scores: pure functions of what happened in one life, by the names that suites give them.

A log holds one array a name, (T, ...) over the T steps of a life: `action`, `reward`, and whatever the world's
`trace()` tells. A score turns it into named numbers; NaN, or no number at all, where the life gives it no meaning (it
never came to a revisit, say).

A *run* is one way to a goal: a trial of a maze. `optimum` is the number of steps of its shortest way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments import labyrinth_scores

Log = Mapping[str, np.ndarray]
NAN = float("nan")


class Score(NamedTuple):
    """A score: what it is, what it reads, how it is computed."""

    about: str
    needs: tuple[str, ...]
    """What the world's trace must tell."""
    of: Callable[[Log], dict[str, float]]


class Runs(NamedTuple):
    """The runs of a life in their order, (R,) each."""

    steps: np.ndarray
    optimum: np.ndarray
    reached: np.ndarray
    """Whether the goal was reached, bool."""
    last: np.ndarray
    """Index of the last step."""


def runs(log: Log) -> Runs:
    """Cut a life into its runs; one that the end of the life cut short is left out."""
    last = np.flatnonzero(log["over"])
    return Runs(np.diff(last, prepend=-1), log["optimum"][last], log["reached"][last] > 0, last)


def spl(run: Runs) -> np.ndarray:
    """Success weighted by path length of every run, (R,): optimum / steps, 0 for a failure.

    Anderson et al. 2018 (arXiv 1807.06757), equation 1.
    """
    return np.where(run.reached, run.optimum / np.maximum(run.steps, np.maximum(run.optimum, 1)), 0.0)


def regret(run: Runs) -> float:
    """Steps wasted of 1,000: all but those of shortest ways to the goals that were reached."""
    if not run.optimum.any():  # no run, or no goal
        return NAN
    return 1000.0 * float(1.0 - run.optimum[run.reached].sum() / run.steps.sum())


def spl_by_trial(log: Log) -> dict[str, float]:
    """SPL of the first trial, the second, ...; of all but the first; steps wasted of 1,000."""
    run = runs(log)
    trial, score = log["trial"][run.last], spl(run)
    numbered = {f"spl_{k + 1}": mean(score[trial == k]) for k in np.unique(trial).tolist()}
    return numbered | {"spl_later": mean(score[trial > 0]), "regret": regret(run)}


def recovery(log: Log, factor: float = 1.5) -> dict[str, float]:
    """Steps wasted of 1,000 before and after the change of the maze, and how soon it was found out.

    `recovery` is the number of runs after the change before the first one within `factor` of the new optimum; all
    of them where none is.
    """
    run = runs(log)
    after = log["changed"][run.last] > 0
    before, since = (Runs(*(part[chosen] for part in run)) for chosen in (~after, after))
    good = since.reached & (since.steps <= factor * since.optimum)
    return {
        "regret_before": regret(before),
        "regret_after": regret(since),
        "recovery": float(good.argmax() if good.any() else len(good)) if after.any() else NAN,
    }


def retention(log: Log) -> dict[str, float]:
    """The first run of each visit to a maze: is the maze remembered?

    `spl_visit1`, `spl_visit2`, ... is its SPL by the number of the visit (`visit` in the log counts from 0). Over the
    revisits together: `revisit_ratio`, the median of steps / optimum (a failure counts with the steps it took), and
    `under_3x`, the share that reached the goal in less than three times the optimum.
    """
    run = runs(log)
    first = log["trial"][run.last] == 0
    visit, score = log["visit"][run.last][first], spl(run)[first]
    ratio = (run.steps / np.maximum(run.optimum, 1))[first][visit > 0]
    quick = (ratio < 3.0) & run.reached[first][visit > 0]
    numbered = {f"spl_visit{k + 1}": mean(score[visit == k]) for k in np.unique(visit).tolist()}
    return numbered | {"revisit_ratio": float(np.median(ratio)) if len(ratio) else NAN, "under_3x": mean(quick)}


def doors(log: Log) -> dict[str, float]:
    """Doors opened in 500 steps: of the first layout, all later ones, the worst, each; and steps wasted of 1,000.

    `optimum` in the log is the shortest way from door to door. The worst layout is of those that lasted 100 steps.
    """
    opened, layout = log["door"] > 0, log["layout"]

    def rate(steps: np.ndarray) -> float:
        return 500.0 * mean(opened[steps])

    numbered = {f"doors_{k + 1}": rate(layout == k) for k in np.unique(layout).tolist()}
    lasted = [k for k in np.unique(layout) if (layout == k).sum() >= 100]
    return numbered | {
        "doors_later": rate(layout > 0),
        "doors_worst": min((rate(layout == k) for k in lasted), default=NAN),
        "regret": 1000.0 * float(1.0 - log["optimum"][opened].sum() / len(opened)),
    }


def labyrinth(log: Log) -> dict[str, float]:
    """The measures of the mouse paper, see `labyrinth_scores.MEASURES`."""
    return labyrinth_scores.measures(labyrinth_scores.life(log["node"], log["reward"], int(log["port"][0])))


def mean(values: np.ndarray) -> float:
    """The mean; NaN of nothing."""
    return float(np.mean(values)) if len(values) else NAN


def worst_decile(values: np.ndarray, lower_is_better: bool = False) -> float:
    """Mean of the worst tenth of some values, at least one; NaN counts as missing."""
    known = np.sort(values[~np.isnan(values)])[:: -1 if lower_is_better else 1]
    return mean(known[: max(1, round(len(known) / 10))])


_RUN = ("trial", "over", "optimum", "reached")

SCORES: dict[str, Score] = {
    "spl": Score("success weighted by path length, by trial; steps wasted of 1,000", _RUN, spl_by_trial),
    "recovery": Score("steps wasted before and after a change; runs to recover", (*_RUN, "changed"), recovery),
    "retention": Score("first run of a visit, by number of visit", (*_RUN, "visit"), retention),
    "doors": Score("doors in 500 steps, by layout", ("door", "layout", "optimum"), doors),
    "labyrinth": Score("the measures of the mouse paper", ("node", "reward", "port"), labyrinth),
}
LOWER_IS_BETTER = frozenset(
    {"length", "regret", "regret_before", "regret_after", "recovery", "revisit_ratio"}
    | {name for name, measure in labyrinth_scores.MEASURES.items() if measure.lower_is_better}
)
"""Numbers of which less is better; of all the others, more."""
