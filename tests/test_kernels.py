"""The compiled loops against torch; those of the memory and of the GRU are held to it beside their callers."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from agents import kernels
from agents.encoder import Encoder, _Symbols
from agents.recurrence import gru_scan


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e3])
def test_features_are_cosines_and_sines(scale: float) -> None:
    angle = scale * torch.randn(50, 33, generator=torch.Generator().manual_seed(0))
    phi = torch.empty(50, 66)
    kernels.run(kernels.features, [angle], [phi])
    expected = torch.cat((angle.double().cos(), angle.double().sin()), 1) * 33**-0.5
    torch.testing.assert_close(phi, expected.float(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("x", [-1e30, -200.0, -90.0, -20.0, -0.1, 0.0, 1e-3, 5.0, 88.0, 200.0, 1e30])
def test_gates_of_any_size(x: float) -> None:
    def scan() -> Tensor:
        gx, h, weight = torch.full((1, 1, 3), x), torch.full((1, 1), 0.5), torch.zeros(3, 1)
        return gru_scan(gx, h, weight, torch.zeros(3), torch.zeros(1, 1, dtype=torch.bool))

    found = scan()
    with kernels.plain():
        torch.testing.assert_close(found, scan(), rtol=0, atol=3e-7)


def test_usable_on_single_precision_and_switched_off_inside_plain() -> None:
    single, double = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    assert kernels.usable(single) and not kernels.usable(single, double) and not kernels.usable(single.to("meta"))
    with pytest.raises(KeyError), kernels.plain():
        assert not kernels.usable(single)
        raise KeyError
    assert kernels.usable(single)


def symbols(batch: tuple[int, ...]) -> tuple[Encoder, dict[str, Tensor]]:
    """An encoder of a 5 x 4 grid with two channels, and views of it."""
    high = np.broadcast_to(np.array([6, 3], np.uint8), (5, 4, 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Encoder(spaces.Box(np.zeros_like(high), high, dtype=np.uint8), 8)
    views = np.random.default_rng(0).integers(0, high + 1, (*batch, 5, 4, 2)).astype(np.uint8)
    if batch:
        views[batch[0] // 2 :] = views[0]  # some come again
    return encoder, {"": torch.as_tensor(views)}


def code_and_gradients(batch: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """The codes of some views, and the gradients of all parameters."""
    encoder, obs = symbols(batch)
    encoder.update(obs)
    encoder.to(dtype)
    code = encoder(obs)
    (code * torch.arange(8)).sum().backward()
    return [code.detach(), *(p.grad for p in encoder.parameters() if p.grad is not None)]


@pytest.mark.parametrize("many", [0, 10**9])  # from how many views on each distinct one is encoded once
@pytest.mark.parametrize("batch", [(), (7,), (3, 7), (20, 30)])
def test_symbols_are_one_hot_vectors_in_a_linear_layer(
    batch: tuple[int, ...], many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Symbols, "MANY", many)
    with kernels.plain():
        expected = code_and_gradients(batch, torch.float64)
        plain = code_and_gradients(batch)
    found = code_and_gradients(batch)
    assert found[0].shape == (*batch, 8) and len(found) == len(expected) == 5
    for one, torchs, exact in zip(found, plain, expected, strict=True):
        bound = 1e-5 * float(exact.abs().max()) + 1e-6  # gradients of whitened symbols are differences of large sums
        assert float((one - exact).abs().max()) < bound
        assert float((torchs - exact).abs().max()) < bound


@pytest.mark.parametrize("compiled", [True, False])
def test_running_moments_of_symbols(compiled: bool) -> None:
    encoder, obs = symbols((20, 30))
    with nullcontext() if compiled else kernels.plain():
        encoder.update(obs)
    moments, seen = (part for part in encoder.modules() if hasattr(part, "count"))
    views = obs[""].reshape(600, 20, 2).long() + torch.tensor([0, 7])
    hot = torch.nn.functional.one_hot(views, 11).sum(2).double()  # (N, cells, levels)
    torch.testing.assert_close(moments.mean, hot.flatten(1).mean(0).float())
    torch.testing.assert_close(moments.var, hot.flatten(1).var(0, unbiased=False).float(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(seen.mean, hot.amax(1).mean(0).float())
    torch.testing.assert_close(seen.var, hot.amax(1).var(0, unbiased=False).float(), rtol=1e-4, atol=1e-6)


def test_a_symbol_above_its_space_is_refused() -> None:
    for channel, symbol in ((1, 4), (0, 7)):
        encoder, obs = symbols((2,))
        obs[""][1, 4, 3, channel] = symbol
        with pytest.raises(IndexError, match="above the `high` of its space"):
            encoder(obs)


@pytest.mark.parametrize(("rows", "width", "values"), [(1, 3, 2), (300, 5, 2), (300, 147, 2), (500, 4, 256)])
def test_distinct_rows_are_numbered_in_order(rows: int, width: int, values: int) -> None:
    data = np.random.default_rng(0).integers(0, values, (rows, width)).astype(np.uint8)
    data[rows // 2 :] = data[: rows - rows // 2]  # all of them come again
    first, which = np.empty(rows, np.int64), np.empty(rows, np.int64)
    count = kernels.distinct(data, first, which)
    assert count == len(np.unique(data, axis=0))
    assert (data[first[:count]][which] == data).all()
    assert (np.diff(first[:count]) > 0).all()
