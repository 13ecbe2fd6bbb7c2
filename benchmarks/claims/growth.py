"""Claim h: a model that grows in size wastes FLOPs, and one that grows in dimension does not.

A GRU that is doubled on plateaus (Net2Net) and a superposed memory whose D is raised, each against its own fixed sizes,
all at the same counted FLOPs on recall. Tuned by area on seeds 0-3: the plateau, 16 iterations of 4, 8 and 16; the
stages of D, 64 and 128 of (32, 128), (32, 64, 128) and (64, 128). `python benchmarks/claims/growth.py`
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from laboratory import SEEDS, Report, canvas, cell, page
from lives import per_seed

import agents
from experiments.budget import Meter, human

WORLD, FLOPS, BINS, END = "RecallMix-N16-D4-v0", 40e9, 40, 4
KEPT: dict[str, Any] = {"controller_dropout": 0.0}  # nothing but the task disturbs the training
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"gru, {n} units": ("gru", {"hidden": n}) for n in (16, 32, 64)},
    "gru, growing from 16": ("gru-growing", {"hidden": 16, "widest": 64, "plateau": 16}),
    **{f"superposed, D = {n}": ("superposed", {"dim": n} | KEPT) for n in (32, 64, 128)},
    "superposed, D growing from 64": ("superposed", {"dim": 64, "grow": (128,)} | KEPT),
}


class Run(NamedTuple):
    """What came of a budget of FLOPs."""

    curve: np.ndarray  # (BINS,), return per junction, -1 to 1, of the episodes that ended in each share of the FLOPs
    parts: list[list[float]]  # environment steps and FLOPs per training step of every size, in order


@cache
def cost(agent: str, size: int) -> float:
    """FLOPs per environment step of training, acting included, at a width of the GRU or a D of the memory."""
    settings = {"dim": size} if agent == "superposed" else {"hidden": size}
    with torch.inference_mode(False), torch.enable_grad():  # it is asked for in the middle of acting
        return float(agents.make(agent, WORLD, **settings).stats()["flops_per_training_step"])


def train(name: str, seed: int) -> Run:
    """Train one of RUNS until the FLOPs are used up; the learning rate and D follow the share that is used."""
    agent, settings = RUNS[name]
    model, meter, ended = agents.make(agent, WORLD, seed=seed, **settings), Meter(), []

    def count(found: dict[str, Any], _: Any) -> bool:
        core = model.policy.core
        meter.charge(model.num_timesteps, cost(agent.removesuffix("-growing"), getattr(core, "dim", core.output_width)))
        ended.extend((meter.flops, 2 * success - 1) for _, _, success in found["ended_episodes"])
        return meter.flops < FLOPS

    model.progress = lambda: meter.flops / FLOPS
    model.learn(int(2 * FLOPS / cost("gru", 16)), count, log_interval=0)  # `count` ends it
    flops, returns = np.array(ended).T
    bins = np.minimum(flops / FLOPS * BINS, BINS - 1).astype(int)
    return Run(np.bincount(bins, returns, BINS) / np.maximum(np.bincount(bins, minlength=BINS), 1), meter.parts)


def one(seed: int) -> list[Run]:
    """All RUNS of one seed."""
    return [train(name, seed) for name in RUNS]


def lost(areas: np.ndarray) -> np.ndarray:
    """Share of the area that growing loses to the best fixed size: areas (seeds, 4), growing last -> (seeds,)."""
    best = areas[:, :-1].mean(0).argmax()
    return 1 - areas[:, -1] / areas[:, best]


def run(seeds: range = SEEDS) -> Report:
    runs = per_seed(one, seeds)
    curves = np.array([[each.curve for each in row] for row in runs])  # (seeds, RUNS, BINS)
    areas, ends = curves.mean(2), curves[:, :, -END:].mean(2)
    table = [["agent", "FLOPs per step, first to last", "steps", "area", "return at the end"]]
    figure = canvas("share of the FLOPs", "return per junction")
    figure.set_figwidth(8)
    axes = figure.axes[0]
    for k, name in enumerate(RUNS):
        parts = [row[k].parts for row in runs]
        prices = " to ".join(dict.fromkeys(human(np.mean([part[i][1] for part in parts])) for i in (0, -1)))
        steps = human(np.mean([sum(stage[0] for stage in part) for part in parts]))
        table.append([name, prices, steps, cell(areas[:, k], 3), cell(ends[:, k])])
        axes.plot((np.arange(BINS) + 0.5) / BINS, curves[:, k].mean(0), "--" if "growing" in name else "-", label=name)
    figure.legend(loc="outside right upper", fontsize=7)  # beside the curves, which end where it would be
    size, dimension = lost(areas[:, :4]), lost(areas[:, 4:])
    large = [cell(areas[:, k + 1] - areas[:, k], 3) for k in (2, 6)]
    return Report(
        "Models that change their size are inefficient; growing in dimension instead is not.",
        "a GRU that grows in size loses no area under the curve of return against FLOPs to the best of its fixed "
        "sizes, or loses no larger share of it than a superposed memory that grows in D loses to the best of its own. "
        "Margin: seed by seed, the share lost by growing in size, minus that lost by growing in D where this is above "
        "0.",
        np.minimum(size, size - dimension),
        table,
        figure,
        f"Lost by growing in size: {cell(size, 3)}; by growing in D: {cell(dimension, 3)}; below 0 is a gain. By a "
        "hair: a wider GRU is no better here within the budget, so that growing could only cost, and with the plateau "
        "that served it best it is doubled once and late. Against beginning with the largest, growing pays, in size "
        f"even more than in D: it changes the area by {large[0]} in size and by {large[1]} in D. Area: mean return "
        f"per junction (chance 0, oracle 1) over {human(FLOPS)} FLOPs on {WORLD}; at the end: over the "
        "last tenth of them.",
    )


if __name__ == "__main__":
    print(page("growth", run()))
