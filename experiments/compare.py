"""From run folders to the rows of a table: load what was trained, play it, put seeds together."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import agents
import envs
from envs.suites import metrics
from experiments import config as configs
from experiments import stream
from experiments.budget import bill
from experiments.evaluation import Episodes, Policy, Watch, batch_size, evaluate
from experiments.run import result_of
from experiments.scores import LOWER_IS_BETTER, worst_decile
from experiments.stats import aggregate_iqm, aggregate_mean, bootstrap_means, interval_estimate
from experiments.trajectories import Lives, Writer

Row = dict[str, Any]
SPENT = ("steps", "flops", "seconds", "cpu_seconds", "peak_memory", "flops_per_training_step")
"""What training used, as result.json has it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How frozen agents are evaluated."""

    episodes: int = 128
    """Episodes of each run on each environment."""
    checkpoint: str = "last"
    """best, last or a number of steps."""
    deterministic: bool = True
    """Take the most likely action instead of drawing one."""
    seed: int = 10_000
    """Seed of the worlds, and of agents without training; far from those that agents train with."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of the environments; an agent's own environment has those of its training as well."""


class Entry(NamedTuple):
    """One run, or agent without training, played on one environment with one set of changed hyperparameters."""

    row: Row
    """Everything but the metrics."""
    episodes: Episodes


def find_runs(paths: list[Path]) -> list[Path]:
    """Return the run folders under the given ones, sorted. ValueError names a path without any.

    A file among them is passed over, so that `runs/*` may be said.
    """
    found: dict[Path, Path] = {}  # each once, whatever it is called
    for path in paths:
        under = [config.parent for config in path.glob("**/config.json")] if path.is_dir() else []
        if not under and not (path.is_file() and len(paths) > 1):
            raise ValueError(f"no run under {path}: name folders that train.py has written.")
        found |= {folder.resolve(): folder for folder in under}
    if not found:
        raise ValueError(f"no run under {', '.join(map(str, paths))}: name folders that train.py has written.")
    return sorted(found.values())


def labels(folders: list[Path], together: bool = False) -> dict[Path, str]:
    """What each run is called in a table: its agent, and what else is needed so that a row holds only its seeds.

    That is every setting in which runs of one agent on one environment differ, and where a seed would still be there
    twice, their log folder. Where runs play `together` in the same environments, an agent that was trained on several
    also has theirs.
    """
    found = {folder: configs.of(folder) for folder in folders}
    homes = {folder: os.path.abspath(folder.resolve() / "../../..") for folder in folders}
    trained_on, alike = defaultdict[str, set[str]](set), defaultdict[tuple[str, str], list[Row]](list)
    for c in found.values():
        trained_on[c.label].add(c.env)
        alike[c.env, c.label].append(configs.settings(c))
    names = {}
    for folder, c in found.items():
        mine, others = configs.settings(c), alike[c.env, c.label]
        keys = dict.fromkeys(key for other in others for key in other)
        differ = [key for key in keys if any(other.get(key) != mine.get(key) for other in others)]
        env = [c.env] if together and len(trained_on[c.label]) > 1 else []
        names[folder] = " ".join([c.label, *env, *(f"{key}={mine.get(key)}" for key in differ)])
    seeds = Counter((c.env, names[folder], c.seed) for folder, c in found.items())
    twice = {(env, name) for (env, name, _), number in seeds.items() if number > 1}
    for folder, c in found.items():
        if (c.env, names[folder]) in twice:
            names[folder] += " " + os.path.relpath(homes[folder], os.path.commonpath(homes.values()))
    return names


def load(folder: Path, world: envs.World, name: str = "last", hp: dict[str, Any] | None = None) -> Any:
    """Load a trained agent to act in `world`; `hp` may change `dim` and nothing else (ValueError)."""
    config = configs.of(folder)
    changed = configs.typed(configs.kind(config.agent), hp or {})
    for key in changed:
        if key != "dim":
            raise ValueError(f"--hp.{key} cannot change after training; only dim can: it has no trained parameters.")
    configs.typed(configs.kind(config.agent), config.hp)  # ValueError for settings that it does not have
    return agents.load(folder, world, name, changed.get("dim"))


