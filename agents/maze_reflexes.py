"""Reflexes for mazes seen through MiniGrid's egocentric view: a hand on the wall, depth-first search, a map.

Sources: the right-hand rule and Trémaux's marks are in Lucas 1882, Récréations mathématiques, and Even 1979, Graph
Algorithms; going to the nearest unknown place is Yamauchi 1997, taking the unknown for free Koenig and Smirnov 1996.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agents.reflexes import KeepWalking, Reflex, State
from envs.grid_world import GridWorld
from envs.maze import Maze
from envs.maze_generate import room
from envs.maze_paths import distances
from envs.maze_view import (
    DOOR_CLOSED,
    DOOR_OPEN,
    FORWARD,
    GOAL,
    GREY_WALL,
    LEFT,
    PAD,
    RIGHT,
    UNSEEN,
    VIEW,
    ahead,
    move,
    observe,
    walkable,
)
from envs.world import Obs

_AHEAD, _RIGHT_HAND, _LEFT_HAND = (3, 5), (4, 6), (2, 6)  # of the view, the cells beside the agent
_ROOT = 8  # in a mark: the search began here
_REACH = 4  # how many times farther than the best view so far a better one is looked for


class WallFollower(Reflex):
    """A right hand on the wall, without a map. In a perfect maze it comes everywhere; where walls are islands, not.

    Sees the cells beside it; remembers whether it has just turned to its right.
    """

    fits = KeepWalking.fits

    def initial_state(self) -> State:
        """1 while the step forward is due that follows a turn to the right, (B,)."""
        return (np.zeros(self.num_envs, np.uint8),)

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Turn right wherever that is open, else go ahead, else turn left."""
        assert isinstance(obs, dict)
        actions = np.zeros(self.num_envs, np.int64)
        _follow(obs["image"], _new_trial(obs), state[0], actions)
        return actions


class Tremaux(Reflex):
    """Depth-first search with marks: to a neighbouring cell that has none, else back to where it came from.

    Sees the cells beside it, and is told its pose, which an agent that integrates its path knows too. The marks are
    of this trial; it knows nothing in the next.
    """

    worlds = (GridWorld,)

    def initial_state(self) -> State:
        """1 + the heading in which each cell was entered, (B, cells); 0 without a mark."""
        world = _grid_world(self)
        return (np.zeros((self.num_envs, world.width**2), np.uint8),)

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Take the next step of the search."""
        assert isinstance(obs, dict)
        world, actions = _grid_world(self), np.zeros(self.num_envs, np.int64)
        _search(obs["image"], _new_trial(obs), world.position, world.heading, world.width, state[0], actions)
        return actions


class GreedyMap(Reflex):
    """A map of all it has seen in this life: the shortest way to the goal once that is known, else to the unknown.

    Takes unknown cells for free until it sees them, plans anew at every step over (x, y, heading), and draws a new map
    when the old one has no way to anywhere. Is told its pose (in later trials an agent would have to recognise where
    it was put), the size of the maze and what the goal looks like.
    """

    worlds = (GridWorld,)

    def initial_state(self) -> State:
        """The cells as far as they have been seen, (B, cells), kind | colour << 4; 0 unknown."""
        world = _grid_world(self)
        return (np.zeros((self.num_envs, world.width**2), np.uint8),)

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Add what is in view to the map and take the first step of the plan."""
        assert isinstance(obs, dict)
        world, actions = _grid_world(self), np.zeros(self.num_envs, np.int64)
        _explore(obs["image"], world.position, world.heading, world.width, world.wanted(), state[0], actions)
        return actions


class KnownMap(Reflex):
    """A yardstick of search: knows the whole maze, and not in which of its rooms the goal is until it has seen it.

    Goes to the pose that shows most for the way there: the sum of l over the rooms not seen yet in this trial, l being
    the distance of a room from where the trial began, by the square root of the steps. (SPL counts l / steps; the root
    is the best of the powers tried on seeds 0 to 99.) No proof that no search does better: it is greedy.
    """

    worlds = (Maze,)

    def initial_state(self) -> State:
        """What seeing each cell is worth, (B, cells), 0: the goal is not there; whether the goal was seen, (B,)."""
        world = _grid_world(self)
        return np.zeros((self.num_envs, world.width**2), np.int16), np.zeros(self.num_envs, np.bool_)

    def act(self, obs: Obs, state: State) -> np.ndarray:
        """Go to the goal once it was seen, else where most is to be seen."""
        assert isinstance(obs, dict)
        world, actions, new = _grid_world(self), np.zeros(self.num_envs, np.int64), _new_trial(obs)
        worth, found = state
        found |= (obs["image"][..., 0] == GOAL).any((1, 2))
        actions[:] = world.best_actions()
        for i in np.flatnonzero(~found).tolist():
            cells = np.pad(world.cells(i), PAD, constant_values=GREY_WALL).ravel()
            if new[i]:
                _appraise(cells, world.size, world.position[i], worth[i])
            actions[i] = _scout(cells, world.width, world.position[i], world.heading[i], worth[i])
        return actions


