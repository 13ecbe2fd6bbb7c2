"""What full information gets in a dark room, exactly: expectations over all layouts, without playing."""

from __future__ import annotations

import numpy as np


def ways(size: int) -> np.ndarray:
    """Return how likely it is that the key is a moves from the start and the door b from the key, (2 size, 2 size).

    Start, key and door are drawn uniformly and independently; what is underfoot takes one move.
    """
    x, y = np.arange(size * size) % size, np.arange(size * size) // size
    apart = np.maximum(1, np.abs(x[:, None] - x) + np.abs(y[:, None] - y))
    chance = (apart[:, :, None] == np.arange(2 * size)).mean(1)  # from each key, (size², 2 size)
    return np.asarray(chance.T @ chance) / len(chance)


def doors_per_step(size: int) -> float:
    """Return E[1 / cycle], where a cycle is the ways to the key and to the door, and the step back to the start."""
    to_key, to_door = np.indices((2 * size, 2 * size))
    return float((ways(size) / (to_key + to_door + 1)).sum())


def expected_return(size: int, life: int, relayout: int) -> float:
    """Return the expected keys and doors of a life; `relayout` as in `envs.keydoor.KeyDoor`, 0 for never."""
    chance = ways(size)
    to_key, to_door = np.nonzero(chance)
    chance, cycle, total = chance[to_key, to_door], to_key + to_door + 1, 0.0
    begins = np.zeros(life + 1)  # how likely it is that a layout begins after so many steps
    begins[0] = 1.0
    for start in range(life):
        if begins[start] == 0.0:
            continue
        due = relayout - start % relayout if relayout else life
        steps = np.minimum(life - start, -(-due // cycle) * cycle)  # a layout ends with a way back
        total += begins[start] * float(chance @ ((steps + to_door + 1) // cycle + (steps + 1) // cycle))
        np.add.at(begins, start + steps, begins[start] * chance)
    return float(total)