def play(
    player: Path | str,
    env_id: str,
    settings: Settings,
    hp: dict[str, Any],
    act: Callable[[Any, int], Policy] | None = None,
    watches: Sequence[Watch] = (),
    writer: Writer | None = None,
    label: str = "",
) -> Entry:
    """Evaluate a run folder, or an agent without training by its name, on one environment.

    `act` may put something faster in front of (agent, batch); `writer` gets every life; `label` is what the run is
    called, see `labels`, by default as its agent.
    """
    seat, make = (
        _trained(player, env_id, settings, hp, label) if isinstance(player, Path) else _ready(player, settings, hp)
    )
    kwargs = seat.pop("env_kwargs")
    world = envs.make(env_id, batch_size(settings.episodes), **kwargs)
    try:
        algorithm = make(world)
        cost = bill(algorithm)
        actor = act(algorithm, world.num_envs) if act else algorithm
        head = {"agent": seat["agent"], "env": env_id, "run": seat["run"], "seed": settings.seed}
        lives = Lives(metrics(env_id), writer, **head)
        episodes = evaluate(actor, world, settings.episodes, settings.seed, settings.deterministic, (lives, *watches))
    finally:
        world.close()
    costs = {name: getattr(cost, name) for name in ("trained_parameters", "state_bytes", "flops_per_step")}
    return Entry(seat | {"env": env_id} | costs, episodes._replace(scores=lives.scores()))


def _trained(
    folder: Path, env_id: str, settings: Settings, hp: dict[str, Any], label: str
) -> tuple[Row, Callable[[envs.World], Any]]:
    """What is known of a run before it plays, and how to load it."""
    config = configs.of(folder)
    used = result_of(folder) or {}
    label = label or config.label
    seat = {
        "agent": _label(label, hp),
        "label": label,
        "trained_on": config.env,
        "seed": config.seed,
        "run": str(folder),
        **{name: used.get(name) for name in SPENT},
        "env_kwargs": (config.env_kwargs if env_id == config.env else {}) | settings.env_kwargs,
    }

    def make(world: envs.World) -> Any:
        agent = load(folder, world, settings.checkpoint, hp)
        _tell(agent, config, env_id)
        return agent

    return seat, make


def _tell(agent: Any, config: configs.RunConfig, env_id: str) -> None:
    """Put an agent that was told which task it is in into the context of `env_id`; ValueError if that was no task."""
    contexts, tasks = getattr(getattr(agent, "policy", None), "contexts", None), stream.tasks(config.stream)
    if contexts is None or contexts.how != "told" or not tasks:
        return
    if env_id not in tasks:
        raise ValueError(
            f"{config.folder} was told which task it is in, and {env_id} is none of them: play {', '.join(tasks)}."
        )
    contexts.enter(tasks.index(env_id))


def _ready(name: str, settings: Settings, hp: dict[str, Any]) -> tuple[Row, Callable[[envs.World], Any]]:
    """What is known of an agent without training, and how to make it."""
    seat = {"agent": _label(name, hp), "label": name, "trained_on": "", "seed": settings.seed, "run": ""}
    seat |= dict.fromkeys(SPENT, 0) | {"env_kwargs": settings.env_kwargs}
    changed = configs.typed(configs.kind(name), hp)
    return seat, lambda world: agents.make(name, world, settings.seed, **changed)


def _label(name: str, hp: dict[str, Any]) -> str:
    return " ".join([name, *(f"{key}={value}" for key, value in hp.items())])


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
    del row["seed"], row["run"], row["label"]
    for name in (*SPENT, "flops_per_step"):
        known = [entry.row[name] for entry in group if entry.row[name] is not None]
        row[name] = float(np.mean(known)) if known else None
    row["episodes"] = sum(len(entry.episodes.returns) for entry in group)
    played = [
        {"success": e.episodes.success, "return": e.episodes.returns, "length": e.episodes.lengths} for e in group
    ]
    for entry, columns in zip(group, played, strict=True):
        columns.update(entry.episodes.scores)
    for name in dict.fromkeys(name for columns in played for name in columns):
        row[name] = metric([columns.get(name, np.zeros(0)) for columns in played], name in LOWER_IS_BETTER)
    return row


def metric(runs: list[np.ndarray], lower_is_better: bool = False) -> dict[str, float | None] | None:
    """Statistics of one score over runs: each a list of episodes, NaN where it has no meaning; None if nowhere.

    Several runs: mean and interquartile mean of the runs' means, with the bootstrap interval of the latter. A single
    run: the mean, with its bootstrap interval over episodes. `worst` is the mean of the worst tenth of all episodes.
    """
    known = [np.asarray(run, np.float64)[~np.isnan(run)] for run in runs]
    known = [run for run in known if len(run)]
    if not known:
        return None
    every, means = np.concatenate(known), np.array([run.mean() for run in known])
    low: float | None = None
    high: float | None = None
    if len(known) > 1:
        iqm, low, high = interval_estimate(means, aggregate_iqm)
    else:
        iqm = float(means[0])
        if len(every) > 1:
            low, high = (float(x) for x in np.quantile(bootstrap_means(every[:, None])[:, 0], (0.025, 0.975)))
    return {
        "mean": aggregate_mean(means),
        "iqm": iqm,
        "low": low,
        "high": high,
        "median": float(np.median(every)),
        "worst": worst_decile(every, lower_is_better),
        "episodes": len(every),
    }
