"""GridWorld: compiled worlds on MiniGrid's cells, seen through its occluded 7x7 view; and how they are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numba import njit

from envs.maze_paths import descend_all, distances
from envs.maze_view import DECODE, EMPTY, GREEN_GOAL, PAD, UNSEEN, VIEW, ahead, observe
from envs.world import CompiledWorld, Kernel, Obs

POSITION, HEADING, GOAL, OWN = range(4)  # rows of `ints`; a family's own begin at OWN
DIRECTION, PREV_ACTION, NEW_TRIAL, X, Y, MORE = range(6)  # rows of `codes`; a family's own begin at MORE
REWARD, SUCCESS, PREV_REWARD = range(3)  # rows of `scalars`; PREV_REWARD + 1 is of the final observation
NOW, FINAL = range(2)  # the observation to act on, and the last one of an episode that ended
LARGEST = 127  # up to here the poses of a map can be counted in int16
_HIGHEST = (10, 5, 2)  # of the types, colours and states that a cell shows
_SIGNS = "? #./kobG~?++"  # by kind of cell
_ARROWS = ">v<^"


@njit(cache=True, nogil=True, inline="always")
def show(
    i: int, which: int, params: np.ndarray, ints: np.ndarray, cells: np.ndarray, image: np.ndarray, codes: np.ndarray
) -> None:
    """Write what environment i sees from its pose, as NOW or FINAL."""
    width, position, heading = params[1], ints[POSITION, i], ints[HEADING, i]
    observe(cells[i], width, position, heading, image[which, i])
    codes[which, DIRECTION, i] = heading
    codes[which, X, i], codes[which, Y, i] = position % width - PAD, position // width - PAD


@njit(cache=True, nogil=True, inline="always")
def tell(
    i: int, which: int, action: int, reward: float, new_trial: bool, codes: np.ndarray, scalars: np.ndarray
) -> None:
    """Write what environment i is told beside its view, as NOW or FINAL; `action` is -1 before the first."""
    codes[which, PREV_ACTION, i], codes[which, NEW_TRIAL, i] = action + 1, new_trial
    scalars[PREV_REWARD + which, i] = reward


@njit(cache=True, nogil=True)
def look(params: np.ndarray, ints: np.ndarray, cells: np.ndarray, image: np.ndarray, codes: np.ndarray) -> None:
    """Write what every environment sees now."""
    for i in range(cells.shape[0]):
        show(i, NOW, params, ints, cells, image, codes)


class GridWorld(CompiledWorld):
    """A world of `size` x `size` cells and actions left, right, forward.

    The observation is a Dict: `image` (7, 7, 3) uint8, what is in view as (type, colour, state), column first, the
    agent at [3, 6] looking to [3, 0]; `direction` Discrete(4), a compass; `prev_action` Discrete(4), 0 at the first
    step of an episode, else 1 + the last action; `prev_reward` (1,) float32, what it brought; `new_trial`
    Discrete(2), 1 if the agent has just been put here; with `pose` also `x` and `y` Discrete(size), where it is; and
    what a family adds in `codes`, name -> number of values.

    Kernels: `reset_kernel(params, ints, cells, rng, distance, image, codes, scalars)` and
    `step_kernel(actions, params, ints, cells, rng, distance, image, codes, scalars, record, flags)`, where
    params begins with (size, width), and beside what `CompiledWorld` says

    ints      (K, B) int64            flat position, heading, flat goal, then the family's own (`OWN`)
    cells     (B, width^2) uint8      the maps, see `envs.maze_view`; under the name `memory`
    distance  (B, width^2, 4) int16   actions to the goal, see `envs.maze_paths`; follows from the rest
    image     (2, B, 7, 7, 3) uint8   the observation and the final one; so are
    codes     (2, 5 or more, B) int64 and rows 2 and 3 of scalars (4, B), the previous rewards
    record    (R, B) int64            what the last step did, for `trace()`
    """

    action_names = ("left", "right", "forward")
    reset_arrays = 8
    passing = ("distance", "record", "flags")

    def __init__(
        self,
        num_envs: int,
        kernels: tuple[Kernel, Kernel],
        size: int,
        params: tuple[int, ...] = (),
        ints: int = OWN,
        record: int = 0,
        codes: dict[str, int] | None = None,
        pose: bool = False,
    ) -> None:
        if not 5 <= size <= LARGEST or size % 2 == 0:
            raise ValueError(f"size must be an odd number of 5..{LARGEST}, got {size}.")
        self.size, self.width, batch = size, size + 2 * PAD, max(num_envs, 0)
        parts: dict[str, spaces.Space[Any]] = {
            "image": spaces.Box(np.uint8(0), np.full((VIEW, VIEW, 3), _HIGHEST, np.uint8), dtype=np.uint8),
            "direction": spaces.Discrete(4),
            "prev_action": spaces.Discrete(len(self.action_names) + 1),
            "new_trial": spaces.Discrete(2),
        }
        self._rows = {"direction": DIRECTION, "prev_action": PREV_ACTION, "new_trial": NEW_TRIAL}
        more = {"x": size, "y": size} if pose else {}
        self._rows |= {"x": X, "y": Y} if pose else {}
        for row, (name, values) in enumerate((codes or {}).items(), MORE):
            self._rows[name], more[name] = row, values
        parts |= {name: spaces.Discrete(values) for name, values in more.items()}
        parts["prev_reward"] = spaces.Box(-1.0, 1.0, (1,), np.float32)
        cells = self.width * self.width
        arrays: dict[str, np.ndarray] = {
            "params": np.array((size, self.width, *params), np.int64),
            "ints": np.zeros((ints, batch), np.int64),
            "memory": np.zeros((batch, cells), np.uint8),
            "rng": np.zeros(batch, np.uint64),
            "distance": np.zeros((batch, cells, 4), np.int16),
            "image": np.zeros((2, batch, VIEW, VIEW, 3), np.uint8),
            "codes": np.zeros((2, MORE + len(codes or {}), batch), np.int64),
            "scalars": np.zeros((4, batch), np.float32),
            "record": np.zeros((record, batch), np.int64),
            "flags": np.zeros((2, batch), np.bool_),
        }
        super().__init__(num_envs, kernels, spaces.Dict(parts), arrays)

    def _views(self) -> tuple[Obs, Obs]:
        image, codes = self._arrays["image"], self._arrays["codes"]
        now, final = (
            {"image": image[k], "prev_reward": self._scalars[PREV_REWARD + k, :, None]}
            | {name: codes[k, row] for name, row in self._rows.items()}
            for k in (NOW, FINAL)
        )
        return now, final

    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        """Continue from `state()`; ValueError when it belongs to another id or batch size."""
        obs = super().load_state(state)
        for i in range(self.num_envs):
            distances(self._memory[i], self.width, self._ints[GOAL, i], self._arrays["distance"][i])
        return obs

    @property
    def position(self) -> np.ndarray:
        """Where the agents are, (B,) flat indices into the padded maps; their observation may not say."""
        return self._ints[POSITION]

    @property
    def heading(self) -> np.ndarray:
        """Where the agents look, (B,): 0 right, 1 down, 2 left, 3 up."""
        return self._ints[HEADING]

    def wanted(self) -> np.ndarray:
        """Return the kind of cell that is the goal now, (B,) uint8 as `kind | colour << 4`."""
        return np.full(self.num_envs, GREEN_GOAL, np.uint8)

    def places(self, flat: np.ndarray) -> np.ndarray:
        """Turn flat indices (...) into (..., 2), (x, y) without the padding."""
        return np.stack([flat % self.width - PAD, flat // self.width - PAD], -1)

    def cells(self, i: int) -> np.ndarray:
        """Return the map of environment i, (size, size) uint8, row y and column x, without the padding."""
        return self._memory[i].reshape(self.width, self.width)[PAD:-PAD, PAD:-PAD]

    def distance_to_goal(self) -> np.ndarray:
        """Return the fewest actions to the goal from here, (B,); turns count, and -1 means that there is no way."""
        everyone = np.arange(self.num_envs)
        return self._arrays["distance"][everyone, self.position, self.heading].astype(np.int64)

    def best_actions(self) -> np.ndarray:
        """Return the first actions of shortest paths to the goals, (B,)."""
        actions = np.zeros(self.num_envs, np.int64)
        descend_all(self._arrays["distance"], self.width, self.position, self.heading, actions)
        return actions

    @property
    def tile(self) -> int:
        """Pixels along a cell of the picture."""
        return int(np.clip(640 // self.size, 4, 32))

    def render(self, i: int = 0) -> np.ndarray:
        """Draw environment i with MiniGrid's renderer, (size tile, size tile, 3) uint8; the view is lighter."""
        from minigrid.core.grid import Grid
        from minigrid.core.world_object import WorldObj

        grid, cells = Grid(self.size, self.size), self.cells(i)
        for y, x in np.ndindex(cells.shape):
            if cells[y, x] not in (UNSEEN, EMPTY):
                grid.set(x, y, WorldObj.decode(*DECODE[cells[y, x]].tolist()))
        x, y = self.places(self.position[i]).tolist()
        heading = int(self.heading[i])
        picture: np.ndarray = grid.render(self.tile, (x, y), heading, highlight_mask=self._in_view(i))
        return picture

    def spot(self, i: int) -> tuple[float, float]:
        """Return where in the picture the agent is: the middle of its tile, in pixels (x, y)."""
        x, y = self.places(self.position[i]).tolist()
        return (x + 0.5) * self.tile, (y + 0.5) * self.tile

    def _in_view(self, i: int) -> np.ndarray:
        """Return the cells that environment i sees, (size, size) bool, column x first."""
        position, heading = int(self.position[i]), int(self.heading[i])
        image = np.zeros((VIEW, VIEW, 3), np.uint8)
        observe(self._memory[i], self.width, position, heading, image)
        forward, right = ahead(heading, self.width), ahead(heading + 1, self.width)
        column, row = np.nonzero(image[..., 0])
        x, y = self.places(position + (VIEW - 1 - row) * forward + (column - VIEW // 2) * right).T
        seen = np.zeros((self.width, self.width), np.bool_)
        seen[x + PAD, y + PAD] = True
        return seen[PAD:-PAD, PAD:-PAD]

    def ansi(self, i: int = 0) -> str:
        """Draw environment i in letters: # wall, G goal, > v < ^ the agent; and what was done last."""
        signs = [[_SIGNS[kind] for kind in line] for line in (self.cells(i) & 15).tolist()]
        x, y = self.places(self.position[i]).tolist()
        signs[y][x] = _ARROWS[int(self.heading[i])]
        action, reward = self.last(i)
        return "\n".join(["".join(line) for line in signs] + [f"last action {action}, reward {reward:+.2f}"])
