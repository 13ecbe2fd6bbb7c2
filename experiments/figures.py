"""Which figures a comparison has: learning curves, score against one quantity, frontiers, profiles."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import envs
from experiments import config as configs
from experiments.aggregate import scalars
from experiments.budget import slug
from experiments.compare import Entry
from experiments.plots import Panel, Plot, Series
from experiments.stats import (
    Estimate,
    aggregate_iqm,
    aggregate_mean,
    aggregate_optimality_gap,
    bootstrap_means,
    improvement_estimate,
    interval_estimate,
    profile_estimate,
)

AGGREGATES = (
    "Over runs and environments, of the score that the figures show: interquartile mean, mean, optimality gap "
    "(shortfall from 1) and the probability that a run of the agent beats one of the first agent on a random "
    "environment, with 95 % stratified bootstrap intervals (Agarwal et al. 2021, arXiv 2108.13264)."
)
POINTS = 100
"""Of a learning curve."""
BOUNDS = ("random", "oracle", "optimum (by definition)")
"""Rows that are drawn as lines: floor and ceiling."""
_COSTS = (
    ("trained_parameters", "trained parameters"),
    ("state_bytes", "bytes of memory"),
    ("flops_per_step", "FLOPs per decision"),
)
_AXES = {"n": "pairs to keep (load)", "length": "corridor, steps (horizon)", "delay": "delay, steps"}


def all_of(entries: list[Entry]) -> list[Plot]:
    """Every figure that these runs have something to show in."""
    return [*_curves(entries), *_ladders(entries), *_dimension(entries), *_frontier(entries), *_profile(entries)]


def aggregates(entries: list[Entry]) -> list[tuple[str, ...]]:
    """A table over all environments, the header first; empty for a single environment or agent, or for returns.

    Returns of different environments have no common scale, and no 1 to fall short of.
    """
    if _name(entries) != "success":
        return []
    scores = {agent: table for agent, table in _scores(entries).items() if agent not in BOUNDS}
    if len(scores) < 2 or next(iter(scores.values())).shape[1] < 2:
        return []
    first = next(iter(scores.values()))
    lines: list[tuple[str, ...]] = [("agent", "runs", "IQM", "mean", "optimality gap", "better than the first")]
    for agent, table in scores.items():
        better = "" if table is first else _number(improvement_estimate(table, first))
        found = (interval_estimate(table, how) for how in (aggregate_iqm, aggregate_mean, aggregate_optimality_gap))
        lines.append((agent, str(len(table)), *map(_number, found), better))
    return lines


def _number(estimate: Estimate) -> str:
    interval = "" if np.isnan(estimate.low) else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{interval}"


def _score(entry: Entry) -> float:
    """Mean success of a run; its mean return where success means nothing."""
    success = entry.episodes.mean_success
    return entry.episodes.mean_return if np.isnan(success) else success


def _name(entries: list[Entry]) -> str:
    return "mean return" if any(np.isnan(e.episodes.mean_success) for e in entries) else "success"


def _scores(entries: list[Entry]) -> dict[str, np.ndarray]:
    """Scores (runs, environments) of each agent: of runs that played every environment, or else each its own.

    Those are put side by side by their seeds, as many as the environment with the fewest has.
    """
    env_ids = list(dict.fromkeys(entry.row["env"] for entry in entries))
    found: dict[str, dict[tuple[int, str], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    own: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for entry in entries:
        row, score = entry.row, _score(entry)
        found[row["agent"]][row["seed"], row["run"]][row["env"]] = score
        if row["trained_on"] == row["env"]:
            own[row["agent"]][row["env"]][row["seed"]] = score
    tables = {}
    for agent, runs in found.items():
        table = [[run[e] for e in env_ids] for _, run in sorted(runs.items()) if len(run) == len(env_ids)]
        apart = [[score for _, score in sorted(own[agent][e].items())] for e in env_ids]
        tables[agent] = table or [list(run) for run in zip(*apart, strict=False)]
    return {agent: np.array(table) for agent, table in tables.items() if table}


def _point(x: float, entries: list[Entry]) -> tuple[float, float, float, float]:
    """An x with the interquartile mean and the interval over runs there."""
    return (x, *interval_estimate(np.array([_score(entry) for entry in entries]), aggregate_iqm, reps=1000))


def _series(label: str, points: list[tuple[float, float, float, float]]) -> Series:
    return Series(label, *np.array(sorted(points)).T)


def _lines(entries: list[Entry]) -> tuple[tuple[str, float], ...]:
    """Floor and ceiling of these environments, where they are the same for all."""
    lines = []
    for agent in BOUNDS:
        means = [_score(entry) for entry in entries if entry.row["agent"] == agent]
        if means and np.ptp(means) < 0.1:
            lines.append((agent.split()[0], float(np.mean(means))))
    return tuple(lines)


def _by_agent(entries: list[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.row["agent"] not in BOUNDS:
            groups[entry.row["agent"]].append(entry)
    return groups


# -- learning ------------------------------------------------------------


def _curves(entries: list[Entry]) -> Iterator[Plot]:
    """Training success against steps, FLOPs and seconds, one figure for each environment of a training."""
    runs: dict[str, dict[str, dict[Path, None]]] = defaultdict(lambda: defaultdict(dict))
    for entry in entries:
        if entry.row["run"]:
            runs[entry.row["trained_on"]][entry.row["label"]][Path(entry.row["run"])] = None
    for env_id, agents in runs.items():
        read = {label: [scalars(folder) for folder in folders] for label, folders in agents.items()}
        every = [run for curves in read.values() for run in curves]
        tags = ("rollout/success_rate", "rollout/ep_rew_mean")
        tag = next((tag for tag in tags if every and all(tag in run for run in every)), None)
        if tag is None:
            continue
        axes = (("environment steps", ""), ("FLOPs", "budget/flops"), ("seconds", "budget/seconds"))
        panels = tuple(
            Panel(name, tuple(_curve(label, read[label], tag, axis) for label in read)) for name, axis in axes
        )
        y_label = "training success" if tag == tags[0] else "training return"
        about = "Mean over runs of the last hundred training episodes, actions sampled; band: 95 % bootstrap over runs."
        yield Plot(f"curves-{slug(env_id)}", f"Learning {env_id}.", about, y_label, panels)


def _curve(label: str, runs: list[dict[str, tuple[np.ndarray, np.ndarray]]], tag: str, axis: str) -> Series:
    """Average over runs on a common grid of steps, FLOPs or seconds; from where the last began to where one ended."""
    curves = []
    for run in runs:
        steps, values = run[tag]
        curves.append((np.interp(steps, *run[axis]) if axis else steps.astype(float), values))
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    grid = np.linspace(first, max(first, last), POINTS)
    table = np.stack([np.interp(grid, x, y) for x, y in curves])  # (runs, POINTS)
    low, high = (
        np.quantile(bootstrap_means(table), (0.025, 0.975), axis=0) if len(runs) > 1 else np.full((2, POINTS), np.nan)
    )
    return Series(label, grid, table.mean(0), low, high)


# -- score against one quantity ------------------------------------------------------------


def _ladders(entries: list[Entry]) -> Iterator[Plot]:
    """Score against the one number in which some environments' ids differ: horizon, load, size."""
    kinds: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for env_id in dict.fromkeys(entry.row["env"] for entry in entries):
        pieces = re.split(r"(?<=[A-Za-z-])(\d+)", env_id)
        for i in range(1, len(pieces), 2):
            kinds["".join(pieces[:i]) + "*" + "".join(pieces[i + 1 :]), i][env_id] = float(pieces[i])
    for (skeleton, _), values in kinds.items():
        if len(values) < 2:
            continue
        here = [entry for entry in entries if entry.row["env"] in values]
        lines = []
        for agent, mine in _by_agent(here).items():
            points = [_point(x, [e for e in mine if e.row["env"] == env_id]) for env_id, x in values.items()
                      if any(e.row["env"] == env_id for e in mine)]  # fmt: skip
            lines.append(_series(agent, points))
        panel = Panel(_axis(skeleton, values), tuple(lines), log_x=True, lines=_lines(here))
        about = "Interquartile mean over runs, 95 % bootstrap interval."
        yield Plot(f"ladder-{slug(skeleton)}", f"{skeleton}.", about, _name(here), (panel,))


