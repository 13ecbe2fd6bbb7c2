"""The interface of a memory core: what it keeps, one step, and a whole sequence at once.

A core is `initial_state(batch) -> State`, `step(x, state) -> (y, state)` and `unroll(xs, state, starts) -> (ys, state,
info)`, where unroll equals step applied T times to float tolerance, whatever episode starts fall inside. A state is
a NamedTuple of tensors, batch first; all zeros is the empty memory, so a reset is a mask (`reset`).
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

S = TypeVar("S", bound=tuple[Tensor, ...])


def reset(state: S, starts: Tensor, in_place: bool = False) -> S:
    """Empty the memory of the environments that begin an episode: starts (B,) bool."""
    rows = starts.nonzero().flatten()
    if not len(rows):
        return state
    return type(state)(*(part.index_fill_(0, rows, 0) if in_place else part.index_fill(0, rows, 0) for part in state))


def drop_controller(state: Any, dropped: Tensor) -> Any:
    """Empty the controller `z` (B, d) of the environments that are dropped, (B,) bool; what is stored stays."""
    return state._replace(z=state.z.masked_fill(dropped[:, None], 0))


def write_gate(x: Tensor) -> Tensor:
    """A gate in [0, 1] that can be exactly 0: one that leaks 1e-3 a step is an erased memory after 10^4 steps."""
    return (1.2 * torch.sigmoid(x) - 0.1).clamp(0, 1)


class Unrolled(NamedTuple):
    """What `unroll` returns."""

    ys: Tensor  # (T, B, Y)
    state: Any
    info: dict[str, Tensor]  # scalars for the log; "write_gate" is differentiable


class Core(nn.Module):
    """Base of the cores: `output_width` is Y, the width of what `step` and `unroll` return."""

    output_width: int

    def initial_state(self, batch: int) -> Any:
        """The empty memory of `batch` environments."""
        raise NotImplementedError(type(self).__name__)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take x (B, X), return y (B, Y) and the next state; by default a sequence of length one."""
        out = self.unroll(x[None], state, torch.zeros(1, x.shape[0], dtype=torch.bool, device=x.device))
        return out.ys[0], out.state

    def step_(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """`step` that may change the tensors of `state` in place; for acting, under inference mode."""
        return self.step(x, state)

    def unroll(self, xs: Tensor, state: Any, starts: Tensor) -> Unrolled:
        """Take xs (T, B, X) and starts (T, B) bool, return ys (T, B, Y), the last state and info.

        A core with a controller beside its memory, whose config has `controller_dropout`, takes `dropped` (T, B) bool
        as well: before these steps `drop_controller` was called.
        """
        raise NotImplementedError

    def diagnose(self, xs: Tensor, state: Any, starts: Tensor, dropped: Tensor | None = None) -> dict[str, Tensor]:
        """Scalars for the log that are worth a second unroll, once an iteration; arguments as of `unroll`."""
        return {}
