"""Keys on a lattice of whole numbers: the expansion of the superposed layer, with frequencies that keep codes apart.

A situation is a code of whole numbers c (x, y, flag, context). With frequencies uniform on the circle

    phi(c) = sqrt(2 / D) [cos(W c), sin(W c)]        W ~ U(-pi, pi)^(4 x D/2), fixed, drawn from a seed
    E phi(c) . phi(c') = 1 if c = c' else 0          on the whole lattice, with spread 1 / sqrt(D)

because the mean of exp(i w n) over the circle is zero for every whole n except 0. W is rounded to 1/4096 of a turn,
which keeps this exact for |n| < 4096 and makes a feature one entry of a table of cosines.

The same features as `agents.superposition.Expansion` computes from the same `omega`; the compiled functions here are
the face of that layer for agents that act without gradients. A test holds the two together.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from typing_extensions import override

from agents.superposition import Expansion

CODE = 4
"""Whole numbers in a code: x, y, flag, context."""
TURN = 4096
"""Steps in which a full turn is counted."""
_MASK, _QUARTER = TURN - 1, TURN // 4


class Lattice(Expansion):
    """`Expansion` whose frequencies are uniform on the circle, in whole steps of 1/4096 turn; one head."""

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__(CODE, dim, (1.0,), seed)

    @override
    def resize(self, dim: int) -> None:
        rows = np.random.default_rng(self.seed).integers(0, TURN, (dim // 2, CODE))  # a larger D continues the stream
        self.turns = np.ascontiguousarray(rows.T, np.int32)  # (4, D/2)
        self.omega = torch.as_tensor(self.turns[None] * (2 * math.pi / TURN), dtype=torch.float32)
        self.dim = dim

    def wave(self) -> np.ndarray:
        """Cosines of a full turn, scaled so that features have norm 1: (4096,) float32."""
        angles = np.arange(TURN) * (2 * math.pi / TURN)
        return (np.cos(angles) * math.sqrt(2 / self.dim)).astype(np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def features(code: np.ndarray, turns: np.ndarray, wave: np.ndarray, phi: np.ndarray) -> None:
    """Fill phi (D,) with the expansion of a code (4,), halves [cos | sin]."""
    half = turns.shape[1]
    for i in range(half):
        angle = code[0] * turns[0, i] + code[1] * turns[1, i] + code[2] * turns[2, i] + code[3] * turns[3, i]
        phi[i] = wave[angle & _MASK]
        phi[half + i] = wave[(angle - _QUARTER) & _MASK]


@njit(cache=True, nogil=True, fastmath=True)
def read(matrix: np.ndarray, phi: np.ndarray, out: np.ndarray) -> None:
    """Fill out (C,) with M^T phi; matrix (D, C)."""
    out[:] = 0.0
    for i in range(phi.shape[0]):
        p, row = phi[i], matrix[i]
        for j in range(out.shape[0]):
            out[j] += p * row[j]


@njit(cache=True, nogil=True, fastmath=True)
def write(matrix: np.ndarray, phi: np.ndarray, delta: np.ndarray) -> None:
    """M <- M + phi delta^T: with delta = target - read this is the delta rule, and the read becomes the target."""
    for i in range(phi.shape[0]):
        p, row = phi[i], matrix[i]
        for j in range(delta.shape[0]):
            row[j] += p * delta[j]
