"""The bill in floating point operations, against counts by hand; a multiply-add is two."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import agents
import envs
from agents.accounting import count_flops
from agents.config import GRUConfig
from agents.cores import GRUCore
from agents.superposition import Expansion, SuperposedMemory

T, B, X = 16, 4, 32


def near(found: float, expected: float) -> bool:
    return abs(found / expected - 1) < 0.02


def test_linear_layer() -> None:
    linear, x = nn.Linear(64, 128), torch.zeros(B, 64)
    assert count_flops(lambda: linear(x)) == 2 * B * 64 * 128


@pytest.mark.parametrize("hidden", [16, 100])  # one that acts in a compiled loop, and one that does not
def test_gru_core(hidden: int) -> None:
    core = GRUCore(X, GRUConfig(hidden=hidden))
    xs, starts = torch.zeros(T, B, X), torch.zeros(T, B, dtype=torch.bool)
    products = T * B * 2 * 3 * hidden * (X + hidden)
    found = count_flops(lambda: core.unroll(xs, core.initial_state(B), starts))
    assert products <= found < 1.1 * products  # the rest is one operation for each gate
    ys = core.unroll(xs, core.initial_state(B), starts).ys
    with_backward = count_flops(lambda: core.unroll(xs, core.initial_state(B), starts).ys.sum().backward())
    assert ys.shape == (T, B, hidden)
    # backwards: each recurrent product twice, that of the input once, because the input needs no gradient
    assert 0.98 < (with_backward - found) / (T * B * 2 * 3 * hidden * (X + 2 * hidden)) < 1.1


def memory_inputs(u: int, v: int, dim: int, heads: int) -> tuple[SuperposedMemory, list[Any]]:
    memory, starts = SuperposedMemory(Expansion(u, dim, [1.0] * heads)), torch.zeros(B, T, dtype=torch.bool)
    shapes = [(B, heads, v, dim), (B, heads, T, u), (B, heads, T, u), (B, heads, T, v), (B, heads, T), (B, heads, T)]
    return memory, [*(torch.zeros(shape, requires_grad=True) for shape in shapes), starts]


@pytest.mark.parametrize(("u", "v", "dim", "heads"), [(16, 16, 256, 2), (16, 32, 1024, 1)])
def test_superposed_unroll(u: int, v: int, dim: int, heads: int) -> None:
    memory, inputs = memory_inputs(u, v, dim, heads)
    with torch.no_grad():
        found = count_flops(lambda: memory.unroll(*inputs))
    expand = 2 * (2 * T) * u * dim // 2 + 2 * T * dim  # the product with the frequencies; a sine or cosine each
    products = 2 * (2 * T) * T * dim + 2 * (2 * T) * dim * v  # [K; Q] K^T, [K; Q] M^T
    solve, answer, write = T * T * v, 2 * T * T * v, 2 * v * T * dim
    scale, mask = 2 * T * dim, 3 * T * T + 6 * T * v + v * dim  # the features' norm; resets, gates and differences
    assert near(found, B * heads * (expand + products + solve + answer + write + scale + mask))


@pytest.mark.parametrize(("u", "v", "dim", "heads"), [(16, 16, 256, 2), (16, 32, 1024, 1)])
def test_superposed_backward(u: int, v: int, dim: int, heads: int) -> None:
    memory, inputs = memory_inputs(u, v, dim, heads)

    def loss() -> Tensor:
        reads, m = memory.unroll(*inputs)
        return reads.sum() + m.sum()

    forward = count_flops(lambda: loss())
    found = count_flops(lambda: loss().backward()) - forward
    small = 2 * T * T * v + T * T * v + 2 * (2 * T * T * v)  # A^T dR, the solve, two outer products
    through_m = 2 * T * v * dim + 2 * (2 * T) * v * dim + 2 * T * v * dim + 2 * v * (2 * T) * dim
    pairs = 2 * (2 * T) * T * dim + 2 * T * (2 * T) * dim
    angle = 2 * (2 * T) * (dim // 2) * u + 2 * (2 * T) * (dim // 2)
    assert near(found, B * heads * (small + through_m + pairs + angle))


@pytest.mark.parametrize("name", ["superposed", "gru"])
def test_the_bill_of_an_agent(name: str) -> None:
    settings: dict[str, Any] = {"num_envs": 4, "num_steps": 16, "num_minibatches": 1}
    once, thrice = (agents.make(name, "RecallMix-N8-D16-v0", update_epochs=epochs, **settings) for epochs in (1, 3))
    flops = once.flops()
    assert thrice.flops()["act"] == flops["act"] and thrice.flops()["train"] == 3 * flops["train"]
    # at least two operations for each parameter to act, and a backward pass is about two forward ones
    assert flops["act"] > 1.9 * sum(p.numel() for p in once.policy.parameters() if p.dim() > 1)
    assert 2 < flops["train"] / flops["act"] < 8
    stats = once.stats()
    assert stats["flops_per_training_step"] == sum(flops.values())
    assert stats["trained_parameters"] == sum(p.numel() for p in once.policy.parameters())
    assert stats["state_bytes"] == 4 * sum(part.numel() for part in once.policy.core.initial_state(1))
    assert all(p.grad is None for p in once.policy.parameters())


def test_only_the_state_grows_with_dim() -> None:
    small, large = (agents.make("superposed", "RecallMix-N8-D16-v0", num_envs=2, dim=dim).stats() for dim in (64, 256))
    assert small["trained_parameters"] == large["trained_parameters"]
    assert small["state_bytes"] < large["state_bytes"] and small["fixed_parameters"] < large["fixed_parameters"]
    assert small["flops_per_step"] < large["flops_per_step"]


def test_a_decision_by_hand() -> None:
    """Everything that the superposed agent computes in one acting step, written out."""
    model = agents.make("superposed", "RecallMix-N8-D16-v0", num_envs=4, dim=256, heads=1)
    c, (x, f), a = model.config, model.policy.encoder.linear.weight.shape, 2
    d, u, v, dim, h, y = c.controller, c.key, c.value, c.dim, c.head, x + c.controller + c.value
    encoder = 2 * f * x + x
    controller = 2 * 3 * d * (x + d) + 4 * d + 3 * d + 3 * d  # products; gates; candidate; interpolation
    project = 2 * (d + x) * (2 * u + 2 * v + 1) + 6 * u + 3 * v
    expand = 2 * (u * dim + dim + dim)  # key and query: product with the frequencies, sine or cosine, scale
    memory = 2 * 2 * dim * v + 3 * v + 2 * v * dim + v  # both reads, the difference, the write, the gated read
    heads = 2 * (2 * y * h + h) + 2 * h * (a + 1) + 8 * a  # policy and value; log-softmax and sampling
    assert near(model.flops()["act"], encoder + controller + project + expand + memory + heads)


@pytest.mark.parametrize(("name", "gates", "small"), [("gru", 3, 16), ("lstm", 4, 20)])
def test_an_update_by_hand(name: str, gates: int, small: int) -> None:
    """Backwards every product is two, but that of the encoder one: its input needs no gradient."""
    settings: dict[str, Any] = {"num_envs": 8, "num_steps": 16, "num_minibatches": 2, "update_epochs": 3, "hidden": 256}
    model = agents.make(name, "RecallMix-N8-D16-v0", **settings)
    c, (x, f), n = model.config, model.policy.encoder.linear.weight.shape, 256
    products = 2 * f * x + 2 * gates * n * (x + n) + 2 * (x + n) * 2 * c.head + 2 * c.head * 3
    adam = 16 * sum(p.numel() for p in model.policy.parameters()) * c.num_minibatches / (8 * 16)
    per_unit = 3 * small * n  # gates and their derivatives, forwards and backwards
    assert near(model.flops()["train"], c.update_epochs * (3 * products - 2 * f * x + per_unit + adam))


def test_a_decision_of_slots_by_hand() -> None:
    """The new pair is laid beside the slots, so that one more is looked through; what is empty counts as well."""
    model = agents.make("slots", "RecallMix-N8-D16-v0", num_envs=4, slots=124)
    c, (x, f), a = model.config, model.policy.encoder.linear.weight.shape, 2
    d, u, v, h, y, seen = c.controller, c.key, c.value, c.head, x + c.controller + c.value, c.slots + 1
    controller = 2 * 3 * d * (x + d) + 4 * d + 3 * d + 3 * d
    project = 2 * (d + x) * (2 * u + v + 1) + 2 * 4 * u + v  # norms of key and query
    look = 2 * u * seen + 4 * seen + 4 * (seen + 1) + 2 * seen * v  # products, gates and scale, softmax, products
    emptied = c.slots * (u + v + 1)  # what is of another episode
    heads = 2 * (2 * y * h + h) + 2 * h * (a + 1) + 8 * a
    assert near(model.flops()["act"], 2 * f * x + x + controller + project + look + emptied + heads)


def test_the_bill_of_stable_baselines3_by_hand() -> None:
    """Its updates are products, but for Adam: two hidden layers of 256 and their heads, for policy and value apart."""
    ppo: Any = agents.make("sb3-ppo", "CartPole-v1", width=256, n_steps=64, batch_size=32, n_epochs=5)
    inner, first = 2 * 256 * 256, 2 * 4 * 256
    act, heads = 2 * (first + inner), 2 * 256 * (2 + 1)
    adam = 16 * sum(p.numel() for p in ppo.policy.parameters()) / 32
    assert near(ppo.flops()["act"], act + heads)
    # backwards every product is two, but that of the first layer one; a tanh is one forwards and three backwards
    assert near(ppo.flops()["train"], 5 * (3 * (act + heads) - 2 * first + 2 * 2 * 256 * 5 + adam))

    dqn: Any = agents.make("sb3-dqn", "CartPole-v1", width=256, batch_size=32)
    once = first + inner + 2 * 256 * 2
    adam = 16 * (256 * 4 + 256 + 256 * 256 + 256 + 256 * 2 + 2)
    assert near(dqn.flops()["act"], once)
    each = (4 * once - first) * 32 + adam  # the target network forwards as well
    assert near(dqn.flops()["train"], each * dqn.gradient_steps / dqn.iteration_steps)


def test_the_bill_of_a_recurrent_ppo_by_hand() -> None:
    """Two LSTMs of 256, each before two layers of 64."""
    pytest.importorskip("sb3_contrib")
    model: Any = agents.make("sb3-recurrent", "CartPole-v1", n_steps=64, batch_size=32, n_epochs=5)
    n, w = model.policy.lstm_actor.hidden_size, model.policy.mlp_extractor.latent_dim_pi
    lstm, layers = 2 * 4 * n * (4 + n), 2 * n * w + 2 * w * w
    act = 2 * (lstm + layers) + 2 * w * (2 + 1)
    assert near(model.flops()["act"], act)
    adam = 16 * sum(p.numel() for p in model.policy.parameters() if p.requires_grad) / 32
    assert near(model.flops()["train"], 5 * (3 * act - 2 * 2 * 4 * n * 4 + adam))


def test_the_bytes_of_an_agent() -> None:
    model = agents.make("gru", "RecallMix-N8-D16-v0", num_envs=4, num_steps=8, hidden=16)
    stats = model.stats()
    model.learn(32)
    kept = [part for slot in model.optimizer.state.values() for part in slot.values()]
    moments = sum(part.nbytes for part in kept if part.dim())
    assert stats["optimizer_bytes"] == moments
    assert stats["buffer_bytes"] == model.rollout.nbytes() + 4 * stats["state_bytes"]
    evaluated = agents.make("gru", envs.make("RecallMix-N8-D16-v0", 9), num_envs=4, num_steps=8, hidden=16)
    assert evaluated.stats() == stats  # whatever number of environments it is played in
    dqn = agents.make("sb3-dqn", "CartPole-v1", buffer_size=1000).stats()
    assert dqn["buffer_bytes"] >= 1000 * 2 * 4 * 4 and dqn["flops_per_training_step"] > dqn["flops_per_step"] > 0


def test_a_transformer_s_step_by_hand() -> None:
    """Fused attention is no matrix product to torch's counter."""
    model = agents.make("transformer", "RecallMix-N8-D16-v0", num_envs=4, width=32, window=128, layers=1)
    c, (x, f), a, n = model.config, model.policy.encoder.linear.weight.shape, 2, 32
    seen, h, y = c.window + 1, c.head, x + n
    block = 2 * n * 3 * n + 2 * n * n + 2 * 2 * n * 2 * n + 8 * n + 2 * 7 * n + 2 * n  # the last: GELU, norms, sums
    attention = 4 * seen * n + 6 * seen * c.attention_heads
    heads = 2 * (2 * y * h + h) + 2 * h * (a + 1) + 8 * a
    cache = 2 * n * c.window  # what is of another episode is emptied
    expected = 2 * f * x + x + 2 * x * n + block + attention + cache + 7 * n + heads
    assert near(model.flops()["act"], expected) and attention > 0.1 * expected


