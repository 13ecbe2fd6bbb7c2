"""Recall: hold n arbitrary pairs across a noisy corridor, then answer each of them once."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from envs.kernels import below, first_invalid, uniform, word
from envs.render import Scene
from envs.world import CorridorWorld

_PAIRS, _DELAY, _BITS, _MIX, _WORDS = range(5)  # params
_TIME, _N, _D, _RIGHT = range(4)  # ints
_ONE = np.uint64(1)


class Recall(CorridorWorld):
    """A walk past n signposts, through a corridor, to n junctions.

    Description
        The walk is automatic. Study: n signposts, each a symbol (a random `bits`-long code of -1/+1, no two
        alike in an episode) with a turn. Delay: D corridor steps that show random symbols without a turn.
        Test: the n symbols again, in a new random order, one junction each; the action taken there is the
        answer.
    Observation
        Box(-1, 1, (bits + 4,), float32): the symbol; the turn (-1 left, +1 right, 0 outside study); flags
        study, junction, corridor. `final_obs` is all zeros: the walk is over.
    Action
        Discrete(2): 0 left, 1 right. Outside junctions the action has no effect.
    Reward
        +1 for the right turn and -1 for the wrong one, at junctions only.
    Termination
        After the last junction, at 2 n + D steps. There is no time limit.
    Memory demand
        n pairs of symbol and turn, written once each, kept for D noisy steps, read by content.
    Oracle
        A table from symbol to turn: success (share of junctions answered right) 1.0, return n. Chance is
        0.5 and 0.
    Registered ids
        `Recall-N{n}-D{delay}-v0`; `RecallMix-N{n}-D{delay}-v0` draws the number of pairs log-uniformly from
        1..n and the delay uniformly from 0..delay in each episode: the ladder to train on.
    Reference
        Paired-associate recall, as in Calkins 1894; bsuite's `memory_len` (Osband et al. 2020) is its n = 1
        case.
    """

    action_names = ("left", "right")

    def __init__(self, num_envs: int = 1, n: int = 8, delay: int = 16, bits: int = 10, mix: bool = False) -> None:
        if n < 1 or delay < 0:
            raise ValueError(f"Recall needs n >= 1 and delay >= 0, got n={n}, delay={delay}.")
        if not 1 <= bits <= 20 or n > 1 << bits:
            raise ValueError(f"{bits} bits cannot name {n} distinct symbols: bits must be 1..20 and n <= 2^bits.")
        self.bits = bits
        self.feature_names = (*(f"symbol{b}" for b in range(bits)), "turn", "study", "junction", "corridor")
        words = (1 << bits) + 63 >> 6
        super().__init__(num_envs, (_reset, _step), (n, delay, bits, int(mix), words), ints=4, memory=words + n)

    def scene(self, i: int) -> Scene:
        """Return what there is to see of environment i."""
        time, n, delay, right = (int(x) for x in self._ints[:, i])
        bits, asked = self.bits, max(0, time - n - delay)
        if time < n:
            place = f"signpost {time + 1} of {n}"
        elif time < n + delay:
            place = f"corridor, step {time - n + 1} of {delay}"
        else:
            place = f"junction {asked + 1} of {n}"
        arrow = self.action_names[int(self._obs[i, bits] > 0)] if time < n else ""
        exits = self.action_names if time >= n + delay else ()
        title, score = f"Recall  n = {n}  D = {delay}", f"{right} of {asked} right"
        symbol = tuple(self._obs[i, :bits].tolist())
        return Scene(title, (n, delay, n), time, place, symbol, arrow, exits, score, *self.last(i))


@njit(cache=True, nogil=True)
def _begin(i: int, params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray) -> None:
    n, delay = params[_PAIRS], params[_DELAY]
    if params[_MIX]:
        n = min(n, int(math.exp(uniform(rng, i) * math.log(n + 1.0))))
        delay = below(rng, i, delay + 1)
    ints[_TIME, i] = 0
    ints[_N, i] = n
    ints[_D, i] = delay
    ints[_RIGHT, i] = 0
    memory[i, : params[_WORDS]] = 0  # one bit per symbol: already used in this episode?


@njit(cache=True, nogil=True)
def _new_pair(i: int, params: np.ndarray, memory: np.ndarray, rng: np.ndarray) -> np.int64:
    """Draw a symbol unused in this episode and a turn, as 2 * symbol + turn; two tries on average at half used."""
    while True:
        pair = below(rng, i, 2 << params[_BITS])
        cell, bit = pair >> 7, np.uint64((pair >> 1) & 63)
        if not (memory[i, cell] >> bit) & _ONE:
            memory[i, cell] |= _ONE << bit
            return pair


@njit(cache=True, nogil=True)
def _observe(
    i: int, params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray, row: np.ndarray
) -> None:
    time, n, delay, bits = ints[_TIME, i], ints[_N, i], ints[_D, i], params[_BITS]
    first = params[_WORDS]
    for flag in range(bits, bits + 4):
        row[flag] = 0.0
    if time < n:
        pair = _new_pair(i, params, memory, rng)
        memory[i, first + time] = pair
        row[bits] = 1.0 if pair & 1 else -1.0
        row[bits + 1] = 1.0
    elif time < n + delay:
        pair = np.int64(word(rng, i) & np.uint64(0x7FFFFFFF))
        row[bits + 3] = 1.0
    else:  # one step of a Fisher-Yates shuffle: a new order for one draw a junction
        here = first + time - n - delay
        there = here + below(rng, i, 2 * n + delay - time)
        memory[i, here], memory[i, there] = memory[i, there], memory[i, here]
        pair = np.int64(memory[i, here])
        row[bits + 2] = 1.0
    for b in range(bits):
        row[b] = 1.0 if (pair >> (b + 1)) & 1 else -1.0


@njit(cache=True, nogil=True)
def _reset(params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray, obs: np.ndarray) -> None:
    for i in range(obs.shape[0]):
        _begin(i, params, ints, memory, rng)
        _observe(i, params, ints, memory, rng, obs[i])


@njit(cache=True, nogil=True)
def _step(
    actions: np.ndarray, params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray,
    obs: np.ndarray, final: np.ndarray, scalars: np.ndarray, flags: np.ndarray,
) -> int:  # fmt: skip
    bad = first_invalid(actions, 2)
    if bad >= 0:
        return bad
    for i in range(actions.shape[0]):
        time, n, delay = ints[_TIME, i], ints[_N, i], ints[_D, i]
        reward = 0.0
        if time >= n + delay:
            answer = memory[i, params[_WORDS] + time - n - delay] & _ONE
            reward = 1.0 if answer == np.uint64(actions[i]) else -1.0
            ints[_RIGHT, i] += reward > 0.0
        ints[_TIME, i] = time + 1
        ended = time + 1 == 2 * n + delay
        scalars[0, i] = reward
        scalars[1, i] = ints[_RIGHT, i] / n if ended else np.nan
        flags[0, i] = ended
        if ended:
            final[i, :] = 0.0
            _begin(i, params, ints, memory, rng)
        _observe(i, params, ints, memory, rng, obs[i])
    return -1
