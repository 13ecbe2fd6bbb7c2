"""Any observation space -> X numbers: one linear layer over all parts of an observation, then tanh.

Axes: T time, B batch, N views, X encoder width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor, nn
from typing_extensions import override

from agents import kernels

TensorObs = dict[str, Tensor]  # a plain observation stands under the key ""


def leaves(space: gym.Space[Any], key: str = "") -> dict[str, gym.Space[Any]]:
    """The spaces inside a (nested) Dict or Tuple space, by path; a plain space stands under "".

    A path is written as a JSON pointer (RFC 6901) without its first "/": in a name, "~" is "~0" and "/" is "~1".
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        names = ((str(name).replace("~", "~0").replace("/", "~1"), part) for name, part in inner)
        return {k: v for name, part in names for k, v in leaves(part, f"{key}/{name}" if key else name).items()}
    return {key: space}


def to_tensors(obs: Any, keys: list[str], device: torch.device | str = "cpu") -> TensorObs:
    """A batch of observations (array, or nested dict / tuple of arrays) as tensors by path."""
    out = {}
    for key in keys:
        part = obs
        for name in key.split("/") if key else ():
            part = part[name.replace("~1", "/").replace("~0", "~")] if isinstance(part, dict) else part[int(name)]
        out[key] = torch.as_tensor(np.asarray(part), device=device)
    return out


def is_single(obs: TensorObs, parts: Mapping[str, gym.Space[Any]]) -> bool:
    """Whether this is one observation, no batch. ValueError if it is neither, told by its first part."""
    key, space = next(iter(parts.items()))
    shape, found = space.shape or (), tuple(obs[key].shape)
    if shape not in (found, found[1:]):
        where = f" in {key!r}" if key else ""
        raise ValueError(f"an observation{where} has the shape {shape}, or (B, ...) for a batch of B, got {found}")
    return found == shape


def as_batch(obs: Any, parts: Mapping[str, gym.Space[Any]]) -> tuple[Any, int, bool]:
    """One flat observation or a batch of B as a batch: (it, B, whether it was one). ValueError as `is_single`."""
    first = to_tensors(obs, list(parts)[:1])
    if not is_single(first, parts):
        return obs, len(next(iter(first.values()))), False
    if isinstance(obs, dict):
        return {name: np.asarray(part)[None] for name, part in obs.items()}, 1, True
    return np.asarray(obs)[None], 1, True


def on_device(obs: TensorObs, device: torch.device) -> TensorObs:
    """The same observations where the network is."""
    return {key: part.to(device) for key, part in obs.items()}


def check_finite(obs: TensorObs, step: int) -> None:
    """ValueError for NaN in an observation, which would poison every parameter silently; `step` is for its message."""
    for key, part in obs.items():
        if part.is_floating_point() and not torch.isfinite(part).all():
            rows = (~torch.isfinite(part)).flatten(1).any(1) if part.dim() > 1 else ~torch.isfinite(part)
            where = f" in {key!r}" if key else ""
            raise ValueError(
                f"observation{where} of environment {int(rows.nonzero()[0])} is not finite at step "
                f"{step}: nothing was trained on it; mend the environment or clip it with a wrapper"
            )


class _Moments(nn.Module):
    """Running mean and variance over a batch (Chan et al. 1979)."""

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("var", torch.ones(shape))
        self.register_buffer("count", torch.tensor(0.0))

    def update(self, mean: Tensor, var: Tensor, n: int) -> None:
        """Fold in the moments of a batch of n."""
        delta, total = mean - self.mean, self.count + n
        spread = self.var * self.count + var * n + delta.square() * self.count * n / total
        self.mean, self.var, self.count = self.mean + delta * n / total, spread / total, total


class _Part(nn.Module):
    """Encodes one leaf of the observation: to `width` numbers for the linear layer, or, at width 0, straight to X."""

    width: int = 0

    def update(self, x: Tensor) -> None:
        """Fold a rollout (T, B, ...) into the running moments; most parts have none."""


