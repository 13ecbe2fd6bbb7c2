"""Statistics against values worked out by hand, and against what they must be by definition."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from experiments import stats

LADDER = np.arange(8.0).reshape(4, 2)  # 4 runs of 2 tasks: 0..7


def test_aggregates_of_known_scores() -> None:
    assert stats.aggregate_mean(LADDER) == 3.5
    assert stats.aggregate_median(LADDER) == 3.5  # of the tasks' means 3 and 4
    assert stats.aggregate_iqm(LADDER) == 3.5  # the mean of 2, 3, 4, 5
    assert stats.aggregate_optimality_gap(np.array([[0.5], [2.0]])) == 0.25  # 2.0 counts as 1.0


def test_what_is_not_a_number_is_not_trimmed_away() -> None:
    assert np.isnan(stats.aggregate_iqm(np.array([0.0, 0.6, 0.7, np.nan])))


def test_iqm_ignores_the_outer_quarters() -> None:
    assert stats.aggregate_iqm(np.array([[0.0], [0.4], [0.6], [1000.0]])) == pytest.approx(0.5)


def test_probability_of_improvement() -> None:
    x, y = np.array([[1.0], [3.0]]), np.array([[2.0], [2.0]])
    assert stats.probability_of_improvement(x, y) == 0.5
    assert stats.probability_of_improvement(y + 5, x) == 1.0
    assert stats.probability_of_improvement(x, x) == 0.5
    with pytest.raises(ValueError, match="same tasks"):
        stats.probability_of_improvement(x, np.ones((2, 3)))


def test_performance_profile_falls_from_one_to_zero() -> None:
    profile = stats.performance_profile(LADDER, np.array([-1.0, 3.5, 7.0]))
    np.testing.assert_array_equal(profile, [1.0, 0.5, 0.0])


def test_interval_covers_the_mean_of_a_normal_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(150, 10))
    intervals = [stats.interval_estimate(d, stats.aggregate_mean, reps=200) for d in draws]
    covered = np.mean([low <= 0 <= high for _, low, high in intervals])
    assert 0.85 < covered < 0.98  # a percentile interval of ten runs is a little narrow


def test_interval_is_stratified() -> None:
    scores = np.tile([0.0, 100.0], (5, 1))  # tasks differ, runs do not: nothing is uncertain
    assert stats.interval_estimate(scores, stats.aggregate_mean) == (50.0, 50.0, 50.0)


def test_tasks_are_drawn_apart() -> None:
    one = np.random.default_rng(0).normal(size=(10, 1))
    _, low, high = stats.interval_estimate(one, stats.aggregate_mean)
    _, lower, higher = stats.interval_estimate(np.tile(one, 8), stats.aggregate_mean)
    assert (higher - lower) / (high - low) == pytest.approx(8**-0.5, rel=0.15)  # the same runs for all: 1


def test_a_single_run_has_no_interval() -> None:
    value, low, high = stats.interval_estimate(np.array([0.7]))
    assert value == pytest.approx(0.7)
    assert np.isnan(low) and np.isnan(high)


def test_bootstrap_means_keep_runs_whole() -> None:
    scores = np.array([[0.0, 10.0], [1.0, 11.0]])
    means = stats.bootstrap_means(scores, reps=50)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 10.0)


def test_against_scipy() -> None:
    """Interquartile mean, probability of improvement and bootstrap are what scipy makes of the same numbers."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(12, 1)), rng.normal(0.5, size=(9, 1))
    assert stats.aggregate_iqm(x) == pytest.approx(scipy.stats.trim_mean(x[:, 0], 0.25))
    u = scipy.stats.mannwhitneyu(x[:, 0], y[:, 0]).statistic
    assert stats.probability_of_improvement(x, y) == pytest.approx(u / (12 * 9))
    theirs = scipy.stats.bootstrap((x[:, 0],), np.mean, method="percentile", n_resamples=4000, rng=0)
    ours = stats.interval_estimate(x, stats.aggregate_mean, reps=4000)
    assert ours[1:] == pytest.approx(tuple(theirs.confidence_interval), abs=0.05)


def test_improvement_has_an_interval() -> None:
    better, worse = np.arange(10.0, 15.0), np.arange(5.0)
    assert stats.improvement_estimate(better, worse) == (1.0, 1.0, 1.0)
    value, low, high = stats.improvement_estimate(worse, worse, reps=200)
    assert value == 0.5 and low < 0.5 < high
    assert np.isnan(stats.improvement_estimate(better[:1], worse).low)


def test_profiles_have_a_band() -> None:
    thresholds = np.array([-1.0, 3.5, 7.0])
    profile, low, high = stats.profile_estimate(LADDER, thresholds, reps=200)
    np.testing.assert_array_equal(profile, [1.0, 0.5, 0.0])
    assert (low <= profile).all() and (profile <= high).all() and low[1] < high[1]


def test_the_optimality_gap_of_a_perfect_score_is_nothing() -> None:
    assert stats.aggregate_optimality_gap(np.ones((3, 2))) == 0.0
    assert stats.aggregate_optimality_gap(np.full((3, 2), 3.0), gamma=4.0) == 1.0


def test_a_list_of_scores_is_of_runs() -> None:
    x, y = np.array([1.0, 2, 3]), np.array([0.0, 1, 2])
    assert (
        stats.probability_of_improvement(x, y)
        == stats.probability_of_improvement(x[:, None], y[:, None])
        == pytest.approx(7 / 9)
    )
    assert stats.probability_of_improvement(x, y[:2]) == pytest.approx(11 / 12)
