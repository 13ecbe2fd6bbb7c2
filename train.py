"""Train agents on environments: `python train.py --agent superposed gru --env RecallMix-N32-D16-v0`.

Several agents, environments, seeds or scales make several runs, by worker processes. The same command, given again,
skips what is finished and goes on with the rest. Hyperparameters: --hp.NAME VALUE.
"""

from __future__ import annotations

import sys
from collections.abc import Set
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

import envs
from envs.stream import check
from envs.suites import SUITES
from experiments import aggregate, cli, grid, run
from experiments import config as configs
from experiments import plan as plans
from experiments import stream as streams
from experiments.config import RunConfig
from experiments.logs import say


@dataclass(frozen=True)
class Args:
    """Train agents on environments."""

    agent: Annotated[tuple[str, ...], arg(aliases=["--algo"])] = ("superposed",)
    """Agents, see --list agents."""
    env: Annotated[tuple[str, ...], arg(aliases=["--env-id"])] = ()
    """Environments: ids of this program, MiniGrid's, or any that gymnasium knows; see --list envs."""
    suite: str = ""
    """What a suite trains on, see --list suites."""
    stream: tuple[str, ...] = ()
    """Train one agent through these tasks, ids or a suite, one after the other, without saying where one ends."""
    stream_repeats: int = 1
    """Passes through the stream."""
    stream_fresh: bool = False
    """A fresh network for each task of the stream, as a yardstick."""
    seed: tuple[int, ...] = (0,)
    """Seeds; every run is repeated with each."""
    budget: Annotated[
        str,
        arg(aliases=["-n", "--steps", "--total-timesteps"], help_behavior_hint="(default: the environment's)"),
    ] = ""
    """steps=1e6, flops=2e12 or seconds=600; a bare number means steps."""
    scale: tuple[float, ...] = ()
    """Trained parameters as multiples of the default superposed agent's: 1 4 16 64."""
    num_envs: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: the agent's)")] = None
    """Environments stepped together; short for --hp.num_envs."""
    env_kwargs: tuple[str, ...] = ()
    """Arguments of the environment, as NAME=VALUE."""
    config: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: none)")] = None
    """A TOML file with these flags as keys and a table [hp], or the config.json of a run. Flags win."""
    logdir: Annotated[str, arg(aliases=["--tensorboard-log"])] = "runs"
    """Folder of all runs, and TensorBoard's logdir."""
    name: str = ""
    """Label appended to the agent's folder, to keep variants apart."""
    resume: Annotated[tuple[Path, ...] | None, arg(metavar="[PATH ...]", help_behavior_hint="(default: no)")] = None
    """Continue these run folders; without a folder, continue whatever the other flags describe."""
    force: bool = False
    """Replace existing runs."""
    save_every: int = 0
    """Environment steps between numbered checkpoints; the best and the last are always kept."""
    eval_every: int = 0
    """Environment steps between evaluations during training; 0 for none."""
    eval_episodes: int = 100
    """Episodes of each evaluation."""
    device: str = "cpu"
    """Device of the networks."""
    num_threads: int = 1
    """Threads of each process; one is fastest for networks of this size."""
    workers: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: one per core)")] = None
    """Processes at a time when there are several runs."""
    progress: Annotated[bool, arg(aliases=["-P"], help_behavior_hint="(default: on a terminal)")] = sys.stderr.isatty()
    """Show progress bars."""
    shard: str = ""
    """K/N: only the K-th of N parts of the runs, K from 1, for array jobs."""
    launcher: Literal["local", "ray"] = "local"
    """Where the worker processes run: on this machine, or as tasks on a Ray cluster (extra: cluster)."""
    address: Annotated[str, arg(help_behavior_hint="(default: one that is started here)")] = ""
    """Address of the Ray cluster, `auto` for the one this machine belongs to."""
    dry_run: bool = False
    """Print the runs with their estimated cost, and stop."""


