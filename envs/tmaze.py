"""T-mazes: keep cues down a corridor that may be a million steps long, or replace them again and again."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from envs.kernels import below, first_invalid, uniform, word
from envs.render import Scene
from envs.world import CorridorWorld

_ONE = np.uint64(1)


class TMaze(CorridorWorld):
    """A corridor with `bits` cues at its beginning and as many junctions at its end.

    Description
        One step at the cues, then a corridor of `length` steps, then `bits` junctions, the k-th one asking
        for the k-th cue: length + 1 + bits steps. The walk goes on by itself: a step that is not forward
        costs, but neither stops nor ends it. With `random_length` the corridor of each episode has
        1..length steps, drawn log-uniformly (to train on).
    Observation
        Box(-1, 1, (2 * bits + 3,), float32): the cues (-1 down, +1 up) at the first step only, 0 later, or
        with `noise` random distractors of -1/+1 on these very channels at every corridor step; flags cue,
        corridor, junction; the number of the junction, one-hot. The position is not shown. `final_obs` is
        all zeros.
    Action
        Discrete(3): 0 forward, 1 up, 2 down.
    Reward
        At a junction +1 for the right turn, -1 for the other turn or for walking on. Elsewhere -0.05 for an
        action that is not forward. (Ni et al. charge 1 / length a step for ever after a wrong one; AMAGO
        charges per action.)
    Termination
        After the last junction. There is no time limit.
    Memory demand
        `bits` bits for `length` steps. TMaze (1 bit, a corridor that looks the same everywhere) is solved
        at any length by any cell that holds one attractor; NoisyTMaze needs writes that stop exactly.
    Oracle
        Remember the first observation: success (share of junctions turned right) 1.0, return `bits`.
        Random: 1/3.
    Registered ids
        `TMaze-L{length}-v0`, `NoisyTMaze-M{bits}-L{length}-v0`; `TMaze-Max{length}-v0` and
        `NoisyTMaze-M{bits}-Max{length}-v0` with a random length of 1..{length}.
    Reference
        Passive T-maze of Ni, Ma, Eysenbach and Bacon 2023 (arXiv 2307.03864), after Bakker 2001.
    """

    action_names = ("forward", "up", "down")

    def __init__(
        self,
        num_envs: int = 1,
        length: int = 10,
        bits: int = 1,
        noise: bool = False,
        random_length: bool = False,
    ) -> None:
        if length < 1 or not 1 <= bits <= 32:
            raise ValueError(f"a T-maze needs length >= 1 and 1 <= bits <= 32, got length={length}, bits={bits}.")
        self.bits = bits
        cues, junctions = (tuple(f"{name}{b}" for b in range(bits)) for name in ("cue", "junction"))
        self.feature_names = (*cues, "start", "corridor", "junction", *junctions)
        params = (length, bits, int(noise), int(random_length))
        super().__init__(num_envs, (_reset_tmaze, _step_tmaze), params, ints=4)

    def scene(self, i: int) -> Scene:
        """Return what there is to see of environment i."""
        time, length, _, right = (int(x) for x in self._ints[:, i])
        asked = max(0, time - length - 1)
        if time > length:
            place = f"junction {asked + 1} of {self.bits}"
        else:
            place = f"corridor, step {time:,} of {length:,}" if time else "the cues"
        title, score = f"T-maze  L = {length:,}  cues: {self.bits}", f"{right} of {asked} right"
        symbol, exits = (
            tuple(self._obs[i, : self.bits].tolist()),
            self.action_names[1:] if time > length else (),
        )
        return Scene(title, (1, length, self.bits), time, place, symbol, "", exits, score, *self.last(i))


_LENGTH, _BITS, _NOISE, _RANDOM = range(4)  # params
_TIME, _L, _CUE, _RIGHT = range(4)  # ints


@njit(cache=True, nogil=True)
def _begin_tmaze(i: int, params: np.ndarray, ints: np.ndarray, rng: np.ndarray) -> None:
    ints[_TIME, i] = 0
    length = params[_LENGTH]
    if params[_RANDOM]:  # log-uniform: a ladder, on which short corridors teach what long ones then use
        length = min(length, int(math.exp(uniform(rng, i) * math.log(length + 1.0))))
    ints[_L, i] = length
    ints[_CUE, i] = np.int64(word(rng, i) & np.uint64(0xFFFFFFFF))
    ints[_RIGHT, i] = 0


@njit(cache=True, nogil=True)
def _observe_tmaze(i: int, params: np.ndarray, ints: np.ndarray, rng: np.ndarray, row: np.ndarray) -> None:
    time, length, bits = ints[_TIME, i], ints[_L, i], params[_BITS]
    row[:] = 0.0
    if time == 0:
        for b in range(bits):
            row[b] = 1.0 if (ints[_CUE, i] >> b) & 1 else -1.0
        row[bits] = 1.0
    elif time <= length:
        if params[_NOISE]:
            noise = word(rng, i)
            for b in range(bits):
                row[b] = 1.0 if (noise >> np.uint64(b)) & _ONE else -1.0
        row[bits + 1] = 1.0
    else:
        row[bits + 2] = 1.0
        row[bits + 2 + time - length] = 1.0


@njit(cache=True, nogil=True)
def _reset_tmaze(params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray, obs: np.ndarray) -> None:
    for i in range(obs.shape[0]):
        _begin_tmaze(i, params, ints, rng)
        _observe_tmaze(i, params, ints, rng, obs[i])


@njit(cache=True, nogil=True)
def _step_tmaze(
    actions: np.ndarray, params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray,
    obs: np.ndarray, final: np.ndarray, scalars: np.ndarray, flags: np.ndarray,
) -> int:  # fmt: skip
    bad = first_invalid(actions, 3)
    if bad >= 0:
        return bad
    for i in range(actions.shape[0]):
        time, length, bits = ints[_TIME, i], ints[_L, i], params[_BITS]
        reward = -0.05 if actions[i] else 0.0
        if time > length:
            turn = 1 if (ints[_CUE, i] >> (time - length - 1)) & 1 else 2
            reward = 1.0 if actions[i] == turn else -1.0
            ints[_RIGHT, i] += reward > 0.0
        ints[_TIME, i] = time + 1
        ended = time == length + bits
        scalars[0, i] = reward
        scalars[1, i] = ints[_RIGHT, i] / bits if ended else np.nan
        flags[0, i] = ended
        if ended:
            final[i, :] = 0.0
            _begin_tmaze(i, params, ints, rng)
        _observe_tmaze(i, params, ints, rng, obs[i])
    return -1


class EndlessTMaze(CorridorWorld):
    """A chain of corridors, each with a new cue that makes all the cues before it worthless.

    Description
        A corridor of l steps shows its cue at its first step only and ends at a junction: l + 1 steps. The
        walk goes on by itself. Behind the junction the next corridor begins, with a new cue, until
        `corridors` are passed. l is `length` (Fixed) or drawn from 1..length for each corridor (Uniform).
    Observation
        Box(-1, 1, (3,), float32): the cue, one-hot (left, right), zeros after the first step of a corridor;
        the position in this corridor, from 0 at the cue to 1 at the junction. `final_obs` is all zeros.
    Action
        Discrete(2): 0 left, 1 right. It counts at junctions only.
    Reward
        -0.01 a corridor step; at a junction +1 for the right turn, -1 for the wrong one.
    Termination
        At the first wrong turn, or when all the corridors are passed. There is no time limit.
    Memory demand
        One bit, rewritten at every cue: what is older must not weigh in.
    Oracle
        Remember the newest cue: success (share of the corridors passed) 1.0. Random: (1 - 2^-C) / C.
    Registered ids
        `EndlessTMaze-Fixed-L{length}-C{corridors}-v0`, `EndlessTMaze-Uniform-L{length}-C{corridors}-v0`.
    Reference
        Shchendrigin, Cherepanov, Kovalev and Panov 2026 (arXiv 2601.15086).
    """

    action_names = ("left", "right")
    feature_names = ("cue left", "cue right", "position")

    def __init__(self, num_envs: int = 1, length: int = 10, corridors: int = 10, random_length: bool = False) -> None:
        if length < 1 or corridors < 1:
            raise ValueError(f"length and corridors must be at least 1, got length={length}, corridors={corridors}.")
        super().__init__(num_envs, (_reset_endless, _step_endless), (length, corridors, int(random_length)), ints=4)

    def scene(self, i: int) -> Scene:
        """Return what there is to see of environment i."""
        time, length, cue, passed = (int(x) for x in self._ints[:, i])
        corridors, at_end = int(self._params[_CORRIDORS]), time == length
        place = "the junction" if at_end else f"corridor {passed + 1}, step {time} of {length}"
        symbol = tuple(self._obs[i, :2].tolist())
        arrow, exits = self.action_names[cue] if time == 0 else "", self.action_names if at_end else ()
        title, score = (
            f"Endless T-maze  corridor {passed + 1} of {corridors}",
            f"{passed} of {corridors} passed",
        )
        return Scene(title, (1, length - 1, 1), time, place, symbol, arrow, exits, score, *self.last(i))


_CORRIDORS, _UNIFORM = 1, 2  # params, beside _LENGTH
_PASSED = 3  # ints, beside _TIME (in this corridor), _L and _CUE


@njit(cache=True, nogil=True)
def _corridor(i: int, params: np.ndarray, ints: np.ndarray, rng: np.ndarray) -> None:
    ints[_TIME, i] = 0
    ints[_L, i] = 1 + below(rng, i, params[_LENGTH]) if params[_UNIFORM] else params[_LENGTH]
    ints[_CUE, i] = np.int64(word(rng, i) & _ONE)


@njit(cache=True, nogil=True)
def _observe_endless(i: int, ints: np.ndarray, row: np.ndarray) -> None:
    time = ints[_TIME, i]
    row[0] = 1.0 if time == 0 and ints[_CUE, i] == 0 else 0.0
    row[1] = 1.0 if time == 0 and ints[_CUE, i] == 1 else 0.0
    row[2] = time / ints[_L, i]


@njit(cache=True, nogil=True)
def _reset_endless(params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray, obs: np.ndarray) -> None:
    for i in range(obs.shape[0]):
        ints[_PASSED, i] = 0
        _corridor(i, params, ints, rng)
        _observe_endless(i, ints, obs[i])


@njit(cache=True, nogil=True)
def _step_endless(
    actions: np.ndarray, params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray,
    obs: np.ndarray, final: np.ndarray, scalars: np.ndarray, flags: np.ndarray,
) -> int:  # fmt: skip
    bad = first_invalid(actions, 2)
    if bad >= 0:
        return bad
    for i in range(actions.shape[0]):
        reward, ended = -0.01, False
        if ints[_TIME, i] < ints[_L, i]:
            ints[_TIME, i] += 1
        else:
            right = actions[i] == ints[_CUE, i]
            reward = 1.0 if right else -1.0
            ints[_PASSED, i] += right
            ended = not right or ints[_PASSED, i] == params[_CORRIDORS]
            _corridor(i, params, ints, rng)
        scalars[0, i] = reward
        scalars[1, i] = ints[_PASSED, i] / params[_CORRIDORS] if ended else np.nan
        flags[0, i] = ended
        if ended:
            final[i, :] = 0.0
            ints[_PASSED, i] = 0
        _observe_endless(i, ints, obs[i])
    return -1
