"""Grid worlds one byte a cell: MiniGrid's codes, its moves and its occluded 7x7 view, compiled.

A grid of `size` x `size` cells lies flat in (width * width,) bytes, width = size + 12: six cells of wall on every
side, so that a view never leaves the buffer. A cell is `kind | colour << 4`, where kind is MiniGrid's object type and
two kinds more, because doors have a state. A pose is a flat index and a heading (0 right, 1 down, 2 left, 3 up).

Source: MiniGrid's `gen_obs_grid` and `process_vis` (Chevalier-Boisvert et al. 2023, arXiv 2306.13831), which go row by
row away from the agent. What is visible in a row depends only on the seven cells that the row before lets light into
and the seven that let it through: 2^14 cases, in a table.
"""

from __future__ import annotations

import numpy as np
from numba import njit

PAD = 6
VIEW = 7
UNSEEN, EMPTY, WALL, FLOOR, DOOR_OPEN, KEY, BALL, BOX, GOAL, LAVA = range(10)  # MiniGrid's OBJECT_TO_IDX
DOOR_CLOSED, DOOR_LOCKED = 11, 12  # in MiniGrid: type 4, state 1 or 2
RED, GREEN, BLUE, PURPLE, YELLOW, GREY = range(6)  # MiniGrid's COLOR_TO_IDX
GREY_WALL = WALL | GREY << 4
GREEN_GOAL = GOAL | GREEN << 4
LEFT, RIGHT, FORWARD = range(3)  # actions
_OPAQUE = 1 << WALL | 1 << DOOR_CLOSED | 1 << DOOR_LOCKED  # bit sets over kinds
_WALKABLE = 1 << EMPTY | 1 << FLOOR | 1 << DOOR_OPEN | 1 << GOAL | 1 << LAVA


def _decode_table() -> np.ndarray:
    """Return what MiniGrid shows of each cell byte: (256, 3) type, colour, state."""
    table = np.zeros((256, 3), np.uint8)
    for cell in range(256):
        kind, colour = cell & 15, cell >> 4
        if kind in (DOOR_CLOSED, DOOR_LOCKED):
            table[cell] = DOOR_OPEN, colour, kind - DOOR_CLOSED + 1
        elif kind not in (UNSEEN, EMPTY):
            table[cell] = kind, colour, 0
        elif kind == EMPTY:
            table[cell] = EMPTY, 0, 0
    return table


def _row_table() -> np.ndarray:
    """Return what one row does with light: (2^14,) by `seeds << 7 | clear`, giving `next seeds << 7 | visible`."""
    table = np.zeros(1 << 14, np.int16)
    for index in range(1 << 14):
        lit, clear, above = index >> 7, index & 127, 0
        for i in range(VIEW - 1):
            if lit & clear & (1 << i):
                lit |= 2 << i
                above |= 3 << i
        for i in range(VIEW - 1, 0, -1):
            if lit & clear & (1 << i):
                lit |= 1 << (i - 1)
                above |= 3 << (i - 1)
        table[index] = above << 7 | lit
    return table


DECODE = _decode_table()
_ROWS = _row_table()


@njit(cache=True, nogil=True, inline="always")
def ahead(heading: int, width: int) -> int:
    """Return the step of the flat index that goes one cell forward; `ahead(heading + 1)` goes to the right."""
    step = 1 if heading & 1 == 0 else width
    return step if heading & 2 == 0 else -step


@njit(cache=True, nogil=True, inline="always")
def walkable(cell: int) -> bool:
    """Return whether an agent can stand on a cell: what MiniGrid's `can_overlap` says."""
    return (_WALKABLE >> (cell & 15)) & 1 == 1


@njit(cache=True, nogil=True, inline="always")
def move(cells: np.ndarray, width: int, position: int, heading: int, action: int) -> tuple[int, int]:
    """Return the pose (position, heading) after left, right or forward; into what blocks, forward stays."""
    if action == FORWARD:
        front = position + ahead(heading, width)
        return (front if walkable(cells[front]) else position), heading
    return position, (heading + (1 if action == RIGHT else 3)) & 3


@njit(cache=True, nogil=True)
def observe(cells: np.ndarray, width: int, position: int, heading: int, image: np.ndarray) -> None:
    """Write the view (7, 7, 3) of an agent: column, row (6 is the agent's own), channel, as MiniGrid's `gen_obs`."""
    forward, right = ahead(heading, width), ahead(heading + 1, width)
    image[:] = 0
    left, row, lit = position - 3 * right, VIEW - 1, 1 << 3
    while lit and row >= 0:  # in a maze the light ends after a few rows
        clear, place = 0, left
        for column in range(VIEW):
            clear |= (~(_OPAQUE >> (cells[place] & 15)) & 1) << column
            place += right
        light, place = int(_ROWS[lit << 7 | clear]), left
        for column in range(VIEW):
            cell = cells[place] & -((light >> column) & 1)  # UNSEEN where no light falls
            image[column, row, 0] = DECODE[cell, 0]
            image[column, row, 1] = DECODE[cell, 1]
            image[column, row, 2] = DECODE[cell, 2]
            place += right
        lit, row, left = light >> 7, row - 1, left + forward
    image[3, 6, 0], image[3, 6, 1], image[3, 6, 2] = EMPTY, 0, 0  # what the agent stands on is not shown
