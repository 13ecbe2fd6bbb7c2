"""Random walks of the labyrinth that mice are measured against: one never turns back, one has the mice's biases."""

from __future__ import annotations

import numpy as np

from agents.reflexes import Reflex, State
from envs.labyrinth import BACK, END, STEM, Labyrinth, action_to, tree
from envs.world import Obs, World

FORWARD_FROM_STEM, ALTERNATE, FORWARD_FROM_BRANCH, INTO_STEM = 0.780, 0.718, 0.822, 0.635
"""Means over the 19 mice of the paper's four biases."""


class NeverReverse(Reflex):
    """A random walk of the labyrinth that goes back at ends only."""

    worlds = (Labyrinth,)

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Turn left or right with the same probability; back where there is no other way."""
        allowed = labyrinth(self.world).action_masks()
        allowed[:, BACK] = ~allowed[:, 0]
        return self.choose(allowed)


class FourBias(Reflex):
    """The random walk with four biases that Rosenberg et al. 2021 (eLife 10:e66175) model the mice by.

    Coming from the stem of a junction it goes on with `FORWARD_FROM_STEM`, then with `ALTERNATE` into the branch on
    the other side than the one that led here; coming from a branch it goes on with `FORWARD_FROM_BRANCH`, then with
    `INTO_STEM` into the stem. Node 0 is on no side: there both branches are alike.
    """

    worlds = (Labyrinth,)

    def __init__(self, world: World, seed: int = 0) -> None:
        super().__init__(world, seed)
        self._side = tree(labyrinth(world).depth).side
        self._chances = _chances()

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Draw an action by the biases."""
        world = labyrinth(self.world)
        return self.choose(self._chances[world.entry, self._side[world.node]])


def _chances() -> np.ndarray:
    """The chance of every action, (5, 3, 3): by how the node was entered, and on which side of its stem it lies."""
    table = np.zeros((5, 3, 3))
    table[END:, :, BACK] = 1.0
    for entry, side, way in np.ndindex(3, 3, 3):
        if way == entry:
            chance = 1 - (FORWARD_FROM_STEM if entry == STEM else FORWARD_FROM_BRANCH)
        elif entry == STEM:
            turn = 0.5 if side == STEM else 1 - ALTERNATE if side == way else ALTERNATE
            chance = FORWARD_FROM_STEM * turn
        else:
            chance = FORWARD_FROM_BRANCH * (INTO_STEM if way == STEM else 1 - INTO_STEM)
        table[entry, side, action_to(np.array(entry), np.array(way))] = chance
    return table


def labyrinth(world: World) -> Labyrinth:
    """Return the labyrinth inside a world."""
    inner = world.unwrapped
    assert isinstance(inner, Labyrinth)
    return inner
