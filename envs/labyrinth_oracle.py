"""The best exploration of the labyrinth by one who knows the maze, but not where the water is.

Of exploration and of success, the share of perfect runs, it is the optimum. Of return it is not: who gives up the tour
for the water once it is found gets a little more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.labyrinth import REARM, Labyrinth, action_to, tree, way_to
from envs.world import Obs

State = tuple[np.ndarray, np.ndarray]


class Patrol:
    """Depth-first search of all the ends, then a patrol of them, with water from home as often as it comes.

    Its runs in are direct: depth - 1 moves from node 0. It finds the port after 2^depth - 2 moves on average (126)
    and closes a tour of all the ends in 2^(depth + 1) - 4 (252). It is back at the port in the very step in which it
    gives water again, by way of home, so that ports of both kinds give it the same.
    """

    def __init__(self, world: Labyrinth) -> None:
        self.world, self._ends = world, 1 << (world.depth - 1)
        self._first_end = self._ends - 1

    def predict(
        self, obs: Obs, state: State | None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, State]:
        """Return the best actions (B,) and the memory: ends passed on the tour, and whether it is fetching water.

        Fetching is 0 not at all, 1 on the way home, 2 on the way in.
        """
        world = self.world
        passed, fetching = state or (np.zeros(world.num_envs, np.int64), np.zeros(world.num_envs, np.int64))
        if episode_start is not None:
            starts = np.asarray(episode_start, np.bool_)
            passed[starts], fetching[starts] = 0, 0
        node, port, at_home = world.node, world.port, world.node == world.home
        arrived = node == self._target(passed)
        passed += arrived
        toured = (world.rewards > 0) & (passed >= self._ends)
        passed += toured & (self._target(passed) == port)  # water is not on the patrol
        fetching[(node == port) & (world.since_reward == 0) | at_home & (fetching == 1)] = 0
        home = tree(world.depth).level[node] + 1  # moves to it
        due = world.since_reward + home + world.depth + 2 > REARM  # one more move away would be too late
        due |= arrived & (passed == self._ends)  # the first tour ends at home
        fetching = np.where(toured & due & (fetching == 0), np.where(at_home, 2, 1), fetching)
        target = np.where(fetching == 0, self._target(passed), np.where(fetching == 1, world.home, port))
        return action_to(world.entry, way_to(world.depth, node, target)), (passed, fetching)

    def _target(self, passed: np.ndarray) -> np.ndarray:
        return self._first_end + passed % self._ends


def expected_return(depth: int, life: int) -> float:
    """Return the mean over ports of the rewards that `Patrol` gets in a life."""
    ends = 1 << (depth - 1)
    gaps = [2 * (k & -k).bit_length() for k in range(1, ends)]  # from the k-th end to the next: up and down
    found = depth + np.append(0, np.cumsum(gaps))  # arrivals, that at node 0 is the first
    again = np.maximum(found + REARM, found[-1] + 2 * depth)  # the tour is finished first
    later = np.where(again <= life, 1 + (life - again) // REARM, 0)
    return float(((found <= life) + later).mean())
