"""The compiled loops against torch; those of the memory and of the GRU are held to it beside their callers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from agents import kernels
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
