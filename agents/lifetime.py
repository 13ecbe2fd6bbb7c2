"""The agent that learns inside one life: a world model in superposition, planned with a fixed budget. No gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from agents import lifetime_memory
from agents.codes import Encoder
from agents.codes_atlas import AtlasCodes
from agents.codes_keydoor import KeyDoorCodes
from agents.codes_labyrinth import LabyrinthCodes
from agents.codes_maze import MazeCodes
from agents.encoder import as_batch, leaves
from agents.lattice import CODE
from agents.life import Body, Budget, Life, LifetimeConfig, Percept
from agents.lifetime_memory import Face, Memory
from agents.planner import decide
from agents.reflexes import Unfit
from envs.vec import as_world
from envs.world import Obs, World

ENCODERS: dict[str, Callable[[World, LifetimeConfig], Encoder]] = {
    "Labyrinth": LabyrinthCodes,
    "KeyDoor": KeyDoorCodes,
    "Maze": MazeCodes,
    "Detour": MazeCodes,
    "Atlas": AtlasCodes,
}
"""Encoders by the name of the world's class."""


class Lifetime:
    """Stable-Baselines3's `predict`, with the map of each life as the state. It changes the state in place."""

    def __init__(self, world: World, config: LifetimeConfig, seed: int = 0) -> None:
        self.config, self.seed, self._room = config, seed, world.num_envs
        self._spaces = leaves(world.observation_space)
        self.encoder: Encoder = encoder_of(world, config)
        plan = self.encoder.plan
        self.dim = plan.dim if config.dim is None else config.dim
        self.budget = Budget(
            plan.ball if config.ball is None else config.ball,
            plan.backups if config.backups is None else config.backups,
            plan.optimism if config.optimism is None else config.optimism,
            plan.across if config.across is None else config.across,
            plan.pull if config.pull is None else config.pull,
        )
        if self.budget.ball <= len(plan.body.moves):
            raise ValueError(
                f"--hp.ball must be at least {len(plan.body.moves) + 1} here, a place and its neighbours, "
                f"got {self.budget.ball}."
            )
        self.queue = plan.queue if config.queue is None else config.queue
        self.face, _ = self._memory(1)
        self._work = np.zeros(3)  # decisions, reads, writes so far
        self._shapes = [array.shape[1:] for array in _arrays(self.initial_state(1))]

    def _memory(self, lives: int) -> tuple[Face, Memory]:
        config, plan = self.config, self.encoder.plan
        if config.memory == "table":
            return lifetime_memory.table(plan.widths, config.bytes, lives)
        return lifetime_memory.superposed(
            plan.widths, plan.guards, self.dim, plan.tiles, lives, config.tolerance, config.gate, self.seed
        )

    def initial_state(self, lives: int) -> Any:
        """Lives that know nothing, for `predict`."""
        return self._empty(lives)

    def _empty(self, lives: int) -> Life:
        drives = self.encoder.plan.body.drives
        return Life(
            self._memory(lives)[1],
            np.zeros((lives, self.queue, CODE), np.int64),
            np.zeros((lives, 2), np.int64),
            np.zeros((lives, CODE), np.int64),
            np.zeros((lives, drives, CODE + 1), np.int64),
            np.zeros(lives, np.int64),
            np.ones(lives, np.int64),
            np.zeros((lives, self.encoder.registers)),
            np.zeros((lives, self.encoder.notes), np.int64),
            np.zeros((lives, 4), np.int64),
        )

    def predict(
        self, observation: Obs, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, Any]:
        """SB3's predict, for one observation or a batch: actions, () or (B,), and the state, changed in place.

        Args:
            observation: one observation, or a batch of at most as many as the world has that the agent was made for.
            state: what the last call returned, or `initial_state(B)`; None is the same as that.
            episode_start: (B,) bool, True begins that life again first.
            deterministic: changes nothing.

        ValueError for more lives, or for a state of another batch or of other settings.
        """
        observation, lives, single = as_batch(observation, self._spaces)
        if lives > self._room:  # compiled loops would write beyond their arrays
            raise ValueError(
                f"the agent was made for a world of {self._room} lives, got {lives}: "
                "pass the world itself to agents.make"
            )
        state = self.initial_state(lives) if state is None else state
        self._check(state, lives)
        life = self._life(state)
        starts = life.tally[:, 0] == 0  # nothing decided yet
        if episode_start is not None:
            starts |= np.asarray(episode_start, np.bool_)
        for b in np.flatnonzero(starts).tolist():
            self._begin(state, b)
        self._work[1:] -= life.memory.work[:, :2].sum(0)
        percept = self.encoder.perceive(self.face, life, observation, starts)
        directions = np.empty(lives, np.int64)
        self._choose(state, percept, directions)
        self._work += lives, *life.memory.work[:, :2].sum(0)
        actions = self.encoder.act(life, percept, directions)
        return (actions[0] if single else actions), state

    def _check(self, state: Any, lives: int) -> None:
        found = [array.shape for array in _arrays(state)]
        if found != [(lives, *shape) for shape in self._shapes]:  # compiled loops would read beyond it
            raise ValueError(
                f"the state is one of {found[0][0]} lives, maybe of other settings, and {lives} are observed: "
                "begin with state=None"
            )

    def _life(self, state: Any) -> Life:
        """The life inside of a state."""
        life: Life = state
        return life

    def _begin(self, state: Any, b: int) -> None:
        clear(state, b)

    def _choose(self, state: Any, percept: Percept, out: np.ndarray) -> None:
        """Fill out (B,) with the directions that the lives take."""
        _decide(self.face, self.encoder.plan.body, state, self.budget, percept, out)

    def vitals(self, state: Life) -> dict[str, float]:
        """How the lives stand, means over the batch, for a log."""
        decisions, surprises, places, unplanned = state.tally.mean(0).tolist()
        return {
            "surprises": surprises,
            "contexts": self.encoder.contexts(state),
            "known_places": places,
            "unplanned": unplanned / max(decisions, 1.0),
            "reads": float(self._work[1] / max(self._work[0], 1)),
            "writes": float(self._work[2] / max(self._work[0], 1)),
            "read_error": self._read_error(state),
        }

    def _read_error(self, state: Life) -> float:
        """Mean squared distance from +-1 of what the matrix says of the places where the lives are."""
        if not self.face.turns.size:
            return 0.0
        errors = [
            lifetime_memory.read_error(self.face, state.memory, b, state.place[b]) for b in range(len(state.drive))
        ]
        return float(np.mean(errors))

    def memory_image(self, state: Life) -> np.ndarray:
        """The map of the first life as grey levels: the matrix (C, D), or the bits of the table (64, S)."""
        memory = state.memory
        if not self.face.turns.size:
            bits = memory.rows[0] >> np.arange(64, dtype=np.uint64)[:, None] & np.uint64(1)
            return (bits * 255).astype(np.uint8)
        matrix = memory.matrix[0].T
        grey = 128 + 127 * matrix / max(np.abs(matrix).max(), 1e-9)
        return np.asarray(grey, np.uint8)

    def stats(self) -> dict[str, float]:
        """What it costs: nothing is trained, the frequencies are fixed; bytes of a life's map, queue and registers."""
        memory, *rest = self._empty(1)
        held = memory.bytes + sum(array.nbytes for array in rest)
        nothing = ("trained_parameters", "optimizer_bytes", "buffer_bytes", "flops_per_training_step")
        return dict.fromkeys(nothing, 0.0) | {
            "fixed_parameters": self.face.turns.size,
            "state_bytes": held,
            "flops_per_step": self.flops(),
        }

    def flops(self) -> float:
        """Floating point operations of a decision: counted in the lives played so far, else of a plan in full."""
        decisions, reads, writes = self._work.tolist()
        if decisions == 0:
            actions = len(self.encoder.plan.body.moves)
            writes = 3.0 + self.budget.ball + self.budget.backups
            reads = writes + 3 + self.budget.ball + (1 + actions) * self.budget.backups
        features = 2 * self.face.turns.shape[1]
        product = 2.0 * features * (self.face.columns + len(self.face.guards))
        read = 0.0 if features == 0 else features / 2 * 7 + product
        return float(reads * read + writes * product) / max(decisions, 1.0)


def build(config: LifetimeConfig, env: Any, seed: int = 0, device: str = "cpu") -> Lifetime:
    """Make the agent for a world; the device is always the CPU."""
    return Lifetime(as_world(env), config, seed)


def encoder_of(world: World, config: LifetimeConfig) -> Encoder:
    """The encoder of a world's family; Unfit with the families that have one."""
    name = type(world.unwrapped).__name__
    if name not in ENCODERS:
        raise Unfit(
            f"the lifetime agent has no codes for {name}, only for {', '.join(ENCODERS)}: "
            "write an encoder (agents/codes.py says what it is) and add it to agents.lifetime.ENCODERS."
        )
    return ENCODERS[name](world, config)


def _arrays(state: Any) -> list[np.ndarray]:
    """All arrays of a state, in order."""
    return [array for part in state for array in (_arrays(part) if isinstance(part, tuple) else [part])]


def clear(life: Life, b: int) -> None:
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
