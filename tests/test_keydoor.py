"""DarkKeyDoor: its rules, its optimum, and the agent that must search."""

from collections import deque

import numpy as np
import pytest

import agents
import envs
from agents.keydoor_searcher import Notes, expected_doors, grand_tour, search_bound
from envs.keydoor import KeyDoor, moves_per_attempt
from envs.keydoor_oracle import doors_per_step, expected_return
from envs.oracle import optimum

UP, LEFT, DOWN, RIGHT, STAY = range(5)


def view(obs: envs.Obs) -> np.ndarray:
    """Return observations that are one array."""
    assert isinstance(obs, np.ndarray)
    return obs


def play(world: KeyDoor, name: str, steps: int) -> dict[str, np.ndarray]:
    """Return the stacked traces, rewards and successes of a reflex."""
    obs, state, rows = world.reset(100), None, []
    agent, starts = agents.make(name, world), np.zeros(world.num_envs, np.bool_)
    for _ in range(steps):
        actions, state = agent.predict(obs, state, starts)
        out = world.step(actions)
        obs = out.obs
        rows.append(world.trace() | {"reward": out.reward.copy(), "success": out.success.copy()})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def shortest_cycle(size: int, start: int, key: int, door: int) -> int:
    """Count the steps from door to door by breadth-first search over (square, key held)."""
    seen, queue = {(start, False)}, deque([(start, False, 0)])
    while queue:
        square, held, steps = queue.popleft()
        for dx, dy in ((0, -1), (-1, 0), (0, 1), (1, 0), (0, 0)):
            x, y = (np.clip(square % size + dx, 0, size - 1), np.clip(square // size + dy, 0, size - 1))
            there = int(y * size + x)
            if held and there == door:
                return steps + 2  # this move, and the return
            now = (there, held or there == key)
            if now not in seen:
                seen.add(now)
                queue.append((*now, steps + 1))
    raise AssertionError("no way to the door")


@pytest.mark.parametrize("size", [2, 3, 8])
def test_optimum_is_the_shortest_cycle(size: int) -> None:
    world = KeyDoor(200, size)
    world.reset(1)
    layouts = world.layout()
    world.step(np.full(200, STAY))
    brute = [shortest_cycle(size, *(int(place) for place in layout)) for layout in layouts.T]
    np.testing.assert_array_equal(world.trace()["optimum"], brute)


def test_full_information_opens_49_6_doors_per_500_steps() -> None:
    axis = np.abs(np.arange(8)[:, None] - np.arange(8))
    apart = np.maximum(1, (axis[:, None, :, None] + axis[None, :, None, :]).reshape(64, 64))
    cycle = apart[:, :, None] + apart[None] + 1  # (start, key, door)
    assert round(float((500 / cycle).mean()), 1) == 49.6
    assert doors_per_step(8) == pytest.approx(float((1 / cycle).mean()), abs=1e-12)
    doors = play(KeyDoor(500, 8, relayout=500), "oracle", 4_000)["door"].sum(0) / 8
    assert abs(doors.mean() - 49.6) < 4 * doors.std() / np.sqrt(500) + 0.3  # changes wait for a return


@pytest.mark.parametrize(("size", "relayout"), [(2, 0), (3, 30), (8, 100), (8, 0)])
def test_full_information_gets_what_is_expected(size: int, relayout: int) -> None:
    rows = play(KeyDoor(3_000, size, relayout, 400), "oracle", 400)
    returns, exact = rows["reward"].sum(0), expected_return(size, 400, relayout)
    assert abs(returns.mean() - exact) < 4 * returns.std() / np.sqrt(3_000)
    env_id = f"DarkKeyDoor-{size}-Relayout{relayout}-v0" if relayout else f"DarkKeyDoor-{size}-v0"
    assert optimum(env_id).episode_return == expected_return(size, 4_000, relayout)


def test_every_layout_of_a_small_room_is_counted() -> None:
    """Size 2: all 64 layouts, step by step, doors at the end of each way and keys before."""
    total = 0
    for start, key, door in np.ndindex(4, 4, 4):
        to_key, to_door = (max(1, (a % 2 != b % 2) + (a // 2 != b // 2)) for a, b in ((start, key), (key, door)))
        at = [(step - 1) % (to_key + to_door + 1) + 1 for step in range(1, 24)]
        total += sum((place == to_key) + (place == to_key + to_door) for place in at)
    assert expected_return(2, 23, 0) == pytest.approx(total / 64, abs=1e-12)


@pytest.mark.parametrize("env_id", ["DarkKeyDoor-8-v0", "DarkKeyDoor-16-v0", "DarkKeyDoor-8-Relayout500-v0"])
def test_full_information_reaches_success_one(env_id: str) -> None:
    world = envs.make(env_id, 32)
    assert isinstance(world, KeyDoor)
    rows = play(world, "oracle", 4_000)
    assert np.isnan(rows["success"][:-1]).all() and (rows["success"][-1] == 1).all()


def test_layouts_change_at_the_first_return_after_500_steps() -> None:
    rows = play(KeyDoor(64, 8, relayout=500), "searcher", 3_999)
    steps = np.arange(1, 3_999)  # the step before a change is a return, the first that could make it
    for i in range(64):
        changes = steps[np.diff(rows["layout"][:, i]) > 0]
        returns = np.flatnonzero(rows["back"][:, i]) + 1
        assert list(changes) == [returns[returns >= 500 * (k + 1)][0] for k in range(len(changes))]
        assert len(changes) == 7


def test_an_attempt_step_by_step() -> None:
    world = KeyDoor(512, 8)
    obs = view(world.reset(3))
    start, key, door = world.layout()
    assert (obs[:, 3] == 1).all() and not obs[:, 2].any()
    same = np.flatnonzero((start == key) & (start != door))[:1]  # a key underfoot is taken by staying
    assert same.size
    out = world.step(np.full(512, STAY))
    assert out.reward[same] == 1 and view(out.obs)[same, 2] == 1 and view(out.obs)[same, 3] == 0
    while not world.trace()["door"][same].any():
        out = world.step(world.best_actions())
    out = world.step(np.full(512, UP))  # leads back, whatever the action
    assert world.trace()["back"][same] and out.reward[same] == 0 and view(out.obs)[same, 3] == 1
    np.testing.assert_array_equal(world.trace()["cell"][same[0]], [start[same[0]] % 8, start[same[0]] // 8])


def test_an_attempt_ends_after_its_moves() -> None:
    world = KeyDoor(512, 8)
    world.reset(3)
    _, key, _ = world.layout()
    idle = key != world.layout()[0]
    flags = []
    for _ in range(102):
        flags.append(view(world.step(np.full(512, STAY)).obs)[idle, 3].copy())
    np.testing.assert_array_equal(np.flatnonzero(np.array(flags).any(1)), [50, 101])
    assert [moves_per_attempt(size) for size in (4, 8, 16, 32)] == [16, 50, 200, 800]


def test_walls_hold() -> None:
    world = KeyDoor(4, 8)
    for action, column, value in ((UP, 1, -1), (LEFT, 0, -1), (DOWN, 1, 1), (RIGHT, 0, 1)):
        world.reset(0)
        for _ in range(9):
            obs = view(world.step(np.full(4, action)).obs)
        assert (obs[:, column] == value).all()


def test_a_life_is_cut_not_ended() -> None:
    world = KeyDoor(3, 8, life=20)
    world.reset(0)
    for _ in range(19):
        assert not world.step(world.best_actions()).truncated.any()
    out = world.step(np.full(3, STAY))
    assert out.truncated.all() and not out.terminated.any()
    assert (view(out.obs)[:, 3] == 1).all() and (world.trace()["layout"] == 0).all()
    assert (world.trace()["cell"] == np.rint((view(out.final_obs)[:, :2] + 1) * 3.5)).all()


@pytest.mark.parametrize("size", [2, 8, 16])
def test_the_tour_is_a_hamiltonian_cycle(size: int) -> None:
    tour = grand_tour(size)
    x, y = tour % size, tour // size
    assert sorted(tour) == list(range(size * size))
    assert (abs(x - np.roll(x, 1)) + abs(y - np.roll(y, 1)) == 1).all()


def test_the_searcher_checks_a_square_with_every_move() -> None:
    rows = play(KeyDoor(1_500, 8), "searcher", 500)
    key = rows["key"].argmax(0) + 1
    assert key.max() <= 65  # 64 squares and one return
    exact = (np.arange(1, 51).sum() + np.arange(52, 66).sum()) / 64
    assert abs(key.mean() - exact) < 4 * key.std() / np.sqrt(1_500)


def test_the_searcher_stays_near_its_bound() -> None:
    rows = play(KeyDoor(1_500, 8), "searcher", 500)
    doors, rate = rows["door"].sum(0), 500 / rows["optimum"][-1]
    slope = np.cov(doors, rate)[0, 1] / rate.var()  # a control variate: 49.58 is known exactly
    mean = doors.mean() - slope * (rate.mean() - 49.579)
    assert search_bound(8) == pytest.approx(44.780, abs=1e-3)
    assert 0.965 * search_bound(8) < mean < search_bound(8)


def test_the_bound_counts_doors_as_one_by_one() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        rate = np.sort(random.random(random.integers(3, 40)))[::-1]
        remaining, left = random.integers(-10, 120, 5), random.integers(0, 20, 5)
        more, detour = int(random.integers(1, 15)), int(random.integers(1, 12))
        expected = np.zeros(5)
        for k, square in np.ndindex(5, len(rate)):
            attempts = max(0, -(-(square + 1 - left[k]) // more))
            after = remaining[k] - (square + 1 + attempts * detour)
            expected[k] += 1 + after * rate[square] if after >= 0 else 0
        np.testing.assert_allclose(expected_doors(rate, remaining, left, more, detour), expected / len(rate), atol=1e-9)


@pytest.mark.parametrize("size", [3, 8])
def test_the_searcher_notices_changes(size: int) -> None:
    rows = play(KeyDoor(64, size, relayout=500), "searcher", 4_000)
    assert rows["success"][-1].mean() > 0.85
    per_layout = [rows["door"].sum(where=rows["layout"] == k) for k in range(8)]
    assert min(per_layout) > 0.7 * max(per_layout)


def test_the_searcher_searches_again_where_everything_was_checked() -> None:
    world = KeyDoor(4, 3)
    agent, obs = agents.make("searcher", world), world.reset(0)
    actions, state = agent.predict(obs, None, np.ones(4, np.bool_))
    notes = Notes(*state)
    notes.checked[:] = True  # as after changes that it could not notice
    doors = np.zeros(4)
    for _ in range(200):
        out = world.step(actions)
        doors += out.reward > 0
        actions, state = agent.predict(out.obs, state, out.terminated | out.truncated)
    assert (doors > 1).all()


@pytest.mark.parametrize("arguments", [{"size": 1}, {"relayout": -1}, {"life": 0}])
def test_misuse_is_named(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="got size"):
        KeyDoor(1, **arguments)
