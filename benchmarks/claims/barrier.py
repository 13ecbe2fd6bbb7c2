"""The barriers of rewiring (claim f): the loss on the straight line from a minimum to the one after a disturbance.

Source: linear mode connectivity, Frankle et al. 2020 (arXiv 1912.05671).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from sparse_nets import Nets, distance
from torch import Tensor

POINTS, BATCH, STEPS = 1024, 64, 2000
NETWORKS = {"with room": (0.5, 2e-3), "crowded": (0.2, 3e-3)}  # density and rate; the first is that of the stream
FRACTIONS = (0.1, 0.3, 0.5)
WAYS = ("gradient regrowth", "random regrowth", "noise", "noise of twice the norm")


def settle(net: Nets, x: Tensor, y: Tensor, steps: int) -> None:
    """Train to a minimum: the rate falls linearly to 0."""
    for step in range(steps):
        net.step(*net.batch(x, y, BATCH), net.rate * (1 - step / steps))


def barriers(network: str, seeds: range, steps: int = STEPS) -> dict[tuple[float, str], np.ndarray]:
    """Barrier, loss after and distance, (3, seeds), by the fraction rewired and by what was done at the minimum."""
    density, rate = NETWORKS[network]
    start = Nets(seeds, rate, density)
    x, y = start.task(POINTS)
    settle(start, x, y, 4 * steps)
    start.step(x, y, 1e-12)  # leaves the gradient of all points at the minimum for gradient regrowth
    found = {}
    for fraction in FRACTIONS:
        for way in WAYS:
            net = copy.deepcopy(start)
            if "regrowth" in way:
                norm = net.rewire(fraction, way == "gradient regrowth")
            elif "noise" in way:
                net.kick(norm * (2 if "twice" in way else 1))
            settle(net, x, y, steps)
            found[fraction, way] = line(start, net, x, y)
    net = copy.deepcopy(start)
    settle(net, x, y, steps)
    found[0.0, "plain steps"] = line(start, net, x, y)
    return found


def margin(found: dict[tuple[float, str], np.ndarray], fraction: float) -> np.ndarray:
    """Mean barrier of both ways to regrow less that of the larger control, (S,)."""
    rewired = (found[fraction, "gradient regrowth"][0] + found[fraction, "random regrowth"][0]) / 2
    return rewired - np.maximum(found[fraction, "noise"][0], found[0.0, "plain steps"][0])


@torch.no_grad()
def line(a: Nets, b: Nets, x: Tensor, y: Tensor) -> np.ndarray:
    """Height of the loss between two networks above the straight line of their losses, the loss of b, the distance."""
    parts = torch.linspace(0, 1, 21)[:, None]
    pairs = list(zip(a.weights, b.weights, strict=True))
    losses = torch.stack([a.loss(x, y, [torch.lerp(u, v, part.item()) for u, v in pairs]) for part in parts])
    height = (losses - torch.lerp(losses[0], losses[-1], parts)).amax(0)
    return torch.stack((height, losses[-1], distance(a.weights, b.weights))).numpy()
