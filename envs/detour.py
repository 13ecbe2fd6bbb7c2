"""Detours: one maze, learned well; then a wall opens, a wall closes, the goal moves, or reward appears at last."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.grid_world import GOAL, NOW, look, tell
from envs.kernels import below, first_invalid
from envs.maze_generate import GENERATORS, generate, random_room
from envs.maze_paths import descend, distances
from envs.maze_view import EMPTY, GREEN_GOAL, GREY_WALL, PAD, move
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

CHANGES = ("open", "close", "goal", "latent")
_OPEN, _CLOSE, _MOVE, _LATENT = range(4)
_CHANGE, _BEFORE, _AFTER, _GENERATOR, _PERCENT = range(MORE_PARAMS, MORE_PARAMS + 5)  # params
_PLACE = MORE_INTS  # ints: the cell that will change
_CHANGED = MORE_RECORD  # record: the trial is after the change
_NOWHERE = 0  # a goal in the padding: nobody comes there


class Detour(TrialWorld):
    """Trials from one start to one goal; half way through the life something changes, without notice.

    Description
        A maze of `size` x `size` cells. Start (a room and a heading) and goal (another room) are drawn once; each
        trial ends at the goal or after 2 size^2 steps. After `trials` trials comes the `change`:

        "open"    a wall opens: the shortest way becomes shorter by a fifth or more
        "close"   a wall closes on the shortest way, and the new one is longer by a quarter or more
        "goal"    the goal moves to another room
        "latent"  there was no goal at all, only one trial of 2 size^2 steps without reward; now it appears

        and then another `trials` trials. An opening is a closing the other way round: both take a cell between two
        rooms on the shortest way of a maze drawn for it, so that a way exists before and after.
    Observation
        Dict, see `envs.grid_world.GridWorld`: MiniGrid's occluded 7x7 view, compass, previous action and reward, a
        flag on the first step of a trial; with `pose` also the agent's x and y.
    Action
        Discrete(3): 0 left, 1 right, 2 forward. Turns take a step; forward into a wall takes one too.
    Reward
        +1 at the goal, 0 elsewhere.
    Termination
        At the goal in the last trial; truncation where that trial runs out of time.
    Memory demand
        A map rather than a route: a closed way asks for the best of the others, an open one for a look at what is
        beside the habit, a moved goal for the same map with another end, and latent learning for a map made before
        there was anything to gain.
    Oracle
        Breadth-first search over (x, y, heading) in the maze as it is: success (share of the trials with a goal that
        reached it) 1.0, and the fewest steps, before and after. Nobody can know of a change before it is seen: regret
        in the first trials after it is the score.
    Registered ids
        `Detour-Open-{size}-v0`, `Detour-Close-{size}-v0`, `Detour-Goal-{size}-v0`, `Detour-Latent-{size}-v0`.
    Reference
        Tolman and Honzik 1930 (insight and detours; introduction and removal of reward), Blodgett 1929 (latent
        learning), University of California Publications in Psychology 4.
    """

    def __init__(
        self,
        num_envs: int = 1,
        size: int = 11,
        change: str = "close",
        trials: int = 10,
        opened: float = 0.5,
        generator: str = "kruskal",
        pose: bool = False,
    ) -> None:
        if trials < 1 or not 0.01 <= opened <= 1:  # whole percent: without a second way it would look for one for ever
            raise ValueError(f"Detour needs trials >= 1 and 0.01 <= opened <= 1, got trials={trials}, opened={opened}.")
        if size < 9:
            raise ValueError(f"Detour needs a maze with two ways: size must be at least 9, got {size}.")
        for name, value, choices in (("change", change, CHANGES), ("generator", generator, GENERATORS)):
            if value not in choices:
                raise ValueError(f"unknown {name} {value!r}: choose {', '.join(choices)}.")
        self.change, self.trials, self.limit = change, trials, 2 * size * size
        kind, before = CHANGES.index(change), 1 if change == "latent" else trials
        own = (self.limit, kind, before, trials, GENERATORS.index(generator), round(100 * opened))
        super().__init__(num_envs, (_reset, _step), size, own, _PLACE + 1, _CHANGED + 1, pose=pose)

    def trace(self) -> dict[str, np.ndarray]:
        """Return what the last step did: as in every TrialWorld, and `changed`: the change came before this trial.

        Where there is no goal, `optimum` is 0.
        """
        parts = super().trace()
        optimum = np.maximum(parts["optimum"], 0)
        return parts | {"optimum": optimum, "changed": self._arrays["record"][_CHANGED] > 0}


@njit(cache=True, nogil=True)
def _another_room(i: int, size: int, rng: np.ndarray, one: int, other: int) -> int:
    place = one
    while place == one or place == other:
        place = random_room(rng, i, size)
    return place


@njit(cache=True, nogil=True)
def _between_rooms(cell: int, width: int) -> bool:
    """Whether a cell lies between two rooms: rooms have odd coordinates."""
    return ((cell % width - PAD) + (cell // width - PAD)) % 2 == 1


@njit(cache=True, nogil=True)
def _close_a_way(
    i: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray, field: np.ndarray
) -> bool:
    """Close a cell of the shortest way, drawn from those that make it longer by a quarter at least, if there is one."""
    width, goal = params[WIDTH], ints[GOAL, i]
    position, heading = ints[START, i], ints[FACING, i]
    fewest, count = field[position, heading], 0
    path = np.empty(fewest, np.int64)
    while position != goal:
        position, heading = move(cells, width, position, heading, descend(field, width, position, heading))
        if _between_rooms(position, width) and (count == 0 or path[count - 1] != position):
            path[count] = position
            count += 1
    for left in range(count, 0, -1):
        pick = below(rng, i, left)
        place, path[pick] = path[pick], path[left - 1]
        cells[place] = GREY_WALL
        distances(cells, width, goal, field)
        if 4 * field[ints[START, i], ints[FACING, i]] >= 5 * fewest:
            ints[_PLACE, i] = place
            return True
        cells[place] = EMPTY
    return False


@njit(cache=True, nogil=True)
def _begin(
    i: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, rng: np.ndarray, distance: np.ndarray
) -> None:
    size, width, change = params[SIZE], params[WIDTH], params[_CHANGE]
    found = False
    while not found:
        generate(rng, i, cells[i], size, params[_GENERATOR], params[_PERCENT])
        start = random_room(rng, i, size)
        ints[START, i], ints[FACING, i] = start, below(rng, i, 4)
        ints[GOAL, i] = _another_room(i, size, rng, start, start)
        distances(cells[i], width, ints[GOAL, i], distance[i])
        found = change == _MOVE or change == _LATENT or _close_a_way(i, params, ints, cells[i], rng, distance[i])
    if change == _MOVE:
        ints[_PLACE, i] = _another_room(i, size, rng, start, ints[GOAL, i])
    elif change == _LATENT:
        ints[_PLACE, i], ints[GOAL, i] = ints[GOAL, i], _NOWHERE
    elif change == _CLOSE:
        cells[i, ints[_PLACE, i]] = EMPTY
    if change != _LATENT:
        cells[i, ints[GOAL, i]] = GREEN_GOAL
    distances(cells[i], width, ints[GOAL, i], distance[i])
    ints[TRIAL, i] = ints[REACHED, i] = 0
    begin_trial(i, ints, distance)


@njit(cache=True, nogil=True)
def _apply_change(i: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, distance: np.ndarray) -> None:
    change, place = params[_CHANGE], ints[_PLACE, i]
    if change == _OPEN:
        cells[i, place] = EMPTY
    elif change == _CLOSE:
        cells[i, place] = GREY_WALL
    else:
        if change == _MOVE:
            cells[i, ints[GOAL, i]] = EMPTY
        cells[i, place] = GREEN_GOAL
        ints[GOAL, i] = place
    distances(cells[i], params[WIDTH], ints[GOAL, i], distance[i])


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
    before, after = params[_BEFORE], params[_AFTER]
    with_goal = after if params[_CHANGE] == _LATENT else before + after
    walk(actions, params, ints, cells, codes, scalars, record, flags)
    for i in range(actions.shape[0]):
        record[_CHANGED, i] = ints[TRIAL, i] >= before
        if record[OVER, i]:
            ints[TRIAL, i] += 1
            if ints[TRIAL, i] == before + after:
                end(i, with_goal, params, ints, cells, image, codes, scalars, record, flags)
                _begin(i, params, ints, cells, rng, distance)
            elif ints[TRIAL, i] == before:
                _apply_change(i, params, ints, cells, distance)
            begin_trial(i, ints, distance)
    look(params, ints, cells, image, codes)
    return -1
