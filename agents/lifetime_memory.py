"""The map of the lifetime agent behind one face, with two insides: a superposed matrix, or a plain hash table.

A row is what is known of one situation: F whole numbers of fixed widths in bits, C bits in all. `recall` looks a row up
by its code of four whole numbers, `record` replaces it.

* superposed: every row lies in one matrix M (D, C), bits as +-1, under the key phi(code); written by the delta rule.
  A read is cleaned up by its signs and a bit of parity for each guarded part of the row. It counts as known if its
  numbers are, all together, near +-1: noise is not.
  The bits are scrambled by a hash of the code, because rows that are alike would add up where nothing was written.
  With tiles, codes of different regions of 16 x 16 use different blocks of D / tiles features: a block-sparse
  expansion, whose read costs the same however large D is.
* table: S slots in sets of eight, least recently used out first (a set-associative cache). With S above the number of
  situations it is an exact table.

Axes: B lives, D expansion, C bits of a row, F fields, S slots.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from agents.lattice import CODE, Lattice, features, read, write
from envs.kernels import mix

UNKNOWN, KNOWN, WORN = range(3)
"""What a look-up says. A worn row is known, but other writes have moved some of its numbers: time to renew it."""
WAYS = 8
_SLOT_BYTES = 8 + 8 + 4  # key, row, last use
_NO_BITS, _ONE = np.uint64(0), np.uint64(1)


class Memory(NamedTuple):
    """What one batch of lives knows; one of the two insides has no elements."""

    matrix: np.ndarray  # (B, D, C) float32
    keys: np.ndarray  # (B, S) int64, -1 for an empty slot
    rows: np.ndarray  # (B, S) uint64, the bits of a row
    used: np.ndarray  # (B, S) int32, when a slot was last used
    work: np.ndarray  # (B, 3) int64: reads, writes, clock of `used`

    @property
    def bytes(self) -> int:
        """Bytes of one life's map."""
        if self.matrix.shape[1]:
            return int(self.matrix[0].nbytes)
        return int(self.keys.shape[1]) * _SLOT_BYTES


class Face(NamedTuple):
    """What is fixed about a memory: layout of a row, frequencies, thresholds."""

    widths: np.ndarray  # (F,) int64, bits of each field
    guards: np.ndarray  # (P,) int64: each bit of parity guards the bits of a row from the last one's end to its own
    turns: np.ndarray  # (4, D / tiles / 2) int32
    wave: np.ndarray  # (4096,) float32
    tiles: int  # blocks of the expansion
    across: int  # tiles in a row of tiles
    tolerance: float  # mean squared distance from +-1 up to which a row counts as known
    gate: float  # a number that is off by more than this is written

    @property
    def columns(self) -> int:
        """C."""
        return int(self.widths.sum())