def _grid_world(reflex: Reflex) -> GridWorld:
    world = reflex.world.unwrapped
    assert isinstance(world, GridWorld)
    return world


def _new_trial(obs: dict[str, np.ndarray]) -> np.ndarray:
    """Return which agents have just been put somewhere, (B,) bool; none where the observation does not say."""
    return obs["new_trial"] > 0 if "new_trial" in obs else np.zeros(len(obs["image"]), np.bool_)


@njit(cache=True, nogil=True, inline="always")
def _cell(image: np.ndarray, place: tuple[int, int]) -> int:
    """Return the cell byte that is shown in one place, (column, row), of a view."""
    column, row = place
    kind, colour, condition = int(image[column, row, 0]), int(image[column, row, 1]), int(image[column, row, 2])
    if kind == DOOR_OPEN and condition > 0:
        kind = DOOR_CLOSED + condition - 1
    return kind | colour << 4


@njit(cache=True, nogil=True)
def _follow(images: np.ndarray, new_trial: np.ndarray, turned: np.ndarray, actions: np.ndarray) -> None:
    for i in range(actions.shape[0]):
        image = images[i]
        if walkable(_cell(image, _RIGHT_HAND)) and (not turned[i] or new_trial[i]):
            actions[i] = RIGHT
        elif walkable(_cell(image, _AHEAD)):
            actions[i] = FORWARD
        else:
            actions[i] = LEFT
        turned[i] = actions[i] == RIGHT


@njit(cache=True, nogil=True)
def _search(
    images: np.ndarray, new_trial: np.ndarray, positions: np.ndarray, headings: np.ndarray, width: int,
    marks: np.ndarray, actions: np.ndarray,
) -> None:  # fmt: skip
    for i in range(actions.shape[0]):
        image, place, heading, mark = images[i], positions[i], headings[i], marks[i]
        if new_trial[i]:
            mark[:] = 0
            mark[place] = _ROOT + heading + 1
        if mark[place] == 0:
            mark[place] = heading + 1
        forward, right = ahead(heading, width), ahead(heading + 1, width)
        back = (mark[place] + 1) & 3
        if mark[place + forward] == 0 and walkable(_cell(image, _AHEAD)):
            actions[i] = FORWARD
        elif mark[place + right] == 0 and walkable(_cell(image, _RIGHT_HAND)):
            actions[i] = RIGHT
        elif mark[place - right] == 0 and walkable(_cell(image, _LEFT_HAND)):
            actions[i] = LEFT
        elif heading != back:
            actions[i] = LEFT if (heading + 3) & 3 == back else RIGHT
        elif mark[place] < _ROOT:
            actions[i] = FORWARD
        else:  # all is searched: begin again
            mark[:] = 0
            mark[place] = _ROOT + heading + 1
            actions[i] = LEFT


@njit(cache=True, nogil=True)
def _explore(
    images: np.ndarray, positions: np.ndarray, headings: np.ndarray, width: int, wanted: np.ndarray,
    maps: np.ndarray, actions: np.ndarray,
) -> None:  # fmt: skip
    for i in range(actions.shape[0]):
        _remember(images[i], positions[i], headings[i], width, maps[i])
        action = _plan(maps[i], positions[i], headings[i], width, wanted[i])
        if action < 0:
            maps[i, :] = UNSEEN
            _remember(images[i], positions[i], headings[i], width, maps[i])
            action = max(0, _plan(maps[i], positions[i], headings[i], width, wanted[i]))
        actions[i] = action


