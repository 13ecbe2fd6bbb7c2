"""What happened in each life, step by step: kept for the scores, and written as JSON lines.

`evaluate.py --trajectories FILE` writes one line, a JSON object, for each life as it ends:

    agent, env, run      who played where; the run folder, "" for an agent without training
    seed, i, life        seed of the worlds, number of the environment in its batch, number of the life in it
    return, length, success   of the life; success is null where it means nothing
    scores               the suite's scores of this life
    steps                name -> one value a step: `action`, `reward` and what the world's `trace()` tells

In a labyrinth the steps hold `node` (the sequence of nodes), and the life has `bouts`, [first step, last step] of
each stay in the maze, and `rewards`, the steps that brought one.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from envs.labyrinth import Labyrinth
from envs.world import Transition, World
from experiments.evaluation import Life, Watch
from experiments.scores import SCORES, Log, Score


class Recorder:
    """What the environments of a world did since their lives began, (T, ...) arrays by name."""

    def __init__(self, world: World, names: frozenset[str] | None = None) -> None:
        """Keep the parts of the trace that are in `names`; all of them for None."""
        self._world, self._names = world, names
        self._parts: dict[str, np.ndarray] = {}  # (capacity, B, ...)
        self._size = self._capacity = 0
        self._starts = np.zeros(world.num_envs, np.int64)
        self._ended = np.zeros(world.num_envs, np.bool_)

    def step(self, actions: np.ndarray, out: Transition) -> None:
        """Note the step that has just been taken."""
        self._starts[self._ended] = self._size
        self._ended = out.terminated | out.truncated
        told = self._world.trace()
        kept = {name: told[name] for name in told if self._names is None or name in self._names}
        if self._size == self._capacity:
            self._make_room()
        for name, value in {"action": actions, "reward": out.reward, **kept}.items():
            if name not in self._parts:
                value = np.asarray(value)
                self._parts[name] = np.empty((self._capacity, *value.shape), _SMALLER.get(value.dtype, value.dtype))
            self._parts[name][self._size] = value
        self._size += 1

    def log(self, i: int) -> dict[str, np.ndarray]:
        """Return what environment i did in the life that has just ended, or goes on."""
        return {name: part[self._starts[i] : self._size, i].copy() for name, part in self._parts.items()}

    def _make_room(self) -> None:
        """Drop what belongs to lives that have ended, if it is half; otherwise double the arrays."""
        oldest = int(self._starts.min())
        grow = 2 * oldest <= self._size
        self._capacity = max(256, 2 * self._size) if grow else self._capacity
        for name, part in self._parts.items():
            new = np.empty((self._capacity, *part.shape[1:]), part.dtype) if grow else part
            new[: self._size - oldest] = part[oldest : self._size].copy()
            self._parts[name] = new
        self._size -= oldest
        self._starts -= oldest


_SMALLER = {np.dtype(np.int64): np.dtype(np.int32), np.dtype(np.float64): np.dtype(np.float32)}


class Lives(Watch):
    """Scores every life when it ends, and writes it down if there is a writer."""

    def __init__(self, names: tuple[str, ...], writer: Writer | None = None, **head: Any) -> None:
        """Compute the scores of these names that the world's trace allows; `head` says who plays where."""
        self._names, self._writer, self._head = names, writer, head
        self._scores: list[Score] = []
        self._recorder: Recorder | None = None
        self._lives: list[dict[str, float]] = []

    def begin(self, world: World) -> None:
        """See what the world tells."""
        told = set(world.trace())
        self._world = world
        self._scores = [SCORES[name] for name in self._names if told >= set(SCORES[name].needs)]
        needed = frozenset(part for score in self._scores for part in score.needs)
        if self._scores or self._writer:
            self._recorder = Recorder(world, None if self._writer else needed)

    def scores(self) -> dict[str, np.ndarray]:
        """Return the scores by name, one entry a life in the order of their ends; NaN where a life has none."""
        names = dict.fromkeys(name for life in self._lives for name in life)
        return {name: np.array([life.get(name, np.nan) for life in self._lives]) for name in names}

    def step(self, actions: np.ndarray, out: Transition) -> None:
        """Note a step."""
        if self._recorder:
            self._recorder.step(actions, out)

    def end(self, life: Life) -> None:
        """Score a life and write it."""
        if not self._recorder:
            return
        log = self._recorder.log(life.env)
        self._lives.append({name: x for score in self._scores for name, x in score.of(log).items()})
        if self._writer:
            self._writer.write(self._head, life, self._lives[-1], log, self._world)


class Writer:
    """JSON lines, one as each life ends; after a failure it says so once and writes no more."""

    def __init__(self, path: Path) -> None:
        self.path, self.failed = path, False
        try:
            self._file: TextIO = open(path, "w")
        except OSError as error:
            raise ValueError(f"cannot write {path}: {error.strerror}. Give --trajectories another file.") from error

    def write(self, head: dict[str, Any], life: Life, scores: dict[str, float], log: Log, world: World) -> None:
        """Append a life."""
        if self.failed:
            return
        line = head | {"i": life.env, "life": life.number, "return": life.episode_return, "length": life.length}
        line |= {"success": _finite(life.success), "scores": {name: _finite(x) for name, x in scores.items()}}
        line |= _labyrinth(log, world.unwrapped) if isinstance(world.unwrapped, Labyrinth) else {}
        line["steps"] = {name: part.tolist() for name, part in log.items()}
        try:
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
            self._file.flush()
        except OSError as error:
            self.failed = True
            print(f"cannot write {self.path}: {error.strerror}. It holds the lives before; go on.", file=sys.stderr)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # what could not be written was reported
            self._file.close()


def _finite(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return float(value) if np.isfinite(value) else None


def _labyrinth(log: Log, world: Labyrinth) -> dict[str, Any]:
    inside = np.concatenate([[False], log["node"] != world.home, [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    bouts = [[int(first), int(after) - 1] for first, after in edges.reshape(-1, 2)]
    return {"bouts": bouts, "rewards": np.flatnonzero(log["reward"] > 0).tolist()}
