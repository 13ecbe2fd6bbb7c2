"""Claim c: random labels hit a hard limit in bits per parameter, labels with a rule behind them do not.

One small network, 16-8-1, is trained on N points, with labels from a coin or from another network of the same shape.
What it holds is N (1 - H(error)) bits. `python benchmarks/claims/random_data.py`
"""

from __future__ import annotations

import numpy as np
import torch
from laboratory import SEEDS, Report, canvas, cell, page
from torch import Tensor
from torch.nn.functional import softplus

IN, HIDDEN, STEPS, RATE = 16, 8, 800, 0.03
PARAMETERS = IN * HIDDEN + HIDDEN + HIDDEN + 1
LOADS = (1, 2, 4, 8)  # points per parameter
FRESH = 1000  # points of the same rule that were not trained on

Net = tuple[Tensor, Tensor, Tensor, Tensor]


def network(seeds: range, gain: float) -> Net:
    """One network for each seed, side by side."""
    parts = []
    for seed in seeds:
        rng = torch.Generator().manual_seed(seed)
        shapes = ((IN, HIDDEN, IN**-0.5), (1, HIDDEN, 0.5), (HIDDEN, 1, HIDDEN**-0.5), (1, 1, 0.0))
        parts.append([torch.randn(a, b, generator=rng) * scale * gain for a, b, scale in shapes])
    w, b, v, c = (torch.stack(part) for part in zip(*parts, strict=True))
    return w, b, v, c


def answer(net: Net, x: Tensor) -> Tensor:
    """(S, N, IN) -> (S, N)."""
    w, b, v, c = net
    return torch.baddbmm(c, torch.tanh(torch.baddbmm(b, x, w)), v)[..., 0]


def data(seeds: range, points: int, rule: bool) -> tuple[Tensor, Tensor]:
    """Points (S, N, IN) and labels -1 or +1 (S, N), from a coin or from a network of the same shape."""
    teacher, xs, coins = network(range(seeds.start + 5000, seeds.stop + 5000), 2.0), [], []
    for seed in seeds:
        rng = torch.Generator().manual_seed(seed + 9000)
        xs.append(torch.randn(points, IN, generator=rng))
        coins.append(torch.randn(points, generator=rng))
    x = torch.stack(xs)
    return x, (answer(teacher, x) if rule else torch.stack(coins)).sign()


def fit(seeds: range, load: int, rule: bool) -> tuple[np.ndarray, np.ndarray]:
    """Error on the points trained on and on fresh ones, (S,) each, after full-batch Adam."""
    points = load * PARAMETERS
    x, y = data(seeds, points + FRESH, rule)
    net = network(seeds, 1.0)
    adam = torch.optim.Adam([part.requires_grad_() for part in net], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
    for _ in range(STEPS):
        adam.zero_grad()
        softplus(-y[:, :points] * answer(net, x[:, :points])).mean(1).sum().backward()
        adam.step()
        schedule.step()
    with torch.no_grad():
        wrong = (answer(net, x).sign() != y).float()
    return wrong[:, :points].mean(1).numpy(), wrong[:, points:].mean(1).numpy()


def bits(error: np.ndarray, load: int) -> np.ndarray:
    """Bits held per parameter: N (1 - H(error)) / P."""
    e = np.clip(error, 1e-12, 0.5)
    return np.asarray(load * (1 + e * np.log2(e) + (1 - e) * np.log2(1 - e)))


def run(seeds: range = SEEDS) -> Report:
    table = [
        ["points / parameter", "coin: right", "coin: bits / parameter", "rule: right", "rule: right on fresh points"]
    ]
    held, ruled = [], []
    for load in LOADS:
        coin, _ = fit(seeds, load, rule=False)
        trained, fresh = fit(seeds, load, rule=True)
        held.append(bits(coin, load))
        ruled.append(1 - trained)
        table.append([str(load), cell(1 - coin), cell(held[-1]), cell(1 - trained), cell(1 - fresh)])
    figure = canvas("points per parameter", "share of trained points right")
    axes = figure.axes[0]
    axes.semilogx(LOADS, np.mean(ruled, 1), "o-", label="labels of a rule", base=2)
    axes.semilogx(LOADS, [float(row[1].split()[0]) for row in table[1:]], "o-", label="labels of a coin", base=2)
    axes.legend()
    stops = 1.1 * held[-2] - held[-1]
    return Report(
        "A network of a fixed size holds a fixed number of random bits per parameter, and any number of points that "
        "follow a rule it can express.",
        "from 4 to 8 random points per parameter the bits held still grow by a tenth, or fewer than 95 % of the points "
        "of a rule are right at 8. Margin: seed by seed, the smaller of the two distances.",
        np.minimum(stops, ruled[-1] - 0.95),
        table,
        figure,
        f"The most that was held is {max(h.mean() for h in held):.2f} bits per parameter ({PARAMETERS} parameters). "
        "Random labels have no shorter description than themselves, so each costs its bit; a rule is as long as its "
        "network, however many points follow from it. For the *keys* of an associative memory it is the other way "
        "round: random keys are the good case, alike ones the bad (see memory).",
    )


if __name__ == "__main__":
    print(page("random_data", run()))
