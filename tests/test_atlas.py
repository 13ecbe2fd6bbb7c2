"""Atlas: mazes that come back, in orders of their own, without a sign."""

from typing import Any

import numpy as np
import pytest
from test_maze import brute_force, part

import envs
from envs.atlas import Atlas
from envs.maze_view import GREEN_GOAL, PAD, WALL


def play(world: Atlas, seed: int = 1) -> tuple[dict[str, np.ndarray], list[bytes]]:
    """Let the oracle play one life in each environment; stacked traces, and the map of environment 0 at every step."""
    world.reset(seed)
    rows: list[dict[str, np.ndarray]] = []
    maps = []
    while not rows or not rows[-1]["ended"].all():
        maps.append(world.cells(0).tobytes())
        out = world.step(world.best_actions())
        ended = out.terminated | (rows[-1]["ended"] if rows else False)
        rows.append(world.trace() | {"ended": ended, "success": out.success.copy(), "done": out.terminated.copy()})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}, maps


def life(rows: dict[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    """Cut the first life of environment i out of the traces."""
    last = int(rows["done"][:, i].argmax()) + 1
    return {name: value[:last, i] for name, value in rows.items()}


@pytest.mark.parametrize(("mazes", "trials", "visits"), [(1, 2, 2), (2, 3, 4), (5, 2, 3)])
def test_every_maze_is_visited_once_in_each_round(mazes: int, trials: int, visits: int) -> None:
    rows, _ = play(Atlas(8, mazes, 7, trials, visits))
    for i in range(8):
        one = life(rows, i)
        ends = np.flatnonzero(one["over"])
        assert len(ends) == mazes * trials * visits and one["reached"][ends].all() and one["success"][-1] == 1
        order, visit = one["maze"][ends].reshape(-1, trials), one["visit"][ends].reshape(-1, trials)
        assert (order == order[:, :1]).all() and (one["trial"][ends].reshape(-1, trials) == np.arange(trials)).all()
        rounds = order[:, 0].reshape(visits, mazes)
        np.testing.assert_array_equal(np.sort(rounds, 1), np.tile(np.arange(mazes), (visits, 1)))
        np.testing.assert_array_equal(visit[:, 0].reshape(visits, mazes), np.arange(visits)[:, None] + 0 * rounds)
        assert mazes == 1 or (order[1:, 0] != order[:-1, 0]).all()  # no maze follows itself
        np.testing.assert_array_equal(one["steps"][ends], one["optimum"][ends])


def test_orders_are_shuffled_and_mazes_differ_between_lives() -> None:
    rows, _ = play(Atlas(16, 6, 7, 1, 4))
    orders = {tuple(life(rows, i)["maze"][life(rows, i)["over"]]) for i in range(16)}
    assert len(orders) == 16
    world = Atlas(16, 3)
    world.reset(0)
    assert len({world.cells(i).tobytes() for i in range(16)}) == 16


def test_a_maze_is_the_same_when_it_comes_back() -> None:
    rows, maps = play(Atlas(1, 4, 11, 2, 3))
    seen: dict[int, set[bytes]] = {}
    for maze, cells in zip(rows["maze"][:, 0].tolist(), maps, strict=True):
        seen.setdefault(maze, set()).add(cells)
    assert len(seen) == 4 and all(len(cells) == 1 for cells in seen.values())
    assert len(set.union(*seen.values())) == 4


def test_the_optimum_is_that_of_brute_force() -> None:
    world = Atlas(20, 3, 7)
    world.reset(5)
    for i in range(20):
        cells = np.pad(world.cells(i), PAD, constant_values=WALL).ravel()
        goal = int(np.flatnonzero(cells == GREEN_GOAL)[0])
        expected = brute_force(cells, world.width, goal)
        assert world.distance_to_goal()[i] == expected[int(world.position[i]), int(world.heading[i])]


def test_nothing_gives_a_new_block_away() -> None:
    world = Atlas(64, 4, 11, 2, 2)
    obs = world.reset(2)
    first = part(obs, "new_trial")
    assert first.all() and set(obs) == {"image", "direction", "prev_action", "new_trial", "prev_reward"}
    for _ in range(300):
        obs = world.step(world.best_actions()).obs
        trace = world.trace()
        np.testing.assert_array_equal(part(obs, "new_trial") > 0, trace["over"])
        begins = trace["over"]
        assert (part(obs, "direction")[begins] == 3).all()  # all trials begin in one pose
    x, y = (world.places(world.position[begins]) == 5).T
    assert x.all() and y.all()


def test_a_trial_is_cut_and_the_block_goes_on() -> None:
    world = Atlas(3, 2, 5, 2, 1)
    world.reset(0)
    for _ in range(3 * 50):
        out = world.step(np.zeros(3, np.int64))
        assert not (out.terminated | out.truncated).any()
    assert (world.trace()["trial"] == 0).all() and (world.trace()["visit"] == 0).all()
    for _ in range(50):
        out = world.step(np.zeros(3, np.int64))
    assert out.truncated.all() and not out.terminated.any() and (out.success == 0).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mazes": 0}, "mazes=0"),
        ({"opened": 1.5}, r"opened=1\.5"),
        ({"generator": "prim"}, "unknown generator 'prim': choose kruskal or depth-first"),
        ({"size": 10}, "odd"),
    ],
)
def test_misuse_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        envs.make("Atlas-K4-v0", **arguments)
