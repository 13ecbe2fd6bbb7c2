"""Every agent with a memory learns a task that the agent without one cannot: seeds are fixed, margins wide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import agents
from agents.cores import CORES
from agents.ppo import MemoryPPO

# Of its own, so that tuning the defaults for hard worlds does not decide whether these easy ones pass in time.
SETTINGS: dict[str, Any] = {
    "num_envs": 32, "num_steps": 16, "learning_rate": 5e-3, "gamma": 0.9, "ent_coef": 0.01, "advantage_floor": 0.0,
}  # fmt: skip
SMALLER: dict[str, dict[str, Any]] = {"superposed": {"dim": 64}, "transformer": {"window": 16}, "slots": {"slots": 16}}


def trained(name: str, env: str, steps: int, **settings: Any) -> MemoryPPO:
    model: MemoryPPO = agents.make(name, env, **(SETTINGS | SMALLER.get(name, {}) | settings))
    return model.learn(steps, log_interval=10**9)


def success(model: MemoryPPO) -> float:
    """Of the last hundred episodes, while exploring."""
    return model.episodes.mean()[2]


@pytest.mark.parametrize("name", [name for name in CORES if name != "none"])
def test_a_cue_is_kept_through_a_corridor(name: str) -> None:
    assert success(trained(name, "TMaze-Max5-v0", 16_000)) > 0.9


def test_without_memory_the_turn_is_a_guess() -> None:
    assert success(trained("none", "TMaze-Max5-v0", 16_000)) < 0.7


@pytest.mark.parametrize("name", ["superposed", "none"])
def test_one_pair_is_recalled(name: str) -> None:
    found = success(trained(name, "Recall-N1-D2-v0", 16_000, gamma=0.5))
    assert found > 0.9 if name == "superposed" else found < 0.7


def test_cart_pole_by_name_improves() -> None:
    model = trained("none", "CartPole-v1", 16_000, num_envs=8, num_steps=64, gamma=0.98, gae_lambda=0.95)
    recent = [episode[0] for episode in model.episodes.recent]
    assert np.mean(recent[-20:]) > 60  # random play lasts about 22 steps
