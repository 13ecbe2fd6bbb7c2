"""Gated recurrences over whole sequences with resets inside, with backward passes written out.

Autograd through T small steps spends most of its time on bookkeeping and adds the weight gradient up T times.
Here each direction is one plain loop, and the weight gradient is one product at the end. Resets are a mask on the
carried state, so episodes may begin anywhere.

Axes: T time, B batch, N hidden units. Gate order and equations are those of `torch.nn.GRUCell` and `LSTMCell`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents import kernels


def gru_step(gx: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One GRU step: gx (B, 3N) input part of the gates, h (B, N), weight (3N, N), bias (3N) -> (B, N)."""
    gh = torch.addmm(bias, h, weight.t())
    n = h.shape[1]
    gates = torch.sigmoid(gx[:, : 2 * n] + gh[:, : 2 * n])
    new = torch.tanh(gx[:, 2 * n :] + gates[:, :n] * gh[:, 2 * n :])
    return torch.lerp(new, h, gates[:, n:])


def lstm_step(gx: Tensor, h: Tensor, c: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """One LSTM step: gx (B, 4N) input part of the gates, h and c (B, N), weight (4N, N) -> h and c, (B, N) each."""
    i, f, g, o = torch.addmm(gx, h, weight.t()).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


SMALL = 64  # up to this width, on the CPU, the calls of a small step cost more than its arithmetic: one compiled loop


class _GRUScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gx: Tensor, h0: Tensor, weight: Tensor, bias: Tensor, keep: Tensor) -> Tensor:
        steps, _, n = gx.shape[0], gx.shape[1], h0.shape[1]
        before = gx.new_empty(steps, *h0.shape)  # (T, B, N) state each step began with, after the reset
        gates, new, inner = torch.empty_like(gx[..., : 2 * n]), torch.empty_like(before), torch.empty_like(before)
        out, weight_t, h = torch.empty_like(before), weight.t(), h0
        ctx.small = n <= SMALL and kernels.usable(gx, h0, weight, bias)
        if ctx.small:
            kernels.run(kernels.gru_forward, [gx, h0, weight_t, bias, keep], [before, gates, new, inner, out])
        for t in range(0 if ctx.small else steps):
            h = torch.mul(h, keep[t], out=before[t])
            gh = torch.addmm(bias, h, weight_t)
            torch.add(gx[t, :, : 2 * n], gh[:, : 2 * n], out=gates[t]).sigmoid_()
            inner[t] = gh[:, 2 * n :]
            torch.addcmul(gx[t, :, 2 * n :], gates[t, :, :n], inner[t], out=new[t]).tanh_()
            h = torch.lerp(new[t], h, gates[t, :, n:], out=out[t])
        ctx.save_for_backward(before, gates, new, inner, weight, keep)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        before, gates, new, inner, weight, keep = ctx.saved_tensors
        grad_out: Tensor = grads[0]
        steps, n = before.shape[0], before.shape[2]
        reset, update = gates[..., :n], gates[..., n:]
        # d h_t = update * dh ; the elementwise factors of all steps at once, so that the loop stays small
        to_new = (1 - update) * (1 - new * new)
        to_reset = inner * reset * (1 - reset)
        to_update = (before - new) * update * (1 - update)
        grad_x, grad_h = (grad_out.new_empty(steps, before.shape[1], 3 * n) for _ in range(2))
        dh = torch.zeros_like(before[0])
        if ctx.small:
            inputs = [grad_out, weight.t(), keep, to_new, to_reset, to_update, gates]
            kernels.run(kernels.gru_backward, inputs, [grad_x, grad_h, dh])
        for t in range(-1 if ctx.small else steps - 1, -1, -1):
            dh = dh + grad_out[t]
            d_new = torch.mul(dh, to_new[t], out=grad_x[t, :, 2 * n :])
            torch.mul(d_new, to_reset[t], out=grad_x[t, :, :n])
            torch.mul(dh, to_update[t], out=grad_x[t, :, n : 2 * n])
            grad_h[t, :, : 2 * n] = grad_x[t, :, : 2 * n]
            torch.mul(d_new, reset[t], out=grad_h[t, :, 2 * n :])
            dh = torch.addmm(dh * update[t], grad_h[t], weight) * keep[t]
        flat = grad_h.flatten(0, 1)
        return grad_x, dh, flat.t() @ before.flatten(0, 1), flat.sum(0), None


class _LSTMScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gx: Tensor, h0: Tensor, c0: Tensor, weight: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        steps, n = gx.shape[0], h0.shape[1]
        before = gx.new_empty(steps, *h0.shape)
        cells_before, cells, out, squashed = (torch.empty_like(before) for _ in range(4))
        gates, weight_t, h, c = torch.empty_like(gx), weight.t(), h0, c0
        for t in range(steps):
            h = torch.mul(h, keep[t], out=before[t])
            c = torch.mul(c, keep[t], out=cells_before[t])
            g = torch.addmm(gx[t], h, weight_t, out=gates[t])
            g[:, : 2 * n].sigmoid_()
            g[:, 2 * n : 3 * n].tanh_()
            g[:, 3 * n :].sigmoid_()
            torch.mul(g[:, n : 2 * n], c, out=cells[t])
            c = cells[t].addcmul_(g[:, :n], g[:, 2 * n : 3 * n])
            torch.tanh(c, out=squashed[t])
            h = torch.mul(g[:, 3 * n :], squashed[t], out=out[t])
        ctx.save_for_backward(before, cells_before, gates, squashed, weight, keep)
        return out, cells

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        before, cells_before, gates, squashed, weight, keep = ctx.saved_tensors
        grad_out, grad_cells = grads
        steps = before.shape[0]
        i, f, g, o = gates.chunk(4, -1)
        to_cell = o * (1 - squashed * squashed)
        factors = torch.cat((g * i * (1 - i), cells_before * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o)), -1)
        grad_x = torch.empty_like(gates)
        dh, dc = torch.zeros_like(before[0]), torch.zeros_like(before[0])
        for t in range(steps - 1, -1, -1):
            dh = dh + grad_out[t]
            dc = torch.addcmul(dc + grad_cells[t], dh, to_cell[t])
            spread = torch.cat((dc, dc, dc, dh), -1)
            torch.mul(spread, factors[t], out=grad_x[t])
            dh = (grad_x[t] @ weight) * keep[t]
            dc = dc * f[t] * keep[t]
        return grad_x, dh, dc, grad_x.flatten(0, 1).t() @ before.flatten(0, 1), None


def gru_scan(gx: Tensor, h0: Tensor, weight: Tensor, bias: Tensor, starts: Tensor) -> Tensor:
    """`gru_step` over T steps.

    Args:
        gx: (T, B, 3N), input part of the gates (reset, update, new).
        h0: (B, N), state before the first step.
        weight: (3N, N), recurrent weights.
        bias: (3N), recurrent biases.
        starts: (T, B) bool, True where the state is zeroed before the step.

    Returns:
        (T, B, N), the state after every step.
    """
    hs: Tensor = _GRUScan.apply(gx, h0, weight, bias, (~starts)[..., None].to(gx.dtype))
    return hs


def lstm_scan(gx: Tensor, h0: Tensor, c0: Tensor, weight: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """An LSTM over T steps: gx (T, B, 4N) input part of the gates (in, forget, cell, out), bias included.

    Returns:
        Hidden and cell states after every step, each (T, B, N).
    """
    hs, cs = _LSTMScan.apply(gx, h0, c0, weight, (~starts)[..., None].to(gx.dtype))
    return hs, cs
