"""A linear layer that holds many tasks in one weight matrix: y = W (c(z) * x), one generated context c for each code z.

A context turns the input before it meets the weights. Contexts of different codes turn it into nearly orthogonal
directions, so what is trained in one hardly moves the answers of another, and the number of tasks is bounded by the
width of the layer. Contexts are generated from a low-dimensional code by the fixed `Expansion`: none is stored.

Source: superposition of many models into one, Cheung et al. 2019 (arXiv 1902.05522), here with generated contexts.

Axes: K contexts, U code width, n input width, m output width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from agents.superposition import Expansion

Kind = Literal["sign", "phase"]
SCALE = 2.0  # standard deviation of the frequencies: `random_codes`, of norm sqrt(U), fall many periods apart


class SuperposedLinear(nn.Module):
    """`nn.Linear` seen through a context; its trained parameters are those of one `nn.Linear`.

    Args:
        in_features: n; even for phases, which turn the halves of the input against each other.
        out_features: m.
        code: U, width of the code that names a context.
        kind: "sign" multiplies by -1 or +1; "phase" rotates pairs of inputs, and passes gradients on to the code.
        bias: one bias for all contexts, which they do not keep apart; off by default.
        scale: how fast contexts change with the code; 0 would make them all one.
        seed: what the contexts are generated from.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        code: int,
        kind: Kind = "sign",
        *,
        bias: bool = False,
        scale: float = SCALE,
        seed: int = 0,
    ) -> None:
        if kind not in ("sign", "phase"):
            raise ValueError(f"kind must be 'sign' or 'phase', got {kind!r}.")
        if kind == "phase" and in_features % 2:
            raise ValueError(f"Phases rotate pairs of inputs: in_features must be even, got {in_features}.")
        super().__init__()
        plain = nn.Linear(in_features, out_features, bias=bias)
        self.in_features, self.weight, self.bias = in_features, plain.weight, plain.bias
        self.kind = kind
        self.expansion = Expansion(code, in_features + in_features % 2, [scale], seed)

    @override
    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Answer in a context.

        Args:
            x: (..., n).
            code: (..., U); its leading axes broadcast against those of x.

        Returns:
            (..., m).
        """
        return F.linear(self.turn(x, code), self.weight, self.bias)

    def turn(self, x: Tensor, code: Tensor) -> Tensor:
        """Apply the context to the input: (..., n) and (..., U) -> (..., n), of the same norm."""
        if code.shape[-1] != self.expansion.width:
            raise ValueError(f"This layer was made for codes of width {self.expansion.width}, got {code.shape[-1]}.")
        angle = code @ self.expansion.omega[0]  # (..., n / 2, rounded up)
        if self.kind == "sign":
            return flip(x, angle)
        first, second = x.chunk(2, -1)
        cos, sin = angle.cos(), angle.sin()
        return torch.cat((cos * first - sin * second, sin * first + cos * second), -1)


def flip(x: Tensor, angle: Tensor) -> Tensor:
    """Turn (..., n) by the signs of cosines and sines: angle (..., n / 2, rounded up)."""
    context = torch.cat((angle.cos(), angle.sin()), -1)[..., : x.shape[-1]]
    return torch.where(context < 0, -x, x)


def random_codes(count: int, width: int, seed: int = 0) -> Tensor:
    """Draw codes for tasks that share nothing: (K, U) of norm sqrt(U), the first of them the same for any K."""
    drawn = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return nn.functional.normalize(drawn, dim=-1) * width**0.5
