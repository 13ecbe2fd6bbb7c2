"""Agents that need no training: yardsticks that any claim must beat, from random actions to the optimum.

A reflex is made for a world and may read from it what its description says that it knows; whatever it remembers
is in `state`, arrays batch first in which all zeros is the empty memory. One name may have several forms, one for
each kind of world (`agents.REFLEXES`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from agents.encoder import as_batch, leaves
from envs.kernels import seed_streams, uniforms
from envs.oracle import has_oracle, oracle
from envs.world import Obs, World

State = tuple[np.ndarray, ...]


@dataclass(frozen=True, kw_only=True)
class ReflexConfig:
    """A reflex has no settings."""


class Unfit(ValueError):
    """An agent is not made for a world, or was trained on other observations or actions; the message says on which."""


class Reflex:
    """Base of the reflexes: `act`, and `initial_state` where there is something to remember."""

    worlds: tuple[type[World], ...] = (World,)
    """The kinds of world that this form of the reflex plays."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self.world, self.num_envs = world, world.num_envs
        self._spaces = leaves(world.observation_space)
        self._streams = np.zeros(world.num_envs, np.uint64)
        seed_streams(np.uint64(seed), self._streams)

    @classmethod
    def fits(cls, world: World) -> bool:
        """Whether this form plays `world`."""
        return isinstance(world.unwrapped, cls.worlds)

    def initial_state(self) -> State:
        """The empty memory, all zeros."""
        return ()

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Return actions (B,) for a batch of observations; writes what it remembers into `state`."""
        raise NotImplementedError(type(self).__name__)

    def predict(
        self, observation: Obs, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, State]:
        """Return actions (B,) and the memory, which is the one passed in, written on; B is that of the world.

        ValueError for observations or a memory of another number of environments.
        """
        observation, seen, single = as_batch(observation, self._spaces)
        memory: State = self.initial_state() if state is None else state
        if {seen, *map(len, memory)} != {self.num_envs}:
            held = "".join(f" and a state of {len(part)}" for part in memory[:1])
            raise ValueError(
                f"the agent was made for a world of {self.num_envs} environments, got observations of {seen}{held}: "
                "pass the world itself to agents.make"
            )
        if episode_start is not None:
            for part in memory:
                part[np.asarray(episode_start, np.bool_)] = 0
        actions = self.act(observation, memory)
        return (actions[0] if single else actions), memory

    def stats(self) -> dict[str, float]:
        """What it costs: nothing is trained, and no floating point operations to speak of; its memory, in bytes."""
        held = sum(part.nbytes for part in self.initial_state())
        free = ("trained_parameters", "fixed_parameters", "optimizer_bytes", "buffer_bytes")
        nothing = dict.fromkeys((*free, "flops_per_step", "flops_per_training_step"), 0.0)
        return nothing | {"state_bytes": held // self.num_envs}

    def uniform(self) -> np.ndarray:
        """Draw a number of [0, 1) for each environment, (B,); the i-th stream depends on (seed, i) only."""
        numbers = np.empty(self.num_envs)
        uniforms(self._streams, numbers)
        return numbers

    def choose(self, valid: np.ndarray) -> np.ndarray:
        """Draw one of the valid actions uniformly: valid (B, A) bool or weights, actions (B,)."""
        steps = np.cumsum(valid, axis=1, dtype=np.float64)
        return (steps <= (self.uniform() * steps[:, -1])[:, None]).sum(axis=1)


def valid_actions(world: World) -> np.ndarray:
    """Return the world's action masks, (B, A) bool; all True where it has none."""
    masks = getattr(world.unwrapped, "action_masks", None)
    if masks is not None:
        return np.asarray(masks(), np.bool_)
    assert isinstance(world.action_space, spaces.Discrete)
    return np.ones((world.num_envs, int(world.action_space.n)), np.bool_)


class Random(Reflex):
    """The floor: every valid action with the same probability."""

    def __init__(self, world: World, seed: int = 0) -> None:
        super().__init__(world, seed)
        world.action_space.seed(seed)

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Draw an action for every environment."""
        if isinstance(self.world.action_space, spaces.Discrete):
            return self.choose(valid_actions(self.world)) + self.world.action_space.start
        return np.array([self.world.action_space.sample() for _ in range(self.num_envs)])


class Best(Reflex):
    """The ceiling: the world's oracle, which may know more than agents see."""

    def __init__(self, world: World, seed: int = 0) -> None:
        super().__init__(world, seed)
        self._oracle = oracle(world)

    @classmethod
    def fits(cls, world: World) -> bool:
        """Whether the world has an oracle."""
        return has_oracle(world)

    def predict(
        self, observation: Obs, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, State]:
        """Return the best actions (B,) and the oracle's table."""
        actions, table = self._oracle.predict(observation, state, episode_start, True)
        return actions, table


class KeepMoving(Reflex):
    """A random walk that never turns back: in rooms with moves up, left, down and right."""

    moves = ("up", "left", "down", "right")

    @classmethod
    def fits(cls, world: World) -> bool:
        """Whether the first four actions are the four moves."""
        return getattr(world.unwrapped, "action_names", ())[:4] == cls.moves

    def initial_state(self) -> State:
        """1 + the last move, (B,)."""
        return (np.zeros(self.num_envs, np.int8),)

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Draw one of the moves but the last one's opposite."""
        last = state[0]
        allowed = np.ones((self.num_envs, 4), np.bool_)
        moved = np.flatnonzero(last)
        allowed[moved, (last[moved] + 1) % 4] = False  # two further on is the opposite of move last - 1
        actions = self.choose(allowed)
        last[:] = actions + 1
        return actions


class KeepWalking(Reflex):
    """A random walk that never turns back except in dead ends: in worlds with MiniGrid's egocentric view."""

    @classmethod
    def fits(cls, world: World) -> bool:
        """Whether the observation has MiniGrid's image."""
        space = world.observation_space
        return isinstance(space, spaces.Dict) and "image" in space.spaces and space["image"].shape == (7, 7, 3)

    def initial_state(self) -> State:
        """1 while a step forward is due after a turn, (B,)."""
        return (np.zeros(self.num_envs, np.int8),)

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Go to a random free cell ahead, to the left or to the right; turn about where there is none."""
        assert isinstance(obs, dict)
        image, turned = obs["image"], state[0]
        beside = np.stack([image[:, 2, 6], image[:, 4, 6], image[:, 3, 5]], 1)  # (B, 3, 3): left, right, ahead
        kind, condition = beside[..., 0], beside[..., 2]
        free = np.isin(kind, _PASSABLE) | (kind == _DOOR) & (condition == 0)
        free[turned > 0, :2] &= ~free[turned > 0, 2:]
        stuck = ~free.any(1)
        free[stuck, 0] = True
        actions = self.choose(free)
        turned[:] = (actions < _FORWARD) & ~stuck
        return actions


_FORWARD = 2  # MiniGrid's actions: 0 left, 1 right, 2 forward
_PASSABLE, _DOOR = (1, 3, 8), 4  # MiniGrid's object codes: empty, floor, goal; a door is open in state 0
