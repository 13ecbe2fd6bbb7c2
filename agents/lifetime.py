"""The agent that learns inside one life: a world model in superposition, planned with a fixed budget. No gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit

from agents import lifetime_memory
from agents.codes import Encoder
from agents.codes_keydoor import KeyDoorCodes
from agents.codes_labyrinth import LabyrinthCodes
from agents.codes_maze import MazeCodes
from agents.lattice import CODE
from agents.lifetime_memory import Face, Memory
from agents.planner import Body, Budget, Life, Percept, decide
from envs.vec import as_world
from envs.world import Obs, World

ENCODERS: dict[str, Callable[[World], Encoder]] = {
    "Labyrinth": LabyrinthCodes,
    "KeyDoor": KeyDoorCodes,
    "Maze": MazeCodes,
}
"""Encoders by the name of the world's class."""


@dataclass(frozen=True, kw_only=True)
class LifetimeConfig:
    """A map of one life, in superposition or in a table, and bounded planning over it; nothing is trained."""

    memory: Literal["superposed", "table"] = "superposed"
    """Inside of the map."""
    dim: int | None = None
    """D, expansion of the superposed map, even; None: four for each situation that the encoder expects."""
    bytes: int = 1 << 20
    """Size of the table."""
    ball: int | None = None
    """K, situations imagined from the agent in each decision; None: what the encoder advises."""
    backups: int | None = None
    """Situations of the queue backed up in each decision; None: what the encoder advises."""
    queue: int = 128
    """Q, places of the queue."""
    optimism: float = 1.0
    """Weight of the straight distance to a goal through unknown ground; 0: only known ways are taken."""
    tolerance: float = 0.3
    """Mean squared error up to which a read of the matrix counts as known."""
    gate: float = 0.25
    """Error from which on a number in the matrix is written again."""


class Lifetime:
    """Stable-Baselines3's `predict`, with the map of each life as the state. It changes the state in place."""

    def __init__(self, world: World, config: LifetimeConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.encoder: Encoder = encoder_of(world)
        plan = self.encoder.plan
        self.dim = plan.dim if config.dim is None else config.dim
        ball = plan.ball if config.ball is None else config.ball
        backups = plan.backups if config.backups is None else config.backups
        self.budget = Budget(ball, backups, config.optimism)
        self.face, _ = self._memory(1)
        self.num_envs = world.num_envs
        self._work = np.zeros(3)  # decisions, reads, writes of the lives played last

    def _memory(self, lives: int) -> tuple[Face, Memory]:
        config, widths = self.config, self.encoder.plan.widths
        if config.memory == "table":
            return lifetime_memory.table(widths, config.bytes, lives)
        return lifetime_memory.superposed(
            widths, self.dim, self.encoder.plan.tiles, lives, config.tolerance, config.gate, self.seed
        )

    def initial_state(self, lives: int) -> Life:
        """Lives that know nothing."""
        drives = self.encoder.plan.body.drives
        return Life(
            self._memory(lives)[1],
            np.zeros((lives, self.config.queue, CODE), np.int64),
            np.zeros((lives, 2), np.int64),
            np.zeros((lives, CODE), np.int64),
            np.zeros((lives, drives, CODE + 1), np.int64),
            np.zeros(lives, np.int64),
            np.ones(lives, np.int64),
            np.zeros((lives, self.encoder.registers)),
            np.zeros((lives, 4), np.int64),
        )

    def predict(
        self, observation: Obs, state: Life | None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, Life]:
        """Act in a batch of lives: actions (B,) and the state, changed."""
        lives = len(next(iter(observation.values())) if isinstance(observation, dict) else observation)
        starts = np.zeros(lives, np.bool_) if episode_start is None else np.asarray(episode_start, np.bool_)
        if state is None:
            state, starts = self.initial_state(lives), np.ones(lives, np.bool_)
        for b in np.flatnonzero(starts):
            _clear(state, b)
        percept = self.encoder.perceive(self.face, state, observation, starts)
        directions = np.empty(lives, np.int64)
        _decide(self.face, self.encoder.plan.body, state, self.budget, percept, directions)
        self._work += lives, 0, 0
        self._work[1:] = state.memory.work[:, :2].sum(0)
        return self.encoder.act(state, percept, directions), state

    def stats(self) -> dict[str, int]:
        """Nothing is trained; the frequencies are fixed; bytes of one life's map, queue and registers."""
        memory, *rest = self.initial_state(1)
        held = memory.bytes + sum(array.nbytes for array in rest)
        return {"trained_parameters": 0, "fixed_parameters": self.face.turns.size, "state_bytes": held}

    def flops(self) -> dict[str, float]:
        """Floating point operations of a decision: counted in the lives played so far, else the most possible."""
        decisions, reads, writes = self._work
        if decisions == 0:
            actions = len(self.encoder.plan.body.moves)
            writes = 3.0 + self.budget.ball + self.budget.backups
            reads = writes + 3 + self.budget.ball + (1 + actions) * self.budget.backups
        features = 2 * self.face.turns.shape[1]
        product = 2.0 * features * self.face.columns
        read = 0.0 if features == 0 else features / 2 * 7 + product
        return {"act": (reads * read + writes * product) / max(decisions, 1), "train": 0.0}


@dataclass(frozen=True, kw_only=True)
class LifetimeTableConfig(LifetimeConfig):
    """The lifetime agent over a plain hash table; small --hp.bytes make it forget what was used longest ago."""

    memory: Literal["superposed", "table"] = "table"
    """Inside of the map."""


def build(config: LifetimeConfig, env: Any, seed: int = 0, device: str = "cpu") -> Lifetime:
    """Make the agent for a world; the device is always the CPU."""
    return Lifetime(as_world(env), config, seed)


def encoder_of(world: World) -> Encoder:
    """The encoder of a world's family; ValueError with the families that have one."""
    name = type(world.unwrapped).__name__
    if name not in ENCODERS:
        raise ValueError(
            f"the lifetime agent has no codes for {name}, only for {', '.join(ENCODERS)}: "
            "write an encoder (agents/codes.py says what it is) and add it to agents.lifetime.ENCODERS."
        )
    return ENCODERS[name](world)


def _clear(life: Life, b: int) -> None:
    """Begin life b."""
    memory, *rest = life
    for array in rest:
        array[b] = 0
    memory.matrix[b], memory.keys[b] = 0, -1
    life.round[b] = 1


@njit(cache=True, nogil=True)
def _decide(face: Face, body: Body, life: Life, budget: Budget, percept: Percept, out: np.ndarray) -> None:
    for b in range(out.shape[0]):
        out[b] = decide(face, body, life, b, budget, percept)