def test_few_environments_are_few_minibatches() -> None:
    settings: dict[str, Any] = {"num_steps": 16, "hidden": 64, "update_epochs": 1}
    four, two = (
        agents.make("gru", "RecallMix-N8-D16-v0", num_envs=2, num_minibatches=n, **settings).flops()["train"]
        for n in (4, 2)
    )
    assert four == two


def test_adam_s_bytes_are_of_what_it_trains() -> None:
    model = agents.make("gru", "ShuffledTMaze-K0-M1-Max10-v0", num_envs=4, num_steps=8, contexts=2)
    model.learn(32)
    kept = [part for slot in model.optimizer.state.values() for part in slot.values()]
    assert model.stats()["optimizer_bytes"] == sum(part.nbytes for part in kept if part.dim())


def test_training_leaves_the_bill_of_dqn_alone() -> None:
    dqn: Any = agents.make("sb3-dqn", "CartPole-v1", width=32, buffer_size=500)
    before = dqn.flops()
    dqn.learn(200)
    assert dqn.flops() == before


def test_many_binary_actions_are_billed() -> None:
    class Switches(gym.Env[Any, Any]):
        observation_space, action_space = gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.MultiBinary(3)

    assert agents.make("sb3-ppo", Switches(), num_envs=1).flops()["train"] > 0
