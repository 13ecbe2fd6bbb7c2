"""The networks of rewiring (claim f): one for each seed, side by side, with what rewires, kicks and recycles them.

Sources: random regrowth (SET), Mocanu et al. 2018; gradient regrowth (RigL), Evci et al. 2020 (arXiv 1911.11134);
unit recycling (continual backprop), Dohare et al. 2024, Nature 632.

Axes: S seeds, P points.
"""

from __future__ import annotations

import torch
from torch import Tensor

IN, HIDDEN, CLASSES = 64, 64, 10
SIZES = ((IN, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, CLASSES))
MATURITY = 100  # steps before a unit can be recycled


class Nets:
    """One network for each seed, trained side by side by Adam: three layers, a mask on the first two."""

    def __init__(self, seeds: range, rate: float, density: float = 1.0, fraction: float = 0.0, recycle: float = 0.0):
        self.rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.rate, self.fraction, self.recycle, self.steps = rate, fraction, recycle, 0
        self.masks = [self.pick(self.draw(n, m), round(n * m * (density if m == HIDDEN else 1))) for n, m in SIZES]
        fresh = [self.draw(n, m) * (2 / n / (density if m == HIDDEN else 1)) ** 0.5 for n, m in SIZES]
        biases = [torch.zeros(len(seeds), 1, m) for _, m in SIZES]
        self.weights = [w * mask for w, mask in zip(fresh, self.masks, strict=True)] + biases
        self.masks += [torch.ones_like(b) for b in biases]
        self.moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in self.weights]
        self.utility = [torch.zeros(len(seeds), HIDDEN) for _ in range(2)]
        self.age = [torch.zeros(len(seeds), HIDDEN) for _ in range(2)]
        self.debt = torch.zeros(2, len(seeds))

    def draw(self, *shape: int) -> Tensor:
        return torch.stack([torch.randn(*shape, generator=rng) for rng in self.rngs])

    @staticmethod
    def pick(scores: Tensor, count: int) -> Tensor:
        """1 at the `count` highest scores of each seed, else 0."""
        flat = scores.flatten(1)
        return torch.zeros_like(flat).scatter_(1, flat.topk(count).indices, 1.0).view_as(scores)

    def task(self, points: int) -> tuple[Tensor, Tensor]:
        """Random points (S, P, IN) with random labels (S, P): nothing carries over from one task to the next."""
        labels = torch.stack([torch.randint(CLASSES, (points,), generator=rng) for rng in self.rngs])
        return self.draw(points, IN), labels

    def batch(self, x: Tensor, y: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Points drawn with replacement from (S, P, IN) and (S, P)."""
        chosen = torch.stack([torch.randint(y.shape[1], (size,), generator=rng) for rng in self.rngs])
        return x.gather(1, chosen[..., None].expand(-1, -1, IN)), y.gather(1, chosen)

    def forward(self, x: Tensor, weights: list[Tensor]) -> list[Tensor]:
        """Points (S, P, IN) -> the hidden layers and the logits (S, P, CLASSES)."""
        layers = [x]
        for depth in range(3):
            x = torch.baddbmm(weights[3 + depth], x, weights[depth])
            layers.append(x := torch.relu(x) if depth < 2 else x)
        return layers[1:]

    def loss(self, x: Tensor, y: Tensor, weights: list[Tensor]) -> Tensor:
        """Cross-entropy of each seed, (S,)."""
        return torch.nn.functional.cross_entropy(self.forward(x, weights)[-1].mT, y, reduction="none").mean(1)

    def step(self, x: Tensor, y: Tensor, rate: float | None = None) -> Tensor:
        """One step of Adam; accuracy before it, (S,)."""
        leaves = [w.requires_grad_() for w in self.weights]
        *hidden, logits = self.forward(x, leaves)
        loss = torch.nn.functional.cross_entropy(logits.mT, y, reduction="none").mean(1).sum()
        self.gradients = torch.autograd.grad(loss, leaves)
        self.steps += 1
        with torch.no_grad():
            for w, g, mask, (m, v) in zip(leaves, self.gradients, self.masks, self.moments, strict=True):
                g = g * mask
                m.lerp_(g, 0.1)
                v.lerp_(g.square(), 0.001)
                scale = (v / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
                w.requires_grad_(False).sub_((rate or self.rate) / (1 - 0.9**self.steps) * m / scale)
            if self.recycle:
                self.renew(hidden)
        return (logits.argmax(-1) == y).float().mean(1)

    def forget(self, index: int, kept: Tensor) -> None:
        """Zero weights, and Adam's moments with them, where `kept` is 0."""
        for tensor in (self.weights[index], *self.moments[index]):
            tensor.mul_(kept)

    def rewire(self, fraction: float, by_gradient: bool) -> Tensor:
        """Drop the smallest weights of the sparse layers, grow as many at 0; the norm of what was dropped, (S,)."""
        before = [w.clone() for w in self.weights[:2]]
        for depth in range(2):
            count = int(self.masks[depth][0].sum())
            drop = round(fraction * count)
            kept = self.pick(self.weights[depth].abs() + self.masks[depth], count - drop)
            scores = self.gradients[depth].abs() if by_gradient else self.draw(*SIZES[depth]).abs()
            self.masks[depth] = kept + self.pick(torch.where(kept > 0, -1.0, scores), drop)
            self.forget(depth, kept)
        return distance(before, self.weights[:2])

    def kick(self, norm: Tensor) -> None:
        """Add noise of the given norm (S,) to the weights that `rewire` could have dropped."""
        noise = [self.draw(*SIZES[depth]) * self.masks[depth] for depth in range(2)]
        scale = norm / distance(noise, [torch.zeros(())] * 2)
        for depth in range(2):
            self.weights[depth] += scale[:, None, None] * noise[depth]

    def renew(self, hidden: list[Tensor]) -> None:
        """Recycle the hidden unit of least use among those older than MATURITY (Dohare et al. 2024)."""
        for depth, layer in enumerate(hidden):
            use, age, debt = self.utility[depth], self.age[depth], self.debt[depth]
            use.lerp_(layer.detach().abs().mean(1) * self.weights[depth + 1].abs().sum(2), 0.01)
            mature = age.add_(1) > MATURITY
            debt += self.recycle * mature.sum(1)
            if not (due := debt >= 1).any():
                continue
            worst = torch.where(mature, use, torch.inf).argmin(1, keepdim=True)
            kept = torch.ones_like(use).scatter_(1, worst, torch.where(due, 0.0, 1.0)[:, None])
            debt -= due.float()
            for index, where in ((depth, kept[:, None]), (depth + 3, kept[:, None]), (depth + 1, kept[:, :, None])):
                self.forget(index, where)
            self.weights[depth] += (1 - kept[:, None]) * self.draw(*SIZES[depth]) * (2 / SIZES[depth][0]) ** 0.5
            use.mul_(kept)
            age.mul_(kept)


def distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Euclidean distance of all weights of each seed, (S,)."""
    return sum(((u - v).square().sum((1, 2)) for u, v in zip(a, b, strict=True)), torch.zeros(())).sqrt()
