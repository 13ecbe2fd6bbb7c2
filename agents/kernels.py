"""Compiled loops for the CPU: each equals the torch code of its caller to float tolerance, at a fraction of its time.

What they save is not arithmetic but passes over memory and calls of small operations: a matrix of 16 x 256 numbers
stays in the first-level cache while an episode runs over it. Sines and exponentials are polynomials, because compilers
turn those into vector instructions, which they cannot do with calls into the C library.

All arrays are contiguous float32 unless said otherwise. Axes: T time, B batch, H heads, D expansion, V value width,
N hidden units, X encoder width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

# Python sets the flags apart: reordering sums is wanted in dot products, but breaks the exact steps of `_sincos`.
_PRECISE = {"nnan", "ninf", "nsz", "arcp", "contract"}

_enabled = True


def usable(*parts: Tensor) -> bool:
    """Whether the compiled loops can take these tensors: float32 on the CPU."""
    return _enabled and all(part.device.type == "cpu" and part.dtype == torch.float32 for part in parts)


@contextmanager
def plain() -> Iterator[None]:
    """Inside, everything is computed by torch: to count operations, to trace a graph, to compare."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def run(kernel: Callable[..., Any], inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Call a compiled loop on tensors; `outputs` are written in place and must be contiguous."""
    kernel(*(part.detach().contiguous().numpy() for part in inputs), *(part.numpy() for part in outputs))


# -- functions of one number --------------------------------------------------------------------------------------

_F = np.float32
_ZERO, _HALF, _ONE, _TWO = _F(0), _F(0.5), _F(1), _F(2)
_I0, _I1, _I2 = np.int32(0), np.int32(1), np.int32(2)  # plain integers would widen the lanes to 64 bits
_TWO_OVER_PI = _F(2 / np.pi)
# pi / 2 in three parts, the first two short enough that their products with a whole number are exact
_PI_A, _PI_B, _PI_C = _F(1.5703125), _F(4.837512969970703e-4), _F(7.549789948768648e-8)
_LOG2_E, _LN_2 = _F(1 / np.log(2)), _F(np.log(2))
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # an odd number without pattern: 2^64 divided by the golden ratio
_BIAS, _MANTISSA, _LIMIT = np.int32(127), np.int32(23), _F(126)


@njit(cache=True, nogil=True, inline="always", fastmath=_PRECISE)
def _sincos(angle: Any) -> Any:
    """(sin, cos) to 2e-7 for |angle| < 1e4: reduced to |r| <= pi / 4, then Taylor's series."""
    quarter = np.floor(angle * _TWO_OVER_PI + _HALF)
    turn = np.int32(quarter)
    r = ((angle - quarter * _PI_A) - quarter * _PI_B) - quarter * _PI_C
    x = r * r
    s = r * (_ONE + x * (_F(-1 / 6) + x * (_F(1 / 120) + x * (_F(-1 / 5040) + x * _F(1 / 362880)))))
    c = _ONE + x * (-_HALF + x * (_F(1 / 24) + x * (_F(-1 / 720) + x * _F(1 / 40320))))
    odd = (turn & _I1) != _I0
    sine, cosine = (c if odd else s), (s if odd else c)
    sine = -sine if (turn & _I2) != _I0 else sine
    cosine = -cosine if ((turn + _I1) & _I2) != _I0 else cosine
    return sine, cosine


