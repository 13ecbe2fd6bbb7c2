"""The registry: names, construction, equal numbers of parameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import agents
import envs
from agents.cores import CORES
from agents.ppo import MemoryPPO

WORLD = "RecallMix-N8-D16-v0"


def test_every_core_is_an_agent_and_every_default_is_documented_once() -> None:
    assert set(CORES) < set(agents.AGENTS)
    for name in CORES:
        agent = agents.get(name)
        assert agent.config is CORES[name][0]
        assert dataclasses.is_dataclass(agent.config)
        config: Any = agent.config()
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.gamma = 0.5
        assert agent.width in {field.name for field in dataclasses.fields(agent.config)}


@pytest.mark.parametrize(
    ("typo", "meant"), [("superpose", "superposed"), ("grus", "gru"), ("transfomer", "transformer")]
)
def test_unknown_names_get_the_closest_match(typo: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"unknown agent '{typo}'. Did you mean '{meant}'. Choices: superposed, gru"):
        agents.get(typo)
    with pytest.raises(ValueError, match=r"unknown agent 'xyzzy'\. Choices: superposed, gru"):
        agents.make("xyzzy", WORLD)


def test_make_passes_settings_on_and_refuses_unknown_ones() -> None:
    model = agents.make("gru", WORLD, seed=3, num_envs=2, hidden=8)
    assert (model.seed, model.world.num_envs, model.policy.core.output_width) == (3, 2, 8)
    with pytest.raises(TypeError, match=r"no setting .hiden.* Did you mean .hidden"):
        agents.make("gru", WORLD, hiden=8)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"hidden": 0}, "'hidden' must be at least 1, got 0"),
        ({"hidden": 8.5}, "'hidden' must be a whole number, got 8.5"),
        ({"learning_rate": "fast"}, "'learning_rate' must be a number, got 'fast'"),
        ({"gamma": 1.5}, "'gamma' must be between 0 and 1, got 1.5"),
    ],
)
def test_make_refuses_what_no_agent_can_have(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agents.make("gru", "TMaze-L10-v0", **setting)


def test_a_core_is_named_where_other_libraries_name_a_policy() -> None:
    with pytest.raises(ValueError, match="unknown core 'MlpPolicy': the first argument is one of superposed, gru"):
        MemoryPPO("MlpPolicy", "CartPole-v1")


@pytest.mark.parametrize("name", CORES)
def test_same_seed_same_agent(name: str) -> None:
    same, again, other = (agents.make(name, WORLD, seed=seed, num_envs=2).policy for seed in (0, 0, 1))
    weights = [np.concatenate([p.detach().numpy().ravel() for p in x.parameters()]) for x in (same, again, other)]
    assert np.array_equal(weights[0], weights[1]) and not np.array_equal(weights[0], weights[2])


@pytest.mark.parametrize("multiple", [1, 4, 16, 64])
@pytest.mark.parametrize("name", CORES)
def test_scaled_reaches_the_number_of_parameters(name: str, multiple: float) -> None:
    world = envs.make(WORLD)
    default = agents.count_parameters("superposed", CORES["superposed"][0](), world)
    config: Any = CORES[name][0](gamma=0.5)
    field = agents.get(name).width or ""
    try:
        found = agents.scaled(name, config, world, multiple)
    except ValueError:  # allowed where one step of the width is a tenth of the agent, and then it must be true
        assert multiple == 1
        for width in range(1, 200):
            if width % getattr(config, "attention_heads", 1) == 0:
                size = agents.count_parameters(name, dataclasses.replace(config, **{field: width}), world)
                assert abs(size / default - 1) > 0.05
        return
    assert abs(agents.count_parameters(name, found, world) / (multiple * default) - 1) <= 0.05
    assert dataclasses.replace(found, **{field: 0}) == dataclasses.replace(config, **{field: 0})  # the rest as it was


def test_scaled_says_when_it_cannot() -> None:
    world = envs.make(WORLD)
    with pytest.raises(ValueError, match=r"gru cannot have 0\.01 x .* the nearest is"):
        agents.scaled("gru", CORES["gru"][0](), world, 0.01)
    with pytest.raises(ValueError, match="lifetime has no width to scale; scale one of: superposed, gru"):
        agents.scaled("lifetime", agents.get("lifetime").config(), world, 1)


def test_parameters_are_counted_without_a_trainer() -> None:
    world = envs.make(WORLD)
    model = agents.make("lstm", world)
    assert agents.count_parameters("lstm", model.config, world) == model.stats()["trained_parameters"]
