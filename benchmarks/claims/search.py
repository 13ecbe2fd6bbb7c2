"""Claim g: search belongs into growing dimensions: backprop in a subspace that grows beats backprop in all of it.

The parameters are theta = theta_0 + z P, P random and orthonormal, and only the first d numbers of z are trained (Li et
al. 2018, arXiv 1804.08838). `pip install 'cma>=4'` (the extra `tune` has it), then `python benchmarks/claims/search.py`
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from laboratory import SEEDS, Report, canvas, cell, page
from recall_controllers import FORWARD, NUMBER, Recall, Subspace

BUDGET, MARKS, POPULATION = 3 * FORWARD * 1000, 10, 16  # FLOPs: a thousand steps of plain backprop; scores on the way
SETTINGS: dict[str, dict[str, float]] = {
    "CMA-ES": {"sigma": 0.1, "start": 256},
    "backprop": {"rate": 7e-3},
    "backprop, turned": {"rate": 1e-2, "start": NUMBER},
    "fixed subspace": {"rate": 1.5e-2, "start": 512},
    "growing subspace": {"rate": 1e-2, "start": 128, "grown": 0.2},
}  # best on seeds 0-9: CMA-ES and backprop of nine settings, turned of three, fixed of eleven, growing of fourteen


def dimension(start: float, grown: float, progress: float) -> int:
    """Numbers trained: `start`, doubled at equal distances up to N at the share `grown` of the budget (0: never)."""
    doublings = math.ceil(math.log2(NUMBER / start))
    now = int(progress / grown * doublings) if grown else 0
    return min(NUMBER, int(start) << min(now, doublings))


def descend(seeds: range, budget: float, rate: float, start: float = 0.0, grown: float = 0.0) -> np.ndarray:
    """Adam on the first d numbers of z, or on theta if `start` is 0: scores (seeds, MARKS)."""
    task, spent, scores = Recall(seeds), 0.0, list[np.ndarray]()
    space = Subspace(task, turned=start > 0)
    z, m, v, age = torch.zeros(4, *task.start.shape)
    while spent < budget:
        d = dimension(start, grown, spent / budget) if start else NUMBER
        theta = space.lift(z[:, :d]).requires_grad_()
        (full,) = torch.autograd.grad(task.loss(theta[:, None], *task.episodes()).sum(), theta)
        g = space.lower(full, d)
        age[:, :d] += 1
        m[:, :d].lerp_(g, 0.1)
        v[:, :d].lerp_(g.square(), 0.001)
        ages = age[:, :d]
        step = m[:, :d] / (1 - 0.9**ages) / ((v[:, :d] / (1 - 0.999**ages)).sqrt() + 1e-8)
        z[:, :d] -= rate * (1 - spent / budget) * (NUMBER / d) ** 0.5 * step  # steps of one length for any d
        spent += 3 * FORWARD + (4 * NUMBER * d if start else 0)
        if spent >= budget * (len(scores) + 1) / MARKS:
            scores.append(task.score(space.lift(z[:, :d])))
    return np.stack(scores, 1)


def evolve(seeds: range, budget: float, sigma: float, start: float) -> np.ndarray:
    """CMA-ES on the first `start` numbers of z, a generation on one batch: scores (seeds, MARKS)."""
    try:
        import cma  # not among what the library needs
    except ImportError:
        sys.exit("CMA-ES is not installed. Run: pip install 'cma>=4'")
    task, d, spent, scores = Recall(seeds), int(start), 0.0, list[np.ndarray]()
    space = Subspace(task, turned=True)
    searches = [
        cma.CMAEvolutionStrategy(np.zeros(d), sigma, {"popsize": POPULATION, "seed": seed + 1, "verbose": -9})
        for seed in seeds
    ]  # seed 0 would be the clock
    while spent < budget:
        asked = [search.ask() for search in searches]
        z = torch.as_tensor(np.array(asked), dtype=torch.float32)  # (S, C, d)
        with torch.no_grad():
            losses = task.loss(space.lift(z), *task.episodes())
        for search, candidates, loss in zip(searches, asked, losses.tolist(), strict=True):
            search.tell(candidates, loss)
        spent += POPULATION * (FORWARD + 2 * NUMBER * d)
        if spent >= budget * (len(scores) + 1) / MARKS:
            mean = torch.as_tensor(np.array([search.mean for search in searches]), dtype=torch.float32)
            scores.append(task.score(space.lift(mean)))
    return np.stack(scores, 1)


def contest(way: str, seeds: range, budget: float = BUDGET, **settings: float) -> np.ndarray:
    """Scores on the way, (seeds, MARKS), of one contestant."""
    return (evolve if way == "CMA-ES" else descend)(seeds, budget, **(SETTINGS[way] | settings))


def run(seeds: range = SEEDS, budget: float = BUDGET) -> Report:
    found = {way: contest(way, seeds, budget) for way in SETTINGS}
    table = [["search", "settings", *(f"{share} of the budget" for share in ("a fifth", "half", "all"))]]
    figure = canvas("FLOPs", "share of bits right")
    for way, scores in found.items():
        chosen = ", ".join(f"{name} {value:g}" for name, value in SETTINGS[way].items())
        table.append([way, chosen, *(cell(scores[:, mark], 3) for mark in (MARKS // 5 - 1, MARKS // 2 - 1, -1))])
        figure.axes[0].plot(budget / MARKS * np.arange(1, MARKS + 1), scores.mean(0), label=way)
    figure.axes[0].legend(fontsize=8)
    final = {way: scores[:, -1] for way, scores in found.items()}
    rival = max(("backprop", "fixed subspace"), key=lambda way: final[way].mean())
    over = {way: cell(final["growing subspace"] - final[way], 3) for way in ("fixed subspace", "backprop, turned")}
    return Report(
        "Search belongs into growing dimensions: backprop in a random subspace that grows does better than backprop "
        "in all dimensions and in the best subspace of a fixed size.",
        "at equal FLOPs the growing subspace is no better than the better of the two. Margin: its share of bits right "
        "- that of the one with the better mean.",
        final["growing subspace"] - final[rival],
        table,
        figure,
        f"Growing does better than the fixed subspace, by {over['fixed subspace']}. But random directions cost more "
        "than their growth gives: backprop along single weights is better than both, and growing is not clearly better "
        f"than all random directions from the start (turned): {over['backprop, turned']}. CMA-ES does not leave chance "
        f"in this budget. {NUMBER} parameters; chance is 0.5, all bits are 1. A step of backprop is three forward "
        f"passes, {3 * FORWARD / 1e6:.1f} MFLOPs; turning to d directions and back is 4 N d more; CMA-ES pays one pass "
        "for a candidate, and nothing for its own arithmetic.",
    )


if __name__ == "__main__":
    print(page("search", run()))
