"""Situations of the lifetime agent, compiled: what a row says, what is written when something is learned, what waits.

A row of memory is: step of each action, visited, target of each drive but the first, distance of each drive and group.
Where nothing is known of a situation, `suppose` guesses.

Axes: B lives, A directions, J drives, G groups, F fields, Q places of the queue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from agents.lattice import CODE
from agents.life import EXPLORE, Body, Budget, Life, Percept
from agents.lifetime_memory import UNKNOWN, Face, recall, record

ENDLESS = 1 << 30
"""The step of an action never tried; a distance that no way has."""
_OPTIONS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
internal = njit(cache=True, nogil=True, **_OPTIONS)
"""Called from compiled code only, which saves compiling the way in from Python."""


@internal
def step_of(face: Face, body: Body, row: np.ndarray, action: int) -> int:
    """The step that an action makes, 0 for none, ENDLESS if it was never tried."""
    return ENDLESS if row[action] == (1 << face.widths[action]) - 1 else row[action] - body.offset


@internal
def far(face: Face) -> int:
    """The distance field of what cannot be reached, as far as is known."""
    return (1 << face.widths[-1]) - 1


@internal
def is_target(body: Body, life: Life, b: int, row: np.ndarray, drive: int) -> bool:
    """Whether a situation is where a drive wants to go."""
    visited = body.group.shape[0]
    if drive == EXPLORE:
        return bool(body.rounds > 0 and row[visited] != life.round[b] and row[visited] <= body.rounds)
    return bool(row[visited + drive] == 1)


@internal
def is_unseen(face: Face, body: Body, row: np.ndarray) -> bool:
    """Whether no direction of a situation was ever tried or looked at."""
    for a in range(body.group.shape[0]):
        if step_of(face, body, row, a) != ENDLESS:
            return False
    return True


@internal
def is_blocked(face: Face, body: Body, row: np.ndarray, action: int) -> bool:
    """Whether a situation with this row can not be entered by an action, because there is no way back out of it."""
    back = body.back[action]
    return bool(back >= 0 and step_of(face, body, row, back) == 0)


@internal
def through_unknown(body: Body, life: Life, b: int, budget: Budget, code: np.ndarray, drive: int) -> int:
    """Distance from a situation never seen: a guess; for exploration it is a target, at a price.

    The price is the detour |start - middle| + |middle - place| - |start - place| over the middle of the ground.
    It draws a search away from the edges, where half of what is in view lies outside, and away from its start: that
    a goal close by is found late costs little, because SPL compares the steps with the distance.
    """
    if drive == EXPLORE:
        if budget.pull == 0 or life.goal[b, EXPLORE, CODE] == 0:
            return 0
        start = life.goal[b, EXPLORE]
        detour = _apart(start, body.middle) + _apart(body.middle, code) - _apart(start, code)
        return int(budget.pull * detour)
    if budget.optimism == 0 or life.goal[b, drive, CODE] == 0:
        return ENDLESS
    return int(budget.optimism * _apart(code, life.goal[b, drive]))


@internal
def _apart(one: np.ndarray, other: np.ndarray) -> int:
    """Straight distance, along x and y."""
    return int(abs(one[0] - other[0]) + abs(one[1] - other[1]))


@internal
def price(budget: Budget, drive: int) -> int:
    """What a step into a situation never seen counts, which may turn out to be none."""
    return max(1, int(budget.optimism)) if budget.across and drive != EXPLORE else 1


@internal
def blank(face: Face, body: Body, row: np.ndarray) -> None:
    """Fill row (F,) with what is known of a new situation: nothing."""
    actions, drives = body.group.shape[0], body.drives
    for f in range(row.shape[0]):
        known = actions <= f < actions + drives
        row[f] = 0 if known else (1 << face.widths[f]) - 1


@internal
def suppose(face: Face, body: Body, life: Life, b: int, budget: Budget, code: np.ndarray, row: np.ndarray) -> int:
    """`recall`, but where nothing is known and ways across unknown ground are planned, row (F,) is a guess.

    There no goal is nearer than in a straight line. A matrix that says so has a wrong bit, which would draw all the
    distances around it down, and they would hold each other there long after it was put right.
    """
    state = recall(face, life.memory, b, code, row)
    if budget.across:
        first, groups = body.group.shape[0] + body.drives, body.between.shape[0]
        if state == UNKNOWN:
            blank(face, body, row)
        for j in range(body.drives):
            distances = row[first + j * groups : first + (j + 1) * groups]
            if state == UNKNOWN:
                distances[:] = min(through_unknown(body, life, b, budget, code, j), far(face))
            elif j != EXPLORE and life.goal[b, j, CODE] == 1:
                distances[:] = np.maximum(distances, min(_apart(code, life.goal[b, j]), far(face)))
    return int(state)


@internal
def learn(face: Face, body: Body, life: Life, b: int, percept: Percept) -> None:
    """Write what this step taught."""
    actions = body.group.shape[0]
    row = np.empty(face.widths.shape[0], np.int64)
    for n in range(percept.learned[b]):
        code, new = percept.codes[b, n], False
        if recall(face, life.memory, b, code, row) == UNKNOWN:
            blank(face, body, row)
            new = True
            life.tally[b, 2] += 1
        for a in range(actions):
            step = percept.steps[b, n, a]
            if step >= 0 and row[a] != step:
                row[a] = step
                new = True
        if percept.marks[b, n, EXPLORE] == 0 and row[actions] <= body.rounds:
            row[actions] = body.rounds + 1  # needs no visit in any round
            new = True
        for j in range(1, body.drives):
            mark = percept.marks[b, n, j]
            if mark >= 0 and row[actions + j] != mark:
                row[actions + j] = mark
                new = True
            if mark == 1:
                life.goal[b, j, :CODE], life.goal[b, j, CODE] = code, 1
            elif mark == 0 and same(life.goal[b, j], code):
                life.goal[b, j, CODE] = 0
        if new:
            record(face, life.memory, b, code, row)
            push(life, b, code)


@internal
def visit(face: Face, body: Body, life: Life, b: int) -> None:
    """Mark the place as visited in this round."""
    visited = body.group.shape[0]
    if body.rounds == 0:
        return
    row = np.empty(face.widths.shape[0], np.int64)
    if recall(face, life.memory, b, life.place[b], row) == UNKNOWN:
        blank(face, body, row)
    if row[visited] != life.round[b]:
        row[visited] = life.round[b]
        record(face, life.memory, b, life.place[b], row)
        push(life, b, life.place[b])


@internal
def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two codes are equal."""
    return one[0] == other[0] and one[1] == other[1] and one[2] == other[2] and one[3] == other[3]


@internal
def push(life: Life, b: int, code: np.ndarray) -> None:
    """Put a situation into the queue, unless it is there or the queue is full."""
    first, length = life.ends[b]
    size = life.queue.shape[1]
    if length == size:
        return
    for k in range(length):
        if same(life.queue[b, (first + k) % size], code):
            return
    life.queue[b, (first + length) % size] = code
    life.ends[b, 1] += 1


@internal
def pop(life: Life, b: int, k: int) -> np.ndarray:
    """Take a situation out of the queue; while it is empty, the k-th to be rehearsed of those that were in it."""
    size = life.queue.shape[1]
    slot = (life.tally[b, 0] + k * size // 4) % size
    if life.ends[b, 1] > 0:
        slot = life.ends[b, 0]
        life.ends[b, 0] = (slot + 1) % size
        life.ends[b, 1] -= 1
    return life.queue[b, slot].copy()
