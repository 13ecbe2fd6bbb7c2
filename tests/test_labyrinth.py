"""The labyrinth: its geometry, clock and senses, its oracle, and the walks."""

from functools import cache
from typing import Any

import numpy as np
import pytest

import agents
import envs
from envs.labyrinth import BACK, END, HOME, LEFT, REARM, RIGHT, STEM, Labyrinth, action_to, tree, way_to
from envs.labyrinth_oracle import expected_return
from envs.labyrinth_view import layout
from envs.oracle import optimum
from experiments import labyrinth_scores as scores

DIRECT = [0, 2, 6, 13, 28, 57, 116]  # the mice's way to the port


def labyrinth(num_envs: int = 1, **kwargs: Any) -> Labyrinth:
    world = Labyrinth(num_envs, **kwargs)
    world.reset(0)
    return world


def go(world: Labyrinth, *nodes: int) -> list[float]:
    """Walk the first environment to these nodes, one after the other; the rewards."""
    rewards = []
    for node in nodes:
        actions = action_to(world.entry, way_to(world.depth, world.node, np.full(world.num_envs, node)))
        rewards.append(float(world.step(actions).reward[0]))
        assert world.node[0] == node
    return rewards


def play(name: str, lives: int, **kwargs: Any) -> tuple[list[scores.Life], np.ndarray]:
    """Let an agent live in the maze; the lives and their success."""
    world = Labyrinth(lives, **kwargs)
    agent = agents.make(name, world, seed=0)
    obs, state, traces = world.reset(100), None, []
    for step in range(world.life):
        actions, state = agent.predict(obs, state, np.full(lives, step == 0))
        out = world.step(actions)
        traces.append({name: part.copy() for name, part in world.trace().items()})
    assert out.truncated.all() and not out.terminated.any()
    node, reward = (np.stack([trace[name] for trace in traces]) for name in ("node", "reward"))
    ports = traces[0]["port"]
    return [scores.life(node[:, i], reward[:, i], ports[i]) for i in range(lives)], out.success.copy()


def mean(lives: list[scores.Life], name: str) -> float:
    return float(np.nanmean([scores.MEASURES[name].of(life) for life in lives]))


# ---------------------------------------------------------------------------------------------------- the maze


