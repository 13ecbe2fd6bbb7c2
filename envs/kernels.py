"""Random numbers inside compiled kernels: one splitmix64 stream per environment.

A stream is a single uint64, so a batch of streams is one array, a snapshot of it is a copy, and the i-th
environment draws the same numbers whatever the size of the batch it lives in.

Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators" (OOPSLA).
"""

from __future__ import annotations

import numpy as np
from numba import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31, _S32 = (np.uint64(shift) for shift in (11, 27, 30, 31, 32))


@njit(cache=True, nogil=True, inline="always")
def mix(word: np.uint64) -> np.uint64:
    """Scramble one 64-bit word (the finaliser of splitmix64)."""
    word = (word ^ (word >> _S30)) * _MIX_1
    word = (word ^ (word >> _S27)) * _MIX_2
    return word ^ (word >> _S31)


@njit(cache=True, nogil=True)
def seed_streams(seed: np.uint64, rng: np.ndarray) -> None:
    """Fill `rng` (B,) uint64 so that stream i is a hash of (seed, i) alone."""
    base = mix(seed + _GOLDEN)
    for i in range(rng.shape[0]):
        rng[i] = mix(base ^ mix(np.uint64(i + 1) * _GOLDEN))


@njit(cache=True, nogil=True, inline="always")
def word(rng: np.ndarray, i: int) -> np.uint64:
    """Draw 64 random bits from stream i."""
    rng[i] += _GOLDEN
    return mix(rng[i])


@njit(cache=True, nogil=True, inline="always")
def below(rng: np.ndarray, i: int, bound: int) -> np.int64:
    """Draw an integer of 0..bound-1 (bound < 2^31; bias under 2^-32 x bound, by multiply and shift)."""
    return np.int64(((word(rng, i) >> _S32) * np.uint64(bound)) >> _S32)


@njit(cache=True, nogil=True, inline="always")
def uniform(rng: np.ndarray, i: int) -> float:
    """Draw a float64 of [0, 1)."""
    return np.float64(word(rng, i) >> _S11) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def uniforms(rng: np.ndarray, numbers: np.ndarray) -> None:
    """Draw one float64 of [0, 1) from each stream: rng and numbers (B,)."""
    for i in range(rng.shape[0]):
        numbers[i] = uniform(rng, i)


@njit(cache=True, nogil=True, inline="always")
def first_invalid(actions: np.ndarray, choices: int) -> int:
    """Return the index of the first action outside 0..choices-1, or -1 when all are valid."""
    for i in range(actions.shape[0]):
        if actions[i] < 0 or actions[i] >= choices:
            return i
    return -1