class _Symbols(_Part):
    """Small integer grids (MiniGrid) -> (..., X): what stands where, whitened, in a factored linear layer.

    A symbol's weight in a cell is the product of a vector for the symbol, shared by all cells, and a matrix for the
    cell: 10 times fewer parameters than a weight for each. Every symbol of every cell is divided by its running
    standard deviation, which makes rare ones loud: a key in view is one cell of 49 in a few per cent of all views, and
    beside walls and floors it would hardly move the code.

    Beside it stands what is in view at all, wherever it stands: a thing met again elsewhere has, from the start, a
    like code, so that a memory that asks by likeness can tell that it was met. (Without it, cells share nothing.)
    """

    LOUDNESS = 2.0  # of what is in view at all
    MANY = 256  # views from which on it pays to look for those that come again
    offset: Tensor

    def __init__(self, space: spaces.Box, width: int, normalize: bool, embedding: int = 4) -> None:
        super().__init__()
        self.cells = space.shape[0] * space.shape[1]
        levels = space.high.reshape(self.cells, -1).max(0).astype(int) + 1  # per channel
        self.levels = int(levels.sum())
        self.register_buffer("offset", torch.as_tensor(np.cumsum(levels) - levels), persistent=False)
        self.table = nn.Parameter(torch.randn(self.levels, embedding) / 2)
        bound = (self.cells * embedding) ** -0.5
        self.place = nn.Parameter(torch.empty(self.cells, embedding, width).uniform_(-bound, bound))
        self.anywhere = nn.Parameter(torch.randn(self.levels, width) * self.levels**-0.5)
        self.moments = _Moments((self.cells * self.levels,)) if normalize else None
        self.seen = _Moments((self.levels,)) if normalize else None
        self.folded: tuple[Tensor, Tensor, Tensor] | None = None  # `fold()` while it cannot change

    def forward(self, grid: Tensor) -> Tensor:
        rows = grid.reshape(-1, self.cells, grid.shape[-1])  # (N, cells, channels)
        if kernels.usable(self.table) and len(rows) > self.MANY:
            rows, which = _distinct(rows)
            code = self._code(rows).index_select(0, which)
        else:
            code = self._code(rows)
        return code.view(*grid.shape[:-3], -1)

    def _code(self, rows: Tensor) -> Tensor:
        """(N, cells, channels) -> (N, X)."""
        weight, anywhere, bias = self.folded or self.fold()
        inside = self._in_view(rows)
        if self.seen is not None:
            inside = inside - self.seen.mean  # here and not in the bias: what is always in view then counts exactly 0
        return torch.addmm(self._sum(rows, weight) + bias, inside, anywhere)

    def fold(self) -> tuple[Tensor, Tensor, Tensor]:
        """What codes need of parameters and moments, whitening included.

        Returns:
            The weights of each symbol in each cell (cells levels, X) and anywhere (levels, X), and a bias (X).
        """
        weight, anywhere = (self.table @ self.place).flatten(0, 1), self.LOUDNESS * self.anywhere
        if self.moments is None or self.seen is None:
            return weight, anywhere, weight.new_zeros(weight.shape[1])
        weight = weight * torch.rsqrt(self.moments.var + 0.01)[:, None]
        anywhere = anywhere * torch.rsqrt(self.seen.var + 0.01)[:, None]
        return weight, anywhere, -(self.moments.mean @ weight)

    def _in_view(self, rows: Tensor) -> Tensor:
        """(N, cells, channels) -> (N, levels), 1 for each symbol that stands in some cell."""
        inside = self.table.new_zeros(rows.shape[0], self.levels)  # `len` would fix the batch in an export
        if kernels.usable(self.table):
            kernels.run(kernels.mark, [rows, self.offset], [inside])
            return inside
        return inside.scatter_(1, (rows.long() + self.offset).flatten(1), 1.0)

    def _sum(self, rows: Tensor, weight: Tensor) -> Tensor:
        """The weights (cells levels, X) of all symbols in view, summed: (N, cells, channels) -> (N, X)."""
        if kernels.usable(weight):
            total: Tensor = _Gather.apply(weight, rows, self.offset)
            return total
        return self._one_hot(rows) @ weight

    def _one_hot(self, rows: Tensor) -> Tensor:
        """(N, cells, channels) -> (N, cells levels)."""
        cell = torch.arange(self.cells, device=rows.device)[:, None] * self.levels
        index = (rows.long() + (cell + self.offset)).flatten(1)
        return self.table.new_zeros(rows.shape[0], self.cells * self.levels).scatter_(1, index, 1.0)

    @override
    def update(self, grid: Tensor) -> None:
        if self.moments is None or self.seen is None:
            return
        rows, which = _distinct(grid.reshape(-1, self.cells, grid.shape[-1]))
        often = torch.bincount(which, minlength=len(rows)) / len(which)
        for moments, marks in ((self.moments, self._one_hot(rows)), (self.seen, self._in_view(rows))):
            share = often @ marks
            moments.update(share, share * (1 - share), len(which))


