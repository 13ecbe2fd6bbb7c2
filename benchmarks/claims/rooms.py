"""For the claim `swapped`: in a MiniGrid memory room a life goes on with the state of another one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lives import ROOM, known
from torch import Tensor

import envs
from agents.encoder import to_tensors

GRAFTS = (
    "nothing", "the matrix", "the controller", "both", "the matrix of the same cue",
    "the matrix, the objects exchanged too",
)  # fmt: skip
LIVES, LONGEST, CORRIDOR = 64, 100, (5, 6)  # steps; x of the corridor between the room and the junction


def begin(world: Any, seed: int) -> Any:
    """Episodes that begin beside the cue, as one in six does: others look back at it from the junction."""
    room, seeds, candidate = world.envs[0], list[int](), seed * 10_000
    while len(seeds) < LIVES:
        room.reset(seed=candidate)
        if room.unwrapped.agent_pos[0] == 1:
            seeds.append(candidate)
        candidate += 1
    world.reset(seed)
    return world.load_state(world.state() | {"episode_seed": np.array(seeds)})


@torch.inference_mode()
def play(model: Any, seed: int, given: Any = None) -> tuple[Any, np.ndarray, np.ndarray]:
    """Lives in the room; each goes on from its row of `given` when it first heads down the corridor.

    The cue is taken away then: from the junction an agent can look back at it.

    Returns:
        The states when they did; whether the cue was the key and whether its like is up at the junction (B, 2); where
        they ended (B,): 1 at that, -1 at the other object, 0 nowhere in time, NaN if they never came down the corridor.
    """
    world, policy = envs.make(ROOM, LIVES, engine="minigrid"), model.policy
    obs, state, starts = begin(world, seed), policy.core.initial_state(LIVES), torch.ones(LIVES, dtype=torch.bool)
    rooms = [env.unwrapped for env in world.envs]
    held, signs, rng = state, known(world)[:, 2:4], torch.Generator().manual_seed(seed)
    came, over, ends = np.zeros(LIVES, bool), np.zeros(LIVES, bool), np.zeros(LIVES)
    for _ in range(LONGEST):
        here = np.array([room.agent_pos[0] in CORRIDOR and room.agent_dir == 0 for room in rooms]) & ~came & ~over
        for i in np.flatnonzero(here):
            rooms[i].grid.set(1, rooms[i].height // 2 - 1, None)
        came, rows = came | here, torch.from_numpy(here)
        held, state = merge(rows, state, held), merge(rows, given or state, state)
        dist, _, state = policy.step(to_tensors(obs, policy.encoder.keys), state, starts)
        step = world.step(policy.to_env(dist.sample(rng)))
        obs, starts = step.obs, torch.from_numpy(step.terminated | step.truncated)
        ends = np.where(step.terminated & ~over, np.where(step.success > 0, 1, -1), ends)
        over |= starts.numpy()
        if over.all():
            break
    return held, signs, np.where(came, ends, np.nan)


def merge(rows: Tensor, new: Any, old: Any) -> Any:
    """A state with some rows of `new`, the others of `old`."""
    parts = zip(new, old, strict=True)
    return type(old)(*(torch.where(rows.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in parts))


def graft(model: Any, seed: int) -> np.ndarray:
    """Share of the lives that end at the other object, and at that of their own cue, (GRAFTS, 2).

    What is grafted is of lives whose cue was the other object and whose junction is alike: both objects can be seen
    from afar, so that a matrix may hold them as well. Of the last graft the junction is mirrored: its goal is on the
    own side.
    """
    own, signs, _ = play(model, seed)
    donors, theirs, arrived = play(model, seed + 1_000_000)

    def lives(change: tuple[int, int]) -> Any:
        """States of other lives, their cue and the side of their goal the own ones or not."""
        fit = (theirs == (signs ^ change)[:, None]).all(-1) & ~np.isnan(arrived)  # (own, theirs)
        picked = [np.flatnonzero(row)[b % row.sum()] for b, row in enumerate(fit)]
        return type(donors)(*(part[picked] for part in donors))

    other, same, mirrored = lives((1, 1)), lives((0, 0)), lives((1, 0))
    grafts, shares = [own._replace(m=life.m) for life in (own, other, same, mirrored)], []
    for given in (*grafts[:2], own._replace(z=other.z), other, *grafts[2:]):
        ends = play(model, seed, given)[2]
        shares.append([float((ends[~np.isnan(ends)] == side).mean()) for side in (-1, 1)])
    return np.array(shares)
