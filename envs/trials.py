"""Trials in mazes: runs from a start to a goal, one after the other in one life; what Maze, Atlas and Detour share."""

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
    PREV_ACTION,
    REWARD,
    SUCCESS,
    GridWorld,
    show,
    tell,
)
from envs.maze_view import move

SIZE, WIDTH, LIMIT, MORE_PARAMS = range(4)  # params; a family's own begin at MORE_PARAMS
TIME, TRIAL, REACHED, OPTIMUM, START, FACING, MORE_INTS = range(OWN, OWN + 7)  # ints; its own begin at MORE_INTS
_AT, _LOOKS, _WHICH, _SUCCESS, OVER, _STEPS, _BEST, MORE_RECORD = range(8)  # record; its own begin at MORE_RECORD


class TrialWorld(GridWorld):
    """A GridWorld of trials, each from the pose in ints START and FACING to GOAL or for LIMIT steps."""

    def trace(self) -> dict[str, np.ndarray]:
        """Return what the last step did, (B,) each but the cell.

        `cell` (B, 2) and `heading`: where it led to; `trial`: its number, from 0; `reached`: the goal; `over`: the
        trial ended; `steps`: of the trial so far; `optimum`: the fewest steps from its start to the goal.
        """
        position, heading, trial, reached, over, steps, optimum = self._arrays["record"][:MORE_RECORD].copy()
        return {
            "cell": self.places(position),
            "heading": heading,
            "trial": trial,
            "reached": reached > 0,
            "over": over > 0,
            "steps": steps,
            "optimum": optimum,
        }


@njit(cache=True, nogil=True)
def begin_trial(i: int, ints: np.ndarray, distance: np.ndarray) -> None:
    """Put the agent on the start."""
    ints[POSITION, i], ints[HEADING, i], ints[TIME, i] = ints[START, i], ints[FACING, i], 0
    ints[OPTIMUM, i] = distance[i, ints[START, i], ints[FACING, i]]


@njit(cache=True, nogil=True)
def walk(
    actions: np.ndarray, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, codes: np.ndarray,
    scalars: np.ndarray, record: np.ndarray, flags: np.ndarray,
) -> None:  # fmt: skip
    """Move all agents, note and tell what that did. What follows is for the family, where `record[OVER]`."""
    width, limit = params[WIDTH], params[LIMIT]
    for i in range(actions.shape[0]):
        position, heading = move(cells[i], width, ints[POSITION, i], ints[HEADING, i], actions[i])
        ints[POSITION, i], ints[HEADING, i] = position, heading
        ints[TIME, i] += 1
        reached = position == ints[GOAL, i]
        over = reached or ints[TIME, i] == limit
        reward = 1.0 if reached else 0.0
        ints[REACHED, i] += reached
        record[_AT, i], record[_LOOKS, i], record[_WHICH, i] = position, heading, ints[TRIAL, i]
        record[_SUCCESS, i], record[OVER, i] = reached, over
        record[_STEPS, i], record[_BEST, i] = ints[TIME, i], ints[OPTIMUM, i]
        scalars[REWARD, i], scalars[SUCCESS, i] = reward, np.nan
        flags[0, i] = flags[1, i] = False
        tell(i, NOW, actions[i], reward, over, codes, scalars)


@njit(cache=True, nogil=True)
def end(
    i: int, trials: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, image: np.ndarray,
    codes: np.ndarray, scalars: np.ndarray, record: np.ndarray, flags: np.ndarray,
) -> None:  # fmt: skip
    """End the life of environment i; success is the share of its `trials` that reached the goal."""
    reached = record[_SUCCESS, i] > 0
    scalars[SUCCESS, i] = ints[REACHED, i] / trials
    flags[0, i], flags[1, i] = reached, not reached
    show(i, FINAL, params, ints, cells, image, codes)
    tell(i, FINAL, codes[NOW, PREV_ACTION, i] - 1, scalars[REWARD, i], False, codes, scalars)
    tell(i, NOW, -1, 0.0, True, codes, scalars)
