"""Detour: what changes, when, and that a way exists before and after."""

from typing import Any

import numpy as np
import pytest
from test_maze import brute_force

import envs
from envs.detour import CHANGES, Detour
from envs.maze_view import EMPTY, GREEN_GOAL, GREY_WALL, PAD, WALL


def play(world: Detour, seed: int = 1) -> tuple[list[dict[str, np.ndarray]], np.ndarray, np.ndarray]:
    """Let the oracle play until the first life of each environment is over: traces, maps before and after."""
    world.reset(seed)
    before = np.stack([world.cells(i) for i in range(world.num_envs)])
    after, rows = before.copy(), []
    ended = np.zeros(world.num_envs, np.bool_)
    while not ended.all():
        out = world.step(world.best_actions())
        rows.append(world.trace() | {"alive": ~ended})
        for i in np.flatnonzero(rows[-1]["changed"] & ~rows[-1]["over"] & ~ended).tolist():
            after[i] = world.cells(i)
        assert (out.success[out.terminated] == 1).all() and not out.truncated.any()
        ended |= out.terminated
    return rows, before, after


def optima(rows: list[dict[str, np.ndarray]], i: int) -> list[tuple[bool, int]]:
    """The trials of the first life of environment i: after the change or not, and the optimum."""
    return [(bool(row["changed"][i]), int(row["optimum"][i])) for row in rows if row["over"][i] and row["alive"][i]]


@pytest.mark.parametrize("size", [9, 11, 21])
@pytest.mark.parametrize("change", CHANGES)
def test_the_change_is_what_it_says(change: str, size: int) -> None:
    world = Detour(32, size, change, trials=3)
    rows, before, after = play(world)
    for i in range(32):
        trials = optima(rows, i)
        early, late = ({steps for changed, steps in trials if changed is side} for side in (False, True))
        assert [changed for changed, _ in trials] == [False] * (1 if change == "latent" else 3) + [True] * 3
        assert len(early) == len(late) == 1  # one start, one goal
        first, second = early.pop(), late.pop()
        different = np.flatnonzero((before[i] != after[i]).ravel())
        old, new = (cells[i].ravel()[different] for cells in (before, after))
        if change == "open":
            assert 4 * first >= 5 * second and list(old) == [GREY_WALL] and list(new) == [EMPTY]
        elif change == "close":
            assert 4 * second >= 5 * first and list(old) == [EMPTY] and list(new) == [GREY_WALL]
        elif change == "goal":
            assert sorted(old) == sorted(new) == sorted([EMPTY, GREEN_GOAL]) and second > 0
        else:
            assert first == 0 and second > 0 and list(old) == [EMPTY] and list(new) == [GREEN_GOAL]


@pytest.mark.parametrize("change", CHANGES)
def test_the_optimum_is_that_of_brute_force(change: str) -> None:
    world = Detour(8, 9, change, trials=1)
    rows, before, after = play(world)
    world.reset(1)
    poses = list(zip(world.position.tolist(), world.heading.tolist(), strict=True))
    for maps, side in ((before, False), (after, True)):
        for i in range(8):
            cells = np.pad(maps[i], PAD, constant_values=WALL).ravel()
            goal = np.flatnonzero(cells == GREEN_GOAL)
            expected = brute_force(cells, world.width, int(goal[0]))[poses[i]] if len(goal) else 0
            assert (side, expected) in optima(rows, i)


def test_exploration_before_latent_learning_brings_nothing() -> None:
    world = Detour(16, 11, "latent")
    world.reset(0)
    assert (world.distance_to_goal() == -1).all() and not (world._memory == GREEN_GOAL).any()
    draws = np.random.default_rng(0).integers(3, size=(world.limit, 16))
    total = sum(world.step(actions).reward.sum() for actions in draws)
    assert total == 0 and world.trace()["over"].all() and not world.trace()["changed"].any()
    world.step(draws[0])
    assert world.trace()["changed"].all() and (world.trace()["optimum"] > 0).all()
    assert ((world._memory == GREEN_GOAL).sum(1) == 1).all()


def test_a_life_that_never_arrives_is_truncated() -> None:
    world = Detour(4, 9, "goal", trials=2)
    world.reset(0)
    for _ in range(4 * world.limit):
        out = world.step(np.zeros(4, np.int64))
    assert out.truncated.all() and not out.terminated.any() and (out.success == 0).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"change": "none"}, "unknown change 'none': choose open, close, goal, latent"),
        ({"size": 7}, "at least 9, got 7"),
        ({"opened": 0}, "opened=0"),
        ({"opened": 0.004}, "0.01 <= opened <= 1, got trials=10, opened=0.004"),  # no whole percent
        ({"trials": 0}, "trials=0"),
    ],
)
def test_misuse_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        envs.make("Detour-Close-11-v0", **arguments)
