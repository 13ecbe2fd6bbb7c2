"""From observations to codes: one small encoder per family of worlds, between a world and the lifetime agent.

An encoder says which situations there are (codes of four whole numbers), which directions lead from one to another,
what an observation teaches, and which drive is felt. It never plans and keeps nothing but a few registers. This file
has what encoders share; each family has its own file, and `agents.lifetime.ENCODERS` lists them.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from agents.lattice import CODE
from agents.life import Body, Life, Percept
from agents.lifetime_memory import Face
from envs.world import Obs


class Plan(NamedTuple):
    """What a family needs: widths of the fields of a row, how many bits are facts, the body, size of map and budget."""

    widths: tuple[int, ...]
    facts: int
    body: Body
    dim: int
    ball: int
    backups: int
    optimism: float
    tiles: int = 1
    queue: int = 256
    across: bool = False
    pull: float = 0.0
    guarded: bool = False  # a matrix guards distances by a bit of parity too, not facts alone

    @property
    def guards(self) -> tuple[int, ...]:
        """Where the parts of a row end that have a bit of parity."""
        return (self.facts, sum(self.widths)) if self.guarded else (self.facts,)


class Encoder(Protocol):
    """What the lifetime agent asks of a family of worlds."""

    plan: Plan
    registers: int
    """R, numbers carried from step to step in `Life.senses`."""
    notes: int
    """W, whole numbers carried in `Life.notes`."""

    def perceive(self, face: Face, life: Life, obs: Obs, starts: np.ndarray) -> Percept:
        """Turn a batch of observations into codes, facts and wishes; `starts` (B,) marks new lives."""
        ...

    def act(self, life: Life, percept: Percept, directions: np.ndarray) -> np.ndarray:
        """Turn directions (B,), -1 for none, into actions of the world, and remember them."""
        ...

    def contexts(self, life: Life) -> float:
        """How many contexts are told apart, mean over the batch."""
        ...


def plan(
    steps: int, moves: Any, drives: int, rounds_bits: int, distance_bits: int, advice: tuple[Any, ...], **body: Any
) -> Plan:
    """Lay out a row: `steps` bits a direction, visited, targets, distances. `advice`: the other fields of a Plan."""
    actions, groups = len(moves), len(body.get("between", [[0]]))
    widths = (*[steps] * actions, max(rounds_bits, 1), *[1] * (drives - 1), *[distance_bits] * (drives * groups))
    return Plan(
        widths,
        sum(widths[: actions + drives]),
        Body(
            np.asarray(moves, np.int64),
            np.asarray(body.get("group", np.zeros(actions)), np.int64),
            np.asarray(body.get("turn", np.zeros((actions + 1, actions))), np.int64),
            np.asarray(body.get("between", [[0]]), np.int64),
            np.array([next((k for k, m in enumerate(moves) if np.add(m, n).any() == 0), -1) for n in moves]),
            int(body.get("offset", 0)),
            drives,
            max((1 << rounds_bits) - 2, 0),
            np.asarray(body.get("middle", (0, 0)), np.int64),
        ),
        *advice,
    )


def empty_percept(lives: int, facts: int, actions: int, drives: int) -> Percept:
    """Buffers for percepts of up to `facts` situations."""
    return Percept(
        np.zeros((lives, CODE), np.int64),
        np.full(lives, actions, np.int64),
        np.zeros((lives, facts, CODE), np.int64),
        np.zeros((lives, facts, actions), np.int64),
        np.zeros((lives, facts, drives), np.int64),
        np.zeros(lives, np.int64),
        np.ones(lives, np.bool_),
        np.full((lives, 2), -1, np.int64),
        np.zeros(lives, np.bool_),
        np.zeros((lives, drives), np.int64),
    )


def first(percept: Percept, lives: int) -> Percept:
    """The buffers of the first lives: a batch may be smaller than the world."""
    return Percept(*(part[:lives] for part in percept))
