"""Treasure: fetch coloured things by name, again and again, in a maze of rooms and corridors."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.grid_world import (
    FINAL,
    GOAL,
    HEADING,
    LARGEST,
    MORE,
    NOW,
    OWN,
    POSITION,
    REWARD,
    SUCCESS,
    GridWorld,
    show,
    tell,
)
from envs.kernels import below, first_invalid
from envs.maze_generate import KRUSKAL, generate, random_room, room
from envs.maze_paths import distances
from envs.maze_view import BLUE, EMPTY, FLOOR, GREEN, GREY, PURPLE, RED, YELLOW, move

COLOURS = (RED, GREEN, BLUE, PURPLE, YELLOW, GREY)
MEMORY_MAZE = {9: (3, 1_000), 11: (4, 2_000), 13: (5, 3_000), 15: (6, 4_000)}
"""Objects and steps of an episode by size, as in Memory Maze."""
_SIZE, _WIDTH, _OBJECTS, _STEPS, _PERCENT = range(5)  # params
_TIME, _FOUND, _BEST, _PAID, _PROMPT, _PLACES = range(OWN, OWN + 6)  # ints; from _PLACES on the objects
_AT, _FACING, _ASKED, _TOUCHED, _NUMBER, _WAY, _LAST = range(7)  # record
_TABLE = np.array(COLOURS, np.int64)


class Treasure(GridWorld):
    """Coloured objects in a maze with rooms; one is asked for at a time.

    Description
        A maze of `size` x `size` cells within its outer wall: a room of 3 x 3 cells for every object, anywhere, and
        the corridors of a maze between them. In each room lies an object, a floor tile of its own colour. The
        prompt names one; stepping on it brings a reward and a new prompt, drawn uniformly from the others. The other
        objects have no effect. Maze and objects stay as they are for the `steps` of the episode.
    Observation
        Dict, see `envs.grid_world.GridWorld`: MiniGrid's occluded 7x7 view, compass, previous action and reward, with
        `pose` also the agent's x and y; and `prompt` Discrete(objects): the object asked for, in the order red,
        green, blue, purple, yellow, grey.
    Action
        Discrete(3): 0 left, 1 right, 2 forward. Turns take a step; forward into a wall takes one too.
    Reward
        +1 on the object asked for.
    Termination
        Never; the episode is cut after `steps` (truncation).
    Memory demand
        Where each object lies, seen on the way to others, and the ways between them.
    Oracle
        The shortest path to each object in turn. It does not look past the present prompt, and the next is drawn only
        afterwards: what a better arrival heading could save is at most two turns a prompt. Success is the share of
        the time that shortest paths to what was fetched would have taken: 1.0 for the oracle.
    Registered ids
        `Treasure-{size}-v0`, with the numbers of objects and steps of Memory Maze: 9: 3 and 1,000; 11: 4 and 2,000;
        13: 5 and 3,000; 15: 6 and 4,000.
    Reference
        Rules of Memory Maze (Pasukonis, Lillicrap and Hafner 2022, arXiv 2210.13383), which is another task: in three
        dimensions, seen through a camera, moved in continuously. There humans fetch 26.4, 44.3, 55.5 and 67.7 objects
        in an episode of 9, 11, 13 and 15, and 34.8, 58.0, 74.5 and 87.7 is the mean maximum (README of
        github.com/jurgisp/memory-maze).
    """

    def __init__(
        self,
        num_envs: int = 1,
        size: int = 9,
        objects: int | None = None,
        steps: int | None = None,
        opened: float = 0.5,
        pose: bool = False,
    ) -> None:
        if not 5 <= size <= LARGEST - 2 or size % 2 == 0:
            raise ValueError(f"the size of a Treasure must be an odd number of 5..{LARGEST - 2}, got {size}.")
        if (objects is None or steps is None) and size not in MEMORY_MAZE:
            raise ValueError(f"Memory Maze has no size {size}, only {list(MEMORY_MAZE)}: give objects and steps.")
        objects = MEMORY_MAZE[size][0] if objects is None else objects
        steps = MEMORY_MAZE[size][1] if steps is None else steps
        most = min(len(COLOURS), ((size + 2) // 4) ** 2)  # rooms of 3 x 3 cells and a wall between them
        if not 2 <= objects <= most or steps < 1 or not 0 <= opened <= 1:
            raise ValueError(
                f"Treasure of size {size} needs 2 <= objects <= {most}, steps >= 1 and 0 <= opened <= 1, "
                f"got objects={objects}, steps={steps}, opened={opened}."
            )
        self.objects, self.steps = objects, steps
        params, ints = (objects, steps, round(100 * opened)), _PLACES + objects
        codes = {"prompt": objects}
        super().__init__(num_envs, (_reset, _step), size + 2, params, ints, _LAST, codes, pose)

    def wanted(self) -> np.ndarray:
        """Return the kind of cell that is asked for now, (B,) uint8 as `kind | colour << 4`."""
        return (FLOOR | _TABLE[self._ints[_PROMPT]] << 4).astype(np.uint8)

    def trace(self) -> dict[str, np.ndarray]:
        """Return what the last step did, (B,) each but the cell.

        `cell` (B, 2) and `heading`: where it led to; `prompt`: the object that was asked for; `reached`: it was
        fetched; `found`: the objects fetched before; `optimum`: the fewest steps to it from where it was asked for.
        """
        position, heading, prompt, touched, number, way = self._arrays["record"].copy()
        return {
            "cell": self.places(position),
            "heading": heading,
            "prompt": prompt,
            "reached": touched > 0,
            "found": number,
            "optimum": way,
        }


@njit(cache=True, nogil=True)
def _free_block(cells: np.ndarray, corner: int, width: int, taken: np.ndarray) -> bool:
    """Whether the 3 x 3 cells from `corner` on neither overlap nor touch the rooms before."""
    for row in range(-1, 4):
        for column in range(-1, 4):
            if taken[corner + row * width + column]:
                return False
    return True


@njit(cache=True, nogil=True)
def _dig_rooms(i: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray) -> bool:
    """Open a 3 x 3 room for every object and draw its place in there; False when the last rooms found no space."""
    width, side = params[_WIDTH], params[_SIZE] // 2
    taken = np.zeros(cells.shape[0], np.bool_)
    for thing in range(params[_OBJECTS]):
        corner, tries = 0, 0
        while corner == 0 or not _free_block(cells, corner, width, taken):
            if tries == 50:
                return False
            tries += 1
            row, column = below(rng, i, side - 1), below(rng, i, side - 1)
            corner = room(row * side + column, params[_SIZE])
        for k in range(9):
            place = corner + k // 3 * width + k % 3
            cells[place], taken[place] = EMPTY, True
        ints[_PLACES + thing, i] = corner + below(rng, i, 3) * width + below(rng, i, 3)
    return True


@njit(cache=True, nogil=True)
def _ask(i: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, distance: np.ndarray) -> None:
    """Make the prompt the goal, and count the fewest steps to it from here."""
    ints[GOAL, i] = ints[_PLACES + ints[_PROMPT, i], i]
    distances(cells[i], params[_WIDTH], ints[GOAL, i], distance[i])
    ints[_BEST, i] = distance[i, ints[POSITION, i], ints[HEADING, i]]


@njit(cache=True, nogil=True)
def _begin(
    i: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray, distance: np.ndarray
) -> None:
    size, objects = params[_SIZE], params[_OBJECTS]
    dug = False
    while not dug:
        generate(rng, i, cells[i], size, KRUSKAL, params[_PERCENT])
        dug = _dig_rooms(i, params, ints, cells[i], rng)
    for thing in range(objects):
        cells[i, ints[_PLACES + thing, i]] = FLOOR | _TABLE[thing] << 4
    ints[POSITION, i] = ints[_PLACES, i]
    while cells[i, ints[POSITION, i]] != EMPTY:
        ints[POSITION, i] = random_room(rng, i, size)
    ints[HEADING, i] = below(rng, i, 4)
    ints[_TIME, i] = ints[_FOUND, i] = ints[_PAID, i] = 0
    ints[_PROMPT, i] = below(rng, i, objects)
    _ask(i, params, ints, cells, distance)


@njit(cache=True, nogil=True)
def _useful(i: int, ints: np.ndarray, distance: np.ndarray) -> int:
    """Steps of the shortest paths to what was fetched, and of the one that is under way."""
    left = distance[i, ints[POSITION, i], ints[HEADING, i]]
    return ints[_PAID, i] + max(0, ints[_BEST, i] - left)


@njit(cache=True, nogil=True)
def _reset(
    params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray, distance: np.ndarray,
    image: np.ndarray, codes: np.ndarray, scalars: np.ndarray,
) -> None:  # fmt: skip
    for i in range(rng.shape[0]):
        _begin(i, params, ints, cells, rng, distance)
        show(i, NOW, params, ints, cells, image, codes)
        tell(i, NOW, -1, 0.0, True, codes, scalars)
        codes[NOW, MORE, i] = ints[_PROMPT, i]


@njit(cache=True, nogil=True)
def _step(
    actions: np.ndarray, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray,
    distance: np.ndarray, image: np.ndarray, codes: np.ndarray, scalars: np.ndarray, record: np.ndarray,
    flags: np.ndarray,
) -> int:  # fmt: skip
    bad = first_invalid(actions, 3)
    if bad >= 0:
        return bad
    for i in range(actions.shape[0]):
        position, heading = move(cells[i], params[_WIDTH], ints[POSITION, i], ints[HEADING, i], actions[i])
        ints[POSITION, i], ints[HEADING, i] = position, heading
        ints[_TIME, i] += 1
        touched, ended = position == ints[GOAL, i], ints[_TIME, i] == params[_STEPS]
        record[_AT, i], record[_FACING, i], record[_ASKED, i] = position, heading, ints[_PROMPT, i]
        record[_TOUCHED, i], record[_NUMBER, i], record[_WAY, i] = touched, ints[_FOUND, i], ints[_BEST, i]
        if touched:
            ints[_FOUND, i] += 1
            ints[_PAID, i] += ints[_BEST, i]
            ints[_PROMPT, i] = (ints[_PROMPT, i] + 1 + below(rng, i, params[_OBJECTS] - 1)) % params[_OBJECTS]
            _ask(i, params, ints, cells, distance)
        reward = 1.0 if touched else 0.0
        scalars[REWARD, i], scalars[SUCCESS, i], flags[1, i] = reward, np.nan, ended
        if ended:
            scalars[SUCCESS, i] = _useful(i, ints, distance) / params[_STEPS]
            show(i, FINAL, params, ints, cells, image, codes)
            tell(i, FINAL, actions[i], reward, False, codes, scalars)
            codes[FINAL, MORE, i] = ints[_PROMPT, i]
            _begin(i, params, ints, cells, rng, distance)
            tell(i, NOW, -1, 0.0, True, codes, scalars)
        else:
            tell(i, NOW, actions[i], reward, False, codes, scalars)
        show(i, NOW, params, ints, cells, image, codes)
        codes[NOW, MORE, i] = ints[_PROMPT, i]
    return -1
