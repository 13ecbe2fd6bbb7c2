"""Frozen evaluation: a policy plays a fixed number of episodes in every environment of a batch.

A fixed number for each environment, not the first so many to end: short episodes would otherwise be counted
more often than long ones, and failing quickly would look like the rule.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from envs.world import Obs, World


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


class Random:
    """The floor: uniformly random actions."""

    def __init__(self, world: World, seed: int) -> None:
        self._space, self._num_envs = world.action_space, world.num_envs
        self._space.seed(seed)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Draw one action for every environment."""
        return np.array([self._space.sample() for _ in range(self._num_envs)]), None


def batch_size(episodes: int, most: int = 64) -> int:
    """Environments to play `episodes` in: the largest number up to `most` that divides them."""
    return next(n for n in range(min(episodes, most), 0, -1) if episodes % n == 0)


def evaluate(
    policy: Policy,
    world: World,
    episodes: int,
    seed: int,
    deterministic: bool = True,
    frames: list[Any] | None = None,
) -> Episodes:
    """Play at least `episodes` episodes, the same number in every environment of `world`.

    `frames` collects pictures of the first environment's first episode.
    """
    rounds = -(-episodes // world.num_envs)
    played = np.zeros(world.num_envs, np.int64)
    returns, lengths = np.zeros(world.num_envs), np.zeros(world.num_envs, np.int64)
    table = np.full((3, rounds, world.num_envs), np.nan)
    obs: Obs = world.reset(seed)
    state: Any = None
    starts = np.ones(world.num_envs, np.bool_)
    while (played < rounds).any():
        if frames is not None and played[0] == 0:
            frames.append(world.render(0).copy())
        actions, state = policy.predict(obs, state, starts, deterministic)
        out = world.step(actions)
        obs, starts = out.obs, out.terminated | out.truncated
        returns += out.reward
        lengths += 1
        counted = np.flatnonzero(starts & (played < rounds))
        table[:, played[counted], counted] = returns[counted], lengths[counted], out.success[counted]
        played[counted] += 1
        returns[starts], lengths[starts] = 0.0, 0
    return Episodes(*table.reshape(3, -1))
