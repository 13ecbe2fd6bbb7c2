"""Rollouts and updates: time limits, advantages, counts of episodes, skipped minibatches, annealing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from test_ppo import Clock, make, weights

from agents.rollout import Episodes, Rollout
from envs.world import World


def value_of(world: World, gamma: float) -> float:
    settings: dict[str, Any] = {
        "num_steps": 16,
        "learning_rate": 1e-2,
        "final_learning_rate": 1.0,
        "update_epochs": 4,
        "ent_coef": 0.0,
    }
    model = make("none", world, gamma=gamma, num_minibatches=1, hidden=16, **settings)
    model.learn(60 * 16 * world.num_envs, log_interval=10**9)
    return float(model.rollout.values.mean())


def test_a_time_limit_is_not_the_end_of_the_world() -> None:
    assert value_of(Clock(8, 3), 0.8) == pytest.approx(1 / (1 - 0.8), rel=0.1)


@pytest.mark.parametrize("truncates", [False, True])
def test_an_end_is_the_end_even_at_the_time_limit(truncates: bool) -> None:
    expected = np.mean([1, 1 + 0.8, 1 + 0.8 + 0.64])  # the time is not shown: the mean over the episode
    assert value_of(Clock(6, 3, True, truncates), 0.8) == pytest.approx(expected, rel=0.1)


def test_cut_off_reward_is_the_discounted_value_of_the_last_observation() -> None:
    model = make("none", Clock(4, 4), gamma=0.5)
    model.learn(32)
    roll = model.rollout
    expected = torch.where(roll.ends, 0.5 * roll.values, torch.zeros(8, 4))  # the observation is always the same
    assert int(roll.ends.sum()) == 8
    torch.testing.assert_close(roll.cut_off, expected)
    assert (roll.rewards == 1).all()


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_advantages_are_the_sum_that_defines_them(lam: float) -> None:
    steps, batch, gamma = 9, 5, 0.9
    roll = Rollout({"": torch.zeros(batch, 1)}, steps + 3, 1, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    roll.steps = steps  # the last rows of the buffer are not filled
    roll.rewards, roll.values = (torch.randn(steps + 3, batch, generator=generator) for _ in range(2))
    roll.ends = torch.rand(steps + 3, batch, generator=generator) < 0.2
    roll.cut_off = torch.randn(steps + 3, batch, generator=generator) * roll.ends
    last = torch.randn(batch, generator=generator)
    advantages, returns = roll.advantages(last, gamma, lam)
    values = torch.cat((roll.values[:steps], last[None]))
    for b in range(batch):
        for t in range(steps):
            expected, weight = 0.0, 1.0
            for k in range(t, steps):
                ended = bool(roll.ends[k, b])
                ahead = 0.0 if ended else gamma * float(values[k + 1, b])
                gained = float(roll.rewards[k, b] + roll.cut_off[k, b])
                expected += weight * (gained + ahead - float(values[k, b]))
                weight *= gamma * lam
                if ended:
                    break
            assert float(advantages[t, b]) == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(returns, advantages + roll.values[:steps])


def test_episodes_are_counted() -> None:
    episodes = Episodes(2)
    assert all(np.isnan(value) for value in episodes.mean())
    nothing = np.full(2, np.nan)
    assert episodes.add(np.array([1.0, 2.0]), np.array([False, False]), nothing) == []
    assert episodes.add(np.array([1.0, 5.0]), np.array([False, True]), np.array([np.nan, 0.5])) == [(7.0, 2, 0.5)]
    assert episodes.add(np.array([1.0, 3.0]), np.array([True, True]), np.array([1.0, 0.0])) == [
        (3.0, 3, 1.0),
        (3.0, 1, 0.0),
    ]
    assert episodes.mean() == pytest.approx((13 / 3, 2, 0.5))


def test_minibatches_that_moved_too_far_are_skipped() -> None:
    once, skipping, free = (
        make(update_epochs=epochs, kl_skip=kl).learn(32) for epochs, kl in ((1, 1e9), (3, 0.0), (3, 1e9))
    )
    assert torch.equal(weights(once), weights(skipping))  # all but the first epoch
    assert not torch.equal(weights(once), weights(free))
    assert skipping._last_train["train/skipped"] == pytest.approx(2 / 3)
    assert once._last_train["train/skipped"] == free._last_train["train/skipped"] == 0


@pytest.mark.parametrize("name", ["superposed", "slots"])
def test_updates_drop_the_controllers_that_acting_dropped(name: str) -> None:
    model = make(name, "Recall-N2-D4-v0", num_envs=32, num_steps=32, controller_dropout=0.25, learning_rate=1e-12)
    model.learn(32 * 32)
    roll = model.rollout
    assert roll.dropped is not None and 0.2 < float(roll.dropped.float().mean()) < 0.3
    assert model._last_train["train/approx_kl"] == pytest.approx(0, abs=1e-6)
    roll.dropped[:] = False
    with torch.no_grad():
        dist = model.policy.unroll(*roll.inputs(torch.arange(32))).dist
    assert float((dist.log_prob(roll.actions) - roll.log_probs).abs().max()) > 1e-4
    assert make(name, "Recall-N2-D4-v0", controller_dropout=0.0).learn(64).rollout.dropped is None


def test_observations_are_normalised_by_what_was_seen() -> None:
    model = make("none", "CartPole-v1").learn(64)
    (count,) = [part for name, part in model.policy.encoder.named_buffers() if name.endswith("count")]
    assert float(count) == 64
    assert not list(make("none", "CartPole-v1", normalize_obs=False).policy.encoder.buffers())


def test_the_learning_rate_anneals() -> None:
    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            rates.append(model.optimizer.param_groups[0]["lr"])

    rates: list[float] = []
    model = make(final_learning_rate=0.5, learning_rate=1e-3)
    model.learn(128, callback=Watch())
    assert rates == pytest.approx([1e-3, 0.875e-3, 0.75e-3, 0.625e-3])
