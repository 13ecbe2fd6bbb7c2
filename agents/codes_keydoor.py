"""Codes of the dark room: squares without and with the key. See `agents.codes`."""

from __future__ import annotations

import numpy as np

from agents.codes import empty_percept, first, plan
from agents.keydoor_searcher import grand_tour
from agents.lattice import CODE
from agents.life import Life, LifetimeConfig, Percept
from agents.lifetime_memory import Face
from envs.world import Obs, World

_COMPASS = ((0, -1, 0, 0), (-1, 0, 0, 0), (0, 1, 0, 0), (1, 0, 0, 0))  # up, left, down, right
_KEY, _DOOR, _STAY = 1, 2, 4
_HOLDS, _START_X, _START_Y = range(3)  # registers


class KeyDoorCodes:
    """Squares of the dark room by their x and y, once without and once with the key.

    Prior knowledge: a step leads to the next square, and not out of the range of the observation; the first reward of
    an attempt is the key, the second the door. A start at another square, or a key or door that is not where it was,
    says that nothing known holds any more. Where several unvisited squares are as near, a fixed round trip of the
    room decides (`agents.keydoor_searcher.grand_tour`), so that the search leaves no holes.
    """

    registers, notes = 3, 1

    def __init__(self, world: World, settings: LifetimeConfig) -> None:
        size = self._size = int(getattr(world.unwrapped, "size", 8))
        squares = 2 * size * size
        bits = int(np.ceil(np.log2(2 * size))) + 1
        self.plan = plan(2, _COMPASS, 3, 2, bits, (8 * squares, min(squares // 2, 64), 16, 1.0))
        self._percept = empty_percept(world.num_envs, 2, 4, 3)
        tour = grand_tour(size)
        self._next, self._last = np.zeros((2, size * size), np.int64)
        self._next[tour], self._last[tour] = np.roll(tour, -1), np.roll(tour, 1)

    def contexts(self, life: Life) -> float:
        """One."""
        return 1.0

    def perceive(self, face: Face, life: Life, obs: Obs, starts: np.ndarray) -> Percept:
        """See `Encoder`."""
        view, senses = obs["obs"] if isinstance(obs, dict) else obs, life.senses
        percept = first(self._percept, len(starts))
        xy = np.rint((view[:, :2] + 1) * (self._size - 1) / 2).astype(np.int64)
        new, found, held = view[:, 3] > 0, view[:, 2] > 0, senses[:, _HOLDS].astype(np.int64)
        drive = np.where(held == 1, _DOOR, _KEY)
        before = np.column_stack([xy, held, np.zeros_like(held)])
        here = np.arange(len(xy))
        known = (life.goal[here, drive, CODE] == 1) & (life.goal[here, drive, :CODE] == before).all(1)
        moved = new & ~starts & (senses[:, _START_X : _START_Y + 1] != xy).any(1)
        percept.renew[:] = moved | (~new & known & ~found)
        senses[new, _START_X:] = xy[new]
        held = np.where(new, 0, held | found)  # the door's reward ends the attempt: what is held then is no matter
        senses[:, _HOLDS] = held
        percept.place[:] = np.column_stack([xy, held, np.zeros_like(held)])
        percept.visited[:] = ~new & ~found
        percept.codes[:, 0], percept.codes[:, 1] = percept.place, before
        percept.learned[:] = np.where(found, 2, 1)
        percept.steps[:, 0] = percept.steps[:, 1] = self._open(xy)
        percept.marks[:] = -1
        percept.marks[found, 1, drive[found]] = 1
        percept.wishes[:] = np.column_stack(
            [np.where(held == 1, _DOOR, _KEY), np.zeros_like(held), -np.ones_like(held)]
        )
        square = xy[:, 1] * self._size + xy[:, 0]
        percept.prefer[:, 0] = self._towards(square, self._next[square])
        percept.prefer[:, 1] = self._towards(square, self._last[square])
        return percept

    def _open(self, xy: np.ndarray) -> np.ndarray:
        """Which directions lead to a square of the room, (B, 4)."""
        x, y = xy.T
        return np.column_stack([y > 0, x > 0, y < self._size - 1, x < self._size - 1]).astype(np.int64)

    def _towards(self, square: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Direction from one square to a neighbour, (B,)."""
        step = other - square
        return np.select([step == -self._size, step == -1, step == self._size], [0, 1, 2], 3)

    def act(self, life: Life, percept: Percept, directions: np.ndarray) -> np.ndarray:
        """See `Encoder`."""
        return np.where(directions < 0, _STAY, directions)
