"""The published tables: train on many seeds, evaluate, print. One entry of EXPERIMENTS is one table.

    python benchmarks/results.py recall horizon rewrite memory     # some, or all without a name
    python benchmarks/results.py memory --seeds 100 101            # fewer seeds

Runs that are finished are not trained again; an interrupted one goes on where it was. Reporting seeds begin at 100:
none of them tuned anything. Every agent has its default settings; only gamma and the budget differ by environment.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from compiled import CompiledActor

from experiments import cli, compare, grid, run, tables
from experiments.aggregate import aggregate
from experiments.compare import Settings
from experiments.config import RunConfig, resolve

SEEDS = tuple(range(100, 110))


class Experiment(NamedTuple):
    """One table: who trains on what, and what is then played."""

    about: str
    env: str
    agents: tuple[tuple[str, float | None, str], ...]  # (name, scale, budget)
    tests: tuple[str, ...]
    episodes: int = 128
    dims: tuple[int, ...] = ()  # the superposed agents again, at these D, not retrained
    compiled: bool = False  # play through `CompiledActor`: for a million steps
    curve: bool = False  # also when training reached 0.95 and how low it fell afterwards


def beside_none(budget: str) -> tuple[tuple[str, float | None, str], ...]:
    """The superposed agent, and the floor: the same without a memory."""
    return ("superposed", None, budget), ("none", None, budget)


EXPERIMENTS = {
    "recall": Experiment(
        "Pairs recalled. Trained at D = 256 on corridors with up to 64 signposts; then D is changed.",
        "RecallMix-N64-D16-v0",
        beside_none("steps=500000"),
        ("Recall-N8-D16-v0", "Recall-N32-D16-v0", "Recall-N64-D16-v0", "Recall-N128-D16-v0"),
        dims=(64, 1024, 4096),
    ),
    "horizon": Experiment(
        "Eight cue bits kept through corridors of distractors. Trained on corridors of at most 50 steps.",
        "NoisyTMaze-M8-Max50-v0",
        beside_none("steps=1000000"),
        ("NoisyTMaze-M8-L50-v0", "NoisyTMaze-M8-L1000-v0"),
    ),
    "horizon-million": Experiment(
        "The same agents, not retrained, in corridors of a million steps.",
        "NoisyTMaze-M8-Max50-v0",
        (("superposed", None, "steps=1000000"),),
        ("NoisyTMaze-M8-L1000000-v0",),
        episodes=8,
        compiled=True,
    ),
    "rewrite": Experiment(
        "Every new cue replaces the last. Trained on chains of ten corridors of at most 50 steps.",
        "EndlessTMaze-Uniform-L50-C10-v0",
        beside_none("steps=600000"),
        ("EndlessTMaze-Uniform-L50-C10-v0", "EndlessTMaze-Uniform-L1000-C10-v0"),
    ),
    "memory": Experiment(
        "MiniGrid-MemoryS13: find the cue, keep it, match it. 2 M steps: a million to learn it, another to keep it.",
        "MiniGrid-MemoryS13-v0",
        (("superposed", None, "steps=2000000"), ("none", None, "steps=500000")),
        ("MiniGrid-MemoryS13-v0",),
        curve=True,
    ),
    "memory-rivals": Experiment(
        "The same for recurrent cores of 16 times the parameters, at the FLOPs that superposed spends on 1 M steps.",
        "MiniGrid-MemoryS13-v0",
        (("gru", 16.0, "flops=1.5e12"), ("lstm", 16.0, "flops=1.5e12")),
        ("MiniGrid-MemoryS13-v0",),
        curve=True,
    ),
    "memory-s17": Experiment(
        "MiniGrid-MemoryS17Random, trained directly.",
        "MiniGrid-MemoryS17Random-v0",
        (("superposed", None, "steps=1500000"), ("none", None, "steps=500000")),
        ("MiniGrid-MemoryS17Random-v0",),
        curve=True,
    ),
}


def plan(experiment: Experiment, seeds: list[int], logdir: str) -> list[RunConfig]:
    """Every run of an experiment."""
    e = experiment
    return [
        resolve(RunConfig(agent=agent, env=e.env, scale=scale, seed=seed, budget=budget, logdir=logdir))
        for agent, scale, budget in e.agents
        for seed in seeds
    ]


def learning(jobs: list[RunConfig]) -> str:
    """When each run's success (mean of 100 training episodes, actions sampled) reached 0.95, and its minimum since."""
    lines = ["| agent | steps to 0.95, by seed | lowest afterwards, by seed |", "|---|---|---|"]
    for label in dict.fromkeys(job.label for job in jobs):
        reached, lowest = [], []
        for job in (job for job in jobs if job.label == label):
            _, lengths, _, right = np.genfromtxt(job.folder / "monitor.csv", delimiter=",", skip_header=2).T
            steps = lengths.cumsum()[99:]  # from the hundredth episode on: a mean of a few is soon at 1
            success = np.convolve(right, np.ones(100), "valid") / 100
            first = int(np.argmax(success >= 0.95)) if (success >= 0.95).any() else None
            reached.append("never" if first is None else f"{steps[first] / 1000:.0f}k")
            lowest.append("-" if first is None else f"{success[first:].min():.2f}")
        lines.append(f"| {label} | {' '.join(reached)} | {' '.join(lowest)} |")
    return "\n".join(lines)


def report(experiment: Experiment, jobs: list[RunConfig], episodes: int | None, workers: int) -> str:
    """Everything that is printed of an experiment; what is played is spread over processes."""
    settings = Settings(episodes=episodes or experiment.episodes, seed=10_000)
    act = CompiledActor if experiment.compiled else None
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        plays = [
            pool.submit(compare.play, job.folder, env, settings, {"dim": dim} if dim else {}, act=act)
            for env in experiment.tests
            for job in jobs
            for dim in (0, *(experiment.dims if job.agent == "superposed" else ()))
        ]
        entries = [play.result() for play in plays]
    parts = [tables.markdown(compare.rows(entries))]
    if experiment.curve:
        parts.append(learning(jobs))
    return "\n\n".join(parts)


def main(argv: list[str]) -> int:
    """Run the experiments that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)} (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="default: %(default)s")
    parser.add_argument("--episodes", type=int, help="per seed and environment, instead of the experiment's")
    parser.add_argument("--logdir", default="runs/results", help="folder of the runs (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=cli.cores(), help="processes (default: one per core)")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.names) - set(EXPERIMENTS))
    if unknown:
        parser.error(f"unknown experiment {unknown[0]!r}; choose from {', '.join(EXPERIMENTS)}")
    for name in args.names or EXPERIMENTS:
        experiment = EXPERIMENTS[name]
        jobs = plan(experiment, args.seeds, args.logdir)
        waiting = [job for job in jobs if not run.done(job)]
        outcomes = grid.run_jobs(waiting, args.workers, resume=True, progress=sys.stderr.isatty()) if waiting else []
        if grid.exit_code(outcomes):
            print(grid.failures(outcomes))
            return grid.exit_code(outcomes)
        for folder in sorted({job.folder.parent for job in jobs}):
            aggregate(folder)
        print(f"\n## {name}\n\n{experiment.about} {len(args.seeds)} seeds.\n")
        print(report(experiment, jobs, args.episodes, args.workers))
        print(f"\n{time.strftime('%Y-%m-%d')}, {platform.machine()}, {cli.cores()} cores", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(cli.guard(main))
