"""Mazes drawn inside a kernel: randomised Kruskal, depth-first, and a share of their dead ends opened.

A maze of odd `size` n has (n - 1) / 2 rooms a side, at odd rows and columns, joined by removing the walls between
them; see `envs.maze_view` for how its cells lie in memory. All functions draw from stream `i` of `rng`, and write into
`cells` ((n + 12)^2,) uint8, one environment's map.

Sources: Kruskal 1956 with random weights; depth-first as in "recursive backtracking" (Buck 2015, Mazes for
Programmers, chapters 5 and 10); opening dead ends, there called braiding, chapter 9.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.kernels import below
from envs.maze_view import EMPTY, GREY_WALL, PAD

KRUSKAL, DEPTH_FIRST = range(2)
GENERATORS = ("kruskal", "depth-first")  # their names


@njit(cache=True, nogil=True)
def generate(rng: np.ndarray, i: int, cells: np.ndarray, size: int, generator: int, percent: int) -> None:
    """Draw a maze over `cells`: all is wall, rooms are joined, then `percent` % of the dead ends are opened."""
    clear(cells, size)
    if generator == KRUSKAL:
        kruskal(rng, i, cells, size)
    else:
        depth_first(rng, i, cells, size)
    if percent > 0:
        open_dead_ends(rng, i, cells, size, percent)


@njit(cache=True, nogil=True, inline="always")
def room(index: int, size: int) -> int:
    """Return the cell of room 0 .. ((size - 1) / 2)^2 - 1, row by row."""
    side = size // 2
    return (PAD + 1 + 2 * (index // side)) * (size + 2 * PAD) + PAD + 1 + 2 * (index % side)


@njit(cache=True, nogil=True, inline="always")
def random_room(rng: np.ndarray, i: int, size: int) -> int:
    """Return the cell of a room drawn uniformly."""
    side = size // 2
    return room(int(below(rng, i, side * side)), size)


@njit(cache=True, nogil=True)
def clear(cells: np.ndarray, size: int) -> None:
    """Fill with wall, rooms with floor."""
    cells[:] = GREY_WALL
    side = size // 2
    for index in range(side * side):
        cells[room(index, size)] = EMPTY


@njit(cache=True, nogil=True)
def kruskal(rng: np.ndarray, i: int, cells: np.ndarray, size: int) -> None:
    """Join all rooms into a tree with many short dead ends: remove walls in random order where they part two trees."""
    side, width = size // 2, size + 2 * PAD
    rooms = side * side
    parent = np.arange(rooms)
    walls = np.arange(2 * rooms)  # 2 * room for the wall to its right, 2 * room + 1 for the one below
    for left in range(2 * rooms, 0, -1):
        pick = below(rng, i, left)
        wall, walls[pick] = walls[pick], walls[left - 1]
        first = wall >> 1
        if wall & 1:
            second, step = first + side, width
            inside = second < rooms
        else:
            second, step = first + 1, 1
            inside = second % side != 0
        if inside:
            a, b = _root(parent, first), _root(parent, second)
            if a != b:
                parent[a] = b
                cells[room(first, size) + step] = EMPTY


@njit(cache=True, nogil=True, inline="always")
def _root(parent: np.ndarray, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def depth_first(rng: np.ndarray, i: int, cells: np.ndarray, size: int) -> None:
    """Join all rooms into a tree of long corridors: walk at random to unvisited rooms, back up where there are none."""
    side, width = size // 2, size + 2 * PAD
    steps = (1, width, -1, -width)
    fresh = np.zeros(cells.shape[0], np.bool_)
    for index in range(side * side):
        fresh[room(index, size)] = True
    path = np.empty(side * side, np.int64)
    path[0], length = random_room(rng, i, size), 1
    fresh[path[0]] = False
    while length > 0:
        here, choices, step = path[length - 1], 0, 0
        for k in range(4):
            if fresh[here + 2 * steps[k]]:
                choices += 1
                if below(rng, i, choices) == 0:
                    step = steps[k]
        if choices == 0:
            length -= 1
        else:
            cells[here + step] = EMPTY
            path[length], length = here + 2 * step, length + 1
            fresh[here + 2 * step] = False


@njit(cache=True, nogil=True)
def open_dead_ends(rng: np.ndarray, i: int, cells: np.ndarray, size: int, percent: int) -> None:
    """Visit the dead ends in order and remove, with a probability of `percent` %, one of their walls at random."""
    side, width = size // 2, size + 2 * PAD
    steps = (1, width, -1, -width)
    for index in range(side * side):
        here, closed, walls, step = room(index, size), 0, 0, 0
        row, column = index // side, index % side
        inside = (column < side - 1, row < side - 1, column > 0, row > 0)
        for k in range(4):
            if cells[here + steps[k]] == GREY_WALL:
                closed += 1
                if inside[k]:
                    walls += 1
                    if below(rng, i, walls) == 0:
                        step = steps[k]
        if closed == 3 and walls > 0 and below(rng, i, 100) < percent:
            cells[here + step] = EMPTY
