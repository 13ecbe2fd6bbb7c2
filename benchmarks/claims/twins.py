"""For the claim `swapped`: the same walks through two shuffled T-mazes, behind other senses and hands."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import agents
import envs
from envs.stream import Stream

SHARE, REPEATS, BATCH, STEPS = 20_480, 2, 128, 64


def mazes(tasks: tuple[int, int], batch: int) -> list[Any]:
    return [envs.make(f"ShuffledTMaze-K{k}-M1-Max10-v0", batch) for k in tasks]


def learned(tasks: tuple[int, int], contexts: int, seed: int) -> Any:
    """A superposed agent that was trained on two tasks in turn; as in a stream, nothing tells it of the end."""
    settings = {
        "contexts": contexts, "context_from": "told", "final_learning_rate": 1.0, "controller_dropout": 0.0,
    }  # fmt: skip
    world = Stream(dict(zip("ab", mazes(tasks, 64), strict=True)), REPEATS, SHARE // 64)
    model = agents.make("superposed", world, seed=seed, **settings)
    return model.learn(SHARE * world.segments, log_interval=0)


def walks(tasks: tuple[int, int], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same walks in two tasks: what is seen (2, T, B, F), where they start (T, B), what is right (2, T, B), turns.

    The walk goes on by itself, whatever is done.
    """
    worlds, seen, starts, right = mazes(tasks, BATCH), [], [np.ones(BATCH, bool)], []
    now, cue = [world.reset(seed) for world in worlds], np.zeros(BATCH)
    for _ in range(STEPS):
        seen.append(np.stack(now))
        shown, start, _, junction, _ = worlds[0].sorted(now[0]).T
        cue = np.where(start > 0, shown, cue)
        asked = np.where(junction > 0, np.where(cue > 0, 1, 2), 0)  # forward, up, down
        right.append([world.hands.argsort()[asked] for world in worlds])
        outs = [world.step(np.zeros(BATCH, int)) for world in worlds]
        now = [out.obs for out in outs]
        starts.append(outs[0].terminated.copy())
    turns = [worlds[0].sorted(x[0])[:, 3] > 0 for x in seen]
    parts = (np.stack(seen, 1), np.stack(starts[:-1]), np.stack(right, 1), np.stack(turns))
    return tuple(torch.from_numpy(part) for part in parts)  # type: ignore[return-value]
