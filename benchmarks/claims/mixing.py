"""Claim e: a controller that mixes stored minima does better on a new task than one that selects among them.

Eight tasks live in one superposed layer over the same features. A ninth comes with 8 or 32 labelled samples; the layer
stays as it is and only the eight weights of a mixture are fitted. `python benchmarks/claims/mixing.py`
"""

from __future__ import annotations

import numpy as np
import torch
from laboratory import SEEDS, Report, canvas, cell, page
from torch import Tensor

from agents.superposed_linear import SuperposedLinear, random_codes

IN, FEATURES, TASKS, STUDY, TEST = 16, 256, 8, 400, 2000
SAMPLES = (8, 32)
KINDS = ("near one", "between two", "unrelated")
WAYS = ("mix", "select", "fine-tune", "scratch")
RIDGE = 0.1


def solve(x: Tensor, y: Tensor, prior: Tensor | None = None, ridge: float = RIDGE) -> Tensor:
    """Ridge regression towards a prior: x (N, n), y (N,) -> (n,)."""
    start = x.new_zeros(x.shape[1]) if prior is None else prior
    system = x.mT @ x + ridge * torch.eye(x.shape[1])
    return start + torch.linalg.solve(system, x.mT @ (y - x @ start))


class Lab:
    """One seed: eight rules, one layer that holds them."""

    def __init__(self, seed: int) -> None:
        self.rng = torch.Generator().manual_seed(seed)
        self.lift = self.draw(IN, FEATURES)
        self.rules = torch.nn.functional.normalize(self.draw(TASKS, IN), dim=-1)
        self.codes = random_codes(TASKS, IN, seed)
        self.layer = SuperposedLinear(FEATURES, 1, IN, seed=seed)
        x = self.draw(TASKS, STUDY, IN)
        turned = self.layer.turn(self.features(x), self.codes[:, None]).flatten(0, 1)
        labels = (x @ self.rules[:, :, None]).sign().flatten()
        with torch.no_grad():
            self.layer.weight.copy_(solve(turned, labels, ridge=1.0)[None])

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.rng)

    def features(self, x: Tensor) -> Tensor:
        """(..., IN) -> (..., n)."""
        return torch.relu(x @ self.lift) * (IN * FEATURES) ** -0.5

    def views(self, x: Tensor) -> Tensor:
        """What each stored task answers: (N, IN) -> (N, K)."""
        return self.layer(self.features(x)[:, None], self.codes)[..., 0].detach()

    def stored(self) -> float:
        """Success on the stored tasks."""
        x = self.draw(TEST, IN)
        return float((self.views(x).sign() == (x @ self.rules.mT).sign()).float().mean())

    def new_rule(self, kind: str) -> Tensor:
        """(IN,): twenty degrees from a stored rule, halfway between two, or any."""
        fresh = torch.nn.functional.normalize(self.draw(IN), dim=0)
        if kind == "near one":
            return self.rules[0] + fresh * np.tan(np.radians(20)).item()
        return self.rules[0] + self.rules[1] if kind == "between two" else fresh

    def learn(self, kind: str, samples: int) -> list[float]:
        """Success on fresh points for each of WAYS."""
        rule, x, test = self.new_rule(kind), self.draw(samples, IN), self.draw(TEST, IN)
        y, views, features = (x @ rule).sign(), self.views(x), self.features(x)
        chosen = int((views - y[:, None]).square().sum(0).argmin())
        start = self.layer.turn(self.layer.weight.detach()[0], self.codes[chosen])  # the weights seen in that context
        answers = (
            self.views(test) @ solve(views, y),
            self.views(test)[:, chosen],
            self.features(test) @ solve(features, y, start),
            self.features(test) @ solve(features, y),
        )
        return [float((answer.sign() == (test @ rule).sign()).float().mean()) for answer in answers]


def run(seeds: range = SEEDS) -> Report:
    labs = [Lab(seed) for seed in seeds]
    table = [["new task", "samples", *WAYS]]
    found = {}
    for kind in KINDS:
        for samples in SAMPLES:
            found[kind, samples] = scores = np.array([lab.learn(kind, samples) for lab in labs])
            table.append([kind, str(samples), *(cell(column) for column in scores.T)])
    related = np.mean([found[kind, 32] for kind in KINDS[:2]], 0)  # (seeds, ways)
    figure = canvas("", "share of fresh points right, 32 samples")
    axes = figure.axes[0]
    for index, way in enumerate(WAYS):
        axes.bar(np.arange(3) + 0.2 * index, [found[k, 32][:, index].mean() for k in KINDS], 0.18, label=way)
    axes.set(xticks=np.arange(3) + 0.3, xticklabels=KINDS, ylim=(0.45, 1))
    axes.legend(ncols=4, fontsize=8)
    stored = np.array([lab.stored() for lab in labs])
    return Report(
        "Mixing the minima held in one layer serves a new task better than selecting one of them.",
        "on related tasks with 32 samples a mixture is no better than the best single one. Margin: their difference, "
        "the mean of tasks near a stored one and of tasks between two.",
        related[:, 0] - related[:, 1],
        table,
        figure,
        "It holds by the tasks between two stored ones: near a single one, selecting it is better; unrelated ones are "
        "better learned from scratch; and fine-tuning the selected one is at least as good as mixing everywhere. The "
        f"mixture fits {TASKS} numbers where fine-tuning and scratch fit {FEATURES}. The stored tasks themselves are "
        f"answered at {cell(stored)}.",
    )


if __name__ == "__main__":
    print(page("mixing", run()))
