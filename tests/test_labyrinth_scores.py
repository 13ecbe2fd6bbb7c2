"""The measures of a life in the labyrinth, held to the published figures of the mice."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from test_labyrinth import labyrinth

from experiments import labyrinth_scores as scores
from experiments.labyrinth_mice import MICE, mice

MOUSE = Path(__file__).parent / "data" / "mouse_b3.txt"


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
