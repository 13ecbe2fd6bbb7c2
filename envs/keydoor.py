"""DarkKeyDoor: find a hidden key and a hidden door in a dark room, again and again in one life."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.kernels import below, first_invalid
from envs.world import KernelWorld

_SIZE, _LIMIT, _LIFE, _RELAYOUT = range(4)  # params
# ints: the clock, the attempt, the layout, the life; and what the last step did, which a new life does not clear
_TIME, _X, _Y, _HAS, _MOVES, _BACK = range(6)
_START, _KEY, _DOOR, _CYCLE, _LAYOUT, _SINCE, _DUE, _DOORS, _PAR = range(6, 15)
_AT, _HELD, _EVENT, _WHICH, _BEST = range(15, 20)
_NOTHING, _TOOK_KEY, _OPENED_DOOR, _WENT_BACK = range(4)  # events


class KeyDoor(KernelWorld):
    """A dark room with a hidden key and a hidden door, in one layout or in layouts that change unannounced.

    Description
        A size x size room in which nothing can be seen. Take the key, then open the door; the step after
        that leads back to the start square, whatever the action, and the same layout begins again. So does
        an attempt that took 50 moves without success (50 size² / 64, at least 4 size, in other rooms: in proportion
        to the squares to search). Start, key and door are drawn uniformly and independently, also onto one square;
        a key or door underfoot is taken by `stay`. With `relayout` all three are drawn anew, without
        notice, at the first return to the start after every `relayout` steps of the life.
    Observation
        Box(-1, 1, (4,), float32): x and y from -1 (left, top) to 1; the last reward; 1 at the first step of
        an attempt, else 0. Whether the key is held is not shown.
    Action
        Discrete(5): 0 up, 1 left, 2 down, 3 right, 4 stay. A move into a wall leaves the agent in its place.
    Reward
        +1 for the key, +1 for the door.
    Termination
        Never; a life is cut at `life` steps (truncation).
    Memory demand
        A layout, learned inside a life from rewards alone, and forgotten when it changes.
    Success
        Doors opened, as a share of the doors that full information would have opened in the same layouts.
        A cycle of that optimum takes max(1, |start - key|) + max(1, |key - door|) + 1 steps (city-block
        distances), which comes to E[500 / cycle] = 49.6 doors per 500 steps in 8 x 8.
    Oracle
        `best_actions()`: full information, success 1. The agent `searcher` is the best that must search, near
        enough; `agents.keydoor_searcher` has a bound that none can pass.
    Registered ids
        `DarkKeyDoor-{size}-v0`, `DarkKeyDoor-{size}-Relayout{relayout}-v0`.
    Reference
        Dark Key-to-Door of Laskin et al. 2022 (arXiv 2210.14215), with the return step and the repeated
        attempts of Grigsby et al. 2024 (AMAGO, arXiv 2310.09971).
    """

    action_names = ("up", "left", "down", "right", "stay")
    feature_names = ("x", "y", "reward", "new_attempt")

    def __init__(self, num_envs: int = 1, size: int = 8, relayout: int = 0, life: int = 4_000) -> None:
        if size < 2 or relayout < 0 or life < 1:
            raise ValueError(
                "DarkKeyDoor needs size >= 2, relayout >= 0 (0: never) and life >= 1, "
                f"got size={size}, relayout={relayout}, life={life}."
            )
        self.size, self.relayout, self.life, self.moves = size, relayout, life, moves_per_attempt(size)
        super().__init__(num_envs, (_reset, _step), (size, self.moves, life, relayout), ints=20)

    def layout(self) -> np.ndarray:
        """Return start, key and door of each environment, (3, B) int64, as squares y * size + x."""
        return self._ints[_START : _DOOR + 1].copy()

    def best_actions(self) -> np.ndarray:
        """Return the action of full information for each environment, (B,) int64."""
        ints = self._ints
        goal = np.where(ints[_HAS] > 0, ints[_DOOR], ints[_KEY])
        return towards(ints[_X], ints[_Y], goal % self.size, goal // self.size)

    def trace(self) -> dict[str, np.ndarray]:
        """Return what the last step did, (B,) each but the cell.

        cell (B, 2): where it led, as x, y; has_key: whether the key is held after it; key and door: whether
        it took or opened one; back: whether it was a return to the start; layout: the number of the layout
        in its life, from 0; optimum: steps from door to door with full information in that layout.
        """
        at, held, event, which, best = self._ints[_AT:].copy()
        return {
            "cell": np.stack([at % self.size, at // self.size], 1),
            "has_key": held > 0,
            "key": event == _TOOK_KEY,
            "door": event == _OPENED_DOOR,
            "back": event == _WENT_BACK,
            "layout": which,
            "optimum": best,
        }

    def ansi(self, i: int = 0) -> str:
        """Describe environment i: a map, A the agent, K the key, D the door, S the start."""
        rows = [["."] * self.size for _ in range(self.size)]
        for name, row in (("S", _START), ("D", _DOOR), ("K", _KEY)):
            if name != "K" or not self._ints[_HAS, i]:
                rows[self._ints[row, i] // self.size][self._ints[row, i] % self.size] = name
        rows[self._ints[_Y, i]][self._ints[_X, i]] = "A"
        return "\n".join([self._caption(i), *("".join(row) for row in rows)])

    def spot(self, i: int) -> tuple[float, float]:
        """Return where in the picture the agent is: the middle of its tile, in pixels (x, y)."""
        return (float(self._ints[_X, i]) + 1.5) * 32, (float(self._ints[_Y, i]) + 1.5) * 32

    def render(self, i: int = 0) -> np.ndarray:
        """Draw environment i with MiniGrid's renderer, (32 (size + 2), 32 (size + 2), 3) uint8, lights on."""
        from minigrid.core.grid import Grid
        from minigrid.core.world_object import Door, Floor, Key

        grid = Grid(self.size + 2, self.size + 2)
        grid.wall_rect(0, 0, self.size + 2, self.size + 2)
        start, key, door = (int(place) for place in self.layout()[:, i])
        things = [(start, Floor("blue")), (door, Door("yellow", is_locked=not self._ints[_HAS, i]))]
        if not self._ints[_HAS, i]:
            things.append((key, Key("yellow")))
        for place, thing in things:
            grid.set(place % self.size + 1, place // self.size + 1, thing)
        heading = (3, 2, 1, 0, 0)[int(self._actions[i])]  # MiniGrid counts right, down, left, up
        here = (int(self._ints[_X, i]) + 1, int(self._ints[_Y, i]) + 1)
        return np.asarray(grid.render(32, here, heading, np.zeros((grid.width, grid.height), np.bool_)))

    def _caption(self, i: int) -> str:
        time, moves, layout, doors, cycle = (int(x) for x in self._ints[[_TIME, _MOVES, _LAYOUT, _DOORS, _CYCLE], i])
        action, reward = self.action_names[int(self._actions[i])], float(self._scalars[0, i])
        return (
            f"DarkKeyDoor {self.size} x {self.size}: step {time:,} of {self.life:,}, layout {layout + 1} "
            f"({cycle} steps a door at best), move {moves} of {self.moves}, {doors} doors; "
            f"last action {action}, reward {reward:+.0f}"
        )


def moves_per_attempt(size: int) -> int:
    """Return the moves of an attempt: 50 in 8 x 8, in proportion to the squares elsewhere."""
    return max(4 * size, 50 * size * size // 64)


def towards(x: np.ndarray, y: np.ndarray, goal_x: np.ndarray, goal_y: np.ndarray) -> np.ndarray:
    """Return the action on a shortest path in an open room, `stay` at the goal; all (B,)."""
    across = np.where(goal_x < x, 1, 3)
    along = np.where(goal_y < y, 0, 2)
    return np.where(goal_x != x, across, np.where(goal_y != y, along, 4))


@njit(cache=True, nogil=True, inline="always")
def _distance(size: np.int64, a: np.int64, b: np.int64) -> np.int64:
    return max(np.int64(1), abs(a % size - b % size) + abs(a // size - b // size))


@njit(cache=True, nogil=True)
def _layout(i: int, params: np.ndarray, ints: np.ndarray, rng: np.ndarray) -> None:
    size = params[_SIZE]
    start, key, door = below(rng, i, size * size), below(rng, i, size * size), below(rng, i, size * size)
    ints[_START, i], ints[_KEY, i], ints[_DOOR, i] = start, key, door
    ints[_CYCLE, i] = _distance(size, start, key) + _distance(size, key, door) + 1
    ints[_SINCE, i] = ints[_TIME, i]
    ints[_DUE, i] = (ints[_TIME, i] // params[_RELAYOUT] + 1) * params[_RELAYOUT] if params[_RELAYOUT] else -1


@njit(cache=True, nogil=True)
def _attempt(i: int, params: np.ndarray, ints: np.ndarray) -> None:
    ints[_X, i] = ints[_START, i] % params[_SIZE]
    ints[_Y, i] = ints[_START, i] // params[_SIZE]
    ints[_HAS, i] = ints[_MOVES, i] = ints[_BACK, i] = 0


@njit(cache=True, nogil=True)
def _begin(i: int, params: np.ndarray, ints: np.ndarray, rng: np.ndarray) -> None:
    ints[_TIME, i] = ints[_LAYOUT, i] = ints[_DOORS, i] = ints[_PAR, i] = 0
    _layout(i, params, ints, rng)
    _attempt(i, params, ints)


@njit(cache=True, nogil=True, inline="always")
def _possible(i: int, ints: np.ndarray) -> int:
    """Doors that full information opens in the time spent in this layout (the last one needs no way back)."""
    return (ints[_TIME, i] - ints[_SINCE, i] + 1) // ints[_CYCLE, i]


@njit(cache=True, nogil=True, inline="always")
def _observe(i: int, params: np.ndarray, ints: np.ndarray, reward: float, row: np.ndarray) -> None:
    scale = 2.0 / (params[_SIZE] - 1)
    row[0] = ints[_X, i] * scale - 1.0
    row[1] = ints[_Y, i] * scale - 1.0
    row[2] = reward
    row[3] = 1.0 if ints[_MOVES, i] == 0 else 0.0


@njit(cache=True, nogil=True)
def _return(i: int, params: np.ndarray, ints: np.ndarray, rng: np.ndarray) -> int:
    """Lead environment i back to the start, of a new layout if one is due; returns the event."""
    if 0 < ints[_DUE, i] <= ints[_TIME, i]:
        ints[_PAR, i] += _possible(i, ints)
        ints[_LAYOUT, i] += 1
        _layout(i, params, ints, rng)
    _attempt(i, params, ints)
    return _WENT_BACK


@njit(cache=True, nogil=True, inline="always")
def _move(i: int, action: int, params: np.ndarray, ints: np.ndarray) -> int:
    """Move environment i; returns the event."""
    size = params[_SIZE]
    ints[_X, i] = min(size - 1, max(0, ints[_X, i] + (action == 3) - (action == 1)))
    ints[_Y, i] = min(size - 1, max(0, ints[_Y, i] + (action == 2) - (action == 0)))
    ints[_MOVES, i] += 1
    place, event = ints[_Y, i] * size + ints[_X, i], _NOTHING
    if ints[_HAS, i] == 0 and place == ints[_KEY, i]:
        ints[_HAS, i], event = 1, _TOOK_KEY
    elif ints[_HAS, i] and place == ints[_DOOR, i]:
        ints[_DOORS, i] += 1
        event = _OPENED_DOOR
    ints[_BACK, i] = event == _OPENED_DOOR or ints[_MOVES, i] == params[_LIMIT]
    return event


@njit(cache=True, nogil=True)
def _reset(params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray, obs: np.ndarray) -> None:
    ints[:] = 0
    for i in range(obs.shape[0]):
        _begin(i, params, ints, rng)
        _observe(i, params, ints, 0.0, obs[i])


@njit(cache=True, nogil=True)
def _step(
    actions: np.ndarray, params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray,
    obs: np.ndarray, final: np.ndarray, scalars: np.ndarray, flags: np.ndarray,
) -> int:  # fmt: skip
    bad = first_invalid(actions, 5)
    if bad >= 0:
        return bad
    for i in range(actions.shape[0]):
        ints[_TIME, i] += 1
        ints[_WHICH, i], ints[_BEST, i] = ints[_LAYOUT, i], ints[_CYCLE, i]
        event = _return(i, params, ints, rng) if ints[_BACK, i] else _move(i, actions[i], params, ints)
        reward = 1.0 if event == _TOOK_KEY or event == _OPENED_DOOR else 0.0
        ints[_AT, i] = ints[_Y, i] * params[_SIZE] + ints[_X, i]
        ints[_HELD, i], ints[_EVENT, i] = ints[_HAS, i], event
        ended = ints[_TIME, i] == params[_LIFE]
        scalars[0, i] = reward
        scalars[1, i] = np.nan
        flags[1, i] = ended
        if ended:
            scalars[1, i] = ints[_DOORS, i] / max(1, ints[_PAR, i] + _possible(i, ints))
            _observe(i, params, ints, reward, final[i])
            _begin(i, params, ints, rng)
            reward = 0.0
        _observe(i, params, ints, reward, obs[i])
    return -1
