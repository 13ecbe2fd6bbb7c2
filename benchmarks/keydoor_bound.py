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


def full_information(size: int) -> float:
    """Return the expected doors of a step, E[1 / cycle], by enumeration of all layouts."""
    squares = np.arange(size * size)
    x, y = squares % size, squares // size
    apart = np.maximum(1, np.abs(x[:, None] - x) + np.abs(y[:, None] - y))
    total = 0.0
    for key in squares:  # start and door are independent of each other
        ways = np.bincount(apart[key]) / len(squares)
        cycles = np.convolve(ways, ways)[2:]
        total += (cycles / np.arange(3, 3 + len(cycles))).sum() / len(squares)
    return total


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
    corrected = doors - slope * (rate - steps * full_information(size))
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
            bound, best = search_bound(size, steps), steps * full_information(size)
            print(f"| {size} | {steps:,} | {mean:.1f} | {error:.2f} | {bound:.1f} | {best:.1f} |", flush=True)


if __name__ == "__main__":
    main()
