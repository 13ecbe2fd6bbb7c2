"""A GRU that is widened where learning stands still: the usual way to let a model grow, to compare growth of D with.

Net2Net (Chen, Goodfellow and Shlens 2016, arXiv 1511.05641): new units are copies of old ones, drawn at random, and
what reads a copied unit is divided among its copies, so the network computes the same as before; a little noise lets
the copies part. Unlike a larger D, every widening adds trained parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from agents.config import GRUConfig
from agents.cores import GRUCore, GRUState
from agents.ppo import MemoryPPO


@dataclass(frozen=True, kw_only=True)
class GrowingGRUConfig(GRUConfig):
    """A GRU that is doubled on a plateau."""

    hidden: int = 16
    """Width of the recurrent state at the start."""
    widest: int = 512
    """No wider than this."""
    plateau: int = 30
    """Iterations without a better success (or return) after which the width is doubled."""
    better: float = 0.01
    """What counts as better."""
    noise: float = 0.01
    """Noise on copied weights, as a share of their standard deviation."""


class GrowingPPO(MemoryPPO):
    """MemoryPPO with a GRU whose width doubles on a plateau.

    ValueError for settings that hold on to layers which growing replaces: l2_init, recycle, contexts.
    """

    grows = True
    settings = GrowingGRUConfig
    config: GrowingGRUConfig

    def __init__(
        self, core: str, env: Any, config: GrowingGRUConfig | None = None, seed: int = 0, device: str = "cpu"
    ) -> None:
        config = config or GrowingGRUConfig()
        if config.l2_init or config.recycle or config.contexts:
            raise ValueError("gru-growing replaces layers as it grows: leave out l2_init, recycle and contexts.")
        super().__init__(core, env, config, seed, device)

    @override
    def renew(self, seed: int) -> None:
        super().renew(seed)
        self.best, self.waited, self.looked = -np.inf, 0, self.num_timesteps

    @property
    def _core(self) -> GRUCore:
        return cast(GRUCore, self.policy.core)

    @property
    def _heads(self) -> tuple[nn.Linear, ...]:
        """The layers that read the GRU."""
        return tuple(cast(nn.Linear, head[0]) for head in (self.policy.pi, self.policy.vf))

    @property
    def hidden(self) -> int:
        """Width of the recurrent state now."""
        return self._core.output_width

    @override
    def _schedule(self, progress: float) -> None:
        reward, _, success = self.episodes.mean()
        score = reward if np.isnan(success) else success
        self.looked = min(self.looked, self.num_timesteps)  # a second `learn` counts from 0 again
        if self.num_timesteps > self.looked and not np.isnan(score):  # a resumed run has looked already
            self.looked, self.waited = self.num_timesteps, self.waited + 1
            if score > self.best + self.config.better:
                self.best, self.waited = score, 0
            if self.waited >= self.config.plateau and 2 * self.hidden <= self.config.widest:
                self.widen(2 * self.hidden)
        super()._schedule(progress)

    def widen(self, hidden: int) -> None:
        """Widen the GRU to `hidden` units without changing what it computes, but for the noise."""
        old = self.hidden
        extra = torch.randint(old, (hidden - old,), generator=self.generator, device=self.device)
        source = torch.cat((torch.arange(old, device=self.device), extra))  # (hidden,), the unit each one copies
        share = 1.0 / torch.bincount(source, minlength=old)[source]  # (hidden,)
        cell, heads = self._core.cell, [head.weight for head in self._heads]
        rows = torch.cat([gate * old + source for gate in range(3)])  # of the three gates
        into = {name: getattr(cell, name)[rows] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        into["weight_hh"] = into["weight_hh"][:, source] * share
        self._rebuild(hidden)
        with torch.no_grad():
            for name, value in into.items():
                getattr(self._core.cell, name).copy_(self._shaken(value))
            for head, weight in zip(self._heads, heads, strict=True):  # (.., X + hidden), the encoder's part first
                x = weight.shape[1] - old
                head.weight.copy_(torch.cat((weight[:, :x], weight[:, x:][:, source] * share), 1))
        if self._started:
            self._state = GRUState(self._state.h[:, source])
        self.best, self.waited = -np.inf, 0

    def _shaken(self, value: Tensor) -> Tensor:
        draw = torch.randn(value.shape, generator=self.generator, device=self.device)
        return value + self.config.noise * value.std() * draw

    def _rebuild(self, hidden: int) -> None:
        """Put an empty GRU of this width, and heads for it, into the policy; the optimiser begins anew."""
        config = GRUConfig(hidden=hidden)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.policy.core = GRUCore(self.config.encoder, config).to(self.device)
            for head in (self.policy.pi, self.policy.vf):
                bias = cast(nn.Linear, head[0]).bias
                head[0] = nn.Linear(self.config.encoder + hidden, self.config.head).to(self.device)
                head[0].bias = bias
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=self.config.learning_rate, eps=1e-5, fused=True)

    @override
    def fit(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        hidden = tensors["policy.core.cell.weight_hh"].shape[1]
        if hidden != self.hidden:
            self._rebuild(hidden)

    @override
    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, meta = super().snapshot()
        best = None if np.isinf(self.best) else self.best
        return tensors, meta | {"best": best, "waited": self.waited, "looked": self.looked}

    @override
    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        super().restore(tensors, meta)
        self.best = -np.inf if meta["best"] is None else meta["best"]
        self.waited, self.looked = meta["waited"], meta["looked"]


def build(config: GrowingGRUConfig, env: Any, seed: int = 0, device: str = "cpu") -> GrowingPPO:
    """Make the agent for a registry row."""
    return GrowingPPO("gru", env, config, seed, device)