def resumed(folders: tuple[Path, ...], args: Args, hp: dict[str, Any], said: Set[str]) -> list[RunConfig]:
    """Read the runs to go on with, and change what may change. ValueError for a flag that may not.

    `said` are the settings that the command line gives, also where they are the defaults.
    """
    found = [configs.of(folder) for folder in folders]
    may = configs.RESUMABLE - {"logdir", "name"}
    given = {f.name: v for f in fields(args) if (v := getattr(args, f.name)) != f.default or f.name in said}
    fixed = [f"--{name.replace('_', '-')}" for name in given if name in configs.names(RunConfig) and name not in may]
    fixed += [f"--{name}" for name in ("suite", "num-envs") if name.replace("-", "_") in given]
    fixed += [f"--hp.{name}" for name in hp]
    if fixed:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(may))
        raise ValueError(f"{folders[0]} goes on only as it began: leave out {', '.join(fixed)}; {flags} may change.")
    if args.force:
        raise ValueError(f"--resume goes on with {folders[0]}, --force would begin it anew: leave out one of them.")
    changed = {name: value for name, value in given.items() if name in may}
    return [configs.resolve(replace(config, **changed)) for config in found]


def plan(args: Args, hp: dict[str, Any], said: Set[str] = frozenset()) -> list[RunConfig]:
    """Turn the flags into resolved runs: environments x agents x scales x seeds; `said` as in `resumed`.

    ValueError for what is wrong.
    """
    if args.workers is not None and args.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {args.workers}.")
    if args.resume:
        return resumed(args.resume, args, hp, said)
    ids = cli.env_ids(args.env, args.suite, training=True)
    tasks = streams.tasks(",".join(args.stream))
    if tasks and set(ids) - {tasks[0]}:
        raise ValueError("--stream names the environments: leave out --env and --suite.")
    if not (ids := tasks[:1] or ids):
        raise ValueError("no environment: give --env ID or --suite NAME; `python train.py --list envs` shows them.")
    for flag, given in (("agent", args.agent), ("seed", args.seed)):
        if not given:
            raise ValueError(f"--{flag} needs at least one value, or leave it out: python train.py --help.")
    if args.num_envs is not None:
        hp = hp | {"num_envs": args.num_envs}
    for word in ",".join(args.stream).split(","):
        if word.isalpha():  # no id, which has a version
            configs.known(word, SUITES, "suite", "`python train.py --list suites` shows them.")
    for env_id in tasks or ids:
        configs.check_env(env_id, cli.pairs(args.env_kwargs))
    if tasks:
        check({env_id: envs.make(env_id, 1, **cli.pairs(args.env_kwargs)) for env_id in tasks})
    hp_of = cli.split_hp(args.agent, hp)
    shared = {k: getattr(args, k) for k in configs.names(RunConfig) if hasattr(args, k) and k not in cli.SWEPT}
    return [
        configs.resolve(
            RunConfig(
                agent=a,
                env=e,
                scale=x,
                seed=s,
                hp=hp_of[a],
                stream=",".join(args.stream),
                **shared | {"env_kwargs": cli.pairs(args.env_kwargs)},
            )
        )
        for e, a, x, s in product(ids, cli.once(args.agent), cli.once(args.scale) or (None,), cli.once(args.seed))
    ]


def launch(jobs: list[RunConfig], args: Args) -> int:
    """Run several jobs side by side, print how they ended and return the exit code."""
    how = {"resume": args.resume is not None, "force": args.force, "progress": args.progress}
    if args.launcher == "ray":
        from experiments import ray_launcher

        try:
            outcomes = ray_launcher.run_jobs(jobs, args.address or None, **how)
        except ConnectionError as error:
            raise ValueError(f"{error}: give --address that of a cluster that is up, or leave it out.") from error
    else:
        outcomes = grid.run_jobs(jobs, args.workers or cli.cores(), **how)
    print(grid.failures(outcomes) or f"All {len(outcomes)} runs finished. tensorboard --logdir {jobs[0].logdir}")
    return grid.exit_code(outcomes)


def main(argv: list[str]) -> int:
    """Run the command line and return the exit code."""
    args, hp = cli.parse(Args, argv)
    jobs = plans.shard(plan(args, hp, cli.said(Args, argv)), args.shard)
    if args.dry_run:
        print(*map(cli.describe, jobs), plans.table(jobs), sep="\n")
        return 0
    for job in jobs:
        say(cli.describe(job))
    if len(jobs) == 1 and args.launcher == "local" and not args.shard:  # a part of a list is a list
        result = run.train(jobs[0], resume=args.resume is not None, force=args.force, progress=args.progress)
        print(run.summary(result), f"TensorBoard: tensorboard --logdir {jobs[0].logdir}", sep="\n")
        code = result.exit_code
    else:
        code = launch(jobs, args) if jobs else 0
    for folder in sorted({job.folder.parent for job in jobs}):
        aggregate.aggregate(folder)
    return code


if __name__ == "__main__":
    sys.exit(cli.guard(main))
