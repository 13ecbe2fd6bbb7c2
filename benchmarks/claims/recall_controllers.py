"""The task and network of search (claim g): recall from a superposed memory, and the small controller that uses it.

An episode shows six symbols twice, in any order, with two different values. Only one of them counts: the one whose
three marks multiply to +1. Then it asks for all six. The controller must learn to write what counts and leave the rest.

Axes: S seeds, C controllers of each seed, B episodes, T steps, N parameters of a controller.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agents.superposition import Expansion, SuperposedMemory

SYMBOLS, BITS, WIDTH, UNITS, KEY, DIM, EPISODES = 6, 4, 8, 24, 6, 64, 16
SHAPES = ((WIDTH + BITS + 5, UNITS), (UNITS + 1, 2 * KEY + BITS + 1), (BITS + 1, BITS))
NUMBER = sum(n * m for n, m in SHAPES)  # N
STEPS = 3 * SYMBOLS  # T
FORWARD = EPISODES * STEPS * (2 * NUMBER + 2 * KEY * DIM + 6 * BITS * DIM)  # FLOPs: layers, expansion, read and write


class Recall:
    """One task for each seed, each with its own memory."""

    def __init__(self, seeds: range) -> None:
        self.rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        laws = [Expansion(KEY, DIM, [1.0], seed).omega for seed in seeds]
        self.omega = torch.cat(laws)  # (S, U, D / 2): a head for each seed
        self.start = torch.cat([self.draw(n, m).flatten(1) * n**-0.5 for n, m in SHAPES], 1)  # (S, N)

    def draw(self, *shape: int) -> Tensor:
        return torch.stack([torch.randn(*shape, generator=rng) for rng in self.rngs])

    def episodes(self, count: int = EPISODES) -> tuple[Tensor, Tensor]:
        """Inputs (S, B, T, n), the last of them always 1, and the bits asked for (S, B, SYMBOLS, BITS)."""
        symbols = self.draw(count, SYMBOLS, WIDTH).sign()
        values = self.draw(count, 2 * SYMBOLS, BITS).sign()
        marks = self.draw(count, 2 * SYMBOLS, 2).sign()
        counts = torch.cat((torch.ones(SYMBOLS), -torch.ones(SYMBOLS)))[:, None]
        third = counts * marks.prod(-1, keepdim=True)
        shown = torch.cat((symbols.repeat(1, 1, 2, 1), values, marks, third, 0 * third, 0 * third + 1), -1)
        order = self.draw(count, 2 * SYMBOLS).argsort(-1)[..., None].expand_as(shown)
        asked = torch.zeros(*symbols.shape[:3], shown.shape[-1])
        asked[..., :WIDTH], asked[..., -2:] = symbols, 1.0
        return torch.cat((shown.gather(2, order), asked), 2), values[:, :, :SYMBOLS]

    def answer(self, theta: Tensor, x: Tensor) -> Tensor:
        """What controllers (S, C, N) answer to x (S, B, T, n): logits (S, C, B, SYMBOLS, BITS)."""
        seeds, count, _ = theta.shape
        parts = theta.flatten(0, 1).split([n * m for n, m in SHAPES], 1)
        first, second, last = (part.view(-1, *shape) for part, shape in zip(parts, SHAPES, strict=True))
        flat = x.flatten(1, 2).repeat_interleave(count, 0)  # (S C, B T, n)
        out = torch.baddbmm(second[:, -1:], torch.tanh(flat @ first), second[:, :-1])
        out = out.view(seeds * count, -1, STEPS, SHAPES[1][1]).transpose(0, 1)  # (B, S C, T, outputs)
        key, query, value, gate = out.split((KEY, KEY, BITS, 1), -1)
        expansion = Expansion(KEY, 2, [1.0])
        expansion.omega = self.omega.repeat_interleave(count, 0)
        gate, starts = gate[..., 0].sigmoid(), torch.zeros(out.shape[0], STEPS, dtype=torch.bool)
        empty = torch.zeros(out.shape[0], seeds * count, BITS, DIM)
        read, _ = SuperposedMemory(expansion).unroll(empty, key, query, value, gate, gate, starts)
        read = read[:, :, -SYMBOLS:].transpose(0, 1).flatten(1, 2)  # (S C, B SYMBOLS, BITS)
        logits = torch.baddbmm(last[:, -1:], read, last[:, :-1])
        return logits.view(seeds, count, -1, SYMBOLS, BITS)

    def loss(self, theta: Tensor, x: Tensor, bits: Tensor) -> Tensor:
        """Logistic loss (S, C) of controllers (S, C, N)."""
        return torch.nn.functional.softplus(-self.answer(theta, x) * bits[:, None]).mean((2, 3, 4))

    @torch.no_grad()
    def score(self, theta: Tensor) -> np.ndarray:
        """Share of bits right in 256 fresh episodes, (S,), of one controller for each seed (S, N)."""
        x, bits = self.episodes(256)
        return (self.answer(theta[:, None], x)[:, 0].sign() == bits).float().mean((1, 2, 3)).numpy()


class Subspace:
    """theta = theta_0 + z P, the rows of P random and orthonormal; without `turned` P is the identity."""

    def __init__(self, task: Recall, turned: bool) -> None:
        self.start = task.start
        self.rows = list(torch.linalg.qr(task.draw(NUMBER, NUMBER)).Q) if turned else None  # S of (N, N)

    def lift(self, z: Tensor) -> Tensor:
        """(S, ..., d) -> (S, ..., N)."""
        if self.rows is None:
            return self.start + z
        d, start = z.shape[-1], self.start.view(len(z), *[1] * (z.ndim - 2), NUMBER)
        return start + torch.stack([part @ row[:d] for part, row in zip(z, self.rows, strict=True)])

    def lower(self, gradient: Tensor, d: int) -> Tensor:
        """The first d numbers of a gradient: (S, N) -> (S, d)."""
        if self.rows is None:
            return gradient
        return torch.stack([row[:d] @ part for part, row in zip(gradient, self.rows, strict=True)])
