"""The compiled view, moves and pictures, held to MiniGrid's own."""

from typing import Any

import numpy as np
import pytest
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import WorldObj
from minigrid.minigrid_env import MiniGridEnv

from envs import maze_view
from envs.maze import Maze
from envs.maze_view import DECODE, EMPTY, PAD, WALL, move, observe, walkable

KINDS = range(1, 13)  # all but unseen; 10 is left out: MiniGrid has no object for an agent
COLOURED = (maze_view.WALL, maze_view.FLOOR, maze_view.DOOR_OPEN, maze_view.KEY, maze_view.BALL, maze_view.BOX,
            maze_view.DOOR_CLOSED, maze_view.DOOR_LOCKED)  # fmt: skip


class Plain(MiniGridEnv):
    """A MiniGridEnv of a given map (size, size), rows first, without the padding."""

    def __init__(self, cells: np.ndarray) -> None:
        super().__init__(MissionSpace(mission_func=lambda: ""), grid_size=len(cells), max_steps=10**9)
        self.grid = Grid(*cells.shape)
        self.step_count = 0
        for y, x in np.ndindex(cells.shape):
            if cells[y, x] != EMPTY:
                self.grid.set(x, y, WorldObj.decode(*DECODE[cells[y, x]].tolist()))

    def _gen_grid(self, width: int, height: int) -> None:
        raise AssertionError("the map is given")

    def place(self, x: int, y: int, heading: int) -> None:
        self.agent_pos, self.agent_dir = (x, y), heading


class Blind(Plain):
    """A MiniGridEnv that saves the time to look."""

    def gen_obs(self) -> dict[str, Any]:
        return {}


def draw_cells(random: np.random.Generator, size: int, walls: float) -> np.ndarray:
    """Draw a map of everything there is: (size, size) uint8."""
    kinds = random.choice([k for k in KINDS if k != 10], (size, size))
    kinds[random.random((size, size)) < 0.6] = EMPTY
    kinds[random.random((size, size)) < walls] = WALL
    colours = np.where(np.isin(kinds, COLOURED), random.integers(6, size=(size, size)), 0)
    colours[kinds == maze_view.GOAL] = maze_view.GREEN
    return (kinds | colours << 4).astype(np.uint8)


def pad(cells: np.ndarray) -> np.ndarray:
    return np.pad(cells, PAD, constant_values=maze_view.GREY_WALL).ravel()


@pytest.mark.parametrize("walls", [0.0, 0.15, 0.35, 0.6])
def test_views_are_minigrids(walls: float) -> None:
    """20,000 (map, pose) pairs in all: 25 maps with 200 poses each for four densities of walls."""
    random = np.random.default_rng(int(100 * walls))
    image, lit = np.zeros((7, 7, 3), np.uint8), 0
    for _ in range(25):
        size = int(random.integers(5, 16))
        cells = draw_cells(random, size, walls)
        twin, flat = Plain(cells), pad(cells)
        for x, y, heading in random.integers((size, size, 4), size=(200, 3)).tolist():
            twin.place(x, y, heading)
            observe(flat, size + 2 * PAD, (y + PAD) * (size + 2 * PAD) + x + PAD, heading, image)
            assert image.tobytes() == twin.gen_obs()["image"].tobytes(), (cells, x, y, heading)
            lit += int((image[..., 0] > 0).sum())
    assert 5_000 * 3 < lit < 5_000 * 49


def test_moves_are_minigrids() -> None:
    random = np.random.default_rng(1)
    moved = 0
    for _ in range(40):
        size = int(random.integers(5, 16))
        width = size + 2 * PAD
        cells = draw_cells(random, size, 0.2)
        cells[[0, -1]] = cells[:, [0, -1]] = maze_view.GREY_WALL  # MiniGrid does not look over the edge
        cells[1, 1] = EMPTY
        twin, flat = Blind(cells), pad(cells)
        twin.place(1, 1, 0)
        position, heading = (1 + PAD) * (width + 1), 0
        for action in random.choice(3, 250, p=(0.2, 0.2, 0.6)).tolist():
            before = position
            position, heading = move(flat, width, position, heading, action)
            twin.step(action)
            moved += position != before
            assert (position % width - PAD, position // width - PAD, heading) == (*twin.agent_pos, twin.agent_dir)
    assert moved > 1_000


def test_walkable_is_can_overlap() -> None:
    for kind in (k for k in KINDS if k != 10):
        thing: Any = WorldObj.decode(*DECODE[kind].tolist())
        assert walkable(kind) == (thing is None or thing.can_overlap())


@pytest.mark.parametrize("name", ["kruskal", "depth-first"])
def test_a_maze_is_a_minigrid(name: str) -> None:
    """Walk through a maze and through a MiniGridEnv of the same map, until the trial ends."""
    world = Maze(8, 11, generator=name, pose=True)
    obs = world.reset(4)
    assert isinstance(obs, dict)
    twins = [Plain(world.cells(i)) for i in range(8)]
    for i, twin in enumerate(twins):
        twin.place(*(int(obs[name][i]) for name in ("x", "y", "direction")))
    running = np.ones(8, bool)
    for actions in np.random.default_rng(0).choice(3, (240, 8), p=(0.2, 0.2, 0.6)):
        out = world.step(actions)
        running &= ~world.trace()["over"]
        assert isinstance(out.obs, dict)
        for i in np.flatnonzero(running).tolist():
            seen, _, reached, _, _ = twins[i].step(int(actions[i]))
            assert not reached
            np.testing.assert_array_equal(out.obs["image"][i], seen["image"])
            assert (out.obs["x"][i], out.obs["y"][i]) == twins[i].agent_pos
            assert out.obs["direction"][i] == twins[i].agent_dir
    picture = world.render(0)
    twin = Plain(world.cells(0))
    x, y = world.places(world.position[0]).tolist()
    twin.place(x, y, int(world.heading[0]))
    np.testing.assert_array_equal(picture, twin.get_frame(tile_size=world.tile))
