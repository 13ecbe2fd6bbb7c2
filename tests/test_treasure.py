"""Treasure: rooms and objects, prompts, and the optimum."""

from typing import Any

import numpy as np
import pytest
from test_maze import brute_force, part

import envs
from envs.maze_view import DECODE, EMPTY, FLOOR, PAD, WALL
from envs.treasure import COLOURS, MEMORY_MAZE, Treasure


def test_mazes_hang_together_and_hold_each_object_once() -> None:
    for size, (objects, _) in MEMORY_MAZE.items():
        world = Treasure(50, size)
        world.reset(size)
        for i in range(50):
            kinds, colours = DECODE[world.cells(i)][..., 0], DECODE[world.cells(i)][..., 1]
            assert sorted(colours[kinds == FLOOR]) == sorted(COLOURS[:objects])
            room = np.asarray(np.lib.stride_tricks.sliding_window_view(kinds != WALL, (3, 3)).all((2, 3)))
            for y, x in np.argwhere(kinds == FLOOR):
                assert room[max(0, y - 2) : y + 1, max(0, x - 2) : x + 1].any()  # it lies in a room of 3 x 3
            assert (world._arrays["distance"][i][world._memory[i] != (WALL | 5 << 4)] >= 0).all()
        start = world.places(world.position)
        assert all(world.cells(i)[y, x] == EMPTY for i, (x, y) in enumerate(start.tolist()))


def test_the_prompt_is_what_is_wanted() -> None:
    world = Treasure(64, 11)
    obs = world.reset(0)
    asked: list[tuple[int, int]] = []
    for _ in range(400):
        prompt = part(obs, "prompt")
        np.testing.assert_array_equal(world.wanted() >> 4, np.array(COLOURS)[prompt])
        out = world.step(world.best_actions())
        obs, trace = out.obs, world.trace()
        np.testing.assert_array_equal(trace["prompt"], prompt)
        np.testing.assert_array_equal(trace["reached"], out.reward == 1)
        new = part(obs, "prompt")
        assert (new[trace["reached"]] != prompt[trace["reached"]]).all()  # never the same twice
        np.testing.assert_array_equal(new[~trace["reached"]], prompt[~trace["reached"]])
        asked += zip(prompt[trace["reached"]].tolist(), new[trace["reached"]].tolist(), strict=True)
        for i in np.flatnonzero(trace["reached"])[:3]:
            x, y = trace["cell"][i]
            assert world.cells(i)[y, x] == FLOOR | COLOURS[prompt[i]] << 4
    counts = np.unique(asked, axis=0, return_counts=True)[1]
    assert len(counts) == 12 and counts.max() < 1.4 * counts.min()  # of four, each of the three others


def test_other_objects_have_no_effect() -> None:
    world = Treasure(64, 9)
    world.reset(0)
    wrong = 0
    for actions in np.random.default_rng(0).integers(3, size=(900, 64)):
        out = world.step(actions)
        x, y = world.trace()["cell"].T
        here = np.array([world.cells(i)[y[i], x[i]] for i in range(64)])
        on = (here & 15 == FLOOR) & ~world.trace()["reached"]
        wrong += int(on.sum())
        assert not out.reward[on].any()
    assert wrong > 100


def test_the_optimum_is_that_of_brute_force() -> None:
    world = Treasure(6, 9)
    world.reset(3)
    for _ in range(5):
        for i in range(6):
            cells = np.pad(world.cells(i), PAD, constant_values=WALL).ravel()
            goal = int(np.flatnonzero(cells == world.wanted()[i])[0])
            flat = np.where(cells & 15 == FLOOR, EMPTY, cells)  # one may walk over objects
            expected = brute_force(flat, world.width, goal)[int(world.position[i]), int(world.heading[i])]
            assert world.distance_to_goal()[i] == expected
        for _ in range(7):
            world.step(world.best_actions())


@pytest.mark.parametrize("size", list(MEMORY_MAZE))
def test_an_episode_of_shortest_paths(size: int) -> None:
    world = envs.make(f"Treasure-{size}-v0", 8)
    assert isinstance(world, Treasure)
    objects, steps = MEMORY_MAZE[size]
    world.reset(0)
    assert (world.objects, world.steps) == (objects, steps)
    fetched = np.zeros(8)
    for step in range(steps):
        out = world.step(world.best_actions())
        fetched += out.reward
        assert out.truncated.all() == out.truncated.any() == (step == steps - 1) and not out.terminated.any()
    assert (out.success == 1).all() and (world.trace()["found"] + world.trace()["reached"] == fetched).all()
    assert fetched.min() > steps / 25
    assert isinstance(out.obs, dict) and out.obs["new_trial"].all() and not out.obs["prev_reward"].any()
    assert isinstance(out.final_obs, dict) and not out.final_obs["new_trial"].any()


def test_other_sizes_need_their_numbers() -> None:
    assert Treasure(1, 21, objects=6, steps=10).size == 23
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"size": 21}, "no size 21"),
        ({"size": 9, "objects": 5}, "2 <= objects <= 4"),
        ({"objects": 1}, "objects=1"),
        ({"steps": 0}, "steps=0"),
        ({"size": 10, "objects": 3, "steps": 9}, "got 10"),
    )
    for arguments, words in wrong:
        with pytest.raises(ValueError, match=words):
            Treasure(1, **arguments)
