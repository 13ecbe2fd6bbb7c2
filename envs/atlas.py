"""Atlas: many mazes that look alike, visited again and again without a label or a sign of the change."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.grid_world import GOAL, NOW, look, tell
from envs.kernels import below, first_invalid, mix, word
from envs.maze_generate import GENERATORS, generate, random_room, room
from envs.maze_paths import distances
from envs.maze_view import GREEN_GOAL
from envs.trials import (
    FACING,
    MORE_INTS,
    MORE_PARAMS,
    MORE_RECORD,
    OVER,
    REACHED,
    SIZE,
    START,
    TRIAL,
    WIDTH,
    TrialWorld,
    begin_trial,
    end,
    walk,
)

_MAZES, _TRIALS, _VISITS, _GENERATOR, _PERCENT = range(MORE_PARAMS, MORE_PARAMS + 5)  # params
_SEED, _BLOCK, _VISIT, _ORDER = range(MORE_INTS, MORE_INTS + 4)  # ints; from _ORDER on the order of the mazes
_MAZE, _WHICH_VISIT = range(MORE_RECORD, MORE_RECORD + 2)  # record
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_UP = 3


class Atlas(TrialWorld):
    """A stream of blocks of trials; each block is in one of K mazes, and all of them come back.

    Description
        K mazes of `size` x `size` cells, drawn at the beginning of a life, each with a goal in a room of its own. A
        block is `trials` trials in one maze, all from the middle room, facing up, so that no beginning tells the
        mazes apart; a trial ends at the goal or after 2 size^2 steps. Then the next block begins, in the next maze
        of a random order; when all K have been visited, a new order is drawn, `visits` times in a life. Nothing says
        that the maze has changed, nor which one it is.
    Observation
        Dict, see `envs.grid_world.GridWorld`: MiniGrid's occluded 7x7 view, compass, previous action and reward, a
        flag on the first step of a trial (of every trial: it does not give the block away); with `pose` also the
        agent's x and y. All mazes are made of the same walls: views are aliased.
    Action
        Discrete(3): 0 left, 1 right, 2 forward. Turns take a step; forward into a wall takes one too.
    Reward
        +1 at the goal, 0 elsewhere.
    Termination
        At the goal in the last trial of the last block; truncation where that trial runs out of time.
    Memory demand
        K mazes kept apart, the present one recognised on the way, none overwritten by the next. At the optimum a
        life takes some 22 K trials visits steps, 35,000 with K = 20.
    Oracle
        Breadth-first search over (x, y, heading) in the present maze: success (share of trials that reached the goal)
        1.0. In the first trial of a first visit nobody can know the way; in that of a revisit it can be known as soon
        as the maze is recognised: steps / optimum there is the score, by number of the visit. Searching anew each time
        is the yardstick: `greedy-map` has a mean SPL of .58 in first visits (median .54; 256 mazes); with mazes of
        11 x 11 it is .85 (median 1.0), which leaves little to remember.
    Registered ids
        `Atlas-K{mazes}-v0`; `Atlas-S{size}-K{mazes}-v0` with mazes of another size.
    Reference
        None; streams of contexts without labels as in Heald, Lengyel and Wolpert 2021 (COIN, Nature 600:489-493).
    """

    def __init__(
        self,
        num_envs: int = 1,
        mazes: int = 4,
        size: int = 21,
        trials: int = 20,
        visits: int = 4,
        opened: float = 0.5,
        generator: str = "kruskal",
        pose: bool = False,
    ) -> None:
        if mazes < 1 or trials < 1 or visits < 1 or not 0 <= opened <= 1:
            raise ValueError(
                "Atlas needs mazes, trials and visits >= 1 and 0 <= opened <= 1, "
                f"got mazes={mazes}, trials={trials}, visits={visits}, opened={opened}."
            )
        if generator not in GENERATORS:
            raise ValueError(f"unknown generator {generator!r}: choose {' or '.join(GENERATORS)}.")
        self.mazes, self.trials, self.visits, self.limit = mazes, trials, visits, 2 * size * size
        own = (self.limit, mazes, trials, visits, GENERATORS.index(generator), round(100 * opened))
        super().__init__(num_envs, (_reset, _step), size, own, _ORDER + mazes, _WHICH_VISIT + 1, pose=pose)

    def trace(self) -> dict[str, np.ndarray]:
        """Return what the last step did: as in every TrialWorld, and `maze` of 0 .. K - 1, `visit` to it, from 0."""
        maze, visit = self._arrays["record"][_MAZE:].copy()
        return super().trace() | {"maze": maze, "visit": visit}


@njit(cache=True, nogil=True)
def _shuffle(i: int, params: np.ndarray, ints: np.ndarray, rng: np.ndarray) -> None:
    """Draw the order of the next visits; a maze does not follow itself."""
    mazes = params[_MAZES]
    last = ints[_ORDER + mazes - 1, i]
    for left in range(mazes - 1, 0, -1):
        pick = below(rng, i, left + 1)
        here, there = ints[_ORDER + left, i], ints[_ORDER + pick, i]
        ints[_ORDER + left, i], ints[_ORDER + pick, i] = there, here
    if ints[_VISIT, i] > 0 and ints[_ORDER, i] == last:
        ints[_ORDER, i], ints[_ORDER + mazes - 1, i] = ints[_ORDER + mazes - 1, i], last


@njit(cache=True, nogil=True)
def _begin_block(
    i: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray, distance: np.ndarray
) -> None:
    """Draw the maze of this block again: it depends on the life and its number only."""
    if ints[_BLOCK, i] == params[_MAZES]:
        ints[_BLOCK, i] = 0
        ints[_VISIT, i] += 1
    if ints[_BLOCK, i] == 0:
        _shuffle(i, params, ints, rng)
    size, maze = params[SIZE], ints[_ORDER + ints[_BLOCK, i], i]
    stream = np.empty(1, np.uint64)
    stream[0] = mix(np.uint64(ints[_SEED, i]) ^ mix(np.uint64(maze + 1) * _GOLDEN))
    generate(stream, 0, cells[i], size, params[_GENERATOR], params[_PERCENT])
    side = size // 2
    ints[START, i], ints[FACING, i] = room(side * (side // 2) + side // 2, size), _UP
    goal = ints[START, i]
    while goal == ints[START, i]:
        goal = random_room(stream, 0, size)
    ints[GOAL, i], ints[TRIAL, i] = goal, 0
    cells[i, goal] = GREEN_GOAL
    distances(cells[i], params[WIDTH], goal, distance[i])


@njit(cache=True, nogil=True)
def _begin(
    i: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray, distance: np.ndarray
) -> None:
    ints[_SEED, i] = np.int64(word(rng, i))
    ints[_BLOCK, i] = ints[_VISIT, i] = ints[REACHED, i] = 0
    for maze in range(params[_MAZES]):
        ints[_ORDER + maze, i] = maze
    _begin_block(i, params, ints, cells, rng, distance)
    begin_trial(i, ints, distance)


@njit(cache=True, nogil=True)
def _reset(
    params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray, distance: np.ndarray,
    image: np.ndarray, codes: np.ndarray, scalars: np.ndarray,
) -> None:  # fmt: skip
    for i in range(rng.shape[0]):
        _begin(i, params, ints, cells, rng, distance)
        tell(i, NOW, -1, 0.0, True, codes, scalars)
    look(params, ints, cells, image, codes)


@njit(cache=True, nogil=True)
def _step(
    actions: np.ndarray, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray,
    distance: np.ndarray, image: np.ndarray, codes: np.ndarray, scalars: np.ndarray, record: np.ndarray,
    flags: np.ndarray,
) -> int:  # fmt: skip
    bad = first_invalid(actions, 3)
    if bad >= 0:
        return bad
    mazes, trials, visits = params[_MAZES], params[_TRIALS], params[_VISITS]
    walk(actions, params, ints, cells, codes, scalars, record, flags)
    for i in range(actions.shape[0]):
        record[_MAZE, i], record[_WHICH_VISIT, i] = ints[_ORDER + ints[_BLOCK, i], i], ints[_VISIT, i]
        if record[OVER, i]:
            ints[TRIAL, i] += 1
            if ints[TRIAL, i] == trials:
                ints[_BLOCK, i] += 1
                if ints[_BLOCK, i] == mazes and ints[_VISIT, i] == visits - 1:
                    end(i, mazes * trials * visits, params, ints, cells, image, codes, scalars, record, flags)
                    _begin(i, params, ints, cells, rng, distance)
                else:
                    _begin_block(i, params, ints, cells, rng, distance)
            begin_trial(i, ints, distance)
    look(params, ints, cells, image, codes)
    return -1