def _distinct(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct ones among views (N, ...) uint8, and which of them each view is, (N,): most come again and again."""
    if rows.device.type != "cpu":
        return torch.unique(rows, dim=0, return_inverse=True)
    first, which = torch.empty(len(rows), dtype=torch.long), torch.empty(len(rows), dtype=torch.long)
    flat = rows.flatten(1).numpy()
    count = kernels.distinct(flat, first.numpy(), which.numpy())
    return rows[first[:count]], which


class _Gather(torch.autograd.Function):
    """The product of one-hot symbols and their weights, without the zeros: `_Symbols._sum` as compiled loops."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor, offset: Tensor) -> Tensor:
        by_cell = weight.unflatten(0, (rows.shape[1], -1))
        out = weight.new_empty(len(rows), weight.shape[1])
        kernels.run(kernels.gather, [rows, offset, by_cell], [out])
        ctx.save_for_backward(rows, offset)
        ctx.shape = by_cell.shape
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        rows, offset = ctx.saved_tensors
        d_weight = grads[0].new_empty(ctx.shape)  # (cells, levels, X)
        kernels.run(kernels.scatter, [grads[0], rows, offset], [d_weight])
        return d_weight.flatten(0, 1), None, None


class _Image(_Part):
    """Pixels (H, W, C), (C, H, W) or grey (H, W), uint8: the convolutional stack of Mnih et al. 2015."""

    SMALLEST = 36  # sides that leave something to the last convolution

    def __init__(self, space: spaces.Box) -> None:
        super().__init__()
        self.rank, (channels, *sides) = len(space.shape), self.layout(space)
        self.channels_first = self.rank == 2 or space.shape == (channels, *sides)
        self.net = nn.Sequential(
            nn.Conv2d(channels, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(),
            nn.Conv2d(64, 64, 3, 1), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            self.width = self.net(torch.zeros(1, channels, *sides)).shape[1]

    @staticmethod
    def layout(space: spaces.Box) -> tuple[int, ...]:
        """(C, H, W): channels are the first axis where that is the smallest, as for SB3, else the last."""
        shape = (1,) * (3 - len(space.shape)) + space.shape
        return shape if np.argmin(shape) == 0 else (shape[2], *shape[:2])

    def forward(self, pixels: Tensor) -> Tensor:
        flat = pixels.flatten(0, -1 - self.rank).float() / 255  # (N, ...)
        flat = flat if self.rank == 3 else flat[:, None]
        out: Tensor = self.net(flat if self.channels_first else flat.permute(0, 3, 1, 2))
        return out.unflatten(0, pixels.shape[: -self.rank])


class _OneHot(_Part):
    """Discrete and MultiDiscrete: one-hot vectors side by side."""

    def __init__(self, space: spaces.Discrete | spaces.MultiDiscrete) -> None:
        super().__init__()
        self.sizes = [
            int(n) for n in np.atleast_1d(space.n if isinstance(space, spaces.Discrete) else space.nvec.flatten())
        ]
        self.starts = [int(start) for start in np.asarray(space.start).flatten()]
        self.dims = len(space.shape or ())
        self.width = sum(self.sizes)

    def forward(self, index: Tensor) -> Tensor:
        index = index.long().reshape(*index.shape[: index.dim() - self.dims], len(self.sizes))
        parts = enumerate(zip(self.starts, self.sizes, strict=True))
        return torch.cat([F.one_hot(index[..., i] - start, n) for i, (start, n) in parts], -1).float()


class _Numbers(_Part):
    """Numbers of any shape, flattened; normalised by running moments unless their space is within [-1, 1]."""

    def __init__(self, space: gym.Space[Any], normalize: bool) -> None:
        super().__init__()
        self.rank, self.width = len(space.shape or ()), int(np.prod(space.shape or (1,)))
        bounded = not isinstance(space, spaces.Box) or bool(
            (abs(space.low) <= 1).all() and (abs(space.high) <= 1).all()
        )
        self.moments = _Moments((self.width,)) if normalize and not bounded else None

    def forward(self, x: Tensor) -> Tensor:
        x = x.float().flatten(x.dim() - self.rank) if self.rank else x.float()[..., None]
        if self.moments is not None:
            x = ((x - self.moments.mean) * torch.rsqrt(self.moments.var + 1e-8)).clamp(-10, 10)
        return x

    @override
    def update(self, x: Tensor) -> None:
        if self.moments is not None:
            rows = x.float().reshape(-1, self.width)
            self.moments.update(rows.mean(0), rows.var(0, unbiased=False), rows.shape[0])


class Encoder(nn.Module):
    """Any observation space -> (..., X): one linear layer over all its leaves, then tanh."""

    def __init__(self, space: gym.Space[Any], width: int, normalize: bool = True) -> None:
        super().__init__()
        self.spaces = leaves(space)
        self.keys = list(self.spaces)
        self.parts = nn.ModuleList([self._part(part, width, normalize) for part in self.spaces.values()])
        inputs = sum(part.width for _, part in self._leaves())
        self.linear = nn.Linear(inputs or width, width)  # torch warns of a layer without inputs: here it is a bias
        self.linear.weight = nn.Parameter(self.linear.weight.detach()[:, :inputs])

    def _leaves(self) -> Iterator[tuple[str, _Part]]:
        return zip(self.keys, cast(list[_Part], list(self.parts)), strict=True)

    @staticmethod
    def _part(space: gym.Space[Any], width: int, normalize: bool) -> _Part:
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            return _OneHot(space)
        if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3):
            symbols = int(space.high.max()) <= 15
            if symbols and len(space.shape) == 3:
                return _Symbols(space, width, normalize)
            if not symbols and min(_Image.layout(space)[1:]) >= _Image.SMALLEST:
                return _Image(space)
        if isinstance(space, spaces.Box | spaces.MultiBinary):
            return _Numbers(space, normalize)
        raise ValueError(
            f"observation space {space} is not supported: use Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or "
            "Tuple of them (text can be dropped with a gymnasium wrapper)"
        )

    def forward(self, obs: TensorObs) -> Tensor:
        """Encode a batch with any leading axes."""
        numbers = [part(obs[key]) for key, part in self._leaves() if part.width]
        out = self.linear(torch.cat(numbers, -1)) if numbers else self.linear.bias
        for key, part in self._leaves():
            if not part.width:
                out = out + part(obs[key])
        return torch.tanh(out)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, neither parameters nor moments change, and what codes need of them is computed once."""
        parts = [part for part in self.parts if isinstance(part, _Symbols)]
        try:
            for part in parts:
                part.folded = part.fold()
            yield
        finally:
            for part in parts:
                part.folded = None

    def update(self, obs: TensorObs) -> None:
        """Update the running moments of the parts that have them."""
        for key, part in self._leaves():
            part.update(obs[key])
