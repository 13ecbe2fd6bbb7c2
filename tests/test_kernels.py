"""The compiled loops against torch; those of the memory and of the GRU are held to it beside their callers."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from agents import kernels
from agents.policy import Encoder
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
    rng = np.random.default_rng(0)
    return encoder, {"": torch.as_tensor(rng.integers(0, high + 1, (*batch, 5, 4, 2)).astype(np.uint8))}


@pytest.mark.parametrize("batch", [(), (7,), (3, 7)])
def test_symbols_are_one_hot_vectors_in_a_linear_layer(batch: tuple[int, ...]) -> None:
    found, encoders = [], []
    for compiled in (True, False):
        encoder, obs = symbols(batch)
        with nullcontext() if compiled else kernels.plain():
            encoder.update(obs)
            code = encoder(obs)
            (code * torch.arange(8)).sum().backward()
        found.append([code.detach(), *(p.grad for p in encoder.parameters() if p.grad is not None), *encoder.buffers()])
        encoders.append(encoder)
    assert found[0][0].shape == (*batch, 8)
    assert len(found[0]) > 4
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_symbol_above_its_space_is_refused() -> None:
    encoder, obs = symbols((2,))
    obs[""][1, 4, 3, 1] = 4
    with pytest.raises(IndexError, match="above the `high` of its space"):
        encoder(obs)
