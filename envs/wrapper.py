"""Wrapper: a world around another one, which passes on whatever it does not change."""

from __future__ import annotations

import numpy as np

from envs.world import Obs, Transition, World


class Wrapper(World):
    """A world that is `world` inside, but for what a subclass says otherwise.

    What a subclass keeps beside it belongs into `state()`, under names of its own.
    """

    def __init__(self, world: World) -> None:
        self.world, self.num_envs, self.resumable = world, world.num_envs, world.resumable
        self.observation_space, self.action_space = world.observation_space, world.action_space

    def reset(self, seed: int | None = None) -> Obs:
        """Begin an episode in every environment."""
        return self.world.reset(seed)

    def step(self, actions: np.ndarray) -> Transition:
        """Take one action in every environment."""
        return self.world.step(actions)

    def state(self) -> dict[str, np.ndarray]:
        """Return the state of the world inside."""
        return self.world.state()

    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        """Continue from `state()`."""
        return self.world.load_state(state)

    def render(self, i: int = 0) -> np.ndarray:
        """Draw environment i."""
        return self.world.render(i)

    def ansi(self, i: int = 0) -> str:
        """Describe environment i."""
        return self.world.ansi(i)

    def trace(self) -> dict[str, np.ndarray]:
        """Return what the last step did."""
        return self.world.trace()

    def spot(self, i: int) -> tuple[float, float] | None:
        """Return where in the picture the agent is."""
        return self.world.spot(i)

    def close(self) -> None:
        """Close the world inside."""
        self.world.close()
