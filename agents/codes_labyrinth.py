"""Codes of the labyrinth: places as numbers, ways counted clockwise, thirst. See `agents.codes`."""

from __future__ import annotations

import numpy as np
from numba import njit

from agents.codes import empty_percept, plan
from agents.lattice import CODE
from agents.life import EXPLORE, Body, Life, LifetimeConfig, Percept
from agents.lifetime_memory import UNKNOWN, Face, recall
from agents.situations import internal, same, step_of
from envs.world import Obs, World

_WATER, _HOME = 1, 2  # drives
_WAY, _ENTRY, _NEXT, _LOST, _CLOCK, _THIRST, _ARMED = range(7)  # registers
_END, _AT_HOME, _REWARD = 3, 4, 6  # of the seven numbers that are felt
_BACK = 2
FIRST_THIRST, PATIENCE = 60.0, 1.25


class LabyrinthCodes:
    """Places of the labyrinth as numbers, ways out of a place counted clockwise from the one first entered by.

    With the id track a place has its own number. Otherwise it gets the next free one when it is first entered, and is
    found again by dead reckoning over what is remembered: actions turn relative to the way of entry, so that neither
    the branch nor the length that is felt is needed, and neither can mislead. What is felt without error (an end, home)
    is held against the map; where they disagree the agent is lost, and follows the stem until it feels home.

    Prior knowledge: a corridor leads back where it came from; an untried one leads to a new place (there are no loops).
    Thirst comes when more than T steps have passed since the last drink, and is acted on at ends only: first home, then
    to the water. T grows by a quarter when the port was dry.
    """

    registers, notes = 7, 1

    def __init__(self, world: World, settings: LifetimeConfig) -> None:
        depth = getattr(world.unwrapped, "depth", 7)
        self._identity = getattr(world.unwrapped, "track", "id") == "id"
        bits, advice = 4 if depth <= 7 else 5, (8 << depth, 16, 4, 0.0)
        self.plan = plan(depth + 1, [[1, 0, 0, 0]] * 3, 3, 2, bits, advice, offset=(1 << depth) - 1)
        self._percept = empty_percept(world.num_envs, 2, 3, 3)

    def contexts(self, life: Life) -> float:
        """One."""
        return 1.0

    def perceive(self, face: Face, life: Life, obs: Obs, starts: np.ndarray) -> Percept:
        """See `Encoder`."""
        obs = obs["obs"] if isinstance(obs, dict) else obs
        places = obs[:, :-7].argmax(1) if self._identity else np.full(len(obs), -1)
        _perceive(face, self.plan.body, life, places, obs[:, -7:], starts, self._percept)
        return self._percept

    def act(self, life: Life, percept: Percept, directions: np.ndarray) -> np.ndarray:
        """See `Encoder`."""
        entry = life.senses[:, _ENTRY].astype(np.int64)
        onwards = (directions >= 0) & (directions < 3)  # otherwise back, or when lost into the stem
        way = np.where(onwards, directions, np.where(life.senses[:, _LOST] > 0, 0, entry))
        life.senses[:, _WAY] = way
        return (way - entry - 1) % 3


@njit(cache=True, nogil=True)
def _perceive(
    face: Face, body: Body, life: Life, places: np.ndarray, felt: np.ndarray, starts: np.ndarray, percept: Percept
) -> None:
    for b in range(places.shape[0]):
        _walk(face, body, life, b, places[b], felt[b], starts[b], percept)
        _feel(life, b, felt[b], percept)


@internal
def _way_to(face: Face, body: Body, row: np.ndarray, step: int) -> int:
    """Which way makes this step: the remembered one, else the first untried, else 0."""
    untried = 0
    for way in range(2, -1, -1):
        made = step_of(face, body, row, way)
        if made == step:
            return way
        if made > body.offset:
            untried = way
    return untried


@internal
def _fact(percept: Percept, b: int, place: int) -> int:
    n = percept.learned[b]
    percept.codes[b, n] = 0
    percept.codes[b, n, 0] = place
    percept.steps[b, n] = -1
    percept.marks[b, n] = -1
    percept.learned[b] += 1
    return n


