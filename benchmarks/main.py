"""The main job, `make run`: a small superposed memory against recurrent cores of 1x and 16x its parameters.

All train on RecallMix at ONE budget of floating point operations, then walk corridors with 8 to 128 signposts that
they never saw. One table: what each is, what it cost, what it scored; then the superposed agent again, not retrained,
with its memory's dimension lowered and raised.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments import cli, compare, grid
from experiments.aggregate import aggregate
from experiments.budget import human
from experiments.compare import Settings
from experiments.config import RunConfig, resolve
from experiments.stats import aggregate_mean, interval_estimate

ENV = "RecallMix-N64-D16-v0"
AGENTS = (("superposed", None), ("gru", 1.0), ("lstm", 1.0), ("gru", 16.0), ("lstm", 16.0))
LADDER = (8, 16, 32, 64, 128)
BUDGET = "flops=4e11"
DIMS = (64, 256, 1024, 4096)


def plan(budget: str, seeds: list[int], logdir: str) -> list[RunConfig]:
    """One run for each agent and seed."""
    return [
        resolve(RunConfig(agent=agent, env=ENV, scale=scale, seed=seed, budget=budget, logdir=logdir))
        for agent, scale in AGENTS
        for seed in seeds
    ]


def line(folders: list[Path], label: str, settings: Settings, hp: dict[str, int]) -> str:
    """One agent as one line of the table: cost, then success by number of signposts with its interval."""
    cells: list[str] = []
    for n in LADDER:
        entries = [compare.play(folder, f"Recall-N{n}-D16-v0", settings, hp) for folder in folders]
        # Episodes resampled within each seed: with few seeds an interval over seeds would mean nothing.
        value, low, high = interval_estimate(np.stack([e.episodes.success for e in entries], 1), aggregate_mean)
        cells.append(f"{value:.2f} [{low:.2f} {high:.2f}]")
    row = entries[0].row
    cost = [human(row[name]) for name in ("trained_parameters", "state_bytes", "flops_per_step", "steps")]
    seconds = float(np.mean([entry.row["seconds"] for entry in entries]))
    return f"| {label:17} | {' | '.join(f'{c:>6}' for c in cost)} | {seconds:4.0f} | {' | '.join(cells)} |"


def table(jobs: list[RunConfig], settings: Settings) -> Iterator[str]:
    """The table, a line at a time."""
    sizes = [f"n = {n}".ljust(16) for n in LADDER]
    yield f"| {'agent':17} | params | memory | FLOPs  | steps  | sec  | {' | '.join(sizes)} |"
    yield f"|{'-' * 19}|{'|'.join(['--------'] * 4)}|------|{'|'.join(['-' * 18] * len(LADDER))}|"
    for bound, value in (("chance", "0.50"), ("oracle", "1.00")):
        nothing = " | ".join([" " * 6] * 4 + [" " * 4])
        yield f"| {bound:17} | {nothing} | {' | '.join([value.ljust(16)] * len(LADDER))} |"
    for label in dict.fromkeys(job.label for job in jobs):
        yield line([job.folder for job in jobs if job.label == label], label, settings, {})
    best = [job.folder for job in jobs if job.agent == "superposed"]
    for dim in DIMS:
        yield line(best, f"superposed D={dim}", settings, {"dim": dim})


def main(argv: list[str]) -> int:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default=BUDGET, help="of each run (default: %(default)s)")
    parser.add_argument("--seed", type=int, nargs="+", default=[100], help="seeds of each agent (default: 100)")
    parser.add_argument("--logdir", default="runs/main", help="folder of the runs (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=cli.cores(), help="processes (default: one per core)")
    parser.add_argument("--episodes", type=int, default=128, help="per seed and size (default: %(default)s)")
    args = parser.parse_args(argv)

    began = time.perf_counter()
    jobs = plan(args.budget, args.seed, args.logdir)
    print(f"Training {len(jobs)} agents on {ENV}, {args.budget} each, {args.workers} at a time.", flush=True)
    outcomes = grid.run_jobs(jobs, args.workers, force=True, progress=sys.stderr.isatty())
    if grid.exit_code(outcomes):
        print(grid.failures(outcomes))
        return grid.exit_code(outcomes)
    for folder in sorted({job.folder.parent for job in jobs}):
        aggregate(folder)
    print(f"\nSuccess by number of signposts n, mean of {args.episodes} episodes a seed, 95 % bootstrap interval; "
          "memory in bytes,\nFLOPs per acting step, sec = seconds of training:\n", flush=True)  # fmt: skip
    for text in table(jobs, Settings(episodes=args.episodes, seed=10_000)):
        print(text, flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s in all. Curves: tensorboard --logdir {args.logdir}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.guard(main))
