"""What a context changes in a policy: signs of what its layers see, a mask over fixed weights, or heads of its own.

* `flip`: encoder, heads and the core's input are seen through generated signs (`agents.contexts`); no parameter more.
* `mask`: every weight is fixed at random and a context is a mask over all of them, encoder, core and heads: the
  `KEPT` share with the highest scores. Scores are trained, one for each weight and context, the gradient passing the
  threshold as if it were not there; what must be kept afterwards is a bit for each. SupSup, Wortsman et al. 2020
  (arXiv 2006.14769), after edge-popup, Ramanujan et al. 2020 (arXiv 1911.13299). Biases stay as they were drawn.
* `heads`: two heads for each context on one encoder and core, which all tasks train.

Axes: N contexts, U width of a context's code.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from typing_extensions import override

from agents.config import PPOConfig
from agents.contexts import Layer, Turn, superpose

if TYPE_CHECKING:
    from agents.policy import Policy

KEPT = 0.5  # of the weights under a mask


class Mask(nn.Module):
    """A parametrization: the weight (fixed) times the mask of the context that was entered last.

    Args:
        weight: the tensor to mask.
        count: N.
    """

    present: Tensor

    def __init__(self, weight: Tensor, count: int) -> None:
        super().__init__()
        bound = weight.shape[-1] ** -0.5
        self.scores = nn.ParameterList(torch.empty_like(weight).uniform_(-bound, bound) for _ in range(count))
        self.register_buffer("present", torch.tensor(0))

    def enter(self, k: int, code: Tensor) -> None:
        """Use mask k from now on."""
        self.present.fill_(k)

    @override
    def forward(self, weight: Tensor) -> Tensor:
        scores = self.scores[int(self.present)]
        least = scores.detach().flatten().kthvalue(1 + int((1 - KEPT) * scores.numel())).values
        mask = (scores.detach() >= least).to(weight.dtype)
        return weight * (mask + (scores - scores.detach()))  # the second term is 0: a way for the gradient


class Heads(nn.Module):
    """A copy of a head for each of N contexts."""

    present: Tensor

    def __init__(self, head: nn.Module, count: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(copy.deepcopy(head) for _ in range(count))
        self.register_buffer("present", torch.tensor(0))

    def enter(self, k: int, code: Tensor) -> None:
        """Use head k from now on."""
        self.present.fill_(k)

    @override
    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.each[int(self.present)](x)
        return answer


def _flip(policy: Policy, config: PPOConfig, seed: int) -> Sequence[Layer]:
    policy.into_core = turn = Turn(config.encoder, seed)
    return [turn, *superpose([policy.encoder, policy.pi, policy.vf], seed)]


def _mask(policy: Policy, config: PPOConfig, seed: int) -> Sequence[Layer]:
    masks = []
    for part in list(policy.modules()):
        for name, drawn in list(part.named_parameters(recurse=False)):
            weight = drawn.detach()
            if weight.dim() > 1:  # all of one size: what is learned is the mask
                weight = weight.sign() * (KEPT * weight[0].numel()) ** -0.5
            delattr(part, name)
            part.register_buffer(name, weight)
            if weight.dim() > 1:
                masks.append(Mask(weight, config.contexts))
                parametrize.register_parametrization(part, name, masks[-1])
    return masks


def _heads(policy: Policy, config: PPOConfig, seed: int) -> Sequence[Layer]:
    heads = {name: Heads(part, config.contexts) for name, part in (("pi", policy.pi), ("vf", policy.vf))}
    for name, part in heads.items():
        policy.add_module(name, part)
    return list(heads.values())


FORMS: dict[str, Callable[[Policy, PPOConfig, int], Sequence[Layer]]] = {
    "flip": _flip,
    "mask": _mask,
    "heads": _heads,
}
"""Each changes a policy and returns what has to be told which context is entered."""


def kept_bits(policy: Policy) -> int:
    """Bits of what training changed: one for each score of a mask, 32 for every other trained number."""
    scores = sum(part.numel() for mask in policy.modules() if isinstance(mask, Mask) for part in mask.parameters())
    return 32 * (sum(part.numel() for part in policy.parameters()) - scores) + scores
