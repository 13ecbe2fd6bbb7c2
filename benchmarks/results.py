"""The published tables, docs/results.md: train on many seeds, evaluate, write. One entry of EXPERIMENTS is one section.

    python benchmarks/results.py recall horizon rewrite memory     # some, or all without a name
    python benchmarks/results.py memory --seeds 100 101            # fewer seeds
    python benchmarks/results.py equal-recall --agents superposed gru --scales 1 16 --seeds 100 101
    python benchmarks/results.py --dry-run                         # what is left to do, in hours

Runs that are finished are not trained again; an interrupted one goes on where it was. A section shows whatever is
finished and says what is not, so the whole may be done in parts. Reporting seeds begin at 100: none of them tuned
anything. Every agent has its default settings, but in `tuned-*` those that were found for it; only gamma and the budget
differ by environment.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shlex
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import results_page
import torch
from compiled import CompiledActor

from experiments import bounds, cli, compare, grid, plan, provenance, run
from experiments import config as configs
from experiments.aggregate import aggregate
from experiments.budget import human, slug
from experiments.compare import Entry, Settings
from experiments.config import RunConfig, resolve

SEEDS = tuple(range(100, 110))
SCALES = (1.0, 4.0, 16.0, 64.0)
CHANGED = {"none": {"frames": 4}, "sb3-ppo": {"n_steps": 256}}
"""Where everyone has one budget. At 64x it does not pay for one of sb3-ppo's own rollouts, of 2,048 steps."""
KEPT = {"controller_dropout": 0.0}
"""Of the superposed agent, in the experiments that it was in without dropped controllers only."""
DETACHED = {"detach_addresses": True}
"""Of `superposed-detached`, which stands beside the superposed agent as it is."""
PAGE = Path(__file__).resolve().parent.parent / "docs" / "results.md"
TUNED = Path(__file__).resolve().parent / "tuned"
"""TUNED/ENV/AGENT.toml, each begins with the `experiments.tuning` command that found it."""
SAMPLED = ", sampled"
"""Behind an environment in which actions are drawn from the policy instead of taking the most likely one."""
FLOPS_PER_SECOND = 5e9
"""Of a run of which none like it is known yet: what small networks make of one core."""


class Contender(NamedTuple):
    """An agent, its size as a multiple of the superposed agent's, its budget, and settings other than its defaults."""

    agent: str
    scale: float | None
    budget: str
    hp: dict[str, Any] = {}  # noqa: RUF012 - never changed
    name: str = ""  # behind the agent's, where it is in the table twice


class Experiment(NamedTuple):
    """One table: who trains on what, and what is then played."""

    about: str
    env: str
    agents: tuple[Contender, ...]
    tests: tuple[str, ...]
    episodes: int = 128
    dims: tuple[int, ...] = ()  # the superposed agents again, at these D, not retrained
    compiled: bool = False  # play through `CompiledActor`: for a million steps
    curve: bool = False  # also when training reached 0.95 and how low it fell afterwards
    score: str = "success"
    ready: tuple[str, ...] = ()  # agents that need no training, in the same worlds
    sampled: bool = False  # played with actions drawn as well: where greedy play may go round in circles
    equal: bool = False  # all at one budget: LOGDIR has a folder for it
    tuned: bool = False  # each with its own settings from TUNED, in one more folder
    why: str = ""  # what is behind the verdicts

    def columns(self) -> list[str]:
        """What is played, and how, as the table calls it."""
        return [env + how for env in self.tests for how in ("", SAMPLED)[: 1 + self.sampled]]


def beside_none(budget: str, none: str = "", ours: dict[str, Any] | None = None) -> tuple[Contender, ...]:
    """The superposed agent, with settings `ours` other than its defaults, and the floor: the same without a memory."""
    return Contender("superposed", None, budget, ours or {}), Contender("none", None, none or budget)


def everyone(budget: str) -> tuple[Contender, ...]:
    """All that train, at one budget: the superposed agent as it is, the others at 1 to 64 times its parameters."""
    sized = (
        Contender(agent, scale, budget, CHANGED.get(agent, {}))
        for agent in ("none", "gru", "lstm", "transformer", "slots", "sb3-ppo", "sb3-dqn", "sb3-recurrent")
        for scale in SCALES
    )
    ours = Contender("superposed", None, budget), Contender("superposed", None, budget, DETACHED, "detached")
    return *ours, *sized, Contender("gru-growing", None, budget)


def equal(about: str, env: str, budget: str, tests: tuple[str, ...], **more: Any) -> Experiment:
    """Everyone on one environment at one budget."""
    return Experiment(about, env, everyone(budget), tests, equal=True, **more)


