"""TensorBoard cannot average seeds: write `_aggregate/{mean,low,high}` beside the seeds of an agent."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from experiments.stats import bootstrap_means

TAGS = ("rollout/", "eval/", "stream/")
POINTS = 200
"""Most points of an averaged curve."""

Curve = tuple[np.ndarray, np.ndarray]
"""Steps and values, (N,) each."""


def scalars(folder: Path) -> dict[str, Curve]:
    """Read the scalars of a run folder; where a run was resumed, what the crash cut off is gone."""
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it reports every resume as "out of order"
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    curves = {}
    for tag in events.Tags()["scalars"]:
        # Two starts within a second have files that are not read in the order of their writing.
        points = sorted(events.Scalars(tag), key=lambda point: point.step)
        curves[tag] = np.array([p.step for p in points]), np.array([p.value for p in points])
    return curves


def aggregate(folder: Path) -> list[str]:
    """Average the seeds in `folder`, LOGDIR/<env>/<agent>, on a common grid of steps; returns the tags."""
    runs = [scalars(seed) for seed in sorted(folder.glob("seed*")) if list(seed.glob("events.out.tfevents.*"))]
    if len(runs) < 2:
        return []
    tags = sorted(t for t in set.intersection(*(set(r) for r in runs)) if t.startswith(TAGS))
    for part in ("mean", "low", "high"):
        for old in (folder / "_aggregate" / part).glob("events.out.tfevents.*"):
            old.unlink()
    writers = [SummaryWriter(str(folder / "_aggregate" / part)) for part in ("mean", "low", "high")]
    for tag in tags:
        steps, curves = _average([r[tag] for r in runs])
        for writer, curve in zip(writers, curves, strict=True):
            for step, value in zip(steps.tolist(), curve.tolist(), strict=True):
                writer.add_scalar(tag, value, int(step))
    for writer in writers:
        writer.close()
    return tags


def _average(curves: list[Curve]) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Steps (P,) that all runs cover; there the mean and 95 % bootstrap interval over runs, (P,) each."""
    first, last = max(s[0] for s, _ in curves), min(s[-1] for s, _ in curves)
    steps = np.unique(np.linspace(first, max(first, last), POINTS).astype(np.int64))
    values = np.stack([np.interp(steps, s, v) for s, v in curves])  # (runs, P)
    low, high = np.quantile(bootstrap_means(values), (0.025, 0.975), axis=0)
    return steps, (values.mean(axis=0), low, high)
