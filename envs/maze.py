"""Braided mazes: find a goal, then find it again from other places of the same maze."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.grid_world import GOAL, NOW, look, tell
from envs.kernels import below, first_invalid
from envs.maze_generate import GENERATORS, generate, random_room
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

_TRIALS, _GENERATOR, _PERCENT = range(MORE_PARAMS, MORE_PARAMS + 3)  # params


class Maze(TrialWorld):
    """Several trials in one maze, to the same goal, each from a new place.

    Description
        A maze of `size` x `size` cells, `generator` "kruskal" (many short dead ends) or "depth-first" (long
        corridors), in which the share `opened` of the dead ends is opened, so that walls become islands: in a
        perfect maze (share 0) a hand on the wall reaches every goal. The goal is a room drawn uniformly. A life has
        `trials` trials: each begins in another room, drawn uniformly, with a random heading, and ends at the goal or
        after 2 size^2 steps.
    Observation
        Dict, see `envs.grid_world.GridWorld`: MiniGrid's occluded 7x7 view, compass, previous action and reward, a
        flag on the first step of a trial; with `pose` also the agent's x and y. `final_obs` is the view from the goal,
        or from where time ran out. Without `pose` an agent that integrates its path knows where it is relative to the
        start of the trial, and has to recognise the maze to know more.
    Action
        Discrete(3): 0 left, 1 right, 2 forward. Turns take a step; forward into a wall takes one too.
    Reward
        +1 at the goal, 0 elsewhere. (MiniGrid pays 1 - 0.9 steps / limit; here the discount prices time.)
    Termination
        At the goal in the last trial; truncation where the last trial runs out of time.
    Memory demand
        Where it has been, to search without repetition; where the goal is and how the maze hangs together, to take
        the shortest way in later trials.
    Oracle
        Breadth-first search over (x, y, heading): success (share of trials that reached the goal) 1.0, return
        `trials`, SPL 1. `trace()` has the optimum of each trial.
    Registered ids
        `BraidedMaze-{size}-v0` (half of the dead ends opened), `PerfectMaze-{size}-v0` (none).
    Reference
        View, codes and moves: Chevalier-Boisvert et al. 2023 (arXiv 2306.13831). SPL: Anderson et al. 2018
        (arXiv 1807.06757).
    """

    def __init__(
        self,
        num_envs: int = 1,
        size: int = 21,
        trials: int = 5,
        opened: float = 0.5,
        generator: str = "kruskal",
        pose: bool = False,
    ) -> None:
        if trials < 1 or not 0 <= opened <= 1:
            raise ValueError(f"a maze needs trials >= 1 and 0 <= opened <= 1, got trials={trials}, opened={opened}.")
        if generator not in GENERATORS:
            raise ValueError(f"unknown generator {generator!r}: choose {' or '.join(GENERATORS)}.")
        self.trials, self.limit = trials, 2 * size * size
        params = (self.limit, trials, GENERATORS.index(generator), round(100 * opened))
        super().__init__(num_envs, (_reset, _step), size, params, MORE_INTS, MORE_RECORD, pose=pose)


@njit(cache=True, nogil=True)
def _place(i: int, params: np.ndarray, ints: np.ndarray, rng: np.ndarray, distance: np.ndarray) -> None:
    """Begin a trial in a room drawn uniformly, but not at the goal."""
    start = ints[GOAL, i]
    while start == ints[GOAL, i]:
        start = random_room(rng, i, params[SIZE])
    ints[START, i], ints[FACING, i] = start, below(rng, i, 4)
    begin_trial(i, ints, distance)


@njit(cache=True, nogil=True)
def _begin(
    i: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray, distance: np.ndarray
) -> None:
    size = params[SIZE]
    generate(rng, i, cells[i], size, params[_GENERATOR], params[_PERCENT])
    ints[GOAL, i] = random_room(rng, i, size)
    cells[i, ints[GOAL, i]] = GREEN_GOAL
    distances(cells[i], params[WIDTH], ints[GOAL, i], distance[i])
    ints[TRIAL, i] = ints[REACHED, i] = 0
    _place(i, params, ints, rng, distance)


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
    walk(actions, params, ints, cells, codes, scalars, record, flags)
    for i in range(actions.shape[0]):
        if record[OVER, i]:
            ints[TRIAL, i] += 1
            if ints[TRIAL, i] == params[_TRIALS]:
                end(i, params[_TRIALS], params, ints, cells, image, codes, scalars, record, flags)
                _begin(i, params, ints, cells, rng, distance)
            else:
                _place(i, params, ints, rng, distance)
    look(params, ints, cells, image, codes)
    return -1
