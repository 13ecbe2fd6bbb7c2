"""Claim a: one matrix holds many tasks at once, each in its generated context, and its width says how many.

All tasks share the same four inputs and contradict each other in what they ask for: random answers of eight bits.
They are learned one after the other, each to perfection, without replay. `python benchmarks/claims/contexts.py`
"""

from __future__ import annotations

import numpy as np
import torch
from laboratory import SEEDS, Report, canvas, cell, page
from torch import Tensor

from agents.superposed_linear import SuperposedLinear, random_codes

INPUTS, CODE, ENOUGH = 4, 16, 0.95
WIDTHS, OUTPUTS = (32, 64, 128, 256, 512), (1, 8, 32)


def draw(width: int, outputs: int, tasks: int, seed: int, context: bool) -> tuple[Tensor, Tensor]:
    """Turned inputs (K, P, n) and answers (K, P, m) of K tasks."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(INPUTS, width, generator=rng).sign() * width**-0.5
    answers = torch.randn(tasks, INPUTS, outputs, generator=rng).sign()
    codes = random_codes(tasks, CODE, seed)[:, None]
    layer = SuperposedLinear(width, outputs, CODE, seed=seed)
    return layer.turn(x, codes) if context else x.expand(tasks, -1, -1), answers


@torch.no_grad()
def learn(width: int, outputs: int, seed: int, context: bool = True) -> np.ndarray:
    """Success (tasks in sequence, 2) with the context told and inferred, after 1, 2, ... tasks, over all so far."""
    tasks = max(8, width // 2) if context else 8
    x, answers = draw(width, outputs, tasks, seed, context)
    weight, scores = torch.zeros(outputs, width), np.full((tasks, 2), np.nan)
    for k in range(tasks):
        wrong = answers[k].mT - weight @ x[k].mT  # (m, P)
        weight += torch.linalg.solve(x[k] @ x[k].mT, wrong.mT).mT @ x[k]  # the least change that answers all of it
        if k % max(1, tasks // 32) == 0:
            every = x[: k + 1] @ weight.mT  # (K, P, m): what each context answers
            told = (every.sign() == answers[: k + 1]).float().mean()
            scores[k] = float(told), inferred(every, answers[: k + 1])
    return scores


def inferred(every: Tensor, answers: Tensor) -> float:
    """Success on the last two inputs in the context that explains the first two best, the task being unknown."""
    errors = (every[None, :, :2] - answers[:, None, :2]).square().sum((2, 3))  # (task, context)
    best = every[errors.argmin(1), 2:].sign()
    return float((best == answers[:, 2:]).float().mean())


def capacity(scores: np.ndarray) -> float:
    """K95: the most tasks after which all so far are answered at 95 %; the largest tried is the ceiling."""
    enough = np.flatnonzero(scores >= ENOUGH)
    return float(enough[-1] + 1) if enough.size else 0.0


def run(seeds: range = SEEDS) -> Report:
    table = [
        ["width n", "outputs m", "parameters", "K95, context told", "K95, inferred", "K95, no context", "bits held"]
    ]
    found: dict[tuple[int, int], np.ndarray] = {}
    for width, outputs in [(n, 8) for n in WIDTHS] + [(128, m) for m in OUTPUTS if m != 8]:
        runs = [learn(width, outputs, seed) for seed in seeds]
        plain = np.array([capacity(learn(width, outputs, seed, False)[:, 0]) for seed in seeds])
        told, guessed = (np.array([capacity(run[:, column]) for run in runs]) for column in (0, 1))
        found[width, outputs] = told
        bits = told * INPUTS * outputs
        row = [str(width), str(outputs), f"{width * outputs:,}", cell(told, 1), cell(guessed, 1), cell(plain, 1)]
        table.append([*row, f"{bits.mean():,.0f}"])
    logs = np.log([found[n, 8] for n in WIDTHS])  # (widths, seeds)
    slope = np.polyfit(np.log(WIDTHS), logs, 1)[0]  # (seeds,)
    figure = canvas("width n", "tasks held, K95")
    axes = figure.axes[0]
    axes.loglog(WIDTHS, np.exp(logs).mean(1), "o-", base=2)
    axes.set_title(f"grows with the width to the power {slope.mean():.2f}")
    return Report(
        "Contexts that are generated, not stored, let one matrix hold many contradicting tasks; their number grows in "
        "proportion to the width.",
        "the number of tasks held at 95 % grows slower than the width to the power 0.8. Margin: the exponent - 0.8.",
        slope - 0.8,
        table,
        figure,
        f"At width 256, {found[256, 8].mean():.0f} tasks of {INPUTS} inputs are held. More outputs are more parameters "
        "and more bits, but no more tasks: width counts. A table of the answers would need one bit for each bit held, "
        "and the layer spends 32 on each parameter.",
    )


if __name__ == "__main__":
    print(page("contexts", run()))
