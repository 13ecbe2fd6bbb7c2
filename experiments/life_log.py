"""TensorBoard for lives: how rewards, surprises, contexts and the map of an agent without training grow with time.

`evaluate.py --agent lifetime --env ID --tensorboard-log DIR`. The x axis is steps of one life; values are means over
the batch, rewards are per 1,000 steps, the picture is the memory of the first life.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from envs.world import Transition
from experiments.budget import slug
from experiments.evaluation import Watch

EVERY = 200
"""Steps between two entries."""
PICTURES = 10
"""Entries between two pictures."""


class LifeLog(Watch):
    """A policy in front of an agent that has `vitals(state)` and `memory_image(state)`, and a watch of its rewards."""

    def __init__(self, folder: Path, agent: str, env_id: str) -> None:
        try:
            self._writer = SummaryWriter(log_dir=str(folder / slug(env_id) / slug(agent)))
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(f"cannot write into {folder}: {reason}. Give --tensorboard-log another folder.") from error
        self._agent: Any = None
        self._reward, self._step = 0.0, 0

    def before(self, agent: Any, num_envs: int) -> Any:
        """Stand in front of an agent, if it can be looked into."""
        if not hasattr(agent, "vitals"):
            return agent
        self._agent = agent
        return self

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Let the agent act, and look into it every now and then."""
        actions, state = self._agent.predict(observation, state, episode_start, deterministic)
        self._step += 1
        if self._step % EVERY == 0:
            for name, value in self._agent.vitals(state).items():
                self._writer.add_scalar(f"memory/{name}", value, self._step)
            self._writer.add_scalar("rollout/reward_rate", 1_000 * self._reward / EVERY, self._step)
            self._reward = 0.0
        if self._step % (EVERY * PICTURES) == 0:
            self._writer.add_image("memory/map", self._agent.memory_image(state), self._step, dataformats="HW")
        return actions, state

    def step(self, actions: np.ndarray, out: Transition) -> None:
        """Add up the rewards."""
        self._reward += float(out.reward.mean())

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
