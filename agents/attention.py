"""The cores transformer and slots: separate entries, read by softmax; see `agents.core` for the interface.

Both attend over [what is cached; the chunk itself] under one mask, so a step is a chunk of length one (`Core.step`) and
equality of the two forms holds by construction.

Axes: T time, B batch, X input width, W cached entries, N residual width, d controller, U key, V value.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from agents import config as configs
from agents.core import Core, Unrolled, write_gate
from agents.recurrence import gru_scan


class TransformerState(NamedTuple):
    """State of the transformer core."""

    cache: Tensor  # (B, layers, W, 2N) keys and values, the newest last; by the next step the oldest is too far back
    length: Tensor  # (B, 1) how many of them are of this episode


class TransformerCore(Core):
    """Causal transformer over the last W steps of the episode, pre-norm, learned relative positions.

    Sources: Vaswani et al. 2017; cached keys and values, Dai et al. 2019 (arXiv 1901.02860); bias by distance, Shaw
    et al. 2018 (arXiv 1803.02155).
    """

    def __init__(self, width: int, config: configs.TransformerConfig, seed: int = 0) -> None:
        super().__init__()
        n, heads = config.width, config.attention_heads
        if n % heads:
            raise ValueError(f"width {n} must be a multiple of attention_heads {heads}")
        self.config, self.output_width = config, n
        self.embed = nn.Linear(width, n)
        self.norms = nn.ModuleList([nn.LayerNorm(n) for _ in range(2 * config.layers + 1)])
        self.qkv = nn.ModuleList([nn.Linear(n, 3 * n) for _ in range(config.layers)])
        self.out = nn.ModuleList([nn.Linear(n, n) for _ in range(config.layers)])
        self.mlp = nn.ModuleList(
            [nn.Sequential(nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n)) for _ in range(config.layers)]
        )
        self.position = nn.Parameter(torch.zeros(config.layers, heads, config.window))

    @override
    def initial_state(self, batch: int) -> TransformerState:
        zeros, c = self.embed.weight.new_zeros, self.config
        return TransformerState(zeros(batch, c.layers, c.window, 2 * c.width), zeros(batch, 1))

    @override
    def unroll(self, xs: Tensor, state: TransformerState, starts: Tensor) -> Unrolled:
        steps, window = xs.shape[0], self.config.window
        mask, distance = self._mask(state.length, starts.t())
        h = self.embed(xs.transpose(0, 1))  # (B, T, N)
        caches = []
        for layer, (qkv, out, mlp) in enumerate(zip(self.qkv, self.out, self.mlp, strict=True)):
            query, new = qkv(self.norms[2 * layer](h)).split((h.shape[-1], 2 * h.shape[-1]), -1)
            entries = torch.cat((state.cache[:, layer], new), 1)  # (B, W + T, 2N)
            caches.append(entries[:, -window:])
            key, value = entries.chunk(2, -1)
            bias = self.position[layer][:, distance]  # (heads, T, W + T)
            bias = torch.where(mask[:, None], bias, -torch.inf)
            split = (self.config.attention_heads, -1)
            query, key, value = (part.unflatten(-1, split).transpose(1, 2) for part in (query, key, value))
            read = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
            h = h + out(read.transpose(1, 2).flatten(-2))
            h = h + mlp(self.norms[2 * layer + 1](h))
        since = torch.arange(steps, 0, -1, device=xs.device)[:, None] * starts  # steps from each start to the end
        last = since.masked_fill(~starts, steps + window).amin(0)[
            :, None
        ]  # (B, 1) of the last start, large without one
        length = torch.minimum(last, state.length + steps).clamp(max=window).to(state.length.dtype)
        fresh = torch.arange(window, 0, -1, device=xs.device) <= length  # (B, W), what reached this episode
        cache = torch.stack(caches, 1) * fresh[:, None, :, None]
        return Unrolled(self.norms[-1](h).transpose(0, 1), TransformerState(cache, length), {})

    def _mask(self, length: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Who sees whom: mask (B, T, W + T) and distance in steps (T, W + T), from length (B, 1), starts (B, T)."""
        window, steps = self.config.window, starts.shape[1]
        episode = starts.cumsum(1)  # (B, T)
        now = torch.arange(steps, device=starts.device)[:, None]
        then = torch.arange(-window, steps, device=starts.device)[None]
        distance = now - then  # (T, W + T)
        near = (distance >= 0) & (distance < window)
        cached = (episode == 0)[:, :, None] & (then[:, :window] >= -length)[:, None]  # (B, T, W)
        inside = episode[:, :, None] == episode[:, None]  # (B, T, T)
        return torch.cat((cached, inside), -1) & near, distance.clamp(0, window - 1)


