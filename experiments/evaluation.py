"""Frozen evaluation: a policy plays a fixed number of episodes in every environment of a batch.

A fixed number for each environment, not the first so many to end: short episodes would otherwise be counted
more often than long ones, and failing quickly would look like the rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from agents.contexts import orient
from envs.world import Obs, Transition, World


class Policy(Protocol):
    """Whatever has SB3's `predict`."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Return actions and the next memory state for a batch of observations."""
        ...


class Episodes(NamedTuple):
    """What was played; one entry per episode."""

    returns: np.ndarray
    lengths: np.ndarray
    success: np.ndarray
    """NaN where the environment has no notion of it."""
    scores: Mapping[str, np.ndarray] = {}
    """Scores of the suite, by name; NaN where an episode has none."""

    @property
    def mean_return(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def mean_length(self) -> float:
        """Mean number of steps."""
        return float(self.lengths.mean())

    @property
    def mean_success(self) -> float:
        """Mean success; NaN where it means nothing."""
        known = self.success[~np.isnan(self.success)]
        return float(known.mean()) if known.size else float("nan")


class Life(NamedTuple):
    """An episode that has ended."""

    env: int
    """Number of the environment in its batch."""
    number: int
    """Number of the episode in that environment, from 0."""
    episode_return: float
    length: int
    success: float
    """NaN where it means nothing."""


class Watch:
    """Base of what looks on while agents play."""

    def begin(self, world: World) -> None:
        """The environments have just been reset."""

    def step(self, actions: np.ndarray, out: Transition) -> None:
        """A step has just been taken."""

    def end(self, life: Life) -> None:
        """With that step an episode that counts has ended."""


def batch_size(episodes: int, most: int = 64) -> int:
    """Environments to play `episodes` in: the largest number up to `most` that divides them."""
    return next(n for n in range(min(episodes, most), 0, -1) if episodes % n == 0)


def evaluate(
    policy: Policy,
    world: World,
    episodes: int,
    seed: int,
    deterministic: bool = True,
    watches: Sequence[Watch] = (),
) -> Episodes:
    """Play at least `episodes` episodes, the same number in every environment of `world`.

    Their results are in the order of the episodes' ends, environment by environment within a step. An agent that infers
    contexts looks around in `world` before it begins.
    """
    with orient(policy, world, seed):
        return _play(policy, world, episodes, seed, deterministic, watches)


def _play(
    policy: Policy, world: World, episodes: int, seed: int, deterministic: bool, watches: Sequence[Watch]
) -> Episodes:
    rounds = -(-episodes // world.num_envs)
    played = np.zeros(world.num_envs, np.int64)
    returns, lengths = np.zeros(world.num_envs), np.zeros(world.num_envs, np.int64)
    lives: list[Life] = []
    obs: Obs = world.reset(seed)
    state: Any = None
    starts = np.ones(world.num_envs, np.bool_)
    for watch in watches:
        watch.begin(world)
    while (played < rounds).any():
        actions, state = policy.predict(obs, state, starts, deterministic)
        out = world.step(actions)
        obs, starts = out.obs, out.terminated | out.truncated
        returns += out.reward
        lengths += 1
        for watch in watches:
            watch.step(actions, out)
        for i in np.flatnonzero(starts & (played < rounds)).tolist():
            lives.append(Life(i, int(played[i]), float(returns[i]), int(lengths[i]), float(out.success[i])))
            for watch in watches:
                watch.end(lives[-1])
            played[i] += 1
        returns[starts], lengths[starts] = 0.0, 0
    _, _, total, steps, success = (np.array(column) for column in zip(*lives, strict=True))
    return Episodes(total, steps, success)
