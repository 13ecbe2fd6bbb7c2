"""Claim d: on a stream of mazes the agent finds out by itself which of its maps it is in.

Six mazes of 21 x 21 that look alike, three visits of four trials to each, without labels or signs of a change. Counted
is the first trial of each revisit: steps / optimum. `python benchmarks/claims/mazes.py`
"""

from __future__ import annotations

from typing import Any

import numpy as np
from laboratory import Report, canvas, cell, page

import agents
import envs

SEED, LIVES = 100, 40
MAZES, TRIALS, VISITS = 6, 4, 3
GOOD, ENOUGH = 3.0, 0.9  # a revisit is good under three times the optimum; so many must be
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "oracle: the maze is told": ("lifetime-table", {"contexts": "oracle"}),
    "inferred": ("lifetime-table", {}),
    "inferred, in the matrix": ("lifetime", {}),
    "inferred, without the gate": ("lifetime-table", {"gated": False}),
    "inferred, contradictions ignored": ("lifetime-table", {"contradict": 0.0}),
    "told: a boundary empties the map": ("lifetime-table", {"contexts": "told"}),
    "none: one map for all": ("lifetime-table", {"contexts": "none"}),
}


def live(agent_name: str, settings: dict[str, Any], lives: int = LIVES, seed: int = SEED) -> np.ndarray:
    """Steps / optimum of the first trial of each revisit, (lives, revisits)."""
    world = envs.make(f"Atlas-K{MAZES}-v0", lives, trials=TRIALS, visits=VISITS)
    agent, state = agents.make(agent_name, world, **settings), None
    ratios: list[list[float]] = [[] for _ in range(lives)]
    obs, trials = world.reset(seed), np.zeros(lives, np.int64)
    while (trials < MAZES * TRIALS * VISITS).any():
        actions, state = agent.predict(obs, state)
        obs, trace = world.step(actions).obs, world.trace()
        for b in np.flatnonzero(trace["over"]):
            if trials[b] % TRIALS == 0 and MAZES * TRIALS <= trials[b] < MAZES * TRIALS * VISITS:
                ratios[b].append(trace["steps"][b] / trace["optimum"][b])
            trials[b] += 1
    return np.array(ratios)


def run(lives: int = LIVES) -> Report:
    table = [["context", "revisits under 3 times the optimum", "steps / optimum, mean", "median"]]
    good, figure = {}, canvas("steps / optimum in the first trial of a revisit", "share of revisits")
    axes = figure.axes[0]
    for name, (agent, settings) in WAYS.items():
        ratios = live(agent, settings, lives)
        good[name] = (ratios < GOOD).mean(1)
        table.append([name, cell(good[name]), cell(ratios.mean(1), 1), f"{np.median(ratios):.1f}"])
        line = "--" if name in ("inferred, in the matrix", "none: one map for all") else "-"  # they lie on others
        axes.step(np.sort(ratios, None), np.linspace(0, 1, ratios.size), line, label=name.split(":")[0])
    axes.set(xscale="log")
    axes.legend(fontsize=7)
    return Report(
        "Which of its maps it is in is inferred from what is seen: on revisits no label and no sign of a change is "
        "needed.",
        "fewer than 90 % of the first trials of revisits stay under three times the optimum. Margin: their share with "
        "inferred context - 0.9.",
        good["inferred"] - ENOUGH,
        table,
        figure,
        "Forty lives, the lifetime agent. The map is a table but where the matrix is named, so that what is measured "
        "is the choice of the map and not what is stored. The gate: a map that is contradicted is left as it was; "
        "without it what is in view is written over it before another is chosen.",
        over="lives",
    )


if __name__ == "__main__":
    print(page("mazes", run()))
