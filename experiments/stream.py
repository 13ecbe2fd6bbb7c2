"""One agent through a sequence of tasks: `train.py --stream`, what is measured after each task, and the scores.

A stream is a run like any other, in a world that becomes another task after equal shares of the budget
(`envs.stream`). R[i][j] is the score of task j, success or else return, in greedy episodes after the i-th task was
left.

Sources: Lopez-Paz and Ranzato 2017 (arXiv 1706.08840); Wolczyk et al. 2021 (arXiv 2105.10919); Dohare et al. 2024.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

import envs
from agents import checkpoint
from agents.accounting import kept_bits
from agents.cores import CORES
from envs.stream import Stream
from envs.suites import SUITES
from experiments.budget import Bill, Budget
from experiments.evaluation import batch_size, evaluate

if TYPE_CHECKING:
    from experiments.config import RunConfig
    from experiments.logs import RunLogger

EPISODES = 64
"""Greedy episodes of each task, after each task."""
SEED = 2_000_003
"""Added to the seed of the run, so that these are other episodes than those of training."""
Record = dict[str, Any]


def tasks(stream: str) -> tuple[str, ...]:
    """Return the ids of a stream, which is a list of ids and suites with commas."""
    words = [word for word in stream.split(",") if word]
    return tuple(env_id for word in words for env_id in (SUITES[word].env_ids if word in SUITES else (word,)))


def check(config: RunConfig) -> None:
    """ValueError for settings, of a resolved run, that no stream can have."""
    if not config.stream:
        if config.stream_repeats > 1 or config.stream_fresh:
            raise ValueError("--stream-repeats and --stream-fresh need a stream: --stream SUITE, or --stream ID ID ...")
        return
    ids, kind = tasks(config.stream), Budget.parse(config.budget or "steps=1").kind
    if twice := [env_id for env_id, times in Counter(ids).items() if times > 1]:
        raise ValueError(f"{twice[0]} stands twice in the stream: name it once, --stream-repeats N comes back to all.")
    if config.agent not in CORES:
        raise ValueError(f"{config.agent} does not train on streams; these do: {', '.join(CORES)}.")
    if kind == "seconds" or config.hp.get("grow"):
        raise ValueError("a stream gives each task an equal share of steps: --budget steps=N or flops=N, and no grow.")
    if config.stream_fresh and config.hp.get("replay"):
        raise ValueError("a fresh network has nothing to rehearse: leave out replay, or --stream-fresh.")
    if config.hp.get("context_from") == "told" and 0 < config.hp.get("contexts", 0) < len(ids):
        raise ValueError(
            f"contexts that are told must be as many as the tasks, {len(ids)}, got {config.hp['contexts']}."
        )


def make(config: RunConfig) -> envs.World:
    """Make the world to train in; ValueError names two tasks whose spaces differ."""
    if not config.stream:
        return envs.make(config.env, config.hp["num_envs"], **config.env_kwargs)
    ids = tasks(config.stream)
    worlds = [envs.make(env_id, config.hp["num_envs"], **config.env_kwargs) for env_id in ids]
    return Stream(dict(zip(ids, worlds, strict=True)), config.stream_repeats)


def whole(config: RunConfig, steps: int) -> int:
    """Environment steps that give each task a number of whole rollouts; ValueError if that is not even one."""
    segments = len(tasks(config.stream)) * config.stream_repeats
    if not segments:
        return steps
    least = config.hp["num_envs"] * config.hp["num_steps"] * segments
    if steps < least:
        raise ValueError(
            f"{steps} steps are less than a rollout of {config.hp['num_envs']} x {config.hp['num_steps']} for each of "
            f"{segments} tasks: give a larger --budget, or lower --num-envs."
        )
    return steps - steps % least


def schedule(world: envs.World, config: RunConfig, steps: int | None) -> int | None:
    """Set the share of each task; returns the environment steps of all of them, see `whole`."""
    if not isinstance(world, Stream) or steps is None:
        return steps
    steps = whole(config, steps)
    world.share = steps // (world.num_envs * world.segments)
    return steps


class Course:
    """Follows a run through its stream and writes stream.json."""

    def __init__(self, config: RunConfig, world: Stream, cost: Bill) -> None:
        self.config, self.ids, self.share, self.cost = config, tasks(config.stream), world.share * world.num_envs, cost
        self.records: list[Record] = []
        self.now = {"success": 0.0, "episodes": 0.0, "reward": 0.0}

    def step(self, rewards: np.ndarray, ended: Sequence[tuple[float, int, float]]) -> None:
        """Count a training step: rewards (B,), and the episodes that ended with it."""
        self.now["reward"] += float(rewards.sum())
        known = [success for _, _, success in ended if not np.isnan(success)]
        self.now["success"] += sum(known)
        self.now["episodes"] += len(known)

    def at_boundary(self, model: Any, step: int, log: RunLogger) -> None:
        """If a task was just left, play all tasks so far and write down what came out."""
        number = len(self.records)
        if step < (number + 1) * self.share:
            return
        task = number % len(self.ids)
        self.records.append(
            {
                "task": task,
                "steps": step,
                "online": self.now["success"] / self.now["episodes"] if self.now["episodes"] else None,
                "reward": self.now["reward"],
                "scores": self._scores(model, task),
            }
        )
        self.now = dict.fromkeys(self.now, 0.0)
        kept = kept_bits(model) * (len(self.ids) if self.config.stream_fresh else 1)
        found = summary(self.records, self.cost, kept)
        each = {f"score_{j}": score for j, score in enumerate(self.records[-1]["scores"]) if score is not None}
        for name, value in ({"task": task} | found | each).items():
            log.record(f"stream/{name}", value)
        log.dump(step)
        told = {"tasks": self.ids, "share": self.share, "records": self.records, "scores": found}
        checkpoint.write_atomic(self.config.folder / "stream.json", json.dumps(told, indent=2).encode())
        if self.config.stream_fresh:
            model.renew(self.config.seed + 7919 * (number + 1))

    def _scores(self, model: Any, task: int) -> list[float | None]:
        """Scores of all tasks, None for those not met yet. A network that was replaced keeps what it had."""
        before = self.records[-1]["scores"] if self.records else [None] * len(self.ids)
        met = max([task, *(record["task"] for record in self.records)])
        wanted = (task,) if self.config.stream_fresh else range(met + 1)
        return [self._score(model, j) if j in wanted else before[j] for j in range(len(self.ids))]

    def _score(self, model: Any, task: int) -> float:
        world = envs.make(self.ids[task], batch_size(EPISODES), **self.config.env_kwargs)
        contexts = model.policy.contexts
        told = contexts is not None and contexts.how == "told"
        with contexts.inside(task) if told else nullcontext():
            episodes = evaluate(model, world, EPISODES, self.config.seed + SEED)
        world.close()
        return episodes.mean_return if np.isnan(episodes.mean_success) else episodes.mean_success


def summary(records: Sequence[Mapping[str, Any]], cost: Bill, bits: int) -> dict[str, float]:
    """Scores of a stream; those that mean nothing yet are left out.

    Args:
        records: of the tasks left behind, in order: number of the `task`, `scores` of all, `online` success, `reward`.
        cost: of the agent.
        bits: that must be kept to play all tasks.
    """
    scores = np.array([[np.nan if x is None else x for x in record["scores"]] for record in records])  # R
    order = [record["task"] for record in records]
    found = {"average": float(np.nanmean(scores[-1]))}
    lost = []
    for i, task in enumerate(order):  # until it is trained again, or to the end
        until = next((k for k in range(i + 1, len(order)) if order[k] == task), len(order)) - 1
        if until > i:
            lost.append(scores[i, task] - scores[until, task])
    if lost:
        found["forgetting"] = float(np.mean(lost))
    online = [record["online"] for record in records]
    if None not in online:
        found["online"] = float(np.mean(online))
        first = online[: len(set(order))]
        if len(first) > 1:
            found["plasticity_slope"] = float(np.polyfit(np.arange(len(first)), first, 1)[0])
    steps = records[-1]["steps"]
    found["reward_per_gflop"] = sum(r["reward"] for r in records) / (steps * cost.flops_per_training_step / 1e9)
    return found | {"persistent_bits": float(bits)}


def forward_transfer(records: Sequence[Mapping[str, Any]], fresh: Sequence[Mapping[str, Any]]) -> float:
    """Mean over the first visits of (A - F) / (1 - F), without the first task (Wolczyk et al. 2021, equation 2).

    A is the mean success while the task is trained, the area under the curve, F that of a fresh network. NaN where
    success is not known, or nothing is left to gain.
    """
    count = len({record["task"] for record in records})
    pairs = [(a["online"], f["online"]) for a, f in zip(records[1:count], fresh[1:count], strict=True)]
    gained = [(a - f) / (1 - f) for a, f in pairs if a is not None and f is not None and f < 1]
    return float(np.mean(gained)) if gained else float("nan")
