"""Braided mazes: the generators, exact distances, trials, and what a step reports."""

import numpy as np
import pytest

import envs
from envs.kernels import seed_streams
from envs.maze import Maze
from envs.maze_generate import GENERATORS, generate
from envs.maze_paths import distances
from envs.maze_view import EMPTY, FORWARD, GREEN_GOAL, LEFT, PAD, RIGHT, WALL, move
from envs.oracle import oracle
from envs.world import Obs, World


def part(obs: Obs, name: str) -> np.ndarray:
    assert isinstance(obs, dict)
    return obs[name].copy()


def draw(size: int, generator: int, percent: int, seed: int = 0) -> np.ndarray:
    """Return where a maze is open: (size, size) bool, rows first."""
    rng, cells = np.zeros(1, np.uint64), np.zeros((size + 2 * PAD) ** 2, np.uint8)
    seed_streams(np.uint64(seed), rng)
    generate(rng, 0, cells, size, generator, percent)
    whole = cells.reshape(size + 2 * PAD, -1) == EMPTY
    assert whole.sum() == whole[PAD:-PAD, PAD:-PAD].sum()
    return whole[PAD:-PAD, PAD:-PAD]


def exits(free: np.ndarray) -> np.ndarray:
    """Return the number of ways out of each room."""
    around = sum(np.roll(free, shift, axis).astype(int) for shift in (1, -1) for axis in (0, 1))
    return np.asarray(around)[1::2, 1::2]


def reach(free: np.ndarray) -> int:
    """Return how many cells hang together with the first room."""
    flood, before = np.zeros_like(free), 0
    flood[1, 1] = True
    while flood.sum() > before:
        before = int(flood.sum())
        grown = flood.copy()
        for axis in (0, 1):
            for shift in (1, -1):
                grown |= np.roll(flood, shift, axis)
        flood = grown & free
    return before