@internal
def _walk(
    face: Face, body: Body, life: Life, b: int, seen: int, felt: np.ndarray, start: bool, percept: Percept
) -> None:
    """Where it is now: known from the map, seen, or a new place; and what that teaches."""
    here, senses = percept.place[b], life.senses[b]
    row = np.empty(face.widths.shape[0], np.int64)
    percept.learned[b], percept.heading[b], percept.renew[b] = 0, 3, False
    percept.visited[b] = felt[_AT_HOME] == 0
    at_end = felt[_END] > 0 or felt[_AT_HOME] > 0
    last, way = life.place[b, 0], int(senses[_WAY])
    here[:] = 0
    if felt[_AT_HOME] > 0:
        here[0] = max(seen, 0)
        senses[_ENTRY], senses[_LOST] = 0, 0
        n = _fact(percept, b, here[0])
        percept.steps[b, n, 1:] = body.offset
        percept.marks[b, n, _HOME], percept.marks[b, n, EXPLORE] = 1, 0
        if start:
            senses[_NEXT], senses[_THIRST], life.round[b] = 1, FIRST_THIRST, 1
        return
    if senses[_LOST] > 0:
        senses[_ENTRY] = felt[: _END + 1].argmax() % 3
        return
    found = recall(face, life.memory, b, life.place[b], row) != UNKNOWN
    step = step_of(face, body, row, way) if found else body.offset + 1
    fresh = step > body.offset  # a way that was never gone
    if seen >= 0:
        here[0] = seen
    elif fresh:
        here[0] = senses[_NEXT]
        senses[_NEXT] += 1
    else:
        here[0] = last + step
    step = here[0] - last
    found = recall(face, life.memory, b, here, row) != UNKNOWN
    entry = _way_to(face, body, row, -step) if found else 0
    if seen < 0 and not fresh:
        back = found and step_of(face, body, row, entry) == -step
        senses[_LOST] = not back or at_end != (row[1] == body.offset)
        if senses[_LOST] > 0:
            return
    senses[_ENTRY] = entry
    if seen >= 0 or fresh:
        n = _fact(percept, b, last)
        percept.steps[b, n, way] = step + body.offset
    n = _fact(percept, b, here[0])
    if seen >= 0 or fresh:
        percept.steps[b, n, entry] = body.offset - step
    if at_end:
        percept.steps[b, n, 1:] = body.offset
    percept.marks[b, n, _HOME] = 0
    elsewhere = life.goal[b, _WATER, CODE] == 1 and not same(life.goal[b, _WATER], here)
    if felt[_REWARD] > 0 or elsewhere or not at_end:
        percept.marks[b, n, _WATER] = felt[_REWARD] > 0


@internal
def _feel(life: Life, b: int, felt: np.ndarray, percept: Percept) -> None:
    """Thirst, and what is to be done about it."""
    senses, wishes = life.senses[b], percept.wishes[b]
    home, wet = felt[_AT_HOME] > 0, felt[_REWARD] > 0
    at_water = life.goal[b, _WATER, CODE] == 1 and (life.goal[b, _WATER, :CODE] == percept.place[b]).all()
    senses[_CLOCK] = 0.0 if wet else senses[_CLOCK] + 1
    if wet or home:
        senses[_ARMED] = home
    elif at_water and life.drive[b] == _WATER:
        senses[_THIRST] *= PATIENCE
        senses[_ARMED] = 0.0
    wishes[:] = -1
    if senses[_LOST] > 0:
        return
    going = (life.drive[b] == _WATER and not at_water) or (life.drive[b] == _HOME and not home)
    thirsty = life.goal[b, _WATER, CODE] == 1 and senses[_CLOCK] > senses[_THIRST]
    if going:
        wishes[0], wishes[1] = life.drive[b], EXPLORE
    elif thirsty and (home or felt[_END] > 0):
        wishes[0], wishes[1] = _WATER if senses[_ARMED] > 0 else _HOME, EXPLORE
    else:
        wishes[0] = EXPLORE
