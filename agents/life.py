"""What the lifetime agent is made of, as data: its settings, its body, its budget, its state, what it perceives.

Kernels are compiled with these constants and types: what changes here changes them (see `envs.kernel_cache`, which
looks for the word @internal).

Axes: B lives, A directions, J drives, G groups, Q places of the queue, N facts, R and W registers and notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from agents.lifetime_memory import Memory

EXPLORE, NO_PLAN = 0, -1  # drives


@dataclass(frozen=True, kw_only=True)
class LifetimeConfig:
    """A map of one life, in superposition or in a table, and bounded planning over it; nothing is trained."""

    memory: Literal["superposed", "table"] = "superposed"
    """Inside of the map."""
    dim: int | None = None
    """D, expansion of the superposed map, a multiple of two a tile; None: what the encoder advises, eight or more for
    each situation that it expects."""
    bytes: int = 1 << 20
    """Size of the table."""
    ball: int | None = None
    """K, situations imagined from the agent in each decision; None: what the encoder advises."""
    backups: int | None = None
    """Situations of the queue backed up in each decision; None: what the encoder advises."""
    queue: int | None = None
    """Q, places of the queue; None: what the encoder advises."""
    optimism: float | None = None
    """What a step through ground never seen counts, on the way to a goal; 0: only known ways; None: advised."""
    across: bool | None = None
    """Whether ways across such ground are planned, around walls that were seen; else guessed; None: advised."""
    pull: float | None = None
    """A search prefers places that lie across the middle of the ground from its start: steps given up for each step
    by which that makes the middle less of a detour; 0: the nearest; None: advised."""
    tolerance: float = 0.3
    """Mean squared error up to which a read of the matrix counts as known."""
    gate: float = 0.25
    """Error from which on a number in the matrix is written again."""
    contexts: Literal["inferred", "oracle", "none", "told"] = "inferred"
    """In streams of mazes: which map is used; all but the first are yardsticks."""
    most_contexts: int = 64
    """K, contexts kept apart; after that the oldest is written over."""
    agree: float = 0.6
    """Evidence of a fact that a context's map predicts, nats."""
    contradict: float = 2.7
    """Evidence against it of a fact that its map denies, nats."""
    reluctance: float = 1.0
    """A new context opens when the evidence for every other is below minus this, nats."""
    gated: bool = True
    """Whether a map that is contradicted is left as it was; else it is written to before another is chosen."""
    sticky: float = 2.0
    """Head start of the present context at the beginning of a trial, nats."""


@dataclass(frozen=True, kw_only=True)
class LifetimeTableConfig(LifetimeConfig):
    """The lifetime agent over a plain hash table; small --hp.bytes make it forget what was used longest ago."""

    memory: Literal["superposed", "table"] = "table"
    """Inside of the map."""


class Body(NamedTuple):
    """What an encoder knows of its world's geometry and of its own limbs."""

    moves: np.ndarray  # (A, 4) int64, change of code for one unit of step in each direction
    group: np.ndarray  # (A,) int64, which distances leaving in this direction belongs to
    turn: np.ndarray  # (A + 1, A) int64, steps lost on turning from a heading to a direction; last row: no heading
    between: np.ndarray  # (G, G) int64, the same between groups
    back: np.ndarray  # (A,) int64, the direction that leads back; -1: none is known to
    offset: int  # a step field holds step + offset; all ones: never tried
    drives: int  # J
    rounds: int  # rounds of exploration told apart; 0: places need no visit, only actions a try
    middle: np.ndarray  # (2,) int64, of the ground, in the first two numbers of a code; for `Budget.pull`


class Budget(NamedTuple):
    """What a decision may cost, and how it treats what is unknown."""

    ball: int  # K
    backups: int  # situations of the queue for each decision
    optimism: float  # what a step through ground never seen counts; 0: a drive never goes there
    across: bool  # whether ways across it are planned; else it is the straight distance that counts
    pull: float  # what a step of detour over the middle counts, on the way from the start of a search to its end


class Life(NamedTuple):
    """Everything that a batch of lives carries from step to step; all zeros but for the memory's keys and the round."""

    memory: Memory
    queue: np.ndarray  # (B, Q, 4) int64
    ends: np.ndarray  # (B, 2) int64: first of the queue, length
    place: np.ndarray  # (B, 4) int64, code of where it is
    goal: np.ndarray  # (B, J, 5) int64: last known target of each drive, whether there is one; of EXPLORE the start
    drive: np.ndarray  # (B,) int64, the one followed, or NO_PLAN
    round: np.ndarray  # (B,) int64, of exploration
    senses: np.ndarray  # (B, R) float64, registers of the encoder
    notes: np.ndarray  # (B, W) int64, its note pad
    tally: np.ndarray  # (B, 4) int64: decisions, surprises, places known, decisions without a plan


class Percept(NamedTuple):
    """What an encoder makes of an observation."""

    place: np.ndarray  # (B, 4) int64
    heading: np.ndarray  # (B,) int64, A: none
    codes: np.ndarray  # (B, N, 4) int64, situations that something was learned of
    steps: np.ndarray  # (B, N, A) int64, step fields; -1: nothing learned
    marks: np.ndarray  # (B, N, J) int64, 1: a target of this drive, 0: none, -1: nothing learned; of EXPLORE only 0
    learned: np.ndarray  # (B,) int64, how many of N
    visited: np.ndarray  # (B,) bool: the place need not be visited any more in this round
    prefer: np.ndarray  # (B, 2) int64, directions that are taken first where several are as good; -1: none
    renew: np.ndarray  # (B,) bool: nothing known holds any more
    wishes: np.ndarray  # (B, J) int64, drives in order of preference, -1 at the end
