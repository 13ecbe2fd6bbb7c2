"""Codes of streams of mazes: which of the known mazes is this? Context inference without labels or boundaries.

Every trial begins at the same place, so a cell is coded by its offset from there and by a context. What is seen in a
trial is held on a note pad. Each fact on it is evidence for every context k whose map agrees, and against one that says
otherwise; a map that knows nothing of the cell is silent:

    L_k = sticky [k is the present one] + agree n_k(same) - contradict n_k(other)         L_new = -reluctance

in nats, capped at `TRUST`, so that one clear contradiction is enough to leave. The context of the highest L is planned
in and written to. When it changes, the whole pad is written to the new one: the map that was contradicted is left as it
was, not overwritten.

Sources: contexts weighed by how well each predicts, a new one always open, as in COIN (Heald, Lengyel and Wolpert 2021,
Nature 600:489-493); capped evidence, Page 1954 (CUSUM).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from agents.codes import empty_percept, first, plan
from agents.codes_maze import HEADINGS, TURNS, MazeCodes, look
from agents.lattice import CODE
from agents.life import EXPLORE, Life, LifetimeConfig, Percept
from agents.lifetime_memory import UNKNOWN, Face, recall
from agents.situations import internal
from envs.grid_world import GridWorld
from envs.maze_view import VIEW
from envs.world import Obs, World

TRUST = 4.0
PAD = 160
"""Cells on the note pad; a cell beyond that is used, but not as evidence."""
_GOAL = 1
_NOTE = CODE + 5  # a note is a code, four steps and a goal
_X, _Y, _STUCK, _LENGTH, _CONTEXT, _CONTEXTS, _LABEL, _SCORES = range(8)  # registers


class Evidence(NamedTuple):
    """What facts count for, in nats."""

    agree: float
    contradict: float
    reluctance: float
    sticky: float
    gated: bool


class AtlasCodes(MazeCodes):
    """Cells by their offset from the start, and by the context that explains best what is seen.

    `contexts` is "inferred"; or, as yardsticks, "oracle" (the number of the maze is told), "none" (one map for
    all), "told" (the end of a block is told, and the map emptied).
    """

    def __init__(self, world: World, settings: LifetimeConfig) -> None:
        super().__init__(world, settings)
        self._mode, self._most = settings.contexts, settings.most_contexts
        self._evidence = Evidence(
            settings.agree, settings.contradict, settings.reluctance, settings.sticky, settings.gated
        )
        self._world, self._known = world.unwrapped, dict[int, dict[bytes, int]]()
        size = int(getattr(self._world, "size", 11))
        bits = int(np.ceil(np.log2(size * size / 2)))
        budget = (8192, 32, 16, 3.0, 8)
        self.plan = plan(2, HEADINGS, 2, 0, bits, budget, group=[0, 1, 0, 1], turn=TURNS, between=[[0, 1], [1, 0]])
        self._percept = empty_percept(world.num_envs, PAD + VIEW * VIEW, 4, 2)
        self.registers = _SCORES + self._most
        self.notes = PAD * _NOTE + self._most * (CODE + 1)

    def contexts(self, life: Life) -> float:
        """See `Encoder`."""
        return float(np.minimum(life.senses[:, _CONTEXTS], self._most).mean())

    def perceive(self, face: Face, life: Life, obs: Obs, starts: np.ndarray) -> Percept:
        """See `Encoder`."""
        assert isinstance(obs, dict)
        percept, senses = first(self._percept, len(starts)), life.senses
        new = obs["new_trial"] > 0
        senses[np.ix_(new, np.array([_X, _Y, _LENGTH]))] = 0
        senses[starts, _CONTEXTS] = 1
        percept.place[:, :2], percept.heading[:] = senses[:, : _Y + 1], obs["direction"]
        percept.place[:, 3] = 0
        look(obs["image"], self.plan.body.moves, percept)
        labels = self._labels(senses)
        stuck = self.stuck(life)
        percept.renew[:] = (labels != senses[:, _LABEL]) if self._mode == "told" else stuck & (self._mode != "inferred")
        senses[:, _LABEL] = labels
        if self._mode == "inferred":
            _infer(face, life, new, stuck, self._evidence, percept)
        else:
            _enter_all(life, labels.astype(np.int64) * (self._mode == "oracle"), percept)
        percept.wishes[:] = _GOAL, EXPLORE
        return percept

    def _labels(self, senses: np.ndarray) -> np.ndarray:
        """Number the present mazes by their cells, (B,): what only a yardstick is told."""
        if self._mode in ("inferred", "none"):
            return senses[:, _LABEL].copy()
        assert isinstance(self._world, GridWorld)
        known, labels = self._known, np.zeros(len(senses))
        for b in range(len(senses)):
            mazes = known.setdefault(b, {})
            labels[b] = mazes.setdefault(self._world.cells(b).tobytes(), len(mazes))
        return labels % self._most


@njit(cache=True, nogil=True)
def _enter_all(life: Life, contexts: np.ndarray, percept: Percept) -> None:
    for b in range(contexts.shape[0]):
        _enter(life, b, contexts[b], percept)


@internal
def _enter(life: Life, b: int, context: int, percept: Percept) -> None:
    """Plan in a context and write to it what is in view."""
    if context != life.senses[b, _CONTEXT]:
        goals = life.notes[b, PAD * _NOTE :].reshape(-1, CODE + 1)
        goals[int(life.senses[b, _CONTEXT])] = life.goal[b, _GOAL]
        life.goal[b, _GOAL] = goals[context]
        life.senses[b, _CONTEXT] = context
        life.ends[b] = 0
    percept.place[b, 3] = context
    percept.codes[b, : percept.learned[b], 3] = context


@internal
def _note(life: Life, b: int, code: np.ndarray) -> int:
    """The place of a cell on the note pad, a new one if need be; -1 when the pad is full."""
    pad, length = life.notes[b, : PAD * _NOTE].reshape(PAD, _NOTE), int(life.senses[b, _LENGTH])
    for n in range(length):
        if pad[n, 0] == code[0] and pad[n, 1] == code[1]:
            return n
    if length == PAD:
        return -1
    pad[length] = -1
    pad[length, :CODE] = code
    life.senses[b, _LENGTH] += 1
    return length


@internal
def _weigh(face: Face, life: Life, b: int, code: np.ndarray, fresh: np.ndarray, evidence: Evidence) -> None:
    """Add what facts (5,) just noted of a cell, -1 where there is none, say for and against every context."""
    row, place = np.empty(face.widths.shape[0], np.int64), code.copy()
    for k in range(min(int(life.senses[b, _CONTEXTS]), life.senses.shape[1] - _SCORES)):
        place[3] = k
        if recall(face, life.memory, b, place, row) == UNKNOWN:
            continue
        for f in range(5):
            said = row[f] if f < 4 else row[4 + _GOAL]
            if fresh[f] < 0 or (f < 4 and said == 3) or (f == 4 and fresh[f] == said == 0):
                continue
            gain = evidence.agree if fresh[f] == said else -evidence.contradict
            life.senses[b, _SCORES + k] = min(TRUST, life.senses[b, _SCORES + k] + gain)


@njit(cache=True, nogil=True)
def _infer(face: Face, life: Life, new: np.ndarray, stuck: np.ndarray, evidence: Evidence, percept: Percept) -> None:
    for b in range(new.shape[0]):
        _explain(face, life, b, new[b], stuck[b], evidence, percept)


@internal
def _explain(face: Face, life: Life, b: int, new: bool, stuck: bool, evidence: Evidence, percept: Percept) -> None:
    """Choose the context that explains what has been seen in this trial; write to it what it has to learn."""
    senses, fresh = life.senses[b], np.empty(5, np.int64)
    pad = life.notes[b, : PAD * _NOTE].reshape(PAD, _NOTE)
    if new:
        senses[_SCORES:] = 0.0
        senses[_SCORES + int(senses[_CONTEXT])] = evidence.sticky
    for n in range(percept.learned[b]):
        note, learned = _note(life, b, percept.codes[b, n]), False
        for f in range(5):
            seen = percept.steps[b, n, f] if f < 4 else percept.marks[b, n, _GOAL]
            fresh[f] = -1
            if note >= 0 and seen >= 0 and pad[note, CODE + f] != seen:
                pad[note, CODE + f] = fresh[f] = seen
                learned = True
        if learned:
            _weigh(face, life, b, percept.codes[b, n], fresh, evidence)
    if stuck:  # whatever speaks for this context, its map leads nowhere
        senses[_SCORES:] = -np.inf
    most, opened = senses.shape[0] - _SCORES, int(senses[_CONTEXTS])
    best = senses[_SCORES : _SCORES + min(opened, most)].argmax()
    if senses[_SCORES + best] < -evidence.reluctance:
        best = opened % most  # the oldest, when all are taken
        senses[_CONTEXTS] += 1
        senses[_SCORES + best] = evidence.sticky
    changed, before = best != senses[_CONTEXT], int(senses[_CONTEXT])
    if changed and not evidence.gated:
        extra = percept.learned[b]  # what is in view, written to the map that it contradicts, too
        for facts in (percept.codes[b], percept.steps[b], percept.marks[b]):
            facts[PAD : PAD + extra] = facts[:extra]
    else:
        extra = 0
    if changed:  # everything noted is news to this map
        percept.learned[b] = int(senses[_LENGTH])
        percept.codes[b, : percept.learned[b]] = pad[: percept.learned[b], :CODE]
        percept.steps[b, : percept.learned[b]] = pad[: percept.learned[b], CODE : CODE + 4]
        percept.marks[b, : percept.learned[b]] = -1
        percept.marks[b, : percept.learned[b], _GOAL] = pad[: percept.learned[b], CODE + 4]
        life.tally[b, 1] += 1
    _enter(life, b, best, percept)
    for n in range(extra):
        last = percept.learned[b]
        percept.codes[b, last], percept.codes[b, last, 3] = percept.codes[b, PAD + n], before
        percept.steps[b, last], percept.marks[b, last, _GOAL] = percept.steps[b, PAD + n], -1
        percept.learned[b] += 1
