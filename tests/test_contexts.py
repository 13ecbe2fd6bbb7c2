"""Contexts of a policy: off they change nothing, told they keep tasks apart, and they are found without labels."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import agents
import envs
from agents import accounting, saving
from agents.config import GRUConfig, NoneConfig
from agents.contexts import CODE, Contexts, orient, superpose
from agents.ppo import MemoryPPO
from agents.superposed_linear import random_codes
from envs.gym_world import GymWorld
from envs.stream import Stream
from experiments import config as configs
from experiments import run
from experiments.config import RunConfig
from experiments.evaluation import evaluate

ENV = "ShuffledTMaze-K0-M1-Max10-v0"
SMALL: dict[str, Any] = {"num_envs": 8, "num_steps": 32, "hidden": 8, "gamma": 0.5}


def stream(tasks: tuple[int, ...] = (0, 1), share: int = 96, repeats: int = 2) -> Stream:
    ids = [f"ShuffledTMaze-K{k}-M1-Max10-v0" for k in tasks]
    return Stream({env_id: envs.make(env_id, 8) for env_id in ids}, repeats, share)


def weights(model: MemoryPPO) -> dict[str, torch.Tensor]:
    return model.policy.state_dict()


def test_off_is_the_plain_network_and_on_starts_from_its_parameters() -> None:
    plain = MemoryPPO("gru", ENV, GRUConfig(**SMALL))
    assert not any(isinstance(part, Contexts) or hasattr(part, "context") for part in plain.policy.modules())
    for how in ("none", "told"):
        turned = MemoryPPO("gru", ENV, GRUConfig(**SMALL, contexts=3, context_from=how))
        assert [name for name, _ in turned.policy.named_parameters()] == [n for n, _ in plain.policy.named_parameters()]
        for name, part in plain.policy.named_parameters():
            torch.testing.assert_close(turned.policy.get_parameter(name), part, rtol=0, atol=0)


def test_a_run_from_before_the_setting_goes_on(tmp_path: Path) -> None:
    config = configs.resolve(RunConfig(agent="gru", env=ENV, budget="steps=512", hp=SMALL, logdir=str(tmp_path)))
    run.train(config)
    path = config.folder / "config.json"
    stored = json.loads(path.read_text())
    for name in ("contexts", "context_from"):
        del stored["hp"][name]
    path.write_text(json.dumps(stored))
    assert run.train(replace(configs.of(config.folder.absolute()), budget="steps=1024"), resume=True).steps == 1024


@pytest.mark.parametrize("told", [True, False])
def test_told_contexts_keep_a_task_that_plain_layers_forget(told: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    layers, codes = superpose([net], 0) if told else [], random_codes(2, CODE)
    x = torch.randn(16, 64)
    answers = torch.randn(16).sign() * torch.tensor([[1.0], [-1.0]])  # the second task wants the opposite
    adam, right = torch.optim.Adam(net.parameters(), 1e-2), []
    for task in (0, 1):
        for layer in layers:
            layer.enter(task, codes[task])
        for _ in range(60):
            adam.zero_grad()
            nn.functional.soft_margin_loss(net(x)[:, 0], answers[task]).backward()
            adam.step()
        for layer in layers:
            layer.enter(0, codes[0])
        right.append(float((net(x)[:, 0].sign() == answers[0]).float().mean()))
    assert right[0] == 1 and (right[1] > 0.9 if told else right[1] < 0.1)


def test_tasks_are_told_apart_and_met_again_without_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryPPO, "_train", lambda self: None)  # a policy that stays random
    monkeypatch.setattr(MemoryPPO, "_log", lambda self: None)
    model, seen = MemoryPPO("none", stream((1, 3, 4), 256), NoneConfig(num_envs=8, num_steps=64, contexts=6)), []
    for segment in range(6):
        model.learn(8 * 256, reset_num_timesteps=segment == 0)
        seen.append(int(model.policy.contexts.present))  # type: ignore[union-attr]
    assert seen == [0, 1, 2, 0, 1, 2]
    contexts, rng = model.policy.contexts, model.generator.get_state()
    assert contexts is not None
    for k, task in enumerate((1, 3, 4)):
        with orient(model, envs.make(f"ShuffledTMaze-K{task}-M1-Max10-v0", 8), 5):
            assert int(contexts.present) == k
    assert int(contexts.present) == 2 and torch.equal(rng, model.generator.get_state())


def test_a_rollout_that_surprises_trains_nothing() -> None:
    model = MemoryPPO("none", stream((0, 1), 256), NoneConfig(num_envs=8, num_steps=64, contexts=4))
    model.learn(8 * 256)
    assert model.updates == 4
    before = copy.deepcopy([*model.policy.pi.parameters()])
    model.learn(8 * 64, reset_num_timesteps=False)  # the first of the next task
    assert model.updates == 4 and int(model.policy.contexts.known) == 2  # type: ignore[union-attr]
    assert all(torch.equal(a, b) for a, b in zip(before, model.policy.pi.parameters(), strict=True))


@pytest.mark.parametrize("how", ["inferred", "told"])
def test_a_resumed_stream_is_the_unbroken_one(how: Any) -> None:
    def make() -> MemoryPPO:
        return MemoryPPO("gru", stream(), GRUConfig(**SMALL, contexts=4, context_from=how), seed=3)

    whole, half = make(), make()
    whole.learn(8 * 32 * 5)
    whole.learn(8 * 32 * 6, reset_num_timesteps=False)
    half.learn(8 * 32 * 5)
    again = make()
    saving.restore(again, *saving.snapshot(half))
    again.learn(8 * 32 * 6, reset_num_timesteps=False)
    assert weights(again).keys() == weights(whole).keys()
    assert all(torch.equal(part, weights(whole)[name]) for name, part in weights(again).items())


def test_a_saved_agent_acts_in_its_context(tmp_path: Path) -> None:
    model = MemoryPPO("gru", stream(), GRUConfig(**SMALL, contexts=4, context_from="told"))
    model.learn(8 * 32 * 4)
    assert int(model.policy.contexts.present) == 1  # type: ignore[union-attr]
    model.save(tmp_path / "agent")
    loaded, world = MemoryPPO.load(tmp_path / "agent"), envs.make(ENV, 4)
    assert asdict(loaded.config) == asdict(model.config)
    mine, its = (evaluate(who, world, 8, 1) for who in (model, loaded))
    assert (mine.returns == its.returns).all()


def test_what_time_cut_off_is_no_reward_to_predict() -> None:
    """A context predicts the reward itself; what the value function adds where time ran out is the policy's."""
    model = MemoryPPO("gru", "CartPole-v1", GRUConfig(num_envs=4, num_steps=32, contexts=2))
    model.set_env(GymWorld("CartPole-v1", 4, max_episode_steps=4))
    model.learn(128)
    assert model.rollout.cut_off.abs().max() > 0 and (model.rollout.rewards == 1).all()
    assert model.policy.contexts is not None
    _, target = model.policy.contexts._samples(model.rollout)
    assert (target[:, -1] == Contexts.REWARD).all()


def test_settling_is_on_the_bill_by_hand() -> None:
    told, inferred = (
        accounting.flops(MemoryPPO("gru", ENV, GRUConfig(num_envs=8, contexts=8, context_from=how)))["train"] * 8 * 64
        for how in ("told", "inferred")
    )
    s, f, x, n, u = 63 * Contexts.WATCHED, Contexts.FEATURES, Contexts.EYE, 8, 2 * Contexts.EYE + 3
    expand, guess = s * u * f + 2 * s * f, 2 * n * s * f * (x + 1)
    learn = 2 * s * s * f + s**3 / 3 + 4 * s * f * (x + 1) + 2 * s * s * (x + 1)
    turn = (n + 1) * s * f  # a sign for each context's features, once more to learn
    assert inferred - told == pytest.approx(expand + guess + learn + turn, rel=0.02)


def test_contexts_cost_no_trained_parameter_in_the_policy() -> None:
    world = envs.make(ENV, 1)
    sizes = [agents.count_parameters("gru", GRUConfig(contexts=n, context_from="told"), world) for n in (0, 64)]
    assert sizes[0] == sizes[1]
