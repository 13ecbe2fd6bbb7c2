"""The cores none, gru, lstm and superposed, and the table of all cores; see `agents.core` for the interface.

Axes: T time, B batch, X input width, N hidden units, d controller, U key, D expansion, V value, H heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from agents import config as configs
from agents.attention import SlotsCore, TransformerCore
from agents.core import Core, Unrolled, write_gate
from agents.recurrence import gru_scan, gru_step, lstm_scan, lstm_step
from agents.superposition import Expansion, SuperposedMemory, check_dim


class NoState(NamedTuple):
    """No memory but the frames that are stacked: none of them for a stack of one."""

    before: Tensor  # (B, frames - 1, X), the newest last; zeros before the episode began


class NoCore(Core):
    """No memory: a feed-forward layer over the last few inputs of the episode, by default only the present one."""

    def __init__(self, width: int, config: configs.NoneConfig, seed: int = 0) -> None:
        super().__init__()
        if config.frames < 1:
            raise ValueError(f"frames must be at least 1, got {config.frames}")
        self.frames, self.width = config.frames, width
        self.linear = nn.Linear(config.frames * width, config.hidden)
        self.output_width = config.hidden

    @override
    def initial_state(self, batch: int) -> NoState:
        return NoState(self.linear.weight.new_zeros(batch, self.frames - 1, self.width))

    @override
    def step(self, x: Tensor, state: NoState) -> tuple[Tensor, NoState]:
        stack = torch.cat((state.before, x[:, None]), 1)  # (B, frames, X)
        return torch.tanh(self.linear(stack.flatten(1))), NoState(stack[:, 1:])

    @override
    def unroll(self, xs: Tensor, state: NoState, starts: Tensor) -> Unrolled:
        steps, past = xs.shape[0], self.frames - 1
        every = torch.cat((state.before.transpose(0, 1), xs))  # (frames - 1 + T, B, X)
        episode = F.pad(starts.cumsum(0), (0, 0, past, 0))
        seen = [
            (episode[i : i + steps] == episode[past:])[..., None] * every[i : i + steps] for i in range(self.frames)
        ]
        kept = (episode[steps:] == episode[-1])[..., None] * every[steps:]
        return Unrolled(torch.tanh(self.linear(torch.cat(seen, -1))), NoState(kept.transpose(0, 1)), {})


class GRUState(NamedTuple):
    """State of a GRU."""

    h: Tensor  # (B, N)


class GRUCore(Core):
    """Gated recurrent unit (Cho et al. 2014), the equations of `torch.nn.GRU`."""

    def __init__(self, width: int, config: configs.GRUConfig, seed: int = 0) -> None:
        super().__init__()
        self.output_width = config.hidden
        self.cell = nn.GRUCell(width, config.hidden)

    @override
    def initial_state(self, batch: int) -> GRUState:
        return GRUState(self.cell.weight_ih.new_zeros(batch, self.output_width))

    @override
    def step(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        h = gru_step(
            F.linear(x, self.cell.weight_ih, self.cell.bias_ih), state.h, self.cell.weight_hh, self.cell.bias_hh
        )
        return h, GRUState(h)

    @override
    def unroll(self, xs: Tensor, state: GRUState, starts: Tensor) -> Unrolled:
        gx = F.linear(xs, self.cell.weight_ih, self.cell.bias_ih)
        hs = gru_scan(gx, state.h, self.cell.weight_hh, self.cell.bias_hh, starts)
        return Unrolled(hs, GRUState(hs[-1]), {})


class LSTMState(NamedTuple):
    """State of an LSTM."""

    h: Tensor  # (B, N)
    c: Tensor  # (B, N)


class LSTMCore(Core):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), the equations of `torch.nn.LSTM`."""

    def __init__(self, width: int, config: configs.LSTMConfig, seed: int = 0) -> None:
        super().__init__()
        self.output_width = config.hidden
        self.cell = nn.LSTMCell(width, config.hidden)

    @override
    def initial_state(self, batch: int) -> LSTMState:
        zeros = self.cell.weight_ih.new_zeros(batch, self.output_width)
        return LSTMState(zeros, zeros.clone())

    @override
    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        h, c = lstm_step(self._gates(x), state.h, state.c, self.cell.weight_hh)
        return h, LSTMState(h, c)

    @override
    def unroll(self, xs: Tensor, state: LSTMState, starts: Tensor) -> Unrolled:
        hs, cs = lstm_scan(self._gates(xs), state.h, state.c, self.cell.weight_hh, starts)
        return Unrolled(hs, LSTMState(hs[-1], cs[-1]), {})

    def _gates(self, x: Tensor) -> Tensor:
        """(..., X) -> (..., 4N), the part of the gates that does not depend on the state."""
        return F.linear(x, self.cell.weight_ih, self.cell.bias_ih + self.cell.bias_hh)


class SuperposedState(NamedTuple):
    """State of the superposed core."""

    z: Tensor  # (B, d) controller
    m: Tensor  # (B, H, V, D) memory


