"""The written-out recurrences against torch's own, on the compiled path and on the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from agents import recurrence
from agents.recurrence import gru_scan, gru_step, lstm_scan

T, B, X = 13, 4, 3


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cell_of(kind: str, hidden: int) -> nn.GRU | nn.LSTM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hidden)
        return nn.GRU(X, hidden) if kind == "gru" else nn.LSTM(X, hidden)


def grads(outs: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    loss = torch.stack([(out * draw(*out.shape, seed=9)).sum() for out in outs]).sum()
    return torch.autograd.grad(loss, wanted)


def close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], atol: float) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=atol)


@pytest.mark.parametrize(("hidden", "small"), [(8, 32), (32, 32), (8, 0), (40, 32)])
def test_gru_scan_is_torchs_gru(hidden: int, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "SMALL", small)
    gru = cell_of("gru", hidden)
    weight_ih, weight, bias_ih, bias = (p for p in gru.parameters())
    xs, h0 = draw(T, B, X).requires_grad_(), draw(B, hidden, seed=1).requires_grad_()
    wanted = (xs, h0, weight_ih, weight, bias_ih, bias)
    expected = gru(xs, h0[None])[0]
    found = gru_scan(xs @ weight_ih.t() + bias_ih, h0, weight, bias, torch.zeros(T, B, dtype=torch.bool))
    close((found,), (expected,), 1e-5)
    close(grads((found,), wanted), grads((expected,), wanted), 1e-4)


@pytest.mark.parametrize("hidden", [8, 40])
def test_lstm_scan_is_torchs_lstm(hidden: int) -> None:
    lstm = cell_of("lstm", hidden)
    weight_ih, weight, bias_ih, bias_hh = (p for p in lstm.parameters())
    xs, h0, c0 = draw(T, B, X).requires_grad_(), *(draw(B, hidden, seed=i).requires_grad_() for i in (1, 2))
    wanted = (xs, h0, c0, weight_ih, weight, bias_ih, bias_hh)
    expected, (_, cell) = lstm(xs, (h0[None], c0[None]))
    gx = xs @ weight_ih.t() + bias_ih + bias_hh
    found, cells = lstm_scan(gx, h0, c0, weight, torch.zeros(T, B, dtype=torch.bool))
    close((found, cells[-1]), (expected, cell[0]), 1e-5)
    close(grads((found, cells[-1]), wanted), grads((expected, cell[0]), wanted), 1e-4)


@pytest.mark.parametrize("hidden", [8, recurrence.SMALL + 1])  # in the compiled loop, and in the plain one
def test_gru_scan_with_resets_is_a_masked_loop(hidden: int) -> None:
    weight, bias, gx, h0 = (
        (0.5 * draw(*shape, seed=i)).requires_grad_()
        for i, shape in enumerate([(3 * hidden, hidden), (3 * hidden,), (T, B, 3 * hidden), (B, hidden)])
    )
    starts = torch.rand(T, B, generator=torch.Generator().manual_seed(0)) < 0.3
    h, outs = h0, []
    for t in range(T):
        h = gru_step(gx[t], h * ~starts[t][:, None], weight, bias)
        outs.append(h)
    expected, found = torch.stack(outs), gru_scan(gx, h0, weight, bias, starts)
    close((found,), (expected,), 1e-5)
    close(grads((found,), (weight, bias, gx, h0)), grads((expected,), (weight, bias, gx, h0)), 1e-4)


def test_gradients_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "SMALL", 0)  # the compiled loop is single precision
    n, starts = 3, torch.tensor([[0, 1], [0, 0], [1, 0], [0, 0]], dtype=torch.bool)

    def part(*shape: int, seed: int) -> Tensor:
        return draw(*shape, seed=seed, dtype=torch.float64).requires_grad_()

    gru = (part(4, 2, 3 * n, seed=1), part(2, n, seed=2), part(3 * n, n, seed=3), part(3 * n, seed=4))
    assert torch.autograd.gradcheck(lambda gx, h, w, b: gru_scan(gx, h, w, b, starts), gru)
    lstm = (part(4, 2, 4 * n, seed=1), part(2, n, seed=2), part(2, n, seed=3), part(4 * n, n, seed=4))
    assert torch.autograd.gradcheck(lambda gx, h, c, w: lstm_scan(gx, h, c, w, starts), lstm)
