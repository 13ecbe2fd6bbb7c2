"""From run folders to the rows of a table: load what was trained, play it, put seeds together."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import envs
from agents import checkpoint
from agents.ppo import MemoryPPO
from experiments import config as configs
from experiments.budget import bill
from experiments.evaluation import Episodes, Policy, Random, batch_size, evaluate
from experiments.run import result_of
from experiments.stats import aggregate_iqm, aggregate_mean, interval_estimate

Row = dict[str, Any]
METRICS = ("success", "return", "length")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How frozen agents are evaluated."""

    episodes: int = 128
    """Episodes of each run on each environment."""
    checkpoint: str = "last"
    """best, last or a number of steps."""
    deterministic: bool = True
    """Take the most likely action instead of drawing one."""
    seed: int = 0
    """Seed of the worlds."""


class Entry(NamedTuple):
    """One run, played on one environment with one set of changed hyperparameters."""

    row: Row
    """Everything but the metrics."""
    episodes: Episodes


def find_runs(paths: list[Path]) -> list[Path]:
    """Return the run folders under the given ones, sorted. ValueError if there are none."""
    found = {config.parent for path in paths for config in (path.glob("**/config.json") if path.is_dir() else ())}
    if not found:
        raise ValueError(f"no run under {', '.join(map(str, paths))}: name folders that train.py has written.")
    return sorted(found)


def checkpoint_path(folder: Path, name: str) -> Path:
    """Return the file that `best`, `last` or a number of steps stands for. ValueError for another word."""
    if name in ("best", "last"):
        return folder / f"{name}.safetensors"
    try:
        return folder / f"step-{int(float(name)):012d}.safetensors"
    except ValueError:
        raise ValueError(f"--checkpoint takes best, last or a number of steps, got {name!r}.") from None


def load(folder: Path, world: envs.World, name: str = "last", hp: dict[str, Any] | None = None) -> Any:
    """Load a trained agent to act in `world`; `hp` may change `dim` and nothing else (ValueError)."""
    config = configs.of(folder)
    with warnings.catch_warnings():  # SB3 warns of minibatches that do not fit; acting has none
        warnings.simplefilter("ignore", UserWarning)
        algorithm = configs.build(replace(config, device="cpu"), world)
    tensors, meta = checkpoint.load(checkpoint_path(folder, name))
    if isinstance(algorithm, MemoryPPO):
        policy = {key.removeprefix("policy."): part for key, part in tensors.items() if key.startswith("policy.")}
        try:
            algorithm.policy.load_state_dict(policy)
        except RuntimeError as error:
            raise ValueError(
                f"{folder} was trained on {config.env}, whose observations or actions differ from those asked for: "
                f"evaluate it on environments of that family, for example --env {config.env}."
            ) from error
    else:
        algorithm.load_parameters(tensors, meta["algorithm"])
    grown = {"dim": config.hp["grow"][-1]} if config.hp.get("grow") else {}
    changed = grown | configs.typed(configs.kind(config.agent), hp or {})
    for key, value in changed.items():
        if key != "dim":
            raise ValueError(f"--hp.{key} cannot change after training; only dim can: it has no trained parameters.")
        algorithm.resize(value)
    return algorithm


def play(
    folder: Path,
    env_id: str,
    settings: Settings,
    hp: dict[str, Any],
    frames: list[Any] | None = None,
    act: Callable[[Any, int], Policy] | None = None,
) -> Entry:
    """Evaluate one run on one environment; `act` may put something faster in front of (agent, batch)."""
    config = configs.of(folder)
    kwargs = config.env_kwargs if env_id == config.env else {}
    world = envs.make(env_id, batch_size(settings.episodes), **kwargs)
    try:
        algorithm = load(folder, world, settings.checkpoint, hp)
        actor = act(algorithm, world.num_envs) if act else algorithm
        episodes = evaluate(actor, world, settings.episodes, settings.seed, settings.deterministic, frames)
        cost = bill(algorithm)
    finally:
        world.close()
    trained = result_of(folder) or {"steps": None, "seconds": None, "flops": None}
    row = {
        "agent": " ".join([config.label, *(f"{k}={v}" for k, v in hp.items())]),
        "trained_on": config.env,
        "env": env_id,
        "seed": config.seed,
        "trained_parameters": cost.trained_parameters,
        "state_bytes": cost.state_bytes,
        "flops_per_step": cost.flops_per_act,
        **{name: trained[name] for name in ("steps", "flops", "seconds")},
        "run": str(folder),
    }
    return Entry(row, episodes)


def chance(env_id: str, settings: Settings) -> Row:
    """Return the row of uniformly random actions, the floor."""
    world = envs.make(env_id, batch_size(settings.episodes))
    try:
        episodes = evaluate(Random(world, settings.seed), world, settings.episodes, settings.seed)
    finally:
        world.close()
    row: Row = {"agent": "random", "trained_on": "", "env": env_id, "seed": settings.seed, "run": ""}
    row |= dict.fromkeys(("trained_parameters", "state_bytes", "flops_per_step", "steps", "flops", "seconds"), 0)
    return rows([Entry(row, episodes)])[0]


def rows(entries: list[Entry]) -> list[Row]:
    """Put the seeds of each agent and environment together: mean, IQM and 95 % bootstrap interval."""
    groups: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.row["trained_on"], entry.row["env"], entry.row["agent"]].append(entry)
    return [_together(group) for group in groups.values()]


def _together(group: list[Entry]) -> Row:
    row = dict(group[0].row)
    row["seeds"] = [entry.row["seed"] for entry in group]
    row["runs"] = [entry.row["run"] for entry in group]
    del row["seed"], row["run"]
    for name in ("steps", "flops", "seconds", "flops_per_step"):
        known = [entry.row[name] for entry in group if entry.row[name] is not None]
        row[name] = float(np.mean(known)) if known else None
    row["episodes"] = sum(len(entry.episodes.returns) for entry in group)
    means = [(e.episodes.mean_success, e.episodes.mean_return, e.episodes.mean_length) for e in group]
    for name, scores in zip(METRICS, np.array(means).T, strict=True):
        row[name] = None if np.isnan(scores).any() else _metric(scores)
    return row


def _metric(scores: np.ndarray) -> dict[str, float | None]:
    """Mean, IQM and its interval over seeds (runs,); without an interval for a single seed."""
    iqm, low, high = interval_estimate(scores, aggregate_iqm)
    spread = {"low": low, "high": high} if len(scores) > 1 else {"low": None, "high": None}
    return {"mean": aggregate_mean(scores), "iqm": iqm, **spread}