class SlotsState(NamedTuple):
    """State of the slots core."""

    z: Tensor  # (B, d) controller
    slots: Tensor  # (B, W, U + V + 1): key, value, gate; the newest last, empty where the gate is 0


class SlotsCore(Core):
    """The superposed core with a ring of W separate slots for its matrix: gated writes, softmax read; y = [z, read].

    A step whose gate is above zero takes a slot, and the oldest is dropped. The read weighs slot i by
    gate_i exp(scale q . k_i), against an empty answer of weight 1.
    """

    def __init__(self, width: int, config: configs.SlotsConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.cell = nn.GRUCell(width, config.controller)
        self.project = nn.Linear(config.controller + width, 2 * config.key + config.value + 1)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.output_width = config.controller + config.value
        with torch.no_grad():
            self.project.bias[-1] = -1.0

    @override
    def initial_state(self, batch: int) -> SlotsState:
        zeros, c = self.project.weight.new_zeros, self.config
        return SlotsState(zeros(batch, c.controller), zeros(batch, c.slots, c.key + c.value + 1))

    @override
    def unroll(self, xs: Tensor, state: SlotsState, starts: Tensor, dropped: Tensor | None = None) -> Unrolled:
        c, window, steps = self.config, self.config.slots, xs.shape[0]
        gx = F.linear(xs, self.cell.weight_ih, self.cell.bias_ih)
        empty = starts if dropped is None else starts | dropped
        zs = gru_scan(gx, state.z, self.cell.weight_hh, self.cell.bias_hh, empty)
        query, key, value, gate = self.project(torch.cat((zs, xs), -1).transpose(0, 1)).split(
            (c.key, c.key, c.value, 1), -1
        )  # (B, T, .)
        key, query = (4 * F.normalize(part, dim=-1) for part in (key, query))
        gate = write_gate(gate)
        entries = torch.cat((state.slots, torch.cat((key, torch.tanh(value), gate), -1)), 1)  # (B, W + T, .)
        keys, values, gates = entries.split((c.key, c.value, 1), -1)

        episode = starts.t().cumsum(1)  # (B, T)
        taken = gates[..., 0] > 0  # (B, W + T)
        order = taken.cumsum(1)
        seen = order[:, window:, None] - order[:, None]  # (B, T, W + T) slots taken since then
        origin = F.pad(episode, (window, 0))
        visible = taken[:, None] & (seen < window) & (origin[:, None] == episode[..., None])
        visible[..., window:] &= torch.ones(steps, steps, dtype=torch.bool, device=xs.device).tril()
        logits = self.log_scale.exp() * (query @ keys.mT) + gates.clamp(min=1e-6).log().mT
        logits = torch.where(visible, logits, -torch.inf)
        logits = F.pad(logits, (1, 0))  # the empty answer
        read = logits.softmax(-1)[..., 1:] @ values  # (B, T, V)

        alive = taken & (origin == episode[:, -1:])
        newest = torch.argsort(alive.int(), dim=1, stable=True)[:, -window:]  # the living ones last, in order
        kept = entries.gather(1, newest[..., None].expand(-1, -1, entries.shape[-1]))
        slots = kept * alive.gather(1, newest)[..., None]
        ys = torch.cat((zs, read.transpose(0, 1)), -1)
        info = {"write_gate": gate.mean()}
        return Unrolled(ys, SlotsState(zs[-1], slots), info)
