"""The tables of the lifetime agent: what it does in one life, beside walks, searchers, tables and the optimum.

    python benchmarks/lifetime.py [labyrinth keydoor routes atlas capacity cost] [--lives 100] [--seed 100]

Every table but `cost` is a call of evaluate.py, printed before it is made. Seeds from 100 on were never used to tune.
`capacity` looks for the smallest matrix and table that do. `cost` is what a decision costs, early and late in a life.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time

import numpy as np

import agents
import envs
import evaluate

TABLES: dict[str, tuple[list[str], ...]] = {
    "labyrinth": (
        ["--agent", "lifetime", "lifetime-table", "endotaxis", "successor", "--env", "Labyrinth-Bout-v0",
         "Labyrinth-Local-Bout-v0", "Labyrinth-Drift-Bout-v0", "Labyrinth-Noisy-Bout-v0"],
    ),
    "keydoor": (
        ["--agent", "lifetime", "lifetime-table", "searcher", "endotaxis", "successor", "--env",
         "DarkKeyDoor-8-Relayout500-v0"],
        ["--agent", "lifetime-table", "searcher", "--env", "DarkKeyDoor-16-Relayout500-v0",
         "DarkKeyDoor-32-Relayout500-v0"],
    ),
    "routes": (
        ["--agent", "lifetime", "lifetime-table", "tremaux", "greedy-map", "--env", "BraidedMaze-21-v0",
         "BraidedMaze-51-v0", "--env-kwargs", "pose=true"],
        ["--agent", "lifetime-table", "tremaux", "greedy-map", "--env", "BraidedMaze-101-v0",
         "--env-kwargs", "pose=true"],
        ["--agent", "endotaxis", "successor", "--env", "BraidedMaze-21-v0", "--env-kwargs", "pose=true"],
        ["--agent", "lifetime-table", "known-map", "greedy-map", "tremaux", "--env", "BraidedMaze-21-v0",
         "BraidedMaze-51-v0", "--env-kwargs", "pose=true", "trials=1"],
        ["--agent", "lifetime-table", "greedy-map", "tremaux", "--env", "BraidedMaze-101-v0",
         "--env-kwargs", "pose=true", "trials=1"],
    ),
    "atlas": (
        ["--agent", "lifetime", "--env", "Atlas-K20-v0"],
        ["--agent", "lifetime-table", "--env", "Atlas-K20-v0", "--hp.contexts", "inferred", "oracle", "none", "told"],
    ),
    "capacity": (
        ["--agent", "lifetime", "--env", "Labyrinth-Bout-v0", "--hp.dim", "128", "256", "384", "512", "1024"],
        ["--agent", "lifetime-table", "--env", "Labyrinth-Bout-v0", "--hp.bytes", "960", "1920", "2560", "3840"],
    ),
}  # fmt: skip


def cost(steps: int, lives: int) -> None:
    """Print what a decision costs in the labyrinth, after 1,000 steps and after `steps`, in CPU time of one core."""
    print("| agent | after steps | ms a decision | MFLOP | KiB of state |\n|---|---|---|---|---|")
    for name in ("lifetime", "lifetime-table"):
        world = envs.make("Labyrinth-Bout-v0", lives, life=steps + 1)
        agent, state = agents.make(name, world), None
        obs, starts = world.reset(100), np.ones(lives, np.bool_)
        spent = np.empty(steps)
        for t in range(steps):
            began = time.process_time()
            actions, state = agent.predict(obs, state, starts)
            spent[t] = time.process_time() - began
            obs, starts = world.step(actions).obs, np.zeros(lives, np.bool_)
        for at in (1_000, steps):
            milliseconds = 1e3 * np.median(spent[max(at - 500, 0) : at]) / lives
            stats = agent.stats()
            flops, kib = stats["flops_per_step"] / 1e6, stats["state_bytes"] / 1024
            print(f"| {name} | {at:,} | {milliseconds:.3f} | {flops:.2f} | {kib:.0f} |")


def main() -> int:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=[*TABLES, "cost"], help="default: all")
    parser.add_argument("--lives", type=int, default=20, help="of each row; default: %(default)s")
    parser.add_argument("--seed", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=10_000, help="of the life for cost; default: %(default)s")
    args = parser.parse_args()
    for name in args.tables:
        if name not in (*TABLES, "cost"):
            parser.error(f"unknown table {name!r}: choose from {', '.join((*TABLES, 'cost'))}")
    for name in args.tables:
        print(f"\n## {name}\n", flush=True)
        if name == "cost":
            cost(args.steps, args.lives)
            continue
        for flags in TABLES[name]:
            argv = [*flags, "--lives", str(args.lives), "--seed", str(args.seed)]
            print(f"`python evaluate.py {shlex.join(argv)}`\n", flush=True)
            evaluate.main(argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
