"""The labyrinth: its geometry, clock and senses, its oracle, the measures of a life, and the walks."""

import itertools
from functools import cache
from pathlib import Path
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
from experiments.labyrinth_mice import MICE, mice

MOUSE = Path(__file__).parent / "data" / "mouse_b3.txt"
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


# --------------------------------------------------------------------------------------------- the measures of a life


def night() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nodes, the rewards that the mouse got, and those of the world's rule, of one mouse."""
    world = labyrinth(port_node=116, life=10_000)
    letters = "".join(line.strip() for line in MOUSE.read_text().splitlines() if not line.startswith("#"))
    node, rule = [], []
    for letter in letters:
        rule.append(world.step(np.array(["lrb".index(letter.lower())])).reward[0])
        node.append(world.node[0])
    return np.array(node), np.array([letter.isupper() for letter in letters]), np.array(rule)


def test_a_mouse_replayed_gives_its_published_figures() -> None:
    node, reward, rule = night()
    assert (node != 127).sum() == 7_828 and reward.sum() == 50 and rule.sum() == MICE["B3"]["drinks"] == 35
    measured = scores.measures(scores.life(node, reward))
    for name, value in MICE["B3"].items():
        if name != "drinks":
            assert measured[name] == pytest.approx(value, abs=6e-3 if name == "long_control" else 6e-4), name
    runs = scores.water_runs(scores.life(node, reward))
    assert len(runs.length) == 50 and runs.length[0] == 14 and runs.rewards[0] == 0
    explored = scores.life(node, reward)
    assert (explored.ends & scores.explores(explored)).sum() == 1_091  # as in the paper's intermediate results


def test_what_19_mice_did() -> None:
    assert len(MICE) == 19 and len(mice("R45")) == 10
    assert mice("E").mean() == pytest.approx(0.393, abs=5e-4)
    assert mice("ends_half").mean() == pytest.approx(100, abs=0.1)
    assert mice("ends_all").mean() == pytest.approx(421, abs=0.3)
    medians = {name: float(np.median(mice(name))) for name in ("first_arrival", "first_perfect", "R45", "S45")}
    assert medians == {"first_arrival": 223.5, "first_perfect": 7, "R45": 27, "S45": 5342}
    assert mice("late").mean() == pytest.approx(0.728, abs=1e-3)
    assert mice("long_port").mean() == pytest.approx(104.1) and mice("long_control").mean() == pytest.approx(
        12.67, abs=5e-3
    )
    assert mice("home_direct").sum() == 14 and mice("drinks").mean() == pytest.approx(80.7)


def test_measures_of_a_life_by_hand() -> None:
    """Depth 3: junctions 0, 1, 2, ends 3 to 6, home 7; the port at 5."""
    bouts = [[0, 1, 0], [0, 1, 3, 1, 4, 1, 0, 2, 5, 2, 0], [0, 2, 5, 2, 6, 2, 0], [0, 2, 5, 2, 0]]
    node = np.array([n for bout in bouts for n in (*bout, 7)])
    reward = np.zeros(len(node))
    reward[np.flatnonzero(node == 5)[0]] = 1
    life = scores.life(node, reward, 5)
    assert life.depth == 3 and scores.home_runs(life).tolist() == [2, 3, 3, 3]
    runs = scores.water_runs(life)
    assert (
        runs.length.tolist() == [8, 2, 2] and runs.rewards.tolist() == [0, 1, 1] and runs.steps.tolist() == [11, 16, 23]
    )
    arrivals, length = scores.direct_paths(life, 5)
    assert life.path[arrivals].tolist() == [5, 5, 5] and length.tolist() == [4, 2, 2]
    assert life.path[life.ends & scores.explores(life)].tolist() == [3, 5]  # from 4 it went to the port, from 6 home
    measured = scores.measures(life)
    assert measured["first_arrival"] == 11 and measured["first_perfect"] == 1 and measured["late"] == 1
    assert measured["ends_half"] == 2 and measured["ends_all"] == 5 and measured["E"] == 1
    assert measured["home_direct"] == 0 and measured["long_port"] == 1 and np.isnan(measured["R45"])
    assert np.isnan(measured["long_control"])  # the mice's controls are nodes of their own maze
    doubled = scores.life(np.repeat(node, 2), np.stack([reward, 0 * reward], 1).ravel(), 5)  # steps that led nowhere
    np.testing.assert_array_equal(doubled.path, life.path)
    np.testing.assert_equal(scores.measures(doubled), measured)


def test_windows_count_distinct_ends() -> None:
    visits = np.random.default_rng(0).integers(8, size=60)
    widths = (1, 2, 5, 12)
    for width, seen in zip(widths, scores.distinct_ends(visits, widths), strict=True):
        starts = range(0, 60 - width + 1, max(1, width // 4))
        expected = np.mean([len(set(visits[s : s + width].tolist())) for s in starts])
        assert seen == pytest.approx(expected)


def test_nodes_that_are_no_neighbours_are_named() -> None:
    with pytest.raises(ValueError, match="nodes 1 and 2 follow each other"):
        scores.life(np.array([0, 1, 2]), np.zeros(3))
    empty = scores.measures(scores.life(np.array([0, 127]), np.zeros(2)))
    assert empty["late"] == 0 and np.isnan(empty["E"]) and np.isnan(empty["home_direct"])


def test_controls_lie_to_the_port_as_the_mices_do() -> None:
    home = scores.life(np.array([0]), np.zeros(1)).home
    wanted = [scores.distances(7, c)[[116, home]].tolist() for c in scores.CONTROLS]
    for port in range(63, 127):
        life = scores.life(np.array([0]), np.zeros(1), port)
        controls = scores.controls(life)
        assert [scores.distances(7, c)[[port, home]].tolist() for c in controls] == wanted
        pairs = itertools.combinations(range(3), 2)
        for a, b in pairs:
            there, here = scores.CONTROLS, controls
            assert scores.distances(7, there[a])[there[b]] == scores.distances(7, here[a])[here[b]]


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
