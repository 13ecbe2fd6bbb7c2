"""Shortest paths for an agent that turns and walks: breadth-first over (x, y, heading), one step an action."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.maze_view import FORWARD, LEFT, RIGHT, ahead, walkable

UNREACHABLE = -1


@njit(cache=True, nogil=True)
def distances(cells: np.ndarray, width: int, goal: int, field: np.ndarray) -> None:
    """Write the fewest actions from every pose to the cell `goal`: field (cells, 4) int16, -1 where there is no way.

    Backwards from the goal, where every heading will do. The maps here have less than 2^15 poses to stand in.
    """
    field[:] = UNREACHABLE
    queue = np.empty(4 * cells.shape[0], np.int32)
    for heading in range(4):
        field[goal, heading] = 0
        queue[heading] = goal << 2 | heading
    first, last = 0, 4
    while first < last:
        place, heading = queue[first] >> 2, queue[first] & 3
        first += 1
        distance = field[place, heading] + 1
        for turned in ((heading + 1) & 3, (heading + 3) & 3):
            if field[place, turned] < 0:
                field[place, turned] = distance
                queue[last] = place << 2 | turned
                last += 1
        behind = place - ahead(heading, width)
        if field[behind, heading] < 0 and walkable(cells[behind]):
            field[behind, heading] = distance
            queue[last] = behind << 2 | heading
            last += 1


@njit(cache=True, nogil=True)
def descend(field: np.ndarray, width: int, position: int, heading: int) -> int:
    """Return the first action of a shortest path by the field of `distances`; LEFT where there is none."""
    closer = field[position, heading] - 1
    if field[position + ahead(heading, width), heading] == closer:
        return FORWARD
    return RIGHT if field[position, (heading + 1) & 3] == closer else LEFT


@njit(cache=True, nogil=True)
def descend_all(field: np.ndarray, width: int, position: np.ndarray, heading: np.ndarray, actions: np.ndarray) -> None:
    """Write `descend` for every environment: field (B, cells, 4), the others (B,)."""
    for i in range(actions.shape[0]):
        actions[i] = descend(field[i], width, position[i], heading[i])