def test_it_is_the_maze_of_the_mice() -> None:
    cells = layout(7)
    assert cells[:127].min() == 0 and cells[:127].max() == 14 and len({*map(tuple, cells.tolist())}) == 128
    assert [cells[n].tolist() for n in (0, 1, 2, 6, 127)] == [[7, 7], [7, 3], [7, 11], [11, 11], [-1, 7]]
    parents = np.append(127, (np.arange(1, 127) - 1) // 2)
    lengths = np.abs(cells[:127] - cells[parents]).sum(1)
    level = tree(7).level
    assert [set(lengths[level[:127] == i]) for i in range(7)] == [{8}, {4}, {4}, {2}, {2}, {1}, {1}]
    assert lengths.sum() == 176  # corridor cells
    assert tree(7).side[[1, 2, 3, 5, 6]].tolist() == [LEFT, RIGHT, LEFT, RIGHT, LEFT]


@pytest.mark.parametrize("depth", [3, 4, 7, 8])
def test_left_and_right_are_what_the_map_says(depth: int) -> None:
    world, cells, random = labyrinth(64, depth=depth), layout(depth), np.random.default_rng(0)
    before = world.node.copy()
    for _ in range(300):
        here, entry = world.node.copy(), world.entry.copy()
        actions = random.integers(3, size=64)
        masks = world.action_masks()
        obs = world.step(actions).obs
        assert isinstance(obs, np.ndarray)
        moved = masks[np.arange(64), actions]
        np.testing.assert_array_equal(world.node != here, moved)
        came, gone = cells[here] - cells[before], cells[world.node] - cells[here]
        known = moved & came.any(1)
        np.testing.assert_array_equal((world.node == before)[known], (actions == BACK)[known])
        turn = came[:, 0] * gone[:, 1] - came[:, 1] * gone[:, 0]  # positive clockwise, for y points down
        inside = known & (entry < END) & (actions != BACK)
        from_stem = inside & (entry == STEM)
        assert (np.sign(turn) == np.where(actions == 0, -1, 1))[from_stem].all()
        straight = inside & (entry > STEM) & (turn == 0)
        into_stem = inside & (entry > STEM) & (turn != 0)
        assert (np.sign(turn) == np.where(actions == 0, -1, 1))[into_stem].all()
        assert (entry[straight] == np.where(actions == 0, LEFT, RIGHT)[straight]).all()  # the stem is on the other side
        corridor = np.abs(gone).sum(1) / (1 << (depth - 1) // 2)
        np.testing.assert_allclose(obs[:, -2], corridor)
        before = np.where(moved, here, before)


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_ways_and_distances_agree_with_a_search(depth: int) -> None:
    home = (1 << depth) - 1
    neighbours = {
        n: [c for c in (2 * n + 1, 2 * n + 2) if c < home] + [(n - 1) // 2 if n else home] for n in range(home)
    }
    neighbours[home] = [0]
    for target in range(home + 1):
        found, layer = {target: 0}, [target]
        while layer:
            layer = [n for m in layer for n in neighbours[m] if n not in found and not found.update({n: found[m] + 1})]
        assert scores.distances(depth, target).tolist() == [found[n] for n in range(home + 1)]
        world = labyrinth(1, depth=depth)
        for start in range(home + 1):
            way = way_to(depth, np.array([start]), np.array([target]))[0]
            branches = [c for c in neighbours[start] if c > start and c != home]
            sides = {STEM: (start - 1) // 2 if start else home}
            sides |= {int(tree(depth).side[c]): c for c in branches}
            step = 0 if start == home else sides[int(way)]
            assert start == target or found[step] == found[start] - 1
        assert world.home == home


# ------------------------------------------------------------------------------------------- the clock and senses


def test_the_port_gives_water_again_after_90_seconds() -> None:
    assert REARM == 116  # 115.5 arrivals, rounded up
    world = labyrinth(port_node=116)
    assert sum(go(world, *DIRECT)) == 1
    rewards = go(world, *[57, 116] * 116)
    assert np.flatnonzero(rewards).tolist() == [115, 231]  # 116 and 232 steps after the first


def test_the_bout_port_wants_a_visit_home() -> None:
    world = labyrinth(port="bout", port_node=116)
    assert sum(go(world, *DIRECT, *[57, 116] * 100)) == 1
    assert go(world, *DIRECT[-2::-1], world.home, *DIRECT)[-1] == 1
    dry = labyrinth(port="unrewarded", port_node=116)
    assert sum(go(dry, *DIRECT, *[57, 116] * 100)) == 0


def test_invalid_actions_cost_a_step() -> None:
    world = labyrinth(life=40)
    assert world.action_masks().tolist() == [[False, False, True]]
    out = world.step(np.array([0]))
    assert world.node[0] == world.home and world.time[0] == 1 and world.trace()["node"][0] == world.home
    go(world, 0, 1, 3, 7, 15, 31, 63)
    assert world.action_masks().tolist() == [[False, False, True]] and world.entry[0] == END
    out = world.step(np.array([1]))
    assert isinstance(out.obs, np.ndarray) and world.node[0] == 63 and out.obs[0, -7:].tolist() == [0, 0, 0, 1, 0, 0, 0]


def test_a_life_ends_by_the_clock_and_another_begins() -> None:
    world = labyrinth(2, life=7, port_node=116)
    go(world, *DIRECT[:6])
    out = world.step(action_to(world.entry, way_to(7, world.node, np.full(2, 116))))
    assert out.truncated.all() and not out.terminated.any() and (out.success == 1).all() and (out.reward == 1).all()
    assert isinstance(out.obs, np.ndarray) and isinstance(out.final_obs, np.ndarray)
    assert out.final_obs[0, 116] == 1 and out.final_obs[0, -1] == 1 and out.obs[0, 127] == 1 and out.obs[0, -3] == 1
    assert world.trace()["node"].tolist() == [116, 116] and world.node.tolist() == [127, 127]
    assert world.rewards.tolist() == [0, 0] and world.since_reward.tolist() == [REARM, REARM]


def test_success_is_the_share_of_late_direct_runs() -> None:
    there_and_back = [*DIRECT, *DIRECT[-2::-1], 127]  # 14 steps
    for detours, success in ((0, 1.0), (1, 0.5), (2, 0.0)):
        world = labyrinth(life=120, port_node=116)
        go(world, *there_and_back * 6)  # 84 of 120 steps: too early to count
        for late in range(2):
            go(world, *[0, 1] * (late < detours), *there_and_back)
        while world.time[0]:
            out = world.step(np.array([0]))
        assert out.success[0] == success


def test_the_port_moves_from_life_to_life() -> None:
    world = labyrinth(256, depth=4, life=2)
    ports = []
    for step in range(16):
        if step % 2 == 0:
            ports.append(world.port.copy())
        world.step(np.full(256, BACK))
    counts = np.bincount(np.concatenate(ports), minlength=15)
    assert not counts[:7].any() and counts[7:].min() > 200 and (ports[0] != ports[1]).mean() > 0.8


def test_tracks_show_the_place() -> None:
    worlds = {track: labyrinth(256, track=track, drift=0.0) for track in ("id", "local", "noisy")}
    random = np.random.default_rng(1)
    flips = []
    for _ in range(200):
        actions = random.integers(3, size=256)
        obs = {track: world.step(actions).obs for track, world in worlds.items()}
        node, entry = worlds["id"].node, worlds["id"].entry
        shown = {track: np.asarray(part) for track, part in obs.items()}
        np.testing.assert_array_equal(shown["id"][:, :128].argmax(1), node)
        np.testing.assert_array_equal(shown["local"][:, :5].argmax(1), entry)
        for track in ("id", "noisy"):
            np.testing.assert_array_equal(shown[track][:, -7:], shown["local"])
        bits = (np.arange(6, -1, -1) <= 6) * ((node + 1) % 128)[:, None] >> np.arange(6, -1, -1) & 1
        flips.append((shown["noisy"][:, :7] > 0) != bits)
    assert abs(np.mean(flips) - 0.1) < 0.002 and (abs(np.mean(flips, (0, 1)) - 0.1) < 0.006).all()


def test_drift_misreports_branch_and_length_but_never_an_end() -> None:
    world, random = labyrinth(256, track="local", drift=0.03), np.random.default_rng(2)
    wrong: list[list[np.ndarray]] = [[], []]
    cells = layout(7)
    for _ in range(300):
        here = world.node.copy()
        obs = np.asarray(world.step(random.integers(3, size=256)).obs)
        shown, entry, moved = obs[:, :5].argmax(1), world.entry, world.node != here
        ends = entry >= END
        np.testing.assert_array_equal(shown[ends], entry[ends])
        assert (shown[~ends] < END).all() and (obs[~moved, 5] == 0).all()
        length = np.abs(cells[world.node] - cells[here]).sum(1) / 8
        wrong[0].append((shown != entry)[moved & ~ends])
        wrong[1].append((obs[:, 5] != length)[moved])
        assert set(obs[moved, 5].tolist()) <= {0.125, 0.25, 0.5, 1.0}
    assert [abs(np.concatenate(part).mean() - 0.03) < 0.002 for part in wrong] == [True, True]


def test_bad_arguments_are_named() -> None:
    for kwargs, message in (
        ({"depth": 9}, "depth of 3..8"),
        ({"track": "smell"}, "track='smell'"),
        ({"port": "wine"}, "port='wine'"),
        ({"flip": 1.5}, "flip=1.5"),
        ({"port_node": 3}, r"63\.\.126, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            envs.make("Labyrinth-v0", **kwargs)
    assert isinstance(envs.make("Labyrinth-Noisy-Bout-v0").unwrapped, Labyrinth)
    world = envs.make("Labyrinth-Drift-Unrewarded-v0", depth=5).unwrapped
    assert isinstance(world, Labyrinth) and (world.track, world.port_kind, world.depth) == ("local", "unrewarded", 5)


def test_it_can_be_looked_at() -> None:
    world = labyrinth(2, port_node=116)
    go(world, *DIRECT)
    picture = world.render(0)
    assert picture.shape == (534, 504, 3) and picture.dtype == np.uint8
    x, y = (int(v) for v in world.spot(0))
    assert picture[y, x].tolist() == [205, 92, 40]  # the mouse
    assert world.recent(0)[-8:] == [127, *DIRECT]
    assert "node 116, an end" in world.ansi(0) and "reward +1, 1 rewards" in world.ansi(0)
    for depth in (3, 8):
        assert labyrinth(depth=depth).render().shape[2] == 3


# ----------------------------------------------------------------------------------------------------- the oracle


@cache
def best_search(depth: int) -> float:
    """Mean moves from node 0 to a port at a random end, over the best order of visits: all orders, by recursion."""
    first, count = (1 << (depth - 1)) - 1, 1 << (depth - 1)

    @cache
    def rest(here: int, seen: int) -> int:
        """Summed waiting of the ends not yet seen."""
        unseen = [e for e in range(count) if not seen >> e & 1]
        away = scores.distances(depth, here)
        return min((away[first + e] * len(unseen) + rest(first + e, seen | 1 << e) for e in unseen), default=0)

    return rest(0, 0) / count


@pytest.mark.parametrize("depth", [3, 4])
def test_depth_first_search_is_the_best(depth: int) -> None:
    assert best_search(depth) == 2**depth - 2


@pytest.mark.parametrize("depth", [3, 4, 5, 7])
def test_the_oracle_reaches_the_closed_forms(depth: int) -> None:
    ends = np.arange((1 << (depth - 1)) - 1, (1 << depth) - 1)
    lives, success = play("oracle", 512, depth=depth, life=1_000, port="bout")
    by_port = {life.port: life for life in lives}
    assert sorted(by_port) == ends.tolist() and (success == 1).all()
    first, rewards = [], []
    for life in by_port.values():
        drinks = np.flatnonzero(life.rewarded)
        assert (np.diff(drinks[1:]) == REARM).all()
        first.append(drinks[0] - 1)  # moves from node 0, which is the first arrival
        rewards.append(len(drinks))
        tour = np.flatnonzero(life.path == ends[-1])[0]
        assert tour - 1 + depth - 1 == 2 ** (depth + 1) - 4  # all the ends, and back at node 0
        assert scores.water_runs(life).length[1:].tolist() == [depth - 1] * (len(drinks) - 1)
    assert np.mean(first) == 2**depth - 2
    assert np.mean(rewards) == expected_return(depth, 1_000)


def test_optimum_of_the_ids() -> None:
    best = optimum("Labyrinth-v0")
    assert best.success == 1 and 129 < best.episode_return < 131 and abs(best.chance - 7 / 729) < 1e-9
    assert optimum("Labyrinth-Unrewarded-v0").episode_return == 0
    lives, success = play("oracle", 8)
    assert (success == 1).all()
    measured = {name: mean(lives, name) for name in scores.MEASURES}
    assert measured["E"] > 0.98 and (measured["ends_half"], measured["ends_all"]) == (32, 64)
    assert measured["first_perfect"] == 1 and measured["R45"] <= 1 and measured["late"] == measured["home_direct"] == 1


# ------------------------------------------------------------------------------------------------------- the walks


def test_random_walk_has_the_known_figures() -> None:
    lives, _ = play("random", 48)
    assert abs(mean(lives, "E") - 0.150) < 0.01 and abs(mean(lives, "ends_all") / 1332 - 1) < 0.1


def test_four_bias_walk_has_the_known_figures() -> None:
    lives, _ = play("four-bias", 48, port_node=116)
    assert abs(mean(lives, "E") - 0.33) < 0.02 and abs(mean(lives, "ends_half") / 98 - 1) < 0.1
    assert abs(mean(lives, "long_port") - 7.1) < 1.2 and abs(mean(lives, "drinks") - 25.6) < 3
    world = labyrinth(1)
    walk = agents.make("four-bias", world)._chances
    np.testing.assert_allclose(walk.sum(2), 1)
    assert walk[HOME, 0, BACK] == 1 and walk[STEM, LEFT, 1] > walk[STEM, LEFT, 0] > walk[STEM, LEFT, BACK] - 0.01


def test_never_reverse_turns_back_at_ends_only() -> None:
    lives, _ = play("never-reverse", 16, life=4_000)
    for life in lives:
        turned = life.path[2:] == life.path[:-2]
        assert (life.ends | (life.path == life.home))[1:-1][turned].all()
    assert mean(lives, "home_direct") == 1
