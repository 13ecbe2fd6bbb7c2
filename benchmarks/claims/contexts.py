"""Claim a: one matrix holds many tasks at once, each in its generated context, and its width says how many.

All tasks share the same four inputs and contradict each other in what they ask for: random answers of eight bits.
They are learned one after the other, each to perfection, without replay. `python benchmarks/claims/contexts.py`
"""

from __future__ import annotations

import numpy as np
import torch
from laboratory import SEEDS, Report, canvas, cell, page
from replay import replay
from torch import Tensor

from agents.superposed_linear import SuperposedLinear, random_codes

INPUTS, CODE, ENOUGH = 4, 16, 0.95
WIDTHS, DEEP, OUTPUTS = (32, 64, 128, 256, 512), (64, 128, 256), (1, 8, 32)


def draw(width: int, outputs: int, tasks: int, seed: int, context: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Turned inputs (K, P, n), answers (K, P, m) and turned read-outs (K, m, n) of K tasks."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(INPUTS, width, generator=rng).sign() * width**-0.5
    answers = torch.randn(tasks, INPUTS, outputs, generator=rng).sign()
    codes = random_codes(tasks, CODE, seed)[:, None]
    layer, second = (SuperposedLinear(width, outputs, CODE, seed=s) for s in (seed, seed + 7000))
    read = torch.randn(outputs, width, generator=rng).sign() * width**-0.5  # fixed: the second layer is not trained
    if not context:
        return x.expand(tasks, -1, -1), answers, read.expand(tasks, -1, -1)
    return layer.turn(x, codes), answers, second.turn(read, codes)


@torch.no_grad()
def learn(width: int, outputs: int, seed: int, context: bool = True, deep: bool = False) -> np.ndarray:
    """Success (tasks in sequence, 2) with the context told and inferred, after 1, 2, ... tasks, over all so far."""
    tasks = (width**2 // 64 if deep else max(8, width // 2)) if context else 8
    x, answers, read = draw(width, outputs, tasks, seed, context)
    if not deep:
        read = torch.eye(outputs).expand(tasks, -1, -1)  # the matrix answers by itself
    weight, scores = torch.zeros(read.shape[2], width), np.full((tasks, 2), np.nan)
    for k in range(tasks):
        wrong = answers[k].mT - read[k] @ weight @ x[k].mT  # (m, P)
        change = torch.linalg.solve(read[k] @ read[k].mT, wrong) @ torch.linalg.inv(x[k] @ x[k].mT)
        weight += read[k].mT @ change @ x[k]  # the least change that answers all of it
        if k % max(1, tasks // 32) == 0:
            seen = read[: k + 1].flatten(0, 1) @ weight if deep else weight  # (K m, n) or (m, n)
            seen = seen.reshape(-1, outputs, width)
            every = x[: k + 1] @ seen.mT  # (K, P, m): what each context answers
            told = (every.sign() == answers[: k + 1]).float().mean()
            scores[k] = float(told), inferred(every, answers[: k + 1])
    return scores


def inferred(every: Tensor, answers: Tensor) -> float:
    """Success on the last two inputs in the context that explains the first two best, the task being unknown."""
    errors = torch.cdist(answers[:, :2].flatten(1), every[:, :2].flatten(1))  # (task, context)
    best = every[errors.argmin(1), 2:].sign()
    return float((best == answers[:, 2:]).float().mean())


def capacity(scores: np.ndarray) -> float:
    """K95: the most tasks after which all so far are answered at 95 %; the largest tried is the ceiling.

    Looked at after every thirty-second of the tasks tried, so rounded down: by 4 of some 53 at width 512.
    """
    enough = np.flatnonzero(scores >= ENOUGH)
    return float(enough[-1] + 1) if enough.size else 0.0


def row(width: int, outputs: int, deep: bool, seeds: range) -> tuple[list[str], np.ndarray]:
    """A line of the table, and the tasks held with the context told, (seeds,)."""
    runs = [learn(width, outputs, seed, deep=deep) for seed in seeds]
    plain = np.array([capacity(learn(width, outputs, seed, False, deep)[:, 0]) for seed in seeds])
    told, guessed = (np.array([capacity(run[:, column]) for run in runs]) for column in (0, 1))
    parameters, bits = width * (width if deep else outputs), told * INPUTS * outputs
    name = f"{width}, under a fixed read-out" if deep else str(width)
    cells = [name, str(outputs), f"{parameters:,}", cell(told, 1), cell(guessed, 1), cell(plain, 1)]
    return [*cells, f"{bits.mean():,.0f}"], told


def run(seeds: range = SEEDS) -> Report:
    table = [
        ["width n", "outputs m", "parameters", "K95, context told", "K95, inferred", "K95, no context", "bits held"]
    ]
    found: dict[tuple[int, int, bool], np.ndarray] = {}
    shapes = [(n, 8, False) for n in WIDTHS] + [(128, m, False) for m in OUTPUTS if m != 8]
    for width, outputs, deep in [*shapes, *((n, 8, True) for n in DEEP)]:
        cells, found[width, outputs, deep] = row(width, outputs, deep, seeds)
        table.append(cells)
    logs, deeper = (np.log([found[n, 8, d] for n in w]) for d, w in ((False, WIDTHS), (True, DEEP)))  # (widths, seeds)
    slope, steep = np.polyfit(np.log(WIDTHS), logs, 1)[0], np.polyfit(np.log(DEEP), deeper, 1)[0]  # (seeds,)
    figure = canvas("width n", "tasks held, K95")
    axes = figure.axes[0]
    axes.loglog(WIDTHS, np.exp(logs).mean(1), "o-", base=2, label=f"one layer: to the power {slope.mean():.2f}")
    axes.loglog(DEEP, np.exp(deeper).mean(1), "o-", base=2, label=f"under a read-out: {steep.mean():.2f}")
    axes.legend()
    once, often = (np.array([replay(256, 8, 50, seed, steps) for seed in seeds]) for steps in (1, 100))
    return Report(
        "Contexts that are generated, not stored, let one matrix hold many contradicting tasks; their number grows in "
        "proportion to the width.",
        "the number of tasks held at 95 % grows slower than the width to the power 0.8. Margin: the exponent - 0.8.",
        slope - 0.8,
        table,
        figure,
        f"At width 256, {found[256, 8, False].mean():.0f} tasks of {INPUTS} inputs are held by one layer: more outputs "
        "are more parameters and more bits, but no more tasks. A trained layer of n x n weights under a fixed random "
        "read-out that is seen through the context too, all of it linear, makes a change in one task orthogonal to "
        "another "
        f"in two ways at once: {found[256, 8, True].mean():.0f} tasks at width 256, growing to the power "
        f"{cell(steep)}. A table of the answers would need one bit for each bit held, and the layer spends 32 on each "
        "parameter. Counts are looked at 32 times and rounded down, the largest widths by some hundredths, so the "
        "power is rather more than told. "
        "Uniform replay, 50 tasks in a ReLU network that is given the input and the code of the task, "
        f"half of the same bits its buffer: {cell(once)} of the answers right at about the same FLOPs, {cell(often)} "
        "at a hundred times as many.",
    )


if __name__ == "__main__":
    print(page("contexts", run()))