@njit(cache=True, nogil=True, inline="always", fastmath=_PRECISE, error_model="numpy")
def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) to 1e-7, with exp(-x) = 2^k exp(r): Taylor's series, and k put into the exponent's bits."""
    y = min(max(-x * _LOG2_E, -_LIMIT), _LIMIT)
    k = np.floor(y + _HALF)
    r = (y - k) * _LN_2
    e = _ONE + r * (_ONE + r * (_HALF + r * (_F(1 / 6) + r * (_F(1 / 24) + r * (_F(1 / 120) + r * _F(1 / 720))))))
    power = np.int32((np.int32(k) + _BIAS) << _MANTISSA).view(np.float32)
    return _ONE / (_ONE + e * power)


# -- the superposed memory ----------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, fastmath=_PRECISE)
def features(angle: np.ndarray, phi: np.ndarray) -> None:
    """Fill phi (N, D), halves [cos | sin] of norm 1, from angles (N, D/2)."""
    rows, half = angle.shape
    scale = _ONE / np.sqrt(_F(half))
    for i in range(rows):
        row, cosines, sines = angle[i], phi[i, :half], phi[i, half:]
        for d in range(half):
            s, c = _sincos(row[d])
            cosines[d] = scale * c
            sines[d] = scale * s


@njit(cache=True, nogil=True, fastmath=True)
def _features_back(phi: np.ndarray, d_phi: np.ndarray, d_angle: np.ndarray) -> None:
    """Fill d_angle (D/2,) from d_phi (D,): d cos = -sin, d sin = cos."""
    half = d_angle.shape[0]
    for d in range(half):
        d_angle[d] = d_phi[half + d] * phi[d] - d_phi[d] * phi[half + d]


@njit(cache=True, nogil=True, fastmath=True)
def _add(row: np.ndarray, change: np.float32, key: np.ndarray) -> None:
    """Write into one row (D,) of a matrix."""
    for d in range(row.shape[0]):
        row[d] += change * key[d]


@njit(cache=True, nogil=True, fastmath=True)
def memory_forward(
    phi: np.ndarray, values: np.ndarray, write: np.ndarray, erase: np.ndarray, starts: np.ndarray,
    m: np.ndarray, read: np.ndarray, found: np.ndarray, delta: np.ndarray,
) -> None:  # fmt: skip
    """`SuperposedMemory.step` over T steps; a matrix is not written where its gates are zero.

    Takes phi (H, B, T, 2, D), the expanded key and query of each step, values (B, H, T, V), write and erase (B, H, T),
    starts (B, T) bool. Changes m (B, H, V, D), and fills (B, H, T, V) each: read, found = what was stored at the key,
    delta = what is added there.
    """
    batch, heads, steps, width = values.shape
    for h in range(heads):
        for b in range(batch):
            for t in range(steps):
                if starts[b, t]:
                    m[b, h] = _ZERO
                key, query = phi[h, b, t, 0], phi[h, b, t, 1]
                w, e = write[b, h, t], erase[b, h, t]
                for v in range(width):
                    row, at_key, at_query = m[b, h, v], _ZERO, _ZERO
                    for d in range(row.shape[0]):
                        at_key += row[d] * key[d]
                        at_query += row[d] * query[d]
                    change = w * values[b, h, t, v] - e * at_key
                    read[b, h, t, v], found[b, h, t, v], delta[b, h, t, v] = at_query, at_key, change
                    if w != _ZERO or e != _ZERO:
                        _add(row, change, key)


@njit(cache=True, nogil=True, fastmath=True)
def _step_back(
    phi: np.ndarray, erase: np.float32, delta: np.ndarray, d_read: np.ndarray,
    m: np.ndarray, d_m: np.ndarray, d_phi: np.ndarray, d_delta: np.ndarray,
) -> None:  # fmt: skip
    """Take the last write, phi (2, D) and delta (V,), out of m (V, D), and the gradients through that step.

    d_m (V, D) is of the matrix after the step, and of the one before it afterwards; fills d_phi (2, D), d_delta (V,).
    """
    key, query, d_key, d_query = phi[0], phi[1], d_phi[0], d_phi[1]
    d_phi[:] = _ZERO
    for v in range(m.shape[0]):
        row, d_row, change, through_read = m[v], d_m[v], delta[v], d_read[v]
        total = _ZERO
        for d in range(row.shape[0]):
            total += d_row[d] * key[d]
        d_delta[v] = total
        through_found = -erase * total
        for d in range(row.shape[0]):
            before = row[d] - change * key[d]
            row[d] = before
            d_key[d] += change * d_row[d] + through_found * before
            d_query[d] += through_read * before
            d_row[d] += through_found * key[d] + through_read * query[d]


@njit(cache=True, nogil=True, fastmath=True)
def _play(phi: np.ndarray, delta: np.ndarray, fresh: bool, m: np.ndarray) -> None:
    """Write T known steps, phi (T, 2, D) and delta (T, V), into m (V, D), emptied first if it is fresh."""
    if fresh:
        m[:] = _ZERO
    for t in range(delta.shape[0]):
        for v in range(m.shape[0]):
            _add(m[v], delta[t, v], phi[t, 0])


@njit(cache=True, nogil=True, fastmath=True)
def memory_backward(
    phi: np.ndarray, values: np.ndarray, write: np.ndarray, erase: np.ndarray, starts: np.ndarray, m: np.ndarray,
    after: np.ndarray, found: np.ndarray, delta: np.ndarray, d_read: np.ndarray,
    d_m: np.ndarray, d_angle: np.ndarray, d_values: np.ndarray, d_write: np.ndarray, d_erase: np.ndarray,
) -> None:  # fmt: skip
    """Gradients of `memory_forward`, episode by episode from the last to the first.

    The writes of an episode are taken back step by step, so that no matrices have to be kept but m, the one before the
    first step, and the one after the last; episodes that ended in between are played again first. d_m (B, H, V, D) is
    the gradient of the matrix after the last step, and of m afterwards. Fills d_angle (H, B, T, 2, D/2), d_values
    (B, H, T, V), d_write and d_erase (B, H, T).
    """
    batch, heads, steps, width = values.shape
    half = d_angle.shape[4]
    matrix, d_phi = np.empty((width, 2 * half), np.float32), np.empty((2, 2 * half), np.float32)
    d_delta = np.empty(width, np.float32)
    for h in range(heads):
        for b in range(batch):
            end = steps
            while end > 0:
                begin = end - 1
                while begin > 0 and not starts[b, begin]:
                    begin -= 1
                if end == steps:
                    matrix[:] = after[b, h]
                else:
                    matrix[:] = m[b, h]
                    _play(phi[h, b, begin:end], delta[b, h, begin:end], starts[b, begin], matrix)
                for t in range(end - 1, begin - 1, -1):
                    now = phi[h, b, t]
                    _step_back(now, erase[b, h, t], delta[b, h, t], d_read[b, h, t], matrix, d_m[b, h], d_phi, d_delta)
                    for i in range(2):
                        _features_back(now[i], d_phi[i], d_angle[h, b, t, i])
                    d_write[b, h, t] = d_erase[b, h, t] = _ZERO
                    for v in range(width):
                        d_write[b, h, t] += d_delta[v] * values[b, h, t, v]
                        d_erase[b, h, t] -= d_delta[v] * found[b, h, t, v]
                        d_values[b, h, t, v] = write[b, h, t] * d_delta[v]
                if starts[b, begin]:
                    d_m[b, h] = _ZERO
                end = begin


# -- the gated recurrent unit -------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def gru_forward(
    gx: np.ndarray, h0: np.ndarray, weight_t: np.ndarray, bias: np.ndarray, keep: np.ndarray,
    before: np.ndarray, gates: np.ndarray, new: np.ndarray, inner: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Gates gx (T, B, 3N), h0 (B, N), weight_t (N, 3N), bias (3N,), keep (T, B, 1) -> what the backward pass needs."""
    steps, batch, n = before.shape
    gh, h = np.empty(3 * n, np.float32), np.empty(n, np.float32)
    for b in range(batch):
        h[:] = h0[b]
        for t in range(steps):
            x, gate, candidate, part = gx[t, b], gates[t, b], new[t, b], inner[t, b]
            gh[:] = bias
            for i in range(n):
                h[i] *= keep[t, b, 0]
                for j in range(3 * n):
                    gh[j] += h[i] * weight_t[i, j]
            before[t, b] = h
            for j in range(2 * n):
                gate[j] = _sigmoid(x[j] + gh[j])
            for j in range(n):
                part[j] = gh[2 * n + j]
                candidate[j] = _TWO * _sigmoid(_TWO * (x[2 * n + j] + gate[j] * part[j])) - _ONE  # tanh
                h[j] = candidate[j] + gate[n + j] * (h[j] - candidate[j])
            out[t, b] = h


