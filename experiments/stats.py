"""Statistics over few runs, after Agarwal et al. 2021 (arXiv 2108.13264), under rliable's names.

Scores are arrays (runs, tasks). An aggregate maps scores to one number; `interval_estimate` puts a stratified
bootstrap interval around any of them: runs are drawn again with replacement, for every task by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Aggregate = Callable[[np.ndarray], float]


class Estimate(NamedTuple):
    """A value and its interval; the interval is NaN where there is a single run."""

    value: float
    low: float
    high: float


def aggregate_mean(scores: np.ndarray) -> float:
    """Mean over tasks of the mean over runs; scores (runs, tasks)."""
    return float(np.mean(scores))


def aggregate_median(scores: np.ndarray) -> float:
    """Median over tasks of the mean over runs; scores (runs, tasks)."""
    return float(np.median(np.mean(scores, axis=0)))


def aggregate_iqm(scores: np.ndarray) -> float:
    """Interquartile mean: the mean of the middle half of all scores (runs, tasks); NaN if any is, as of `np.mean`."""
    ordered = np.sort(scores, axis=None)  # scipy's trim_mean is the same and takes ten times as long
    if np.isnan(ordered[-1:]).any():  # sorted to the end, where it would be cut off
        return float("nan")
    cut = int(0.25 * ordered.size)
    return float(ordered[cut : ordered.size - cut].mean())


def aggregate_optimality_gap(scores: np.ndarray, gamma: float = 1.0) -> float:
    """Mean shortfall from `gamma`, scores above it counting as `gamma`; lower is better."""
    return float(gamma - np.mean(np.minimum(scores, gamma)))


def probability_of_improvement(scores_x: np.ndarray, scores_y: np.ndarray) -> float:
    """Probability that a run of X beats a run of Y on a random task, ties counting half.

    Scores (runs, tasks) or (runs,); the numbers of runs may differ. ValueError if the tasks do not match.
    """
    x, y = (np.asarray(scores, float).reshape(len(scores), -1) for scores in (scores_x, scores_y))
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"X has {x.shape[1]} tasks and Y has {y.shape[1]}; compare them on the same tasks.")
    difference = x[:, None] - y[None]  # (runs of X, runs of Y, tasks)
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of runs and tasks that score above each threshold: (len(thresholds),)."""
    return (np.asarray(scores).reshape(-1, 1) > np.asarray(thresholds)[None]).mean(axis=0)


def stratified_bootstrap(
    scores: np.ndarray, aggregate: Callable[[np.ndarray], float | np.ndarray], reps: int, seed: int
) -> np.ndarray:
    """Draw runs again with replacement, for every task by itself, `reps` times: (reps, ...) aggregates."""
    rng = np.random.default_rng(seed)
    return np.array([aggregate(_redraw(scores, rng)) for _ in range(reps)])


def _redraw(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scores (runs, tasks) with the runs of each task drawn again."""
    runs, tasks = scores.shape
    drawn: np.ndarray = scores[rng.integers(0, runs, (runs, tasks)), np.arange(tasks)]
    return drawn


def interval_estimate(
    scores: np.ndarray,
    aggregate: Aggregate = aggregate_iqm,
    confidence: float = 0.95,
    reps: int = 2000,
    seed: int = 0,
) -> Estimate:
    """An aggregate of scores (runs, tasks) or (runs,) with its percentile bootstrap interval."""
    scores = np.asarray(scores, np.float64)
    scores = scores.reshape(len(scores), -1)
    value = aggregate(scores)
    if len(scores) < 2:
        return Estimate(value, float("nan"), float("nan"))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(stratified_bootstrap(scores, aggregate, reps, seed), (tail, 1.0 - tail))
    return Estimate(value, float(low), float(high))


def improvement_estimate(
    scores_x: np.ndarray, scores_y: np.ndarray, confidence: float = 0.95, reps: int = 2000, seed: int = 0
) -> Estimate:
    """`probability_of_improvement` with its interval; the runs of both are drawn again."""
    x, y = (np.asarray(s, np.float64).reshape(len(s), -1) for s in (scores_x, scores_y))
    value = probability_of_improvement(x, y)
    if min(len(x), len(y)) < 2:
        return Estimate(value, float("nan"), float("nan"))
    rng, tail = np.random.default_rng(seed), (1.0 - confidence) / 2.0
    draws = [probability_of_improvement(_redraw(x, rng), _redraw(y, rng)) for _ in range(reps)]
    low, high = np.quantile(draws, (tail, 1.0 - tail))
    return Estimate(value, float(low), float(high))


def profile_estimate(
    scores: np.ndarray, thresholds: np.ndarray, confidence: float = 0.95, reps: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`performance_profile` of scores (runs, tasks) with its pointwise interval: three arrays (len(thresholds),)."""
    tail = (1.0 - confidence) / 2.0
    draws = stratified_bootstrap(scores, lambda drawn: performance_profile(drawn, thresholds), reps, seed)
    low, high = np.quantile(draws, (tail, 1.0 - tail), axis=0)
    return performance_profile(scores, thresholds), low, high


def bootstrap_means(scores: np.ndarray, reps: int = 1000, seed: int = 0) -> np.ndarray:
    """Draw whole runs again with replacement: column means of scores (runs, points), (reps, points)."""
    runs = len(scores)
    draws = np.random.default_rng(seed).multinomial(runs, np.full(runs, 1.0 / runs), size=reps)
    return draws @ scores / runs
