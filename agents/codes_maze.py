"""Codes of mazes seen through MiniGrid's view: cells, and what is seen as facts. See `agents.codes`."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Dict
from numba import njit

from agents.codes import empty_percept, first, plan
from agents.life import EXPLORE, NO_PLAN, Life, LifetimeConfig, Percept
from agents.lifetime_memory import Face
from envs.atlas import Atlas
from envs.detour import Detour
from envs.maze_view import DOOR_OPEN, EMPTY, FLOOR, GOAL, UNSEEN, VIEW
from envs.world import Obs, World

HEADINGS = ((1, 0, 0, 0), (0, 1, 0, 0), (-1, 0, 0, 0), (0, -1, 0, 0))  # right, down, left, up
_GOAL = 1
_LEFT_TURN, _RIGHT_TURN, _FORWARD = range(3)
_X, _Y, _STUCK, _TRIAL = range(4)  # registers
TURNS = [[min((d - h) % 4, (h - d) % 4) for d in range(4)] for h in range(4)] + [[0] * 4]
_TILE = 16
_PULL = 0.5  # from 0.3 to 1 the search is as good
PATIENCE = 3
"""Decisions without a plan after which a map is given up."""


class MazeCodes:
    """Cells of a maze by x and y; what is seen of the 7x7 view becomes facts of the cells that it shows.

    Where the world tells the pose (`pose=True`) all trials share one map. Where it does not, the path is integrated
    from the start of the trial; where trials begin anywhere, each then has a map of its own, because recognising a
    maze from elsewhere is not done.

    Prior knowledge: how the view lies around the pose, what can be walked on, what a goal looks like, what turns cost;
    with the pose also how large the maze is.
    """

    registers, notes = 4, 1

    def __init__(self, world: World, settings: LifetimeConfig) -> None:
        size = int(getattr(world.unwrapped, "size", 21))
        self._same_start = isinstance(world.unwrapped, Atlas | Detour)
        tiles = 1 if size <= 2 * _TILE else (-(-size // _TILE)) ** 2
        ball = 64 if size <= 2 * _TILE else 128 if size <= 4 * _TILE else 256
        located = isinstance(world.observation_space, Dict) and "x" in world.observation_space.spaces
        pull = _PULL if located else 0.0  # else where the middle is would be unknown
        budget = (max(4096, 3072 * tiles), ball, ball // 2, 2.0, tiles, 8 * ball, True)
        bits = int(np.ceil(np.log2(size * size / 2)))
        body = {"group": [0, 1, 0, 1], "turn": TURNS, "between": [[0, 1], [1, 0]], "middle": [(size - 1) // 2] * 2}
        self.plan = plan(2, HEADINGS, 2, 0, bits, budget, **body)._replace(pull=pull, guarded=True)
        self._percept = empty_percept(world.num_envs, 160, 4, 2)

    def contexts(self, life: Life) -> float:
        """One."""
        return 1.0

    def perceive(self, face: Face, life: Life, obs: Obs, starts: np.ndarray) -> Percept:
        """See `Encoder`."""
        assert isinstance(obs, dict)
        percept, senses = first(self._percept, len(starts)), life.senses
        if "x" in obs:
            senses[:, _X], senses[:, _Y] = obs["x"], obs["y"]
        else:
            new = obs["new_trial"] > 0
            senses[new, : _Y + 1] = 0
            if not self._same_start:
                senses[:, _TRIAL] += new
                life.goal[new] = 0
                percept.place[:, 3] = senses[:, _TRIAL]
        percept.place[:, :2] = senses[:, : _Y + 1]
        percept.heading[:] = obs["direction"]
        look(obs["image"], self.plan.body.moves, percept)
        percept.wishes[:] = _GOAL, EXPLORE
        percept.renew[:] = self.stuck(life)
        return percept

    @staticmethod
    def stuck(life: Life) -> np.ndarray:
        """Whether nothing that is known leads anywhere, (B,), three times in a row: then the map is wrong."""
        count = life.senses[:, _STUCK] = np.where(life.drive == NO_PLAN, life.senses[:, _STUCK] + 1, 0)
        return count >= PATIENCE

    def act(self, life: Life, percept: Percept, directions: np.ndarray) -> np.ndarray:
        """See `Encoder`."""
        turn = np.where(directions < 0, 1, directions - percept.heading) % 4
        actions = np.choose(turn, [_FORWARD, _RIGHT_TURN, _RIGHT_TURN, _LEFT_TURN])
        steps = np.where((actions == _FORWARD)[:, None], np.array(HEADINGS)[percept.heading, :2], 0)
        life.senses[:, : _Y + 1] += steps  # a planned step is never into a wall
        return actions


@njit(cache=True, nogil=True)
def _walkable(cell: np.ndarray) -> bool:
    """Whether (type, colour, state) can be walked on."""
    return cell[0] in (EMPTY, FLOOR, GOAL) or (cell[0] == DOOR_OPEN and cell[2] == 0)


@njit(cache=True, nogil=True)
def look(images: np.ndarray, moves: np.ndarray, percept: Percept) -> None:
    """Facts of every cell in view that can be walked on: which of its neighbours can be, and whether it is a goal."""
    for b in range(images.shape[0]):
        image, heading, count = images[b], percept.heading[b], 0
        for column in range(VIEW):
            for row in range(VIEW):
                if not _walkable(image[column, row]):
                    continue
                code, steps = percept.codes[b, count], percept.steps[b, count]
                code[:] = percept.place[b]
                ahead, aside = VIEW - 1 - row, column - VIEW // 2
                code += ahead * moves[heading] + aside * moves[(heading + 1) % 4]
                for side in range(4):  # 0 ahead, 1 right, 2 back, 3 left of the body's heading
                    c, r = column + (side == 1) - (side == 3), row - (side == 0) + (side == 2)
                    steps[(heading + side) % 4] = -1
                    if 0 <= c < VIEW and 0 <= r < VIEW and image[c, r, 0] != UNSEEN:
                        steps[(heading + side) % 4] = _walkable(image[c, r])
                percept.marks[b, count, EXPLORE] = -1
                percept.marks[b, count, _GOAL] = image[column, row, 0] == GOAL
                count += 1
        percept.learned[b] = count
