"""The inner loop of the lifetime agent, compiled: one decision of one life, with a fixed budget.

    write what was just learned            facts -> memory
    S = the K nearest situations           read, clean up, step, read ...; what was never seen is taken to be free
    solve Bellman's equation inside S      values at its edge are those remembered; write what changed
    back up situations from the queue      their neighbours' distances have changed
    go where the distance is shortest

Distances are whole numbers, one for each drive j and way of leaving g (a body that turns pays for it, so leaving along
x and along y are two numbers). Drive 0 explores: its targets are actions never tried, places not visited this round.

What a row of memory says: `agents.situations`.

Axes: B lives, A directions, J drives, G groups, F fields, K situations of the ball, Q places of the queue.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agents.lattice import CODE
from agents.life import EXPLORE, NO_PLAN, Body, Budget, Life, Percept
from agents.lifetime_memory import UNKNOWN, WORN, Face, forget, recall, record
from agents.situations import (
    ENDLESS,
    far,
    internal,
    is_blocked,
    is_target,
    is_unseen,
    learn,
    pop,
    price,
    push,
    same,
    step_of,
    suppose,
    through_unknown,
    visit,
)

_WALL, _UNKNOWN, _OUTSIDE = -3, -2, -1  # what an action leads to, when not to a situation of the ball


class Ball(NamedTuple):
    """Situations imagined from the agent; scratch memory of one decision."""

    codes: np.ndarray  # (K, 4)
    rows: np.ndarray  # (K, F)
    next: np.ndarray  # (K, A), index in the ball or a reason why not
    worn: np.ndarray  # (K,) bool, to be written again even if nothing changes
    unseen: np.ndarray  # (K,) bool, never seen: taken to be free, at a price


@internal
def imagine(face: Face, body: Body, life: Life, b: int, budget: Budget, ball: Ball) -> int:
    """Fill the ball breadth-first from the agent's place; returns how many were found, 0 if not even that is known."""
    codes, rows, nexts, worn, unseen = ball
    actions = body.group.shape[0]
    codes[0] = life.place[b]
    worn[0], unseen[0] = True, False
    if recall(face, life.memory, b, codes[0], rows[0]) == UNKNOWN:
        return 0
    across = budget.across and life.goal[b, EXPLORE + 1 :, CODE].any()  # else the unknown is where to go
    size, done = 1, 0
    while done < size:
        for a in range(actions):
            step = step_of(face, body, rows[done], a)
            if step == ENDLESS and across:
                step = 1
            nexts[done, a] = _WALL if step == 0 else _UNKNOWN if step == ENDLESS else _OUTSIDE
            if step == 0 or step == ENDLESS:
                continue
            code, there = codes[done] + step * body.moves[a], -1
            for i in range(size):
                if same(codes[i], code):
                    there = i
                    break
            if there < 0 and size < budget.ball:
                found = suppose(face, body, life, b, budget, code, rows[size])
                if found != UNKNOWN or across:
                    codes[size], worn[size] = code, found == WORN
                    unseen[size] = is_unseen(face, body, rows[size])
                    there = size
                else:
                    nexts[done, a] = _UNKNOWN
            if there >= 0:
                blocked = budget.across and is_blocked(face, body, rows[there], a)
                nexts[done, a] = _WALL if blocked else there
                size += there == size and not blocked
        done += 1
    return size


@internal
def _entered(body: Body, group: int, distances: np.ndarray) -> int:
    """Distance from a situation entered along `group`, given its distances (G,)."""
    best = distances[0] + body.between[group, 0]
    for g in range(1, distances.shape[0]):
        best = min(best, distances[g] + body.between[group, g])
    return best


