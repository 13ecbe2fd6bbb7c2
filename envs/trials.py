"""Trials in mazes: runs from a start to a goal, one after the other in one life; what Atlas and Detour share."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.grid_world import FINAL, GOAL, HEADING, NOW, OWN, POSITION, REWARD, SUCCESS, GridWorld, show, tell
from envs.maze_view import move

SIZE, WIDTH, LIMIT, MORE_PARAMS = range(4)  # params; a family's own begin at MORE_PARAMS
TIME, TRIAL, REACHED, OPTIMUM, START, FACING, MORE_INTS = range(OWN, OWN + 7)  # ints; its own begin at MORE_INTS
_AT, _LOOKS, _WHICH, _SUCCESS, _OVER, _STEPS, _BEST, MORE_RECORD = range(8)  # record; its own begin at MORE_RECORD


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
def walk(i: int, action: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, record: np.ndarray) -> bool:
    """Move environment i and note what that did; returns whether the trial is over."""
    position, heading = move(cells[i], params[WIDTH], ints[POSITION, i], ints[HEADING, i], action)
    ints[POSITION, i], ints[HEADING, i] = position, heading
    ints[TIME, i] += 1
    reached = position == ints[GOAL, i]
    over = reached or ints[TIME, i] == params[LIMIT]
    ints[REACHED, i] += reached
    record[_AT, i], record[_LOOKS, i], record[_WHICH, i] = position, heading, ints[TRIAL, i]
    record[_SUCCESS, i], record[_OVER, i] = reached, over
    record[_STEPS, i], record[_BEST, i] = ints[TIME, i], ints[OPTIMUM, i]
    return over


@njit(cache=True, nogil=True)
def settle(
    i: int, action: int, ended: bool, trials: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray,
    image: np.ndarray, codes: np.ndarray, scalars: np.ndarray, record: np.ndarray, flags: np.ndarray,
) -> None:  # fmt: skip
    """Write reward and ends; success is the share of the life's `trials` that reached the goal."""
    reached = record[_SUCCESS, i] > 0
    scalars[REWARD, i] = 1.0 if reached else 0.0
    scalars[SUCCESS, i] = ints[REACHED, i] / trials if ended else np.nan
    flags[0, i], flags[1, i] = ended and reached, ended and not reached
    if ended:
        show(i, FINAL, params, ints, cells, image, codes)
        tell(i, FINAL, action, scalars[REWARD, i], False, codes, scalars)
        tell(i, NOW, -1, 0.0, True, codes, scalars)
    else:
        tell(i, NOW, action, scalars[REWARD, i], record[_OVER, i] > 0, codes, scalars)