@njit(cache=True, nogil=True, fastmath=True)
def gru_backward(
    grad: np.ndarray, weight_t: np.ndarray, keep: np.ndarray, to_new: np.ndarray, to_reset: np.ndarray,
    to_update: np.ndarray, gates: np.ndarray, grad_x: np.ndarray, grad_h: np.ndarray, dh0: np.ndarray,
) -> None:  # fmt: skip
    """Fill the gradients of both parts of the gates (T, B, 3N), and add that of h0 (B, N) to dh0."""
    steps, batch, n = grad.shape
    for b in range(batch):
        dh = dh0[b]
        for t in range(steps - 1, -1, -1):
            of_x, of_h, gate = grad_x[t, b], grad_h[t, b], gates[t, b]
            for j in range(n):
                dh[j] += grad[t, b, j]
                d_new = dh[j] * to_new[t, b, j]
                of_x[j] = of_h[j] = d_new * to_reset[t, b, j]
                of_x[n + j] = of_h[n + j] = dh[j] * to_update[t, b, j]
                of_x[2 * n + j] = d_new
                of_h[2 * n + j] = d_new * gate[j]
                dh[j] *= gate[n + j]
            for i in range(n):
                total = dh[i]
                for j in range(3 * n):
                    total += of_h[j] * weight_t[i, j]
                dh[i] = total * keep[t, b, 0]


