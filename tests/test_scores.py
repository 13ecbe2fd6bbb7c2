"""Scores of logged lives, against cases counted by hand."""

import numpy as np
import pytest

from experiments.scores import (
    LOWER_IS_BETTER,
    SCORES,
    doors,
    recovery,
    regret,
    retention,
    runs,
    spl,
    spl_by_trial,
    worst_decile,
)


def log_of(trials: list[tuple[int, int, bool]], **more: list[int]) -> dict[str, np.ndarray]:
    """A log of runs (steps, optimum, reached), one trial after the other; `more` has a value for each run."""
    steps = [run[0] for run in trials]
    last = np.cumsum(steps) - 1
    over, reached = np.zeros(sum(steps), bool), np.zeros(sum(steps), bool)
    over[last] = True
    reached[last] = [run[2] for run in trials]
    each = {"trial": list(range(len(trials))), "optimum": [run[1] for run in trials]} | more
    return {"over": over, "reached": reached} | {name: np.repeat(values, steps) for name, values in each.items()}


# 10 steps for 5, 4 steps for 4, 20 steps for nothing, and 2 steps for 2: 36 steps of which 11 were needed
LIFE = [(10, 5, True), (4, 4, True), (20, 6, False), (2, 2, True)]


def test_runs_are_cut_where_the_world_says() -> None:
    run = runs(log_of(LIFE))
    assert run.steps.tolist() == [10, 4, 20, 2] and run.optimum.tolist() == [5, 4, 6, 2]
    assert run.reached.tolist() == [True, True, False, True] and run.last.tolist() == [9, 13, 33, 35]
    np.testing.assert_allclose(spl(run), [0.5, 1.0, 0.0, 1.0])


def test_what_the_end_of_a_life_cuts_short_is_no_run() -> None:
    whole = log_of([*LIFE, (7, 3, False)])
    whole["over"][-1] = False
    assert runs(whole).steps.tolist() == [10, 4, 20, 2]


def test_spl_by_trial_and_regret() -> None:
    score = spl_by_trial(log_of(LIFE))
    assert [score[f"spl_{k}"] for k in (1, 2, 3, 4)] == [0.5, 1.0, 0.0, 1.0]
    assert score["spl_later"] == pytest.approx(2 / 3) and score["regret"] == pytest.approx(1000 * (36 - 11) / 36)
    assert spl_by_trial(log_of([(3, 3, True)]))["regret"] == 0.0
    assert np.isnan(spl_by_trial(log_of([(3, 3, True)]))["spl_later"])  # there is none


def test_recovery_counts_runs_until_the_new_way_is_known() -> None:
    trials = [(8, 4, True), (4, 4, True), (30, 10, True), (16, 10, True), (15, 10, True), (10, 10, True)]
    score = recovery(log_of(trials, changed=[0, 0, 1, 1, 1, 1]))
    assert score["recovery"] == 2.0  # 30 and 16 steps are more than 1.5 x 10, then 15 is not
    assert score["regret_before"] == pytest.approx(1000 * 4 / 12)
    assert score["regret_after"] == pytest.approx(1000 * (71 - 40) / 71)
    never = recovery(log_of(trials[:4], changed=[0, 0, 1, 1]))
    assert never["recovery"] == 2.0  # all of them
    unchanged = recovery(log_of(trials[:2], changed=[0, 0]))
    assert np.isnan(unchanged["recovery"]) and np.isnan(unchanged["regret_after"])


def test_regret_means_nothing_without_a_goal() -> None:
    assert np.isnan(regret(runs(log_of([(5, 0, False), (5, 0, False)]))))


def test_retention_looks_at_first_runs_of_visits() -> None:
    trials = [(8, 4, True), (4, 4, True), (9, 3, True), (3, 3, True), (5, 4, True), (4, 4, True), (12, 3, True)]
    life = log_of(trials, visit=[0, 0, 0, 0, 1, 1, 1], maze=[0, 0, 1, 1, 0, 0, 1], number=[0] * 7)
    life["trial"] = np.repeat([0, 1, 0, 1, 0, 1, 0], [run[0] for run in trials])
    score = retention(life)
    assert score["spl_visit1"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert score["spl_visit2"] == pytest.approx((4 / 5 + 1 / 4) / 2)
    assert score["revisit_ratio"] == pytest.approx((5 / 4 + 4) / 2) and score["under_3x"] == 0.5
    life["reached"][:] = False
    assert retention(life)["under_3x"] == 0.0 and retention(life)["spl_visit2"] == 0.0


def test_doors_by_layout() -> None:
    layout = np.repeat([0, 1, 2], [500, 250, 50])  # the last is too short to be the worst
    door = np.zeros(800, bool)
    door[[10, 60, 110, 510]] = True
    score = doors({"door": door, "layout": layout, "optimum": np.full(800, 50)})
    assert [score[f"doors_{k}"] for k in (1, 2, 3)] == [3.0, 2.0, 0.0]
    assert score["doors_later"] == pytest.approx(500 / 300) and score["doors_worst"] == 2.0
    assert score["regret"] == pytest.approx(1000 * (1 - 4 * 50 / 800))


def test_worst_decile() -> None:
    values = np.array([*range(20), np.nan])
    assert worst_decile(values) == 0.5 and worst_decile(values, lower_is_better=True) == 18.5
    assert worst_decile(np.array([3.0])) == 3.0 and np.isnan(worst_decile(np.array([np.nan])))


def test_the_labyrinths_measures_are_scores() -> None:
    walk = [0, 1, 3, 1, 0, 2, 5, 2, 0, 7]  # depth 3: ends 3 ... 6, home 7, the port at 5
    reward = np.array(walk) == 5
    score = SCORES["labyrinth"].of({"node": np.array(walk), "reward": reward, "port": np.full(10, 5)})
    assert score["drinks"] == 1.0 and score["first_arrival"] == 6.0
    assert "first_arrival" in LOWER_IS_BETTER and "E" not in LOWER_IS_BETTER
