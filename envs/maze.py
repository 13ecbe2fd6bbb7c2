"""Braided mazes: find a goal, then find it again from other places of the same maze."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.grid_world import (
    FINAL,
    GOAL,
    HEADING,
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
from envs.maze_generate import GENERATORS, generate, random_room
from envs.maze_paths import distances
from envs.maze_view import GREEN_GOAL, move

_SIZE, _WIDTH, _TRIALS, _LIMIT, _GENERATOR, _PERCENT = range(6)  # params
_TIME, _TRIAL, _REACHED, _OPTIMUM = range(OWN, OWN + 4)  # ints
_AT, _FACING, _WHICH, _SUCCESS, _OVER, _STEPS, _BEST = range(7)  # record


class Maze(GridWorld):
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
        params = (trials, self.limit, GENERATORS.index(generator), round(100 * opened))
        super().__init__(num_envs, (_reset, _step), size, params, ints=_OPTIMUM + 1, record=_BEST + 1, pose=pose)

    def trace(self) -> dict[str, np.ndarray]:
        """Return what the last step did, (B,) each.

        `cell` (B, 2) and `heading`: where it led to; `trial`: of 0 .. trials - 1; `reached`: the goal; `over`: the
        trial ended; `steps`: of the trial so far; `optimum`: the fewest steps from its start to the goal.
        """
        position, heading, trial, reached, over, steps, optimum = self._arrays["record"].copy()
        return {
            "cell": self.places(position),
            "heading": heading,
            "trial": trial,
            "reached": reached.astype(np.bool_),
            "over": over.astype(np.bool_),
            "steps": steps,
            "optimum": optimum,
        }


@njit(cache=True, nogil=True)
def _begin_trial(i: int, params: np.ndarray, ints: np.ndarray, rng: np.ndarray, distance: np.ndarray) -> None:
    start = ints[GOAL, i]
    while start == ints[GOAL, i]:
        start = random_room(rng, i, params[_SIZE])
    ints[POSITION, i], ints[HEADING, i] = start, below(rng, i, 4)
    ints[_OPTIMUM, i] = distance[i, start, ints[HEADING, i]]
    ints[_TIME, i] = 0


@njit(cache=True, nogil=True)
def _begin(
    i: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray, distance: np.ndarray
) -> None:
    size = params[_SIZE]
    generate(rng, i, cells[i], size, params[_GENERATOR], params[_PERCENT])
    ints[GOAL, i] = random_room(rng, i, size)
    cells[i, ints[GOAL, i]] = GREEN_GOAL
    distances(cells[i], params[_WIDTH], ints[GOAL, i], distance[i])
    ints[_TRIAL, i] = ints[_REACHED, i] = 0
    _begin_trial(i, params, ints, rng, distance)


@njit(cache=True, nogil=True)
def _reset(
    params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray, distance: np.ndarray,
    image: np.ndarray, codes: np.ndarray, scalars: np.ndarray,
) -> None:  # fmt: skip
    for i in range(rng.shape[0]):
        _begin(i, params, ints, cells, rng, distance)
        show(i, NOW, params, ints, cells, image, codes)
        tell(i, NOW, -1, 0.0, True, codes, scalars)


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
        reached = position == ints[GOAL, i]
        over = reached or ints[_TIME, i] == params[_LIMIT]
        ended = over and ints[_TRIAL, i] == params[_TRIALS] - 1
        reward = 1.0 if reached else 0.0
        ints[_REACHED, i] += reached
        record[_AT, i], record[_FACING, i], record[_WHICH, i] = position, heading, ints[_TRIAL, i]
        record[_SUCCESS, i], record[_OVER, i] = reached, over
        record[_STEPS, i], record[_BEST, i] = ints[_TIME, i], ints[_OPTIMUM, i]
        scalars[REWARD, i] = reward
        scalars[SUCCESS, i] = ints[_REACHED, i] / params[_TRIALS] if ended else np.nan
        flags[0, i], flags[1, i] = ended and reached, ended and not reached
        if ended:
            show(i, FINAL, params, ints, cells, image, codes)
            tell(i, FINAL, actions[i], reward, False, codes, scalars)
            _begin(i, params, ints, cells, rng, distance)
            tell(i, NOW, -1, 0.0, True, codes, scalars)
        else:
            if over:
                ints[_TRIAL, i] += 1
                _begin_trial(i, params, ints, rng, distance)
            tell(i, NOW, actions[i], reward, over, codes, scalars)
        show(i, NOW, params, ints, cells, image, codes)
    return -1
