"""Two ways of staying able to learn in a stream of tasks: a pull to the initial parameters, and recycled units.

* `l2_init`: the loss has l2_init * sum (w - w_0)^2 over all parameters. Kumar et al. 2023 (arXiv 2308.11958).
* `recycle`: continual backprop, Dohare et al. 2024 (Nature 632). Each hidden unit of the two heads has a utility, the
  running mean of |its activity| times the sum of |its outgoing weights|. After each update a share `recycle` of the
  units older than `MATURITY` updates, the least useful first, begin anew: incoming weights drawn, outgoing weights 0.

Axes: h hidden units of a head.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from agents.config import PPOConfig

DECAY = 0.99  # of the running mean, an update
MATURITY = 100  # updates in which a unit may show what it is good for


class Recycler(nn.Module):
    """Recycles the hidden units of a head: linear, tanh, linear."""

    utility: Tensor  # (h,)
    age: Tensor  # (h,), in updates
    debt: Tensor  # (), units that are due

    def __init__(self, head: nn.Sequential) -> None:
        super().__init__()
        self.ends = cast(nn.Linear, head[0]), cast(nn.Linear, head[2])  # in a tuple: they belong to the policy
        for name in ("utility", "age"):
            self.register_buffer(name, torch.zeros(self.ends[1].weight.shape[1]))
        self.register_buffer("debt", torch.tensor(0.0))
        self.activity = torch.zeros(())  # (h,), of the last sequence that was trained on
        head[1].register_forward_hook(self._watch)

    def _watch(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if torch.is_grad_enabled() and output.requires_grad:
            self.activity = output.detach().abs().flatten(0, -2).mean(0)

    @torch.no_grad()
    def recycle(self, share: float, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """Do what is due after an update."""
        into, out = self.ends
        self.age += 1
        self.utility.lerp_(self.activity * out.weight.abs().sum(0), 1 - DECAY)
        mature = self.age > MATURITY
        self.debt += share * mature.sum()
        count = min(int(self.debt), int(mature.sum()))
        if not count:
            return
        self.debt -= count
        units = self.utility.masked_fill(~mature, math.inf).topk(count, largest=False).indices
        bound = into.weight.shape[1] ** -0.5
        draw = torch.rand(into.weight[units].shape, generator=generator, device=into.weight.device)
        into.weight[units] = (2 * draw - 1) * bound
        into.bias[units], out.weight[:, units] = 0.0, 0.0
        self.age[units], self.utility[units] = 0.0, 0.0
        for part, index in ((into.weight, (units,)), (into.bias, (units,)), (out.weight, (slice(None), units))):
            for name in ("exp_avg", "exp_avg_sq"):
                optimizer.state[part][name][index] = 0.0


class Plasticity(nn.Module):
    """What `l2_init` and `recycle` do to a policy; its buffers make a resume exact."""

    def __init__(self, policy: nn.Module, config: PPOConfig) -> None:
        super().__init__()
        self.pull, self.share = config.l2_init, config.recycle
        self.trained = tuple(part for part in policy.parameters() if part.requires_grad)
        if self.pull:
            self.register_buffer("start", nn.utils.parameters_to_vector(self.trained).detach().clone())
        heads = (policy.pi, policy.vf) if self.share else ()
        self.heads = nn.ModuleList(Recycler(cast(nn.Sequential, head)) for head in heads)

    def penalty(self) -> Tensor | float:
        """What is added to the loss."""
        if not self.pull:
            return 0.0
        away: Tensor = nn.utils.parameters_to_vector(self.trained) - cast(Tensor, self.start)
        return self.pull * away.square().sum()

    def after(self, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """Recycle units after an update."""
        for head in self.heads:
            cast(Recycler, head).recycle(self.share, optimizer, generator)