@pytest.mark.parametrize("generator", range(2))
@pytest.mark.parametrize("size", [5, 11, 21, 51])
def test_perfect_mazes_are_trees(size: int, generator: int) -> None:
    mazes = [draw(size, generator, 0, seed) for seed in range(5)]
    for free in mazes:
        rooms = (size // 2) ** 2
        assert free[1::2, 1::2].all() and not free[::2, ::2].any()  # rooms and pillars
        assert free.sum() == 2 * rooms - 1 and reach(free) == free.sum()  # connected with one passage less than rooms
    assert len({free.tobytes() for free in mazes}) > 1


@pytest.mark.parametrize("generator", range(2))
def test_dead_ends_are_opened_by_their_share(generator: int) -> None:
    def dead(percent: int) -> int:
        return sum(int((exits(draw(51, generator, percent, seed)) == 1).sum()) for seed in range(20))

    assert dead(100) == 0
    assert 0.25 < dead(50) / dead(0) < 0.55  # an opened wall may open two of them
    assert draw(51, generator, 100).sum() > draw(51, generator, 50).sum() > draw(51, generator, 0).sum()


def test_every_wall_can_fall() -> None:
    for generator in range(2):
        free = sum(draw(7, generator, 0, seed).astype(int) for seed in range(400))
        walls = np.asarray(free)[1:-1, 1:-1].copy()
        walls[1::2, 1::2] = 1  # pillars always stand
        assert (walls > 0).all()


def brute_force(cells: np.ndarray, width: int, goal: int) -> dict[tuple[int, int], int]:
    """Relax the distances of all poses through `move` until nothing changes."""
    poses = [(int(p), h) for p in np.flatnonzero((cells == EMPTY) | (cells == GREEN_GOAL)) for h in range(4)]
    best = {pose: 0 if pose[0] == goal else 10**6 for pose in poses}
    changed = True
    while changed:
        changed = False
        for p, h in poses:
            steps = 1 + min(best[move(cells, width, p, h, action)] for action in (LEFT, RIGHT, FORWARD))
            if steps < best[p, h]:
                best[p, h], changed = steps, True
    return best


@pytest.mark.parametrize("size", [5, 7, 11])
@pytest.mark.parametrize("generator", GENERATORS)
def test_distances_are_those_of_brute_force(size: int, generator: str) -> None:
    world = Maze(4, size, generator=generator)
    world.reset(size)
    for i in range(4):
        cells = np.pad(world.cells(i), PAD, constant_values=WALL).ravel()
        goal = int(np.flatnonzero(cells == GREEN_GOAL)[0])
        field = np.zeros((len(cells), 4), np.int16)
        distances(cells, world.width, goal, field)
        expected = brute_force(cells, world.width, goal)
        assert {pose: int(field[pose]) for pose in expected} == expected
        assert (field >= 0).sum() == len(expected)
        assert world.distance_to_goal()[i] == expected[int(world.position[i]), int(world.heading[i])]


def test_no_way_is_told() -> None:
    width = 5 + 2 * PAD
    cells = np.full(width * width, WALL, np.uint8)
    here, goal = (PAD + 1) * width + PAD + 1, (PAD + 3) * width + PAD + 3
    cells[[here, goal]] = EMPTY, GREEN_GOAL
    field = np.zeros((width * width, 4), np.int16)
    distances(cells, width, goal, field)
    assert (field[here] == -1).all() and (field[goal] == 0).all()


def play(world: World, steps: int) -> list[dict[str, np.ndarray]]:
    """Let the oracle play; return the traces."""
    best, traces = oracle(world), []
    obs = world.reset(0)
    for _ in range(steps):
        obs = world.step(best.predict(obs)[0]).obs
        traces.append(world.trace())
    return traces


@pytest.mark.parametrize("env_id", ["BraidedMaze-11-v0", "BraidedMaze-21-v0", "PerfectMaze-21-v0"])
def test_the_oracle_takes_the_optimum(env_id: str) -> None:
    world = envs.make(env_id, 32)
    traces = play(world, 400)
    ended = np.stack([t["over"] for t in traces])
    steps, optimum = (np.stack([t[name] for t in traces])[ended] for name in ("steps", "optimum"))
    assert ended.sum() > 32 * 5
    np.testing.assert_array_equal(steps, optimum)
    assert np.stack([t["reached"] for t in traces])[ended].all()


def test_a_life_is_trials_in_one_maze() -> None:
    world = Maze(16, 11, trials=3)
    obs, best = world.reset(5), oracle(world)
    assert part(obs, "new_trial").all() and not part(obs, "prev_action").any()
    maps = [world.cells(i).copy() for i in range(16)]
    starts: list[set[int]] = [{place} for place in world.position.tolist()]
    running, trial = np.ones(16, bool), np.zeros(16, int)
    while running.any():
        actions = best.predict(obs)[0]
        out = world.step(actions)
        obs, trace = out.obs, world.trace()
        for i in np.flatnonzero(running).tolist():
            over, ended = trace["over"][i], out.terminated[i]
            assert trace["trial"][i] == trial[i] and not out.truncated[i]
            assert ended == (over and trial[i] == 2) and out.reward[i] == over == trace["reached"][i]
            assert part(obs, "new_trial")[i] == over
            assert part(obs, "prev_reward")[i] == (over and not ended)
            assert part(obs, "prev_action")[i] == (0 if ended else actions[i] + 1)
            if ended:
                assert out.success[i] == 1 and part(out.final_obs, "prev_reward")[i] == 1
                assert part(out.final_obs, "prev_action")[i] == actions[i] + 1
                assert not np.array_equal(maps[i], world.cells(i))
            else:
                np.testing.assert_array_equal(maps[i], world.cells(i))
                starts[i] |= {int(world.position[i])} if over else set()
            trial[i] += over
            running[i] = not ended
    assert sum(len(places) for places in starts) > 40  # of 48


def test_time_runs_out() -> None:
    """Turning about on the spot: two trials of 50 steps, none of which reaches the goal."""
    world = Maze(3, 5, trials=2)
    assert world.limit == 50
    world.reset(0)
    for t in range(1, 101):
        out = world.step(np.zeros(3, int))
        trace = world.trace()
        assert (trace["over"] == (t % 50 == 0)).all() and (trace["steps"] == (t - 1) % 50 + 1).all()
        assert (out.truncated == (t == 100)).all() and not out.terminated.any() and not out.reward.any()
    assert (out.success == 0).all()


def test_starts_and_goals_are_rooms_anywhere() -> None:
    world = Maze(256, 7)
    world.reset(0)
    goals = world.places(world.state()["ints"][2])
    starts = world.places(world.position)
    for places in (goals, starts):
        assert (places % 2 == 1).all() and len(np.unique(places, axis=0)) == 9
    assert (goals != starts).any(1).all() and set(world.heading.tolist()) == {0, 1, 2, 3}


def test_a_loaded_world_knows_its_distances() -> None:
    world = Maze(4, 11)
    play(world, 7)
    other = Maze(4, 11)
    other.load_state(world.state())
    np.testing.assert_array_equal(other.distance_to_goal(), world.distance_to_goal())
    np.testing.assert_array_equal(other.best_actions(), world.best_actions())


def test_what_is_asked_for_wrongly_is_named() -> None:
    for size in (3, 10, 129):
        with pytest.raises(ValueError, match=f"odd number .* got {size}"):
            Maze(1, size)
    with pytest.raises(ValueError, match="kruskal or depth-first"):
        Maze(1, 11, generator="prim")
    with pytest.raises(ValueError, match=r"opened=1\.5"):
        Maze(1, 11, opened=1.5)
    with pytest.raises(ValueError, match="num_envs"):
        Maze(0, 11)
    with pytest.raises(ValueError, match="BraidedMaze-21-v0"):
        envs.make("BraidedMaze21-v0")