def tuned(name: str) -> Experiment:
    """An experiment at one budget again, for those whose settings were looked for, each with what was found."""
    equal = EXPERIMENTS[name]
    found = [tomllib.loads(file.read_text()) for file in sorted((TUNED / equal.env).glob("*.toml"))]
    budget = equal.agents[0].budget
    agents = (Contender(one["agent"], one.get("scale"), budget, one["hp"]) for one in found)
    return equal._replace(
        agents=tuple(sorted(agents, key=lambda c: (c.agent != results_page.OURS, c.agent, c.scale))),
        tuned=True,
        why="",
    )


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
        (Contender("superposed", None, "steps=1000000"),),
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
        beside_none("steps=2000000", "steps=500000", KEPT),
        ("MiniGrid-MemoryS13-v0",),
        curve=True,
    ),
    "memory-s17": Experiment(
        "MiniGrid-MemoryS17Random, trained directly.",
        "MiniGrid-MemoryS17Random-v0",
        beside_none("steps=1500000", "steps=500000"),
        ("MiniGrid-MemoryS17Random-v0",),
        curve=True,
    ),
    "equal-recall": equal(
        "Pairs recalled. Trained on corridors with up to 64 signposts.",
        "RecallMix-N64-D16-v0",
        "flops=2e11",
        ("Recall-N8-D16-v0", "Recall-N32-D16-v0", "Recall-N64-D16-v0", "Recall-N128-D16-v0"),
        why="`slots` has 124 places in the bytes of the matrix, and what is kept apart does not disturb each other; "
        "`transformer` has its last 128 steps as they were. The matrix adds up what it is given, so it begins to err "
        "earlier, and goes on where a window ends.",
    ),
    "equal-rewrite": equal(
        "Every new cue replaces the last. Trained on chains of ten corridors of at most 50 steps.",
        "EndlessTMaze-Uniform-L50-C10-v0",
        "flops=4e11",
        ("EndlessTMaze-Uniform-L50-C10-v0", "EndlessTMaze-Fixed-L50-C10-v0", "EndlessTMaze-Fixed-L100-C10-v0"),
        why="A chain asks for one bit at a time, and a recurrent state of 120 bytes holds it at least as well. In "
        "corridors longer than those of the training LSTMs lose it, and GRUs on some seeds, too few to tell apart; "
        "the matrix keeps it, since the controller beside it cannot: what drops of the controller cost is about a "
        "hundredth in corridors of the training. The window of the `transformer`, 128 steps, holds one cue where "
        "corridors are of 100 steps, and several in shorter ones, which it tells apart less well.",
    ),
    "equal-memory": equal(
        "MiniGrid-MemoryS13: find the cue, keep it, match it.",
        "MiniGrid-MemoryS13-v0",
        "flops=1.5e12",
        ("MiniGrid-MemoryS13-v0",),
        curve=True,
        why="What can look back learns it: transformers and slots of the same size and of 4 times are not told apart "
        "from the superposed agent. Three of its ten seeds do not find out in time that the cue has to be looked at; "
        "slots fall again after they have learned it. At 16 and 64 times the size the budget pays for too few steps, "
        "and no recurrent state of any size carried the cue that far, at equal seconds one of eighty runs did.",
    ),
    "equal-horizon": equal(
        "Eight cue bits kept through corridors of distractors. Trained on corridors of at most 50 steps.",
        "NoisyTMaze-M8-Max50-v0",
        "flops=8e11",
        ("NoisyTMaze-M8-L50-v0", "NoisyTMaze-M8-L1000-v0"),
        why="What keeps bits through 1,000 steps is a write gate that is exactly 0 in the corridor. A recurrent state "
        "loses some of them on the way, more than in 50 steps, and the transformer's window of 128 steps ends before "
        "the corridor does.",
    ),
    "equal-keydoor": equal(
        "A hidden key and door, learned inside a life. `lifetime` and the searcher are not trained.",
        "DarkKeyDoor-8-Relayout500-v0",
        "flops=5e11",
        ("DarkKeyDoor-8-Relayout500-v0",),
        score="doors_later",
        ready=("lifetime", "lifetime-table", "searcher"),
        sampled=True,
        why="All that are trained are far behind `lifetime` and the searcher: at this budget nobody learns to search a "
        "room, and to go back, and a network without memory gets as far as any. `lifetime` does, in one life, with the "
        "searcher's round trip given.",
    ),
    "equal-treasure": equal(
        "Things fetched by name.",
        "Treasure-9-v0",
        "flops=5e11",
        ("Treasure-9-v0",),
        score="return",
        sampled=True,
        why="A network without memory fetches as many as a GRU: what is learned at this budget is to search, not where "
        "things lie. The superposed agent is late: the budget pays for fewer of its steps, and while reads are of no "
        "use, what comes back through the memory disturbs what encoder and controller learn. Without that "
        "(`superposed-detached`) it fetches almost twice as many, and on MemoryS13 fewer seeds learn. Greedy play goes "
        "round in circles while a policy is undecided; with actions drawn everyone fetches more.",
    ),
}
EXPERIMENTS["equal-treasure-long"] = EXPERIMENTS["equal-treasure"]._replace(
    agents=everyone("flops=2e12"),
    why="Four times the budget of `equal-treasure`: everyone fetches more, and the order stays. The superposed agent "
    "comes closer to a network without memory, and no further, with `superposed-detached` almost there. A GRU is, in "
    "greedy play, ahead of that network by now: where things lie begins to count, and the matrix does not help with it "
    "yet.",
)
EXPERIMENTS |= {  # the same by the clock: about what `superposed` takes for the FLOPs above, on one quiet core
    name.replace("equal", "timed"): EXPERIMENTS[name]._replace(agents=everyone(budget), why=why)
    for name, budget, why in (
        (
            "equal-recall",
            "seconds=15",
            "What `slots` keeps apart does not disturb each other, here as at equal FLOPs; but it makes fewer steps in "
            "these seconds, and some of its seeds have not learned all of it by then. The sb3 agents make 1 to 22 "
            "thousand steps in them.",
        ),
        (
            "equal-rewrite",
            "seconds=40",
            "A chain asks for one bit at a time, which a recurrent state holds as well, and most seeds of up to 16 "
            "times the size learn it in this time. In corridors twice as long as those of the training LSTMs lose the "
            "bit, and GRUs on some seeds: too few to tell them apart from the superposed agent.",
        ),
        ("equal-memory", "seconds=110", ""),
    )
}
EXPERIMENTS["tuned-recall"] = tuned("equal-recall")


