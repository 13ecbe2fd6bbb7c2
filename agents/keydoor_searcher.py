"""The best agent that must search in DarkKeyDoor: a policy that plays it, and a bound that none can pass.

How good the policy is. A step checks at most one new square, and a return checks none. On a Hamiltonian cycle
of the room (any even size) the key search checks one in every move of its first two attempts, one way round
and then the other, which together cover the room: no searcher finds the key sooner on average. The door search
goes on from the key in the same way, but an attempt may end before it does; what follows is then greedy. The
bound takes whatever square is wanted next to be adjacent. `python benchmarks/keydoor_bound.py` prints both: 43.5
doors (standard error 0.1) and 44.8 in the first 500 steps of a layout of 8 x 8, 390.6 (0.1) and 391.8 in 4,000.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from agents.reflexes import Reflex, State
from envs.keydoor import KeyDoor, moves_per_attempt, towards
from envs.world import Obs, World


class Notes(NamedTuple):
    """What a searcher has found out in each environment; squares are counted from 1, 0 is unknown."""

    start: np.ndarray
    """(B,) int64; key and door the same."""
    key: np.ndarray
    door: np.ndarray
    holds: np.ndarray
    """(B,) int64: 1 while the key is held."""
    checked: np.ndarray
    """(B, 2, size²) bool: known not to hide the key; the door."""
    trail: np.ndarray
    """(B, size²) bool: checked since this attempt began, or since its key was taken."""


class Searcher(Reflex):
    """Sweep the dark room to the key, then to the door, then take shortest paths; sees what any agent sees.

    A layout that has changed is noticed by a new start square, or where a key or door is missing; what the
    running attempt has checked by then is known of the new layout.
    """

    worlds = (KeyDoor,)

    def __init__(self, world: World, seed: int = 0) -> None:
        super().__init__(world, seed)
        assert isinstance(world.unwrapped, KeyDoor)
        size = self.size = world.unwrapped.size
        self._x, self._y = np.arange(size * size) % size, np.arange(size * size) // size
        tour = grand_tour(size)
        self._around = np.zeros((2, size * size), np.int64)  # the next and the last square of the tour
        self._around[0, tour], self._around[1, tour] = np.roll(tour, -1), np.roll(tour, 1)

    def initial_state(self) -> Notes:
        """Nothing is known."""
        start, key, door, holds = np.zeros((4, self.num_envs), np.int64)
        squares = self.size * self.size
        checked = np.zeros((self.num_envs, 2, squares), np.bool_)
        return Notes(start, key, door, holds, checked, np.zeros((self.num_envs, squares), np.bool_))

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Return the actions (B,)."""
        view, notes = obs["obs"] if isinstance(obs, dict) else obs, Notes(*state)
        x, y = np.rint((view[:, :2].T + 1) * (self.size - 1) / 2).astype(np.int64)
        self._note(notes, y * self.size + x, view[:, 2] > 0, view[:, 3] > 0)
        target = self._target(notes, y * self.size + x)
        return towards(x, y, self._x[target], self._y[target])

    def _note(self, notes: Notes, here: np.ndarray, reward: np.ndarray, new: np.ndarray) -> None:
        """Write down what was seen at `here` (B,)."""
        moved = new & (notes.start != here + 1)
        for part in notes:
            part[moved] = 0
        notes.start[new], notes.holds[new], notes.trail[new] = here[new] + 1, 0, False
        rows = np.flatnonzero(~new)
        phase, found = notes.holds[rows], reward[rows]
        everywhere = notes.checked[rows, phase].all(-1)  # and not found: it has moved
        notes.checked[rows[everywhere], phase[everywhere]] = False
        notes.checked[rows, phase, here[rows]] = notes.trail[rows, here[rows]] = True
        door, key = rows[found & (phase == 1)], rows[found & (phase == 0)]
        notes.door[door], notes.key[key] = here[door] + 1, here[key] + 1
        notes.holds[key], notes.trail[key] = 1, False
        missing = rows[~found & (here[rows] + 1 == np.where(phase == 1, notes.door[rows], notes.key[rows]))]
        notes.checked[missing] = False  # the layout has changed
        notes.checked[missing, notes.holds[missing]] = notes.trail[missing]
        notes.door[missing] = 0
        notes.key[missing[notes.holds[missing] == 0]] = 0

    def _target(self, notes: Notes, here: np.ndarray) -> np.ndarray:
        """Return the square to make for: a known one, else the next unchecked one of the tour, else the nearest."""
        rows = np.arange(len(here))
        known = np.where(notes.holds == 1, notes.door, notes.key)
        checked = notes.checked[rows, notes.holds]
        far = np.abs(self._x - self._x[here][:, None]) + np.abs(self._y - self._y[here][:, None])
        cost = far + 2.0 * self.size * checked
        for step, bonus in zip(self._around[:, here], (0.75, 0.5), strict=True):
            cost[rows, step] -= bonus * (far[rows, step] == 1)
        return np.where(known > 0, known - 1, cost.argmin(1))