def superposed(
    widths: tuple[int, ...],
    guards: tuple[int, ...],
    dim: int,
    tiles: int,
    lives: int,
    tolerance: float,
    gate: float,
    seed: int,
) -> tuple[Face, Memory]:
    """An empty matrix for every life; ValueError if D is no even multiple of the tiles."""
    if dim < 2 * tiles or dim % (2 * tiles):
        raise ValueError(f"--hp.dim must be a multiple of {2 * tiles} here (two features a tile), got {dim}.")
    lattice = Lattice(dim // tiles, seed)
    parts = _widths(widths, 64 - len(guards)), np.array(guards), lattice.turns, lattice.wave()
    face = Face(*parts, tiles, math.isqrt(tiles), tolerance, gate)
    return face, _memory(lives, dim, face.columns + len(guards), 0)


def _widths(widths: tuple[int, ...], most: int) -> np.ndarray:
    if sum(widths) > most:
        raise ValueError(f"a row has at most {most} bits here, this one would have {sum(widths)}.")
    return np.array(widths)


def table(widths: tuple[int, ...], size: int, lives: int) -> tuple[Face, Memory]:
    """An empty table of at most `size` bytes for every life; ValueError if not even one set of slots fits."""
    slots = size // _SLOT_BYTES // WAYS * WAYS
    if slots < WAYS:
        raise ValueError(f"a table needs at least {WAYS * _SLOT_BYTES} bytes, got {size}: raise --hp.bytes.")
    nothing = np.zeros(0, np.int64), np.zeros((CODE, 0), np.int32), np.zeros(0, np.float32)
    face = Face(_widths(widths, 64), *nothing, 1, 1, 0.0, 0.0)
    return face, _memory(lives, 0, face.columns, slots)


def _memory(lives: int, dim: int, columns: int, slots: int) -> Memory:
    return Memory(
        np.zeros((lives, dim, columns), np.float32),
        np.full((lives, slots), -1, np.int64),
        np.zeros((lives, slots), np.uint64),
        np.zeros((lives, slots), np.int32),
        np.zeros((lives, 3), np.int64),
    )


@njit(cache=True, nogil=True)
def forget(memory: Memory, b: int) -> None:
    """Empty the map of life b."""
    memory.matrix[b] = 0.0
    memory.keys[b] = -1


@njit(cache=True, nogil=True)
def read_error(face: Face, memory: Memory, b: int, code: np.ndarray) -> float:
    """Mean squared distance from +-1 of what the matrix of life b holds at `code` (4,)."""
    phi, found = np.empty(2 * face.turns.shape[1], np.float32), np.empty(memory.matrix.shape[2], np.float32)
    features(code, face.turns, face.wave, phi)
    read(_block(face, memory, b, code), phi, found)
    return float(((np.abs(found) - 1) ** 2).mean())


@njit(cache=True, nogil=True)
def recall(face: Face, memory: Memory, b: int, code: np.ndarray, row: np.ndarray) -> int:
    """Fill row (F,) with what life b knows of `code` (4,); UNKNOWN, and nothing filled, if that is nothing."""
    memory.work[b, 0] += 1
    if memory.matrix.shape[1] == 0:
        slot = _find(memory, b, _pack(code))
        state, word = (KNOWN, memory.rows[b, slot]) if slot >= 0 else (UNKNOWN, _NO_BITS)
    else:
        state, word = _clean(face, memory, b, code)
    if state != UNKNOWN:
        for f in range(row.shape[0]):
            width = np.uint64(face.widths[f])
            row[f] = np.int64(word & ((_ONE << width) - _ONE))
            word >>= width
    return state


@njit(cache=True, nogil=True)
def record(face: Face, memory: Memory, b: int, code: np.ndarray, row: np.ndarray) -> None:
    """Make row (F,) what life b knows of `code` (4,). A matrix that says so already is left alone."""
    word, shift = _NO_BITS, _NO_BITS
    for f in range(row.shape[0]):
        word |= np.uint64(row[f]) << shift
        shift += np.uint64(face.widths[f])
    if memory.matrix.shape[1] == 0:
        _store(memory, b, _pack(code), word)
        memory.work[b, 1] += 1
        return
    row_bits = word
    for k in range(face.guards.shape[0]):
        word |= _parity(row_bits & _guarded(face, k)) << shift
        shift += _ONE
    word ^= _mask(code)
    phi, delta = np.empty(2 * face.turns.shape[1], np.float32), np.empty(memory.matrix.shape[2], np.float32)
    features(code, face.turns, face.wave, phi)
    block = _block(face, memory, b, code)
    read(block, phi, delta)
    memory.work[b, 0] += 1
    worst = np.float32(0.0)
    for column in range(delta.shape[0]):
        bit = word >> np.uint64(column) & _ONE
        delta[column] = (np.float32(1.0) if bit else np.float32(-1.0)) - delta[column]
        worst = max(worst, abs(delta[column]))
    if worst > face.gate:
        write(block, phi, delta)
        memory.work[b, 1] += 1


@njit(cache=True, nogil=True)
def _clean(face: Face, memory: Memory, b: int, code: np.ndarray) -> tuple[int, np.uint64]:
    """Read the matrix at a code: how well it is known, and its bits.

    The last columns are parities. Where one is wrong the least certain of the bits that it guards is turned (Wagner
    decoding, Silverman and Balser 1954), so that it takes two wrong bits to make a wrong part of a row.
    """
    phi, found = np.empty(2 * face.turns.shape[1], np.float32), np.empty(memory.matrix.shape[2], np.float32)
    features(code, face.turns, face.wave, phi)
    read(_block(face, memory, b, code), phi, found)
    total, worst, word = np.float32(0.0), np.float32(0.0), _NO_BITS
    for column in range(found.shape[0]):
        strength = abs(found[column])
        error = abs(np.float32(1.0) - strength)
        total += error * error
        worst = max(worst, error)
        if found[column] > 0.0:
            word |= _ONE << np.uint64(column)
    if total > face.tolerance * found.shape[0]:
        return UNKNOWN, word
    word ^= _mask(code)
    begin, check = 0, found.shape[0] - face.guards.shape[0]
    for k in range(face.guards.shape[0]):
        if _parity(word & (_guarded(face, k) | _ONE << np.uint64(check))):
            weakest = check
            for column in range(begin, face.guards[k]):
                if abs(found[column]) < abs(found[weakest]):
                    weakest = column
            word ^= _ONE << np.uint64(weakest)
        begin, check = face.guards[k], check + 1
    return (WORN if worst > face.gate else KNOWN), word


@njit(cache=True, nogil=True)
def _guarded(face: Face, k: int) -> np.uint64:
    """The bits of a row that the k-th bit of parity guards, set."""
    begin = face.guards[k - 1] if k > 0 else 0
    return (_ONE << np.uint64(face.guards[k])) - (_ONE << np.uint64(begin))


@njit(cache=True, nogil=True)
def _parity(word: np.uint64) -> np.uint64:
    """1 if an odd number of bits are set, else 0."""
    for shift in (32, 16, 8, 4, 2, 1):
        word ^= word >> np.uint64(shift)
    return word & _ONE


@njit(cache=True, nogil=True)
def _block(face: Face, memory: Memory, b: int, code: np.ndarray) -> np.ndarray:
    """The part of the matrix that a code uses, (D / tiles, C)."""
    size = 2 * face.turns.shape[1]
    tile = ((code[0] >> 4) + face.across * (code[1] >> 4) + code[3]) % face.tiles
    return memory.matrix[b, tile * size : (tile + 1) * size]


@njit(cache=True, nogil=True)
def _pack(code: np.ndarray) -> int:
    key = np.int64(0)
    for part in code:
        key = (key << 16) | (np.int64(part) & 0xFFFF)
    return int(key & 0x7FFFFFFFFFFFFFFF)


@njit(cache=True, nogil=True)
def _mask(code: np.ndarray) -> np.uint64:
    """Bits that scramble the row of a code: rows that say the same would else add up to one loud ghost row."""
    return mix(np.uint64(_pack(code)))


@njit(cache=True, nogil=True)
def _set(memory: Memory, key: int) -> int:
    sets = np.uint64(memory.keys.shape[1] // WAYS)
    return int(mix(np.uint64(key)) % sets) * WAYS


@njit(cache=True, nogil=True)
def _find(memory: Memory, b: int, key: int) -> int:
    first = _set(memory, key)
    for slot in range(first, first + WAYS):
        if memory.keys[b, slot] == key:
            memory.work[b, 2] += 1
            memory.used[b, slot] = memory.work[b, 2]
            return slot
    return -1


@njit(cache=True, nogil=True)
def _store(memory: Memory, b: int, key: int, word: np.uint64) -> None:
    slot = _find(memory, b, key)
    if slot < 0:  # an empty slot, or the one that was used longest ago
        slot = _set(memory, key)
        for other in range(slot, slot + WAYS):
            if memory.keys[b, other] < 0:
                slot = other
                break
            if memory.used[b, other] < memory.used[b, slot]:
                slot = other
        memory.keys[b, slot] = key
        memory.work[b, 2] += 1
        memory.used[b, slot] = memory.work[b, 2]
    memory.rows[b, slot] = word