# -- symbols in cells ---------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, fastmath=True)
def gather(symbols: np.ndarray, offset: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """Sum the weights (cells, levels, X) of the symbols (N, cells, channels) uint8 in out (N, X)."""
    rows, cells, channels = symbols.shape
    for i in range(rows):
        total = out[i]
        total[:] = _ZERO
        for cell in range(cells):
            for k in range(channels):
                row = weight[cell, offset[k] + symbols[i, cell, k]]
                for x in range(total.shape[0]):
                    total[x] += row[x]


@njit(cache=True, nogil=True, fastmath=True)
def scatter(grad: np.ndarray, symbols: np.ndarray, offset: np.ndarray, out: np.ndarray) -> None:
    """Gradient of `gather`: add grad (N, X) to the weights (cells, levels, X) in out of all symbols that it summed."""
    rows, cells, channels = symbols.shape
    out[:] = _ZERO
    for i in range(rows):
        for cell in range(cells):
            for k in range(channels):
                row = out[cell, offset[k] + symbols[i, cell, k]]
                for x in range(row.shape[0]):
                    row[x] += grad[i, x]


@njit(cache=True, nogil=True)
def mark(symbols: np.ndarray, offset: np.ndarray, out: np.ndarray) -> None:
    """Fill out (N, levels) with 1 for each symbol that stands in some cell, 0 elsewhere.

    IndexError for one beyond the levels of its channel.
    """
    rows, cells, channels = symbols.shape
    out[:] = _ZERO
    for i in range(rows):
        for cell in range(cells):
            for k in range(channels):
                level = offset[k] + symbols[i, cell, k]
                if level >= (offset[k + 1] if k + 1 < channels else out.shape[1]):
                    raise IndexError("an observation holds a symbol above the `high` of its space")
                out[i, level] = _ONE


@njit(cache=True, nogil=True)
def distinct(rows: np.ndarray, first: np.ndarray, which: np.ndarray) -> int:
    """Number the distinct rows of (N, W) uint8 in the order in which they come.

    Fills first (N,), the row at which each number first stands, and which (N,), the number of each row; returns how
    many numbers there are. A hash table with linear probing; a hash is a sum of products with powers of `_GOLDEN`.
    """
    size = 4
    while size < 2 * rows.shape[0]:
        size *= 2
    factors = np.full(rows.shape[1], _GOLDEN)
    for j in range(1, rows.shape[1]):
        factors[j] = factors[j - 1] * _GOLDEN
    table, count = np.full(size, -1, np.int64), 0
    for i in range(rows.shape[0]):
        row, total = rows[i], np.uint64(0)
        for j in range(row.shape[0]):
            total += np.uint64(row[j]) * factors[j]
        place = np.int64(total >> np.uint64(32)) & (size - 1)
        while table[place] >= 0 and not np.array_equal(rows[first[table[place]]], row):
            place = (place + 1) & (size - 1)
        if table[place] < 0:
            table[place] = count
            first[count] = i
            count += 1
        which[i] = table[place]
    return count