def wanted(experiment: Experiment, names: list[str], scales: list[float]) -> list[Contender]:
    """The contenders of these names and scales; all where none are given. Those without a scale have every scale."""
    return [
        c for c in experiment.agents
        if (not names or c.agent in names) and (not scales or c.scale is None or c.scale in scales)
    ]  # fmt: skip


def jobs_of(experiment: Experiment, contenders: list[Contender], seeds: list[int], logdir: str) -> list[RunConfig]:
    """Every run of these contenders."""
    e, found = experiment, list[RunConfig]()
    for c in contenders:
        folder = str(Path(logdir, "tuned" * e.tuned, slug(c.budget))) if e.equal else logdir
        job = RunConfig(agent=c.agent, env=e.env, scale=c.scale, budget=c.budget, hp=c.hp, name=c.name, logdir=folder)
        job = resolve(job)
        found += [replace(job, seed=seed) for seed in seeds]
    return found


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


def play(experiment: Experiment, jobs: list[RunConfig], episodes: int | None, workers: int) -> list[Entry]:
    """Everything that an experiment plays, spread over processes; floor and ceiling first."""
    greedy = Settings(episodes=episodes or experiment.episodes, seed=10_000)
    ways = {"": greedy} | ({SAMPLED: replace(greedy, deterministic=False)} if experiment.sampled else {})
    act = CompiledActor if experiment.compiled else None
    spawn = multiprocessing.get_context("spawn")
    entries = list[Entry]()
    with ProcessPoolExecutor(workers, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for how, settings in ways.items():
            plays = [
                pool.submit(compare.play, job.folder, env, settings, {"dim": dim} if dim else {}, act=act)
                for job in jobs
                for dim in (0, *(experiment.dims if job.agent == "superposed" else ()))
                for env in experiment.tests
            ]
            plays += [
                pool.submit(compare.play, who, env, settings, {})
                for who in experiment.ready
                for env in experiment.tests
            ]
            marks = [entry for env in experiment.tests for entry in bounds.bounds(env, settings)]
            played = [*marks, *(one.result() for one in plays)]
            entries += [entry._replace(row=entry.row | {"env": entry.row["env"] + how}) for entry in played]
    return entries


def section(name: str, args: argparse.Namespace) -> str:
    """What is known of an experiment by now, as a section of the page; empty if nothing is finished."""
    experiment = EXPERIMENTS[name]
    jobs = jobs_of(experiment, list(experiment.agents), sorted({*SEEDS, *args.seeds}), args.logdir)
    done = [job for job in jobs if run.done(job)]
    if not done:
        return ""
    missing = [label for label in dict.fromkeys(job.label for job in jobs) if label not in {job.label for job in done}]
    words = [name, "--seeds", *map(str, sorted({job.seed for job in done}))]
    if missing:
        words += ["--agents", *dict.fromkeys(job.agent for job in done)]
        sizes = sorted({job.scale for job in done if job.scale})
        words += ["--scales", *(f"{scale:g}" for scale in sizes)] if sizes else []
    words += ["--episodes", str(args.episodes)] if args.episodes else []
    processors = (name for job in done for name in provenance.processors(job.folder))
    rows = compare.rows(play(experiment, done, args.episodes, args.workers))
    same = f" Everyone has the same budget, {experiment.agents[0].budget}." if experiment.equal else ""
    same += f" {results_page.TUNED}" if experiment.tuned else ""
    parts = [
        f"## {name}\n\n{experiment.about}{same}",
        f"`python benchmarks/results.py {shlex.join(words)}`, {results_page.stamp(processors)}",
        results_page.table(rows, experiment.columns(), experiment.score),
        learning(done) if experiment.curve else "",
        results_page.verdicts(rows, experiment.columns(), experiment.score),
        experiment.why,
        results_page.few(rows),
        results_page.not_run(missing),
    ]
    return "\n\n".join(part for part in parts if part)


def estimate(names: list[str], args: argparse.Namespace) -> Iterator[str]:
    """What is left to do of each experiment, a line each, and the sum."""
    total, counted = 0.0, set[Path]()
    for name in names:
        experiment = EXPERIMENTS[name]
        jobs = jobs_of(experiment, wanted(experiment, args.agents, args.scales), args.seeds, args.logdir)
        left = [job for job in jobs if job.folder not in counted and not run.done(job)]  # some have runs in common
        counted |= {job.folder for job in left}
        flops, seconds = plan.estimate(left, FLOPS_PER_SECOND)
        total += seconds
        runs = f"{len(jobs):4} runs, {len(left):4} left: {human(flops):>5}FLOP"
        yield f"{name:19} {runs}, {seconds / 3600:6.1f} h of one core"
    hours = (
        f"{total / 3600:.1f} h of one core in all, {total / 3600 / args.workers:.1f} h with --workers {args.workers}"
    )
    yield f"{hours}; where no run tells, at {human(FLOPS_PER_SECOND)}FLOP a second"


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line; ValueError for a name that is none of ours, with the closest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)} (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="default: %(default)s")
    parser.add_argument("--agents", nargs="+", default=[], help="train these only (default: all of the experiment)")
    parser.add_argument("--scales", type=float, nargs="+", default=[], help="and these sizes only, of 1 4 16 64")
    parser.add_argument("--episodes", type=int, help="per seed and environment, instead of the experiment's")
    parser.add_argument("--logdir", default="runs/results", help="folder of the runs (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=cli.cores(), help="processes (default: one per core)")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to refresh (default: docs/results.md)")
    parser.add_argument("--no-train", action="store_true", help="only write what is finished")
    parser.add_argument("--dry-run", action="store_true", help="print what is left to do, in hours, and stop")
    args = parser.parse_args(argv)
    for name in args.names:
        configs.known(name, EXPERIMENTS, "experiment")
    for name in args.agents:
        configs.known(name, dict.fromkeys(c.agent for e in EXPERIMENTS.values() for c in e.agents), "agent")
    return args


def main(argv: list[str]) -> int:
    """Run the experiments that are named, and refresh their sections of the page."""
    args = arguments(argv)
    names = args.names or list(EXPERIMENTS)
    if args.dry_run:
        for line in estimate(names, args):
            print(line, flush=True)
        return 0
    for name in names:
        experiment = EXPERIMENTS[name]
        jobs = jobs_of(experiment, wanted(experiment, args.agents, args.scales), args.seeds, args.logdir)
        waiting = [] if args.no_train else [job for job in jobs if not run.done(job)]
        waiting.sort(key=lambda job: job.seed)  # a slow hour of the machine is everyone's
        outcomes = grid.run_jobs(waiting, args.workers, resume=True, progress=sys.stderr.isatty()) if waiting else []
        if grid.exit_code(outcomes):
            print(grid.failures(outcomes))
            return grid.exit_code(outcomes)
        for folder in sorted({job.folder.parent for job in jobs if run.done(job)}):
            aggregate(folder)
        text = section(name, args)
        print(text or f"{name}: nothing is finished", flush=True)
        if text:
            results_page.refresh(args.page, name, text)
    return 0


if __name__ == "__main__":
    sys.exit(cli.guard(main))