@njit(cache=True, nogil=True)
def _remember(image: np.ndarray, position: int, heading: int, width: int, known: np.ndarray) -> None:
    """Copy what is in view into the map, but for the agent's own place, which is shown empty whatever lies there."""
    forward, right = ahead(heading, width), ahead(heading + 1, width)
    for column in range(VIEW):
        for row in range(VIEW):
            if image[column, row, 0] != UNSEEN:
                place = position + (VIEW - 1 - row) * forward + (column - VIEW // 2) * right
                if place != position or known[place] == UNSEEN:
                    known[place] = _cell(image, (column, row))


@njit(cache=True, nogil=True)
def _plan(known: np.ndarray, position: int, heading: int, width: int, wanted: int) -> int:
    """Return the first action of a shortest way to a wanted cell, or without one to an unknown cell; -1 without any.

    Breadth-first over (cell, heading), through what is known to be free or not known, inside the outer wall.
    """
    target = wanted if (known == wanted).any() else UNSEEN
    first = np.zeros(4 * known.shape[0], np.int8)  # 1 + the first action on the way to each pose
    queue = np.empty(4 * known.shape[0], np.int32)
    begin, end = 0, 1
    queue[0], first[position << 2 | heading] = position << 2 | heading, 4
    while begin < end:
        pose = queue[begin]
        place, facing = pose >> 2, pose & 3
        begin += 1
        for action in (FORWARD, RIGHT, LEFT):
            here, there = place, (facing + (1 if action == RIGHT else 3)) & 3
            if action == FORWARD:
                here, there = place + ahead(facing, width), facing
                if not _enterable(known, here, width, target):
                    continue
            index = here << 2 | there
            if first[index] == 0:
                first[index] = action + 1 if pose == queue[0] else first[pose]
                queue[end], end = index, end + 1
                if known[here] == target:
                    return first[index] - 1
    return -1


@njit(cache=True, nogil=True, inline="always")
def _enterable(known: np.ndarray, place: int, width: int, target: int) -> bool:
    x, y = place % width, place // width
    inside = PAD < x < width - PAD - 1 and PAD < y < width - PAD - 1
    return inside and (known[place] == UNSEEN or known[place] == target or walkable(known[place]))


@njit(cache=True, nogil=True)
def _appraise(cells: np.ndarray, size: int, start: int, worth: np.ndarray) -> None:
    """Write how many steps it is from the start to each room, for the start itself and what is no room 0."""
    field = np.empty((cells.shape[0], 4), np.int16)
    distances(cells, size + 2 * PAD, start, field)
    worth[:] = 0
    for index in range((size // 2) ** 2):
        worth[room(index, size)] = field[room(index, size)].min()


@njit(cache=True, nogil=True)
def _scout(cells: np.ndarray, width: int, position: int, heading: int, worth: np.ndarray) -> int:
    """Take what is in view off `worth` and return the first action to where most comes into view for the way there."""
    image = np.empty((VIEW, VIEW, 3), np.uint8)
    _in_view(cells, width, position, heading, worth, image, True)
    steps = np.full(4 * cells.shape[0], -1, np.int32)  # to each pose
    first = np.zeros(4 * cells.shape[0], np.int8)  # action on the way to each pose
    queue = np.empty(4 * cells.shape[0], np.int32)
    begin, end, best, choice, horizon = 0, 1, 0.0, LEFT, cells.shape[0]
    queue[0], steps[position << 2 | heading] = position << 2 | heading, 0
    while begin < end:
        pose = queue[begin]
        begin += 1
        if steps[pose] > horizon:
            break
        value = _in_view(cells, width, pose >> 2, pose & 3, worth, image, False) / max(steps[pose], 1) ** 0.5
        if value > best:
            best, choice, horizon = value, first[pose], _REACH * (steps[pose] + VIEW)
        for action in (FORWARD, RIGHT, LEFT):
            here, there = move(cells, width, pose >> 2, pose & 3, action)
            index = here << 2 | there
            if steps[index] < 0:
                steps[index] = steps[pose] + 1
                first[index] = action if steps[pose] == 0 else first[pose]
                queue[end], end = index, end + 1
    return choice


@njit(cache=True, nogil=True)
def _in_view(
    cells: np.ndarray, width: int, position: int, heading: int, worth: np.ndarray, image: np.ndarray, take: bool
) -> int:
    """Sum what cells in view of a pose are worth; and take it off, if so told. Draws the view into `image`."""
    observe(cells, width, position, heading, image)
    forward, right, total = ahead(heading, width), ahead(heading + 1, width), 0
    for column in range(VIEW):
        for row in range(VIEW):
            place = position + (VIEW - 1 - row) * forward + (column - VIEW // 2) * right
            if image[column, row, 0] != UNSEEN and worth[place] > 0:
                total += worth[place]
                if take:
                    worth[place] = 0
    return total
