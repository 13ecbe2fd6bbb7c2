"""One weight matrix under many generated contexts: what a context does, costs, and keeps apart."""

from __future__ import annotations

import math
from typing import Any, cast, get_args

import pytest
import torch

from agents.superposed_linear import Kind, SuperposedLinear, random_codes

KINDS = get_args(Kind)
N, M, U = 256, 8, 16


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_keeps_the_norm_and_stores_nothing(kind: Kind) -> None:
    layer, x = SuperposedLinear(N, M, U, kind), draw(5, N)
    turned = layer.turn(x, random_codes(5, U))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert sum(p.numel() for p in layer.parameters()) == N * M
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_of_far_codes_are_unrelated_and_of_near_codes_alike(kind: Kind) -> None:
    layer, x, codes = SuperposedLinear(N, M, U, kind), draw(N).sign(), random_codes(40, U)
    turned = torch.nn.functional.normalize(layer.turn(x, codes), dim=-1)
    overlaps = (turned @ turned.t())[~torch.eye(40, dtype=torch.bool)]
    assert abs(float(overlaps.std()) * math.sqrt(N) - 1) < 0.25
    near = torch.nn.functional.normalize(layer.turn(x, codes + 0.01 * draw(40, U)), dim=-1)
    assert float((turned * near).sum(-1).min()) > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_superposed_maps_are_read_with_noise_that_falls_with_the_width(kind: Kind) -> None:
    tasks, codes = 20, random_codes(20, U)
    errors = []
    for width in (64, 1024):
        layer = SuperposedLinear(width, M, U, kind)
        x = torch.nn.functional.normalize(draw(width).sign(), dim=-1)  # one input, a different answer in each context
        answers = draw(tasks, M, seed=1)
        with torch.no_grad():
            layer.weight.copy_(answers.t() @ layer.turn(x, codes))
            errors.append(float((layer(x, codes) - answers).square().mean()))
    for width, error in zip((64, 1024), errors, strict=True):
        assert error == pytest.approx((tasks - 1) / width, rel=0.5)


def test_only_phases_pass_gradients_on_to_the_code() -> None:
    for kind in KINDS:
        code = random_codes(1, U)[0].requires_grad_()
        layer = SuperposedLinear(N, M, U, kind)
        layer(draw(N), code).sum().backward()
        assert layer.weight.grad is not None and (code.grad is not None) == (kind == "phase")


def test_one_seed_one_layer_and_codes_continue() -> None:
    x, codes = draw(3, N), random_codes(3, U)
    first, same, other = (SuperposedLinear(N, M, U, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.turn(x, codes), same.turn(x, codes))
    assert not torch.equal(first.turn(x, codes), other.turn(x, codes))
    assert torch.equal(random_codes(9, U)[:3], codes)


def test_widths_and_batches() -> None:
    layer = SuperposedLinear(7, M, U, bias=True)  # odd widths are fine for signs
    assert layer(draw(4, 5, 7), random_codes(1, U)[0]).shape == (4, 5, M)
    assert layer(draw(7), random_codes(4, U)).shape == (4, M)


def test_errors() -> None:
    with pytest.raises(ValueError, match="'sign' or 'phase', got 'hash'"):
        SuperposedLinear(N, M, U, cast(Any, "hash"))
    with pytest.raises(ValueError, match="even, got 7"):
        SuperposedLinear(7, M, U, "phase")
    with pytest.raises(ValueError, match="width 16, got 3"):
        SuperposedLinear(N, M, U)(draw(N), draw(3))