def _axis(skeleton: str, values: dict[str, float]) -> str:
    """What the number that differs is called."""
    try:
        (one, a), (_, b) = ((env_id, envs.family_of(env_id)[1]) for env_id in list(values)[:2])
    except ValueError:
        return f"* in {skeleton}"
    name = next((name for name in a if a[name] != b[name]), one)
    return _AXES.get(name, name)


def _dimension(entries: list[Entry]) -> Iterator[Plot]:
    """Score against D, where runs were played at several."""
    points: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for agent, mine in _by_agent(entries).items():
        changed, run = re.search(r" dim=(\d+)", agent[len(mine[0].row["label"]) :]), mine[0].row["run"]
        hp = configs.of(Path(run)).hp if run else {}
        dim = float(changed[1]) if changed else (hp.get("grow") or [hp.get("dim")])[-1]
        for env_id in dict.fromkeys(e.row["env"] for e in mine) if dim else ():
            here = [e for e in mine if e.row["env"] == env_id]
            points[f"{mine[0].row['label']} {env_id}"].append(_point(float(dim or 0), here))
    lines = tuple(_series(label, found) for label, found in points.items() if len(found) > 1)
    if lines:
        about = (
            "D is changed after training: no parameter is trained again. Interquartile mean over runs, 95 % interval."
        )
        yield Plot("dimension", "Score against D.", about, _name(entries), (Panel("D", lines, log_x=True),))


def _frontier(entries: list[Entry]) -> Iterator[Plot]:
    """Score over all environments against what an agent costs."""
    scores = {agent: table for agent, table in _scores(entries).items() if agent not in BOUNDS}
    rows = {entry.row["agent"]: entry.row for entry in entries}
    panels = []
    for key, name in _COSTS:
        priced = {agent: table for agent, table in scores.items() if rows[agent][key]}
        found = [
            _series(agent, [(rows[agent][key], *interval_estimate(t, aggregate_iqm, reps=1000))])
            for agent, t in priced.items()
        ]
        panels.append(Panel(name, tuple(found), log_x=True, lines=_lines(entries)))
    if panels and all(panel.series for panel in panels[:1]):
        about = "Interquartile mean over runs and environments, 95 % interval. Up and left is better."
        yield Plot("frontier", "Score against cost.", about, _name(entries), tuple(panels), joined=False)


def _profile(entries: list[Entry]) -> Iterator[Plot]:
    """Share of runs and environments above each score."""
    scores = {agent: table for agent, table in _scores(entries).items() if agent not in BOUNDS and table.size > 2}
    if len(scores) < 2:
        return
    every = np.concatenate([table.ravel() for table in scores.values()])
    grid = np.linspace(min(0.0, every.min()), max(1.0, every.max()), 101)
    lines = tuple(Series(agent, grid, *profile_estimate(table, grid, reps=300)) for agent, table in scores.items())
    about = "Share of runs and environments that score above; the curve to the right is better."
    yield Plot("profile", "Performance profiles.", about, "share above", (Panel(_name(entries), lines),))