@internal
def solve(face: Face, body: Body, life: Life, b: int, budget: Budget, ball: Ball, size: int, drive: int) -> np.ndarray:
    """Distances of one drive inside the ball, (size, G); where the ball has an edge, what is remembered holds."""
    codes, rows, nexts, _, unseen = ball
    actions, groups = body.group.shape[0], body.between.shape[0]
    first = actions + body.drives + drive * groups
    out = np.full((size, groups), ENDLESS, np.int64)
    for i in range(size):
        if is_target(body, life, b, rows[i], drive):
            out[i] = 0
            continue
        for a in range(actions):
            g = body.group[a]
            if nexts[i, a] == _OUTSIDE and rows[i, first + g] < far(face):
                out[i, g] = min(out[i, g], rows[i, first + g])
            elif nexts[i, a] == _UNKNOWN:
                guess = through_unknown(body, life, b, budget, codes[i] + body.moves[a], drive)
                out[i, g] = min(out[i, g], price(budget, drive) + guess)
    changed = True
    while changed:  # at most as many sweeps as the longest path in the ball
        changed = False
        for i in range(size - 1, -1, -1):
            for a in range(actions):
                if nexts[i, a] >= 0:
                    step = price(budget, drive) if unseen[nexts[i, a]] else 1
                    distance = step + _entered(body, body.group[a], out[nexts[i, a]])
                    if distance < out[i, body.group[a]]:
                        out[i, body.group[a]] = distance
                        changed = True
    return np.minimum(out, far(face))


@internal
def back_up(face: Face, body: Body, life: Life, b: int, budget: Budget, code: np.ndarray) -> None:
    """Renew the distances of one situation from its neighbours', and queue those neighbours whom that concerns."""
    actions, groups, fields = body.group.shape[0], body.between.shape[0], face.widths.shape[0]
    row = np.empty(fields, np.int64)
    found = recall(face, life.memory, b, code, row)
    if found == UNKNOWN:
        return
    around = np.empty((actions, fields), np.int64)
    known = np.full(actions, UNKNOWN)
    steps = np.zeros(actions, np.int64)
    for a in range(actions):
        steps[a] = step_of(face, body, row, a)
        if steps[a] == ENDLESS and budget.across:
            steps[a] = 1
        if steps[a] == 0 or steps[a] == ENDLESS:
            continue
        known[a] = suppose(face, body, life, b, budget, code + steps[a] * body.moves[a], around[a])
        if budget.across and is_blocked(face, body, around[a], a):
            steps[a] = 0
    changed = found == WORN
    for j in range(body.drives):
        first = actions + body.drives + j * groups
        before = row[first : first + groups].copy()
        after = _renewed(face, body, life, b, budget, code, row, steps, around, known, j)
        if (before == after).all():
            continue
        changed = True
        row[first : first + groups] = after
        for a in range(actions):  # who could come this way, or came this way and should no longer
            if known[a] != UNKNOWN and steps[a] != 0:
                g = body.group[a]
                now, was = 1 + _entered(body, g, after), 1 + _entered(body, g, before)
                if now < around[a, first + g] or was == around[a, first + g]:
                    push(life, b, code + steps[a] * body.moves[a])
    if changed:
        record(face, life.memory, b, code, row)


@internal
def _renewed(
    face: Face, body: Body, life: Life, b: int, budget: Budget, code: np.ndarray, row: np.ndarray,
    steps: np.ndarray, around: np.ndarray, known: np.ndarray, drive: int,
) -> np.ndarray:  # fmt: skip
    """Distances (G,) of one drive in a situation, from the rows (A, F) of its neighbours."""
    actions, groups = body.group.shape[0], body.between.shape[0]
    first, out = actions + body.drives + drive * groups, np.full(groups, far(face))
    if is_target(body, life, b, row, drive):
        out[:] = 0
        return out
    for a in range(actions):
        g = body.group[a]
        if steps[a] == 0:
            continue
        if known[a] == UNKNOWN and not budget.across:
            distance = 1 + through_unknown(body, life, b, budget, code + body.moves[a], drive)
        else:
            step = price(budget, drive) if is_unseen(face, body, around[a]) else 1
            distance = step + _entered(body, g, around[a, first : first + groups])
        out[g] = min(out[g], distance)
    return out


