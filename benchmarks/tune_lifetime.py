"""Tune the few numbers of context inference by CMA-ES on streams of mazes; report on other seeds than these.

    pip install 'cma>=4'      (the extra `tune` has it)
    python benchmarks/tune_lifetime.py [--generations 10] [--mazes 6] [--lives 4]

The numbers are `agree`, `contradict`, `reluctance`, `sticky` and `optimism` of `lifetime-table`, in log scale around
their defaults; the loss is the mean of log(steps / optimum) in the first trial of a revisit. Seeds 0-9 only.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import agents
import envs
from agents.life import LifetimeTableConfig

NAMES = ("agree", "contradict", "reluctance", "sticky", "optimism")
START = np.array([LifetimeTableConfig.agree, LifetimeTableConfig.contradict, LifetimeTableConfig.reluctance,
                  LifetimeTableConfig.sticky, 3.0])  # fmt: skip


def loss(numbers: np.ndarray, mazes: int, lives: int, seed: int) -> float:
    """Mean log of steps / optimum in first trials of revisits; a failed trial counts by the steps it took."""
    world = envs.make(f"Atlas-K{mazes}-v0", lives, trials=5, visits=3)
    agent = agents.make("lifetime-table", world, **dict(zip(NAMES, numbers.tolist(), strict=True)))
    obs, state, starts = world.reset(seed), None, np.ones(lives, np.bool_)
    going, costs = np.ones(lives, np.bool_), list[float]()
    while going.any():
        actions, state = agent.predict(obs, state, starts)
        out = world.step(actions)
        obs, starts, told = out.obs, out.terminated | out.truncated, world.trace()
        first = going & told["over"] & (told["visit"] > 0) & (told["trial"] == 0)
        costs += np.log(told["steps"][first] / told["optimum"][first]).tolist()
        going &= ~starts
    return float(np.mean(costs))


def main() -> int:
    """Tune and print the best numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("generations", 10), ("mazes", 6), ("lives", 4)):
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    args = parser.parse_args()
    import cma

    search = cma.CMAEvolutionStrategy(np.zeros(len(NAMES)), 0.5, {"seed": 1, "verbose": -9})
    for generation in range(args.generations):
        asked = search.ask()
        told = [loss(START * np.exp(x), args.mazes, args.lives, generation % 10) for x in asked]
        search.tell(asked, told)
        best = START * np.exp(search.result.xfavorite)
        shown = ", ".join(f"{name} {value:.2f}" for name, value in zip(NAMES, best, strict=True))
        print(f"generation {generation + 1}: loss {min(told):.3f} of {shown}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
