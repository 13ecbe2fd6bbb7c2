"""Claim i: what lies in superposition can be read by linear probes, and moved from one life into another.

Agents are trained on recall and in T-mazes. Between the cues and the answers the matrix of a life with all cues
reversed takes the place of their own; the controller stays. In a MiniGrid room probes are fitted to what an agent holds
when the cue is out of view. `python benchmarks/claims/explained.py`
"""

from __future__ import annotations

from typing import Any

import memory
import numpy as np
import torch
from laboratory import SEEDS, Report, canvas, cell, page
from lives import LABELS, ROOM, Lives, per_seed, recall, stroll, tmaze, trained
from torch import Tensor

WORLDS = {"recall, 32 pairs": ("RecallMix-N32-D16-v0", recall), "T-maze, 4 cues": ("NoisyTMaze-M4-Max100-v0", tmaze)}
GRAFTS = ("nothing", "the matrix", "the controller", "both", "the matrix of the same cues")
SOURCES = ("view", "controller", "read", "matrix")
FOLLOW, RIDGE, DIMS, ENOUGH = 0.9, 10.0, (64, 256), (0.95, 0.75)


@torch.inference_mode()
def graft(model: Any, lives: Lives) -> np.ndarray:
    """Share of the answers that the reversed cues ask for, and that the own cues ask for, (GRAFTS, 2)."""
    unroll, batch = model.policy.unroll, lives.own.shape[1]
    empty, starts = model.policy.core.initial_state(batch), torch.zeros(len(lives.own), batch, dtype=torch.bool)
    own, other, same = (unroll({"": life}, empty, starts).state for life in lives[:3])
    shares, starts = [], torch.zeros(len(lives.junctions), batch, dtype=torch.bool)
    for state in (own, own._replace(m=other.m), own._replace(z=other.z), other, own._replace(m=same.m)):
        acts = unroll({"": lives.junctions}, state, starts).dist.sample(None)[..., 0]
        shares.append([float((acts == answer).float().mean()) for answer in (lives.wrong, lives.right)])
    return np.array(shares)


def probe(x: Tensor, y: Tensor, train: Tensor, rng: torch.Generator) -> list[float]:
    """Share of labels (N,) that ridge regression on x (N, F) gets right where it was not fitted; the same, shuffled."""
    x = torch.nn.functional.pad((x - x[train].mean(0)) / (x[train].std(0) + 1e-3), (0, 1), value=1.0)
    shares = []
    for fit in (y[train], y[train][torch.randperm(int(train.sum()), generator=rng)]):
        targets = torch.nn.functional.one_hot(fit, int(y.max()) + 1).float()
        weights = torch.linalg.solve(x[train].mT @ x[train] + RIDGE * torch.eye(x.shape[1]), x[train].mT @ targets)
        shares.append(float(((x[~train] @ weights).argmax(-1) == y[~train]).float().mean()))
    return shares


def probes(model: Any, seed: int) -> np.ndarray:
    """Shares of `probe`, (LABELS, SOURCES, 2); fitted in one half of the environments, measured in the other."""
    sources, labels = stroll(model, seed)
    train, rng = labels[:, -1] % 2 == 0, torch.Generator().manual_seed(seed)
    return np.array([[probe(x, labels[:, k], train, rng) for x in sources] for k in range(len(LABELS))])


def one(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The grafts (WORLDS, GRAFTS, 2) and the probes of one seed's agents, in lives that they were not trained on."""
    grafts = [graft(trained(env, seed), lives(10_000 + seed)) for env, lives in WORLDS.values()]
    return np.array(grafts), probes(trained(ROOM, seed), 10_000 + seed)


def capacity(dim: int, seeds: range, enough: float) -> np.ndarray:
    """Pairs per dimension, (seeds,): the most of 16 random bits that a matrix answers at `enough` of the bits."""
    best = np.zeros(len(seeds))
    for pairs in range(dim // 16, 2 * dim, dim // 16):
        keys, queries, values = memory.draw(pairs, 0.0, seeds)
        held = memory.right(memory.matrix(keys, queries, values, dim, 1.0), values)
        best = np.where(held >= enough, pairs / dim, best)
    return best


def run(seeds: range = SEEDS) -> Report:
    grafts, found = (np.stack(part) for part in zip(*per_seed(one, seeds), strict=True))
    table = [["test", "of", "share", "control"]]
    for w, world in enumerate(WORLDS):
        for g, name in enumerate(GRAFTS):
            table.append([world, f"graft {name}", *(cell(grafts[:, w, g, k]) for k in (0, 1))])
    for k, label in enumerate(LABELS):
        for s, source in enumerate(SOURCES):
            table.append([f"room, probe for the {label}", source, *(cell(found[:, k, s, c]) for c in (0, 1))])
    figure = canvas("", "share of labels right, in the room")
    axes, spots = figure.axes[0], np.arange(len(LABELS))
    for s, source in enumerate(SOURCES):
        axes.bar(spots + 0.2 * s, found[:, :, s, 0].mean(0), 0.18, label=source)
        axes.plot(spots + 0.2 * s, found[:, :, s, 1].mean(0), "k_", label="shuffled labels" if not s else None)
    axes.set(xticks=spots + 0.3, xticklabels=LABELS, ylim=(0, 1.25))
    axes.legend(ncols=3, fontsize=8)
    with torch.no_grad():
        held = [
            f"at D = {dim} a matrix answers "
            + ", ".join(f"{capacity(dim, seeds, e).mean():.2f} random pairs a dimension at {e:.0%}" for e in ENOUGH)
            + " of the bits"
            for dim in DIMS
        ]
    return Report(
        "What an agent holds in superposition can be explained: it is read by linear probes, and what is moved into "
        "another life is what that life then acts on.",
        f"of the decisions after a transplant, less than {FOLLOW:.0%} follow the cues of the life that the matrix came "
        "from, in either of two worlds. Margin: seed by seed, the smaller of the two shares - 0.9.",
        grafts[:, :, 1, 0].min(1) - FOLLOW,
        table,
        figure,
        "Grafts: the share of answers by the reversed cues of the other life; the control is those by the own cues. "
        "Probes: ridge regression on what the agent has when it acts, after the cue was seen and while it is out of "
        "view; the matrix is read at 16 keys that the agent itself once asked for; the control is the same with "
        f"shuffled labels. That is 256 numbers, and the controller has 16. The cue "
        f"is read from the matrix at {cell(found[:, 2, 3, 0])} and from the controller at "
        f"{cell(found[:, 2, 1, 0])}, the place from the matrix at {cell(found[:, 0, 3, 0])} and from the controller at "
        f"{cell(found[:, 0, 1, 0])}. Features per dimension: {'; '.join(held)}.",
    )


if __name__ == "__main__":
    print(page("explained", run()))
