"""TensorBoard for lives: how rewards, surprises, contexts and the map of an agent without training grow with time.

`evaluate.py --agent lifetime --env ID --tensorboard-log DIR`. The x axis is steps of one life; values are means over
the batch, rewards are per 1,000 steps, the picture is the memory of the first life. More lives than fit into a batch
are played in rounds. A round is over with its last life; where lives differ in length, those that are over sooner have
begun another by then, and are in the means with that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from envs.world import Transition
from experiments.budget import slug
from experiments.evaluation import Life, Watch

EVERY = 200
"""Steps between two entries."""
PICTURES = 10
"""Entries between two pictures."""


class LifeLog(Watch):
    """A policy in front of an agent that has `vitals(state)` and `memory_image(state)`, and a watch of its rewards.

    Args:
        folder: what TensorBoard is given; ENV/AGENT is a run in it, a second round of lives ENV/AGENT-round-2.
        agent: the agent and its changed settings.
        env_id: the environment.

    ValueError if nothing can be written there.
    """

    def __init__(self, folder: Path, agent: str, env_id: str) -> None:
        self._folder, self._env, self._name = folder, slug(env_id), agent
        self._agent: Any = None
        self._round, self._lives = 0, 0
        self._begin()

    def _begin(self) -> None:
        """Begin a round of lives, in a run of its own."""
        self._round += 1
        self._reward, self._step, self._ended = 0.0, 0, 0
        name = self._name if self._round == 1 else f"{self._name} round {self._round}"
        try:
            self._writer = SummaryWriter(log_dir=str(self._folder / self._env / slug(name)))
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(
                f"cannot write into {self._folder}: {reason}. Give --tensorboard-log another folder."
            ) from error

    def before(self, agent: Any, num_envs: int) -> Any:
        """Stand in front of an agent, if it can be looked into."""
        if not hasattr(agent, "vitals"):
            return agent
        self._agent, self._lives = agent, num_envs
        return self

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Let the agent act, and look into it every now and then."""
        if self._ended == self._lives:
            self.close()
            self._begin()
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

    def end(self, life: Life) -> None:
        """Count the lives of this round that have ended."""
        self._ended += life.number == self._round - 1

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
