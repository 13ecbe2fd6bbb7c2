"""The best searcher of the dark room against the bound on all searchers: `python benchmarks/keydoor_bound.py`.

Doors in the first steps of a layout. The searcher plays fresh layouts; the mean is corrected by the doors that full
information opens in them, whose expectation is known exactly (a control variate).
"""

from __future__ import annotations

import argparse

import numpy as np

import agents
from agents.keydoor_searcher import search_bound
from envs.keydoor import KeyDoor
from envs.keydoor_oracle import doors_per_step


def searcher(size: int, steps: int, lives: int, seed: int) -> tuple[float, float]:
    """Play; return the mean doors in `steps` and its standard error."""
    world = KeyDoor(lives, size, life=steps + 1)
    agent, state, starts = agents.make("searcher", world), None, np.zeros(lives, np.bool_)
    obs, doors = world.reset(seed), np.zeros(lives)
    for _ in range(steps):
        actions, state = agent.predict(obs, state, starts)
        obs = world.step(actions).obs
        doors += world.trace()["door"]
    rate = steps / world.trace()["optimum"]
    slope = np.cov(doors, rate)[0, 1] / rate.var()
    corrected = doors - slope * (rate - steps * doors_per_step(size))
    return float(corrected.mean()), float(corrected.std() / np.sqrt(lives))


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--steps", type=int, nargs="+", default=[500, 4_000])
    parser.add_argument("--lives", type=int, default=1_024)
    parser.add_argument("--seed", type=int, default=100)
    args = parser.parse_args()
    print("| size | steps | searcher | standard error | bound | full information |")
    print("|---:|---:|---:|---:|---:|---:|")
    for size in args.size:
        for steps in args.steps:
            mean, error = searcher(size, steps, args.lives, args.seed)
            bound, best = search_bound(size, steps), steps * doors_per_step(size)
            print(f"| {size} | {steps:,} | {mean:.1f} | {error:.2f} | {bound:.1f} | {best:.1f} |", flush=True)


if __name__ == "__main__":
    main()