class SuperposedCore(Core):
    """A small GRU controller beside one superposed matrix; y = [z, gated read].

    The controller never receives the read, so the whole memory is parallel over time. Four choices make one cell do
    for dictionaries (recall), latches (T-mazes) and navigation alike:

    * Frequencies drawn log-uniformly between 0.2 and 2: a kernel with wide skirts, so that a cue is found by an
      unlike query before anything is learned, and a sharp peak, so that hundreds of keys stay apart.
    * Keys and queries start as the same function: what is in view asks for what was stored at a like view.
    * The read comes before the write, and passes an output gate: the controller picks what of it matters now.
    * The write gate can be exactly 0: what is kept does not leak away.
    """

    SCALES = (0.2, 2.0)

    def __init__(self, width: int, config: configs.SuperposedConfig, seed: int = 0) -> None:
        super().__init__()
        d, h, u, v = config.controller, config.heads, config.key, config.value
        self.config, self.heads = config, h
        self.cell = nn.GRUCell(width, d)
        self.project = nn.Linear(d + width, h * (2 * u + 2 * v + 1))  # keys | queries | values | output | write gates
        for dim in config.grow:
            check_dim(dim)  # now, and not in the middle of a training
        self.memory = SuperposedMemory(Expansion(u, config.dim, [self.SCALES] * h, seed))
        self.output_width = d + h * v
        with torch.no_grad():
            for part in (self.project.weight, self.project.bias):
                part[h * u : 2 * h * u] = part[: h * u]
            self.project.bias[-h:] = -1.0

    @override
    def initial_state(self, batch: int) -> SuperposedState:
        zeros = self.project.weight.new_zeros
        return SuperposedState(
            zeros(batch, self.config.controller), zeros(batch, self.heads, self.config.value, self.dim)
        )

    @property
    def dim(self) -> int:
        """D, features of each head."""
        return self.memory.expansion.dim

    def resize(self, dim: int) -> None:
        """Change D; no trained parameter changes. States made before go through `SuperposedMemory.resize`.

        ValueError for an odd D: features come in pairs.
        """
        self.memory.expansion.resize(dim)

    def addresses(self, h: Tensor) -> tuple[Tensor, ...]:
        """What to do with the memory.

        Args:
            h: (..., d + X), controller and input.

        Returns:
            Keys and queries (..., H, U), values (..., H, V), write gates (..., H), output gates (..., H V).
        """
        n, u, v = self.heads, self.config.key, self.config.value
        seen = h.detach() if self.config.detach_addresses else h
        where, value, use, gate = self.project(seen).split((2 * n * u, n * v, n * v, n), -1)
        where = where.unflatten(-1, (2, n, u))
        where = where * torch.rsqrt(where.square().mean(-1, keepdim=True) + 1e-4)  # of norm sqrt(U)
        return (
            where[..., 0, :, :],
            where[..., 1, :, :],
            torch.tanh(value).unflatten(-1, (n, v)),
            write_gate(gate),
            2 * torch.sigmoid(use),
        )

    @override
    def step(self, x: Tensor, state: SuperposedState) -> tuple[Tensor, SuperposedState]:
        return self._step(x, state, self.memory.step)

    @override
    def step_(self, x: Tensor, state: SuperposedState) -> tuple[Tensor, SuperposedState]:
        return self._step(x, state, self.memory.step_)

    def _step(self, x: Tensor, state: SuperposedState, memory: Callable[..., Any]) -> tuple[Tensor, SuperposedState]:
        gx = F.linear(x, self.cell.weight_ih, self.cell.bias_ih)
        z = gru_step(gx, state.z, self.cell.weight_hh, self.cell.bias_hh)
        key, query, value, gate, use = self.addresses(torch.cat((z, x), -1))
        read, m = memory(state.m, key, query, value, gate, gate)
        return torch.cat((z, use * read.flatten(-2)), -1), SuperposedState(z, m)

    @override
    def unroll(self, xs: Tensor, state: SuperposedState, starts: Tensor, dropped: Tensor | None = None) -> Unrolled:
        zs, (key, query, value, gate, use) = self._control(xs, state, starts, dropped)
        read, m = self.memory.unroll(state.m, key, query, value, gate, gate, starts.t())
        read = use.transpose(0, 1) * read.permute(2, 0, 1, 3).flatten(-2)  # (T, B, H V)
        ys = torch.cat((zs, read), -1)  # (T, B, d + H V)
        info = {"write_gate": gate.mean()}
        return Unrolled(ys, SuperposedState(zs[-1], m), info)

    def _control(
        self, xs: Tensor, state: SuperposedState, starts: Tensor, dropped: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The controller (T, B, d) and `addresses` (B, H, T, .), only the output gates (B, T, H V)."""
        gx = F.linear(xs, self.cell.weight_ih, self.cell.bias_ih)
        empty = starts if dropped is None else starts | dropped
        zs = gru_scan(gx, state.z, self.cell.weight_hh, self.cell.bias_hh, empty)
        *parts, use = self.addresses(torch.cat((zs, xs), -1).transpose(0, 1))
        return zs, (*(part.transpose(1, 2) for part in parts), use)

    @override
    def diagnose(
        self, xs: Tensor, state: SuperposedState, starts: Tensor, dropped: Tensor | None = None
    ) -> dict[str, Tensor]:
        key, query, value, gate, _ = self._control(xs, state, starts, dropped)[1]
        _, m = self.memory.unroll(state.m, key, query, value, gate, gate, starts.t())
        return self.memory.diagnose(m, key, value, gate, starts.t())


# name -> (settings, constructor, the field that sets its width); the memory's own size is no width
CORES: dict[str, tuple[type[configs.PPOConfig], Callable[..., Core], str]] = {
    "superposed": (configs.SuperposedConfig, SuperposedCore, "controller"),
    "gru": (configs.GRUConfig, GRUCore, "hidden"),
    "lstm": (configs.LSTMConfig, LSTMCore, "hidden"),
    "transformer": (configs.TransformerConfig, TransformerCore, "width"),
    "slots": (configs.SlotsConfig, SlotsCore, "controller"),
    "none": (configs.NoneConfig, NoCore, "hidden"),
}
