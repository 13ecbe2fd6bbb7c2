"""Shuffled T-maze: the same maze behind other senses and hands, as many contradicting tasks as are wanted."""

from __future__ import annotations

import numpy as np

from envs.render import Scene
from envs.tmaze import TMaze
from envs.world import Obs, Transition


class ShuffledTMaze(TMaze):
    """A noisy T-maze whose features and actions are shuffled by the number of the task.

    Description
        `TMaze` with noise and a random length. What it shows is put into another order, every feature times -1 or
        +1, and its actions are numbered anew: both drawn from `task`, the same in every episode. So tasks are equally
        hard, and what one of them teaches is wrong in the others, though not all of it: three actions have only six
        orders.
    Observation
        Box(-1, 1, (2 * bits + 3,), float32): the features of `TMaze`, shuffled. `final_obs` is all zeros.
    Action
        Discrete(3): those of `TMaze`, shuffled.
    Reward
        As in `TMaze`.
    Termination
        As in `TMaze`.
    Memory demand
        `bits` bits for up to `length` steps among distractors; in a stream of tasks, the tasks met before.
    Oracle
        That of `TMaze`, which is told the shuffle: success 1.0, return `bits`. Random: 1/3.
    Registered ids
        `ShuffledTMaze-K{task}-M{bits}-Max{length}-v0`.
    Reference
        Permuted inputs as tasks: Goodfellow et al. 2013 (arXiv 1312.6211).
    """

    def __init__(self, num_envs: int = 1, task: int = 0, length: int = 10, bits: int = 1) -> None:
        if task < 0:
            raise ValueError(f"a shuffled T-maze needs task >= 0, got task={task}.")
        features, rng = 2 * bits + 3, np.random.default_rng(task)
        self.order, self.sign = rng.permutation(features), rng.choice((-1.0, 1.0), features).astype(np.float32)
        self.hands = rng.permutation(len(self.action_names))
        """Number in the maze of each action here; `action_names` and pictures are of the maze inside."""
        self._shown, self._last = (np.zeros((max(num_envs, 0), features), np.float32) for _ in range(2))
        super().__init__(num_envs, length, bits, noise=True, random_length=True)
        self.feature_names = tuple(self.feature_names[k] for k in self.order)
        # A state of another task is refused.
        self._arrays["params"] = self._params = np.append(self._params, np.int64(task))
        self._link()

    def reset(self, seed: int | None = None) -> Obs:
        """Begin an episode in every environment."""
        super().reset(seed)
        return self._show()

    def step(self, actions: np.ndarray) -> Transition:
        """Advance every environment by `actions` (B,). ValueError names an action outside the space."""
        actions = np.ascontiguousarray(actions, np.int64)
        valid = (actions >= 0) & (actions < len(self.hands))
        out = super().step(np.where(valid, self.hands[actions % len(self.hands)], actions))
        self._show()
        return out

    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        """Continue from `state()`; ValueError when it belongs to another id or batch size."""
        super().load_state(state)
        return self._show()

    def scene(self, i: int) -> Scene:
        """Return what there is to see of environment i, by the maze's own names."""
        scene = super().scene(i)
        return scene._replace(title=f"Shuffled {scene.title}")

    def sorted(self, obs: np.ndarray) -> np.ndarray:
        """Return the features as the maze orders them: (B, F) -> (B, F)."""
        maze = np.empty_like(obs)
        maze[:, self.order] = obs * self.sign
        return maze

    def _show(self) -> np.ndarray:
        """Shuffle the features; what an episode ends with is zeros, shuffled or not."""
        np.multiply(self._obs[:, self.order], self.sign, out=self._shown)
        return self._shown

    def _views(self) -> tuple[Obs, Obs]:
        return self._shown, self._last