def grand_tour(size: int) -> np.ndarray:
    """Return the squares of a Hamiltonian cycle, (size²,); for an odd size, which has none, it does not close."""
    rows = np.arange(size * size).reshape(size, size)
    lanes = [row[1:] if y % 2 == 0 else row[:0:-1] for y, row in enumerate(rows)]
    return np.concatenate([*lanes, rows[::-1, 0]])  # snake through all columns but the first, then back up


def search_bound(size: int, steps: int = 500) -> float:
    """Return a bound on the expected doors that any searcher opens in the first `steps` steps of a layout.

    A layout counts 1 + (steps - t) / cycle doors, t the time of its first one if that is within the steps. For each
    start the squares are given to the moves of the key search, and for each key to those of the door search, where
    they serve best: both as if every square were adjacent, one to a move. The first is a linear assignment, the
    second a sorting: an earlier door is worth the more the shorter the cycle.
    """
    limit, squares = moves_per_attempt(size), size * size
    x, y = np.arange(squares) % size, np.arange(squares) // size
    apart = np.maximum(1, np.abs(x[:, None] - x) + np.abs(y[:, None] - y))
    moves = np.arange(min(3 * limit, squares + limit))  # of the key search; idling is allowed
    time, left = moves + 1 + moves // limit, limit - 1 - moves % limit
    folded = np.sort(np.minimum([x, y], size - 1 - np.array([x, y])), 0)  # starts that mirror each other
    starts, counts = np.unique(folded[1] * size + folded[0], return_counts=True)
    total = 0.0
    for start, count in zip(starts, counts, strict=True):
        value = np.empty((squares, len(moves)))
        for key in range(squares):
            rate = np.sort(1.0 / (apart[start, key] + apart[key] + 1))[::-1]
            value[key] = expected_doors(rate, steps - time, left, limit - apart[start, key], 1 + apart[start, key])
        total += count * value[linear_sum_assignment(value, maximize=True)].mean()
    return total / squares


def expected_doors(rate: np.ndarray, remaining: np.ndarray, left: np.ndarray, more: int, detour: int) -> np.ndarray:
    """Return the expected doors, (M,), where the key was found with `remaining` steps and `left` moves to go, (M,).

    Doors are looked for in the order of `rate`, 1 / cycle (squares,): `left` of them at once, `more` in each attempt
    after that, which costs a `detour` of steps.
    """
    squares = len(rate)
    sums, late = (np.append(0.0, np.cumsum(part)) for part in (rate, rate * np.arange(1, squares + 1)))
    found = np.maximum(0, remaining)  # squares that can be checked in time
    cuts, done = [], left
    while (done < np.minimum(found, squares)).any():
        found = np.where(found > done, np.maximum(done, found - detour), found)
        cuts.append(done)
        done = done + more
    found = np.minimum(found, squares)
    delay = sum((detour * np.maximum(0.0, sums[found] - sums[np.minimum(cut, squares)]) for cut in cuts), start=0.0)
    return (found + remaining * sums[found] - late[found] - delay) / squares
