"""The superposed layer: its features, its matrix, its two equal forms and what fits into it."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agents import kernels
from agents.config import SuperposedConfig
from agents.cores import SuperposedCore
from agents.superposition import Expansion, SuperposedMemory

U, V = 16, 4
CONTENT, WIDE = 2.0, (0.2, 2.0)  # a narrow Gaussian kernel, and one with wide skirts


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def memory(dim: int = 256, seed: int = 0) -> SuperposedMemory:
    return SuperposedMemory(Expansion(U, dim, [CONTENT, WIDE], seed))


def signs(*shape: int, seed: int = 0) -> Tensor:
    return draw(*shape, seed=seed).sign()


def ones(*shape: int) -> Tensor:
    return torch.ones(*shape)


def read(mem: SuperposedMemory, m: Tensor, query: Tensor) -> Tensor:
    """What M answers, (B, H, V), without writing."""
    gates = torch.zeros(query.shape[:2])
    return mem.step(m, query, query, torch.zeros(*query.shape[:2], m.shape[2]), gates, gates)[0]


def store(mem: SuperposedMemory, keys: Tensor, values: Tensor, erase: float = 1.0) -> Tensor:
    """The matrix after writing pairs one after the other: keys (B, H, N, U), values (B, H, N, V)."""
    batch, heads, n, _ = keys.shape
    m, write = torch.zeros(batch, heads, values.shape[-1], mem.expansion.dim), torch.ones(batch, heads, n)
    return mem.unroll(m, keys, keys, values, write, erase * write, torch.zeros(batch, n, dtype=torch.bool))[1]


# -- the features -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [2, 64, 512])
def test_features_have_unit_norm(dim: int) -> None:
    phi = memory(dim).expansion(draw(2, 30, U) * 5)
    assert phi.shape == (2, 30, dim)
    torch.testing.assert_close(phi.norm(dim=-1), ones(2, 30))


@pytest.mark.parametrize("dim", [64, 256, 1024])
def test_different_keys_are_nearly_orthogonal(dim: int) -> None:
    phi = memory(dim).expansion(draw(1, 100, U))[0]
    products = (phi @ phi.t())[~torch.eye(100, dtype=torch.bool)]
    assert abs(float(products.std()) * math.sqrt(dim) - 1) < 0.25
    assert abs(float(products.mean())) < 0.5 / math.sqrt(dim)


def test_kernel_of_each_head() -> None:
    expansion = memory(8192).expansion
    distance = torch.linspace(0, 3, 13)
    direction = draw(U) / draw(U).norm()
    u = distance[:, None] * direction
    phi = expansion(torch.stack((u, u)))  # (H, N, D)
    found = phi @ phi[:, :1].mT  # against the key at the origin
    scales = np.exp(np.linspace(np.log(WIDE[0]), np.log(WIDE[1]), 1001))
    wide = np.exp(-0.5 * np.outer(distance.numpy(), scales) ** 2).mean(1)
    gauss = np.exp(-0.5 * (CONTENT * distance.numpy()) ** 2)
    np.testing.assert_allclose(found[0, :, 0], gauss, atol=0.04)
    np.testing.assert_allclose(found[1, :, 0], wide, atol=0.04)


def test_features_depend_on_the_seed_and_nothing_else() -> None:
    assert torch.equal(memory(64, seed=3).expansion.omega, memory(64, seed=3).expansion.omega)
    assert not torch.equal(memory(64, seed=3).expansion.omega, memory(64, seed=4).expansion.omega)
    heads = Expansion(U, 64, [CONTENT, CONTENT]).omega
    assert not torch.equal(heads[0], heads[1])


@pytest.mark.parametrize("dim", [0, 1, 33])
def test_dim_must_be_even(dim: int) -> None:
    with pytest.raises(ValueError, match=f"even and at least 2, got {dim}"):
        memory(dim)


# -- changing D ---------------------------------------------------------------------------------------------------


def test_frequencies_of_a_larger_dim_begin_with_those_of_a_smaller() -> None:
    small, large = memory(64).expansion, memory(512).expansion
    assert torch.equal(large.omega[..., :32], small.omega)
    small.resize(512)
    assert torch.equal(large.omega, small.omega)
    small.resize(64)
    assert torch.equal(large.omega[..., :32], small.omega)


def test_growing_leaves_every_read_as_it_was() -> None:
    mem = memory(64)
    keys, queries = draw(3, 2, 10, U), draw(50, 3, 2, U, seed=1)
    m = store(mem, keys, draw(3, 2, 10, V, seed=2))
    before = torch.stack([read(mem, m, q) for q in queries])
    for dim in (66, 256, 1024):
        mem.expansion.resize(dim)
        grown = mem.resize(m, dim)
        assert grown.shape == (3, 2, V, dim)
        torch.testing.assert_close(torch.stack([read(mem, grown, q) for q in queries]), before, rtol=1e-4, atol=1e-5)


def test_shrinking_keeps_reads_up_to_the_noise_of_fewer_features() -> None:
    mem = memory(2048)
    keys, values = draw(1, 2, 6, U), signs(1, 2, 6, V)
    m = store(mem, keys, values)
    mem.expansion.resize(512)
    shrunk = mem.resize(m, 512)
    found = torch.stack([read(mem, shrunk, keys[:, :, i]) for i in range(6)], 2)
    assert float((found - values)[:, 0].abs().max()) < 6 * math.sqrt(5 / 512)  # five others, each 1/sqrt(D)
    assert torch.equal(found.sign(), values)


def test_new_pairs_fit_into_a_grown_matrix() -> None:
    mem = memory(32)
    m = store(mem, draw(1, 2, 4, U), signs(1, 2, 4, V))
    mem.expansion.resize(512)
    m, key, value = mem.resize(m, 512), draw(1, 2, U, seed=5), signs(1, 2, V, seed=6)
    m = mem.step(m, key, key, value, ones(1, 2), ones(1, 2))[1]
    torch.testing.assert_close(read(mem, m, key), value, rtol=0, atol=1e-4)


def test_trained_parameters_do_not_depend_on_dim() -> None:
    shapes = [
        [(name, part.shape) for name, part in SuperposedCore(8, SuperposedConfig(dim=dim)).named_parameters()]
        for dim in (2, 64, 4096)
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert not list(memory().parameters())


# -- the delta rule -----------------------------------------------------------------------------------------------


def test_the_read_comes_before_the_write() -> None:
    mem, key, value = memory(), draw(3, 2, U), draw(3, 2, V, seed=1)
    found, m = mem.step(torch.zeros(3, 2, V, 256), key, key, value, ones(3, 2), ones(3, 2))
    assert not found.any()
    torch.testing.assert_close(read(mem, m, key), value)


def test_writing_the_same_pair_again_changes_nothing() -> None:
    mem, keys, values = memory(), draw(1, 2, 5, U), draw(1, 2, 5, V, seed=1)
    m = store(mem, keys, values)
    again = mem.step(m, keys[:, :, -1], keys[:, :, -1], values[:, :, -1], ones(1, 2), ones(1, 2))[1]
    torch.testing.assert_close(again, m, rtol=0, atol=1e-5)


def test_overwriting_replaces_and_leaves_others() -> None:
    mem, keys, values = memory(1024), draw(1, 2, 2, U), signs(1, 2, 2, V, seed=1)
    m = store(mem, keys, values)
    m = mem.step(m, keys[:, :, 0], keys[:, :, 0], -values[:, :, 0], ones(1, 2), ones(1, 2))[1]
    torch.testing.assert_close(read(mem, m, keys[:, :, 0]), -values[:, :, 0], rtol=0, atol=1e-4)
    assert torch.equal(read(mem, m, keys[:, :, 1])[:, 0].sign(), values[:, 0, 1])  # the content head


def test_erase_zero_is_a_plain_sum() -> None:
    mem, keys, values = memory(), draw(2, 2, 7, U), draw(2, 2, 7, V, seed=1)
    m = store(mem, keys, values, erase=0.0)
    torch.testing.assert_close(m, values.mT @ mem.expansion(keys), rtol=1e-4, atol=1e-5)


def test_half_a_gate_goes_half_the_way() -> None:
    mem, key, value = memory(), draw(1, 2, U), draw(1, 2, V, seed=1)
    m = mem.step(torch.zeros(1, 2, V, 256), key, key, value, ones(1, 2), ones(1, 2))[1]
    half = 0.5 * ones(1, 2)
    m = mem.step(m, key, key, -value, half, half)[1]
    torch.testing.assert_close(read(mem, m, key), torch.zeros(1, 2, V), rtol=0, atol=1e-5)


def test_a_closed_gate_keeps_the_matrix_bit_for_bit() -> None:
    mem, steps = memory(32), 10_000
    first = store(mem, draw(1, 2, 8, U), draw(1, 2, 8, V, seed=1))
    keys, queries = draw(1, 2, steps, U, seed=2), draw(1, 2, steps, U, seed=3)
    values, closed = draw(1, 2, steps, V, seed=4), torch.zeros(1, 2, steps)
    starts = torch.zeros(1, steps, dtype=torch.bool)
    reads, last = mem.unroll(first, keys, queries, values, closed, closed, starts)
    assert torch.equal(last, first)
    with torch.inference_mode():
        m, acting = first.clone(), first.clone()
        for t in range(steps):
            now = (keys[:, :, t], queries[:, :, t], values[:, :, t], closed[:, :, t], closed[:, :, t])
            found, m = mem.step(m, *now)
            acted, acting = mem.step_(acting, *now)
    assert torch.equal(m, first) and torch.equal(acting, first)
    torch.testing.assert_close(found, reads[:, :, -1])
    torch.testing.assert_close(acted, reads[:, :, -1])


def test_gates_of_the_core_close_and_open_completely() -> None:
    core = SuperposedCore(8, SuperposedConfig(dim=16, controller=8))
    gate = core.addresses(100 * draw(1000, 16))[3]
    assert (gate == 0).any() and (gate == 1).any() and bool(((gate >= 0) & (gate <= 1)).all())


# -- the two forms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("erased", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("steps", [1, 16, 37])
def test_unroll_is_step_repeated(steps: int, erased: float, compiled: bool) -> None:
    mem = memory(32)
    inputs = [draw(2, 2, steps, n, seed=i) for i, n in enumerate((U, U, V))]
    write = torch.rand(2, 2, steps, generator=torch.Generator().manual_seed(3))
    starts = torch.rand(2, steps, generator=torch.Generator().manual_seed(4)) < 0.1
    m0 = draw(2, 2, V, 32, seed=5)
    leaves = [part.clone().requires_grad_() for part in (m0, *inputs, write, erased * write)]
    m, keys, queries, values, b, e = leaves
    with nullcontext() if compiled else kernels.plain():
        reads, last = mem.unroll(m, keys, queries, values, b, e, starts)
    now, found = m, []
    for t in range(steps):
        now = now * ~starts[:, t, None, None, None]
        r, now = mem.step(now, keys[:, :, t], queries[:, :, t], values[:, :, t], b[:, :, t], e[:, :, t])
        found.append(r)
    torch.testing.assert_close(reads, torch.stack(found, 2), rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(last, now, rtol=1e-4, atol=2e-5)
    weights = draw(*reads.shape, seed=6), draw(*last.shape, seed=7)
    one = torch.autograd.grad((reads * weights[0]).sum() + (last * weights[1]).sum(), leaves)
    two = torch.autograd.grad((torch.stack(found, 2) * weights[0]).sum() + (now * weights[1]).sum(), leaves)
    for mine, autograds in zip(one, two, strict=True):
        torch.testing.assert_close(mine, autograds, rtol=1e-3, atol=1e-4 * float(autograds.abs().max().clamp(min=1)))


def test_gradients_in_double_precision() -> None:
    mem = SuperposedMemory(Expansion(2, 6, [CONTENT, WIDE])).double()
    starts = torch.tensor([[0, 0, 1, 0, 0], [0, 1, 0, 0, 1]], dtype=torch.bool)
    shapes = [(2, 2, 2, 6), (2, 2, 5, 2), (2, 2, 5, 2), (2, 2, 5, 2), (2, 2, 5), (2, 2, 5)]
    leaves = [draw(*shape, seed=i).double().requires_grad_() for i, shape in enumerate(shapes)]

    def run(*parts: Any) -> tuple[Tensor, Tensor]:
        return mem.unroll(*parts)

    assert torch.autograd.gradcheck(run, (*leaves, starts))


# -- capacity -----------------------------------------------------------------------------------------------------


def recalled(dim: int, pairs: int) -> float:
    """Share of signs read back right, after all pairs were written once (content head)."""
    mem = SuperposedMemory(Expansion(U, dim, [CONTENT]))
    keys, values = draw(4, 1, pairs, U), signs(4, 1, pairs, V, seed=1)
    found = mem.expansion(keys) @ store(mem, keys, values).mT
    return float((found.sign() == values).float().mean())


@pytest.mark.parametrize("dim", [64, 256])
def test_how_many_pairs_fit_follows_dim(dim: int) -> None:
    assert recalled(dim, dim // 8) > 0.99
    assert recalled(dim, dim // 2) > 0.9
    assert 0.55 < recalled(dim, 4 * dim) < 0.9  # far too many: forgotten, but gracefully
    assert recalled(2 * dim, dim) > recalled(dim, dim)


# -- diagnosis ----------------------------------------------------------------------------------------------------


def diagnosis(mem: SuperposedMemory, keys: Tensor, values: Tensor, starts: Tensor | None = None) -> tuple[float, float]:
    """Key similarity and read error after pairs were written with gates of 1."""
    write = torch.ones(keys.shape[:3])
    starts = torch.zeros(keys.shape[0], keys.shape[2], dtype=torch.bool) if starts is None else starts
    m = torch.zeros(keys.shape[0], keys.shape[1], V, mem.expansion.dim)
    m = mem.unroll(m, keys, keys, values, write, write, starts)[1]
    found = mem.diagnose(m, keys, values, write, starts)
    return float(found["key_similarity"]), float(found["read_error"])


def test_one_key_for_all_is_full_likeness_and_loses_what_came_first() -> None:
    key, values = draw(2, 2, 1, U).expand(2, 2, 4, U), draw(2, 2, 4, V, seed=1)
    likeness, lost = diagnosis(memory(), key, values)
    assert likeness == pytest.approx(1, abs=1e-4)
    expected = (values - values[:, :, -1:]).square().sum() / values.square().sum()
    assert lost == pytest.approx(float(expected), rel=1e-3)


def test_unlike_keys_lose_nothing_in_a_large_matrix() -> None:
    mem, keys = SuperposedMemory(Expansion(U, 4096, [CONTENT] * 2)), draw(2, 2, 5, U)
    phi = mem.expansion(keys)
    pairs = (phi @ phi.mT)[:, :, ~torch.eye(5, dtype=torch.bool)]
    likeness, lost = diagnosis(mem, keys, draw(2, 2, 5, V, seed=1))
    assert likeness == pytest.approx(float(pairs.mean()), abs=1e-5) and abs(likeness) < 0.02
    assert lost < 0.01


def test_diagnosis_looks_at_the_last_episode_and_at_nothing_if_nothing_was_written() -> None:
    key, values = draw(2, 2, 1, U).expand(2, 2, 4, U), draw(2, 2, 4, V, seed=1)
    last = torch.tensor([[False, False, False, True]]).expand(2, 4)
    likeness, lost = diagnosis(memory(), key, values, last)
    assert likeness == 0 and abs(lost) < 1e-6
    nothing = memory().diagnose(torch.zeros(2, 2, V, 256), key, values, torch.zeros(2, 2, 4), last)
    assert [float(part) for part in nothing.values()] == [0, 0]
