"""What superposed is compared with: stacked frames, a GRU that grows, every core at 64 times the parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import agents
import envs
from agents import checkpoint
from agents.config import NoneConfig
from agents.core import reset
from agents.cores import CORES, NoCore
from experiments import compare, run
from experiments.callback import RunCallback
from experiments.config import RunConfig

SMALL: dict[str, Any] = {"num_envs": 8, "num_steps": 16}


@pytest.mark.parametrize("frames", [1, 3, 12])  # 12 is longer than the sequence
def test_stacked_frames_step_and_unrolled_are_equal(frames: int) -> None:
    torch.manual_seed(0)
    core, steps, batch = NoCore(5, NoneConfig(hidden=4, frames=frames)), 9, 6
    xs, starts = torch.randn(steps, batch, 5), torch.rand(steps, batch) < 0.3
    state = type(core.initial_state(batch))(torch.randn(batch, frames - 1, 5))
    out = core.unroll(xs, state, starts)
    for t in range(steps):
        y, state = core.step(xs[t], reset(state, starts[t]))
        torch.testing.assert_close(y, out.ys[t])
    torch.testing.assert_close(state.before, out.state.before)


def test_a_stack_remembers_as_far_as_it_reaches() -> None:
    core = NoCore(2, NoneConfig(hidden=3, frames=4))
    xs, starts = torch.randn(8, 1, 2), torch.zeros(8, 1, dtype=torch.bool)
    xs.requires_grad_()
    core.unroll(xs, core.initial_state(1), starts).ys[7].sum().backward()
    assert xs.grad is not None
    assert xs.grad.abs().sum((1, 2)).gt(0).tolist() == [False] * 4 + [True] * 4


def growing(**settings: Any) -> Any:
    return agents.make("gru-growing", "RecallMix-N8-D0-v0", **(SMALL | {"hidden": 8} | settings))


def test_widening_changes_nothing_but_the_size() -> None:
    model = growing(noise=0.0).learn(256)
    obs = envs.make("RecallMix-N8-D0-v0", 5).reset(3)
    before = model.policy.step({"": torch.as_tensor(obs)}, model.policy.core.initial_state(5), torch.ones(5).bool())
    size = model.stats()["trained_parameters"]
    model.widen(20)
    after = model.policy.step({"": torch.as_tensor(obs)}, model.policy.core.initial_state(5), torch.ones(5).bool())
    torch.testing.assert_close(before[0].log_probs[0], after[0].log_probs[0])
    torch.testing.assert_close(before[1], after[1])
    assert model.hidden == 20 and model.stats()["trained_parameters"] > 2 * size / 1.5
    model.learn(256, reset_num_timesteps=False)


def test_it_grows_in_a_second_learn_too() -> None:
    model = growing(hidden=4, plateau=2, better=10.0, widest=64).learn(2560)
    model.config = replace(model.config, widest=1024)
    before = model.hidden
    assert model.learn(2560).hidden > before


def test_a_growing_run_stays_within_its_flops_and_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hp = SMALL | {"hidden": 4, "plateau": 2, "better": 10.0, "widest": 16}  # doubles every second iteration
    config = RunConfig(agent="gru-growing", env="RecallMix-N8-D0-v0", budget="flops=2.5e8", hp=hp, logdir=str(tmp_path))
    whole = run.train(replace(config, name="whole"))
    small = growing(hidden=4).stats()["flops_per_training_step"]
    assert small * whole.steps < whole.flops <= 2.5e8  # charged for every size by itself
    assert whole.flops + 128 * whole.flops_per_training_step > 2.5e8  # nothing more would have fitted
    original = RunCallback.at_boundary

    def at_boundary(self: RunCallback) -> None:
        original(self)
        self.signum = 15 if self.boundary >= 640 else 0

    with monkeypatch.context() as patch:
        patch.setattr(RunCallback, "at_boundary", at_boundary)
        assert run.train(config).status == "stopped"
    assert run.train(config, resume=True).flops == whole.flops
    expected, found = (
        checkpoint.load(c.folder / "last.safetensors")[0] for c in (replace(config, name="whole"), config)
    )
    assert expected["policy.core.cell.weight_hh"].shape == (48, 16)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True, msg=name)
    entry = compare.play(config.folder, "Recall-N4-D0-v0", compare.Settings(episodes=4), {})
    assert entry.row["trained_parameters"] == whole.trained_parameters


def test_growth_of_the_dimension_is_charged_for_every_size(tmp_path: Path) -> None:
    hp = SMALL | {"dim": 16, "grow": (64, 256)}
    config = RunConfig(agent="superposed", env="RecallMix-N8-D0-v0", budget="flops=1e9", hp=hp, logdir=str(tmp_path))
    result = run.train(config)
    one = [
        agents.make("superposed", config.env, **(SMALL | {"dim": d})).stats()["flops_per_training_step"]
        for d in (16, 256)
    ]
    assert one[0] * result.steps < result.flops <= min(1e9, one[1] * result.steps)
    assert result.flops_per_training_step == one[1]


@pytest.mark.parametrize("name", ["sb3-ppo", "sb3-dqn", "sb3-recurrent"])
@pytest.mark.parametrize("multiple", [1, 16])
def test_outside_baselines_at_matching_widths(name: str, multiple: float) -> None:
    if name == "sb3-recurrent":
        pytest.importorskip("sb3_contrib")
    world = envs.make("RecallMix-N8-D0-v0", 8)
    config = agents.scaled(name, agents.get(name).config(), world, multiple)
    target = multiple * agents.count_parameters("superposed", CORES["superposed"][0](), world)
    stats = agents.get(name).build(config, world, 0, "cpu").stats()
    assert stats["trained_parameters"] == pytest.approx(target, rel=0.05)
    assert (stats["fixed_parameters"] > 0) == (name == "sb3-dqn")  # its target network


@pytest.mark.parametrize("name", [name for name in CORES])
def test_sixty_four_times_the_parameters(name: str) -> None:
    """One update fits into memory and trains."""
    world = envs.make("RecallMix-N8-D0-v0", 4)
    config = agents.scaled(name, CORES[name][0](num_envs=4, num_steps=8, num_minibatches=1, update_epochs=1), world, 64)
    model = agents.get(name).build(config, world, 0, "cpu")
    target = 64 * agents.count_parameters("superposed", CORES["superposed"][0](), world)
    assert model.stats()["trained_parameters"] == pytest.approx(target, rel=0.05)
    before = model.policy.pi[0].weight.clone()
    model.learn(32)
    assert not torch.equal(before, model.policy.pi[0].weight) and model.policy.pi[0].weight.isfinite().all()