@internal
def improve(face: Face, body: Body, life: Life, b: int, budget: Budget, ball: Ball, size: int) -> np.ndarray:
    """Solve the ball for every drive and write what changed; returns the distances (J, size, G)."""
    codes, rows, nexts, worn, _ = ball
    actions, groups = body.group.shape[0], body.between.shape[0]
    out = np.empty((body.drives, size, groups), np.int64)
    touched = np.zeros(size, np.bool_)
    for j in range(body.drives):
        first = actions + body.drives + j * groups
        out[j] = solve(face, body, life, b, budget, ball, size, j)
        for i in range(size):
            if (rows[i, first : first + groups] != out[j, i]).any():
                rows[i, first : first + groups] = out[j, i]
                touched[i] = True
    for i in range(size):
        if touched[i] or worn[i]:
            record(face, life.memory, b, codes[i], rows[i])
        for a in range(actions):
            if touched[i] and nexts[i, a] == _OUTSIDE:
                step = step_of(face, body, rows[i], a)
                push(life, b, codes[i] + (1 if step == ENDLESS else step) * body.moves[a])
    return out


@internal
def best(
    face: Face,
    body: Body,
    life: Life,
    b: int,
    budget: Budget,
    ball: Ball,
    out: np.ndarray,
    percept: Percept,
    drive: int,
) -> int:
    """The direction that leads a drive on; A: it is there, -1: none is known to."""
    choice, least, actions = -1, 4 * far(face), body.group.shape[0]
    if is_target(body, life, b, ball.rows[0], drive):
        return actions
    for a in range(actions):
        there, step = ball.next[0, a], price(budget, drive)
        if there >= 0:
            distance = _entered(body, body.group[a], out[drive, there])
            step = step if ball.unseen[there] else 1
        elif there == _UNKNOWN:
            distance = through_unknown(body, life, b, budget, ball.codes[0] + body.moves[a], drive)
        else:
            continue
        if distance >= far(face):
            continue
        distance = 4 * (distance + step + body.turn[percept.heading[b], a])
        distance -= 2 * (percept.prefer[b, 0] == a) + (percept.prefer[b, 1] == a)
        distance -= body.turn[percept.heading[b], a] > 1  # else a step on and back again looks as good
        if distance < least:
            choice, least = a, distance
    return choice


@internal
def decide(face: Face, body: Body, life: Life, b: int, budget: Budget, percept: Percept) -> int:
    """One decision of life b: learn, imagine, plan, choose a direction; A to stay, -1 without a plan."""
    life.tally[b, 0] += 1
    if percept.renew[b]:
        forget(life.memory, b)
        life.goal[b, :, CODE], life.ends[b] = 0, 0
        life.tally[b, 2] = 0
        life.round[b] = 1
        life.tally[b, 1] += 1
    if percept.wishes[b, 0] < 0:
        return -1
    life.place[b] = percept.place[b]
    if life.goal[b, EXPLORE, CODE] == 0:
        life.goal[b, EXPLORE, :CODE], life.goal[b, EXPLORE, CODE] = life.place[b], 1
    learn(face, body, life, b, percept)
    if percept.visited[b]:
        visit(face, body, life, b)
    ball = Ball(
        np.empty((budget.ball, CODE), np.int64),
        np.empty((budget.ball, face.widths.shape[0]), np.int64),
        np.empty((budget.ball, body.group.shape[0]), np.int64),
        np.zeros(budget.ball, np.bool_),
        np.zeros(budget.ball, np.bool_),
    )
    size = imagine(face, body, life, b, budget, ball)
    out = improve(face, body, life, b, budget, ball, size)
    for k in range(budget.backups):
        back_up(face, body, life, b, budget, pop(life, b, k))
    for j in percept.wishes[b]:
        if j < 0 or size == 0:
            break
        choice = best(face, body, life, b, budget, ball, out, percept, j)
        if choice >= 0:
            life.drive[b] = j
            return choice
        if j == EXPLORE and body.rounds > 0:  # all seen: another round
            life.round[b] = life.round[b] % body.rounds + 1
    life.tally[b, 3] += 1
    life.drive[b] = NO_PLAN
    return -1
