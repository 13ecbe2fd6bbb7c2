"""Feedback: a world that also shows what was done last and what it brought, to learn inside an episode."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from envs.world import CompiledWorld, Obs, Transition, World
from envs.wrapper import Wrapper


class Feedback(Wrapper):
    """A world whose observation is a Dict with `prev_action` and `prev_reward` beside what it was.

    `prev_action` is Discrete(actions + 1), 0 at the first step of an episode, else 1 + the last action;
    `prev_reward` is Box((1,), float32), 0 at the first step, within [-1, 1] in the worlds of this package. An array
    observation is found under `obs`. What the world shows by itself stays as it is.
    """

    def __init__(self, world: World, prev_action: bool = True, prev_reward: bool = True) -> None:
        super().__init__(world)
        inner = world.observation_space
        parts: dict[str, Any] = dict(inner.spaces) if isinstance(inner, spaces.Dict) else {"obs": inner}
        self._shown = tuple(
            name
            for name, wanted in (("prev_action", prev_action), ("prev_reward", prev_reward))
            if wanted and name not in parts
        )
        if "prev_action" in self._shown:
            if not isinstance(world.action_space, spaces.Discrete):
                raise ValueError(f"prev_action is for Discrete actions, this world has {world.action_space}.")
            parts["prev_action"] = spaces.Discrete(int(world.action_space.n) + 1)
            self._first = int(world.action_space.start)
        if "prev_reward" in self._shown:
            most = 1.0 if isinstance(world, CompiledWorld) else np.inf
            parts["prev_reward"] = spaces.Box(-most, most, (1,), np.float32)
        self.observation_space = spaces.Dict(parts)
        self._action = np.zeros(self.num_envs, np.int64)
        self._reward = np.zeros((self.num_envs, 1), np.float32)

    def reset(self, seed: int | None = None) -> Obs:
        """Begin an episode in every environment."""
        self._action.fill(0)
        self._reward.fill(0.0)
        return self._with(self.world.reset(seed), self._action, self._reward)

    def step(self, actions: np.ndarray) -> Transition:
        """Take one action in every environment."""
        out = self.world.step(actions)
        if "prev_action" in self._shown:
            self._action[:] = np.asarray(actions) - self._first + 1
        self._reward[:, 0] = out.reward
        final = self._with(out.final_obs, self._action.copy(), self._reward.copy())
        ended = out.terminated | out.truncated
        self._action[ended] = 0
        self._reward[ended] = 0.0
        return out._replace(obs=self._with(out.obs, self._action, self._reward), final_obs=final)

    def state(self) -> dict[str, np.ndarray]:
        """Return the state of the world and the last actions and rewards."""
        mine: dict[str, np.ndarray] = {
            "feedback_action": self._action.copy(),
            "feedback_reward": self._reward.copy(),
        }
        return self.world.state() | mine

    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        """Continue from `state()`; ValueError for a state of the world alone."""
        if not {"feedback_action", "feedback_reward"} <= state.keys():
            raise ValueError("this state has no last action and reward: it is of a world that does not show them.")
        inner = {name: part for name, part in state.items() if not name.startswith("feedback_")}
        obs = self.world.load_state(inner)
        self._action[:], self._reward[:] = (
            (state["feedback_action"], state["feedback_reward"]) if self.resumable else (0, 0.0)
        )
        return self._with(obs, self._action, self._reward)

    @property
    def unwrapped(self) -> World:
        """The world inside."""
        return self.world.unwrapped

    def _with(self, obs: Obs, action: np.ndarray, reward: np.ndarray) -> dict[str, np.ndarray]:
        parts = obs if isinstance(obs, dict) else {"obs": obs}
        mine = {"prev_action": action, "prev_reward": reward}
        return {**parts, **{name: mine[name] for name in self._shown}}
