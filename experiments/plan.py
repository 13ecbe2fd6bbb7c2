"""What a list of jobs will do and cost, before it does: `train.py --dry-run`, `--shard`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import envs
from experiments import config as configs
from experiments import run, stream
from experiments.budget import Bill, Budget, bill, human, multiples
from experiments.config import RunConfig

T = TypeVar("T")


def shard(jobs: list[T], part: str) -> list[T]:
    """Take part K of N of the jobs, written K/N with K from 1: the third of sixteen is 3/16. ValueError otherwise."""
    if not part:
        return jobs
    try:
        k, n = (int(number) for number in part.split("/"))
    except ValueError:
        k, n = 0, 0
    if not 1 <= k <= n:
        raise ValueError(f"--shard takes K/N with K from 1 to N, for example 3/16, got {part!r}.")
    return jobs[k - 1 :: n]


def table(jobs: list[RunConfig]) -> str:
    """One line a job, and the sum: hash, state of its folder, steps, FLOPs, estimated seconds, parameters, memory."""
    head = ("run", "hash", "state", "steps", "FLOPs", "seconds", "parameters", "state bytes")
    rows, totals, unknown = [], [0.0, 0.0], 0
    for flops, seconds, row in _priced(jobs):
        totals[0] += flops
        totals[1] += seconds
        unknown += not seconds
        rows.append(row)
    known = f", about {totals[1]:.0f} s of one worker" if totals[1] else ""
    known += f" without the {unknown} whose speed no past run tells" if known and unknown else ""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    return "\n".join([*lines, f"{len(jobs)} jobs, {human(totals[0])}FLOP{known}"])


def estimate(jobs: list[RunConfig], usual: float) -> tuple[float, float]:
    """FLOPs and seconds that jobs need from their beginning; `usual` FLOPs a second where no past run tells.

    A budget of FLOPs or seconds is the answer by itself: only where it is of steps, what they cost is counted.
    """
    rates = _rates({Path(job.logdir) for job in jobs})
    needs, stepwise = list[tuple[float, float]](), list[RunConfig]()
    for job in jobs:
        budget = Budget.parse(job.budget)
        if budget.kind == "flops":
            needs.append((budget.amount, budget.amount / (_rate(job, rates) or usual)))
        elif budget.kind == "seconds":
            needs.append((0.0, budget.amount))
        else:
            stepwise.append(job)
    needs += [(used, lasts or used / usual) for used, lasts, _ in _priced(stepwise)]
    return sum(used for used, _ in needs), sum(lasts for _, lasts in needs)


def _priced(jobs: list[RunConfig]) -> Iterator[tuple[float, float, tuple[str, ...]]]:
    """FLOPs, seconds and cells of every job, see `_row`; the seeds of an agent share a bill."""
    rates = _rates({Path(job.logdir) for job in jobs})
    bills: dict[str, tuple[Bill, dict[str, int]]] = {}
    for job in jobs:
        kind = configs.fingerprint(replace(job, seed=0, budget=""))
        if kind not in bills:
            bills[kind] = _bill(job)
        yield _row(job, *bills[kind], rates)


def state(job: RunConfig) -> str:
    """What the run folder of a job holds: nothing (new), another run, how many steps, a result, or a claim."""
    if run.claimed(job.folder):
        return f"claimed, {run.holder(job.folder)}"
    if not (job.folder / "config.json").exists():
        return "new"
    if configs.fingerprint(configs.read(job.folder / "config.json")) != configs.fingerprint(job):
        return "another run"
    result = run.result_of(job.folder)
    if run.done(job):
        return "finished"
    return f"at {human(result['steps'])}" if result else "begun"


def _bill(job: RunConfig) -> tuple[Bill, dict[str, int]]:
    """The bill of a job, and the environment steps that its budget is a multiple of, by its kind."""
    world = envs.make(job.env, job.hp["num_envs"], **job.env_kwargs)
    try:
        algorithm = configs.build(job, world)
        return bill(algorithm), multiples(algorithm, job.hp)
    finally:
        world.close()


def _row(
    job: RunConfig, cost: Bill, multiples: dict[str, int], rates: dict[str, float]
) -> tuple[float, float, tuple[str, ...]]:
    """FLOPs, seconds (0 where no past run tells) and the cells of a job."""
    budget = Budget.parse(job.budget)
    try:
        steps = budget.steps(cost.flops_per_training_step, multiples[budget.kind])
        steps = steps and stream.whole(job, steps)
    except ValueError as error:  # of many jobs: which
        raise ValueError(f"{job.label} on {job.env}: {error}") from None
    flops = (steps or 0) * cost.flops_per_training_step
    rate = _rate(job, rates)
    seconds = budget.amount if steps is None else flops / rate if rate else 0.0
    cells = (
        str(job.folder),
        configs.fingerprint(job),
        state(job),
        human(steps) if steps else "",
        human(flops) if steps else "",
        f"{seconds:.0f}" if seconds else "?",
        human(cost.trained_parameters),
        human(cost.state_bytes),
    )
    return flops, seconds, cells


def _rate(job: RunConfig, rates: dict[str, float]) -> float:
    """FLOPs per second of past runs like this one; 0 where there are none."""
    return next((rates[key] for key in _kinds(job.label, job.agent, job.env) if key in rates), 0.0)


def _rates(logdirs: set[Path]) -> dict[str, float]:
    """FLOPs per second of past runs under these folders, by each of `_kinds`."""
    spent: dict[str, list[float]] = {}
    for path in (path for logdir in logdirs for path in logdir.glob("**/result.json")):
        with contextlib.suppress(
            ValueError, KeyError, TypeError
        ):  # a broken file tells nothing, and is no reason to stop
            result = json.loads(path.read_text())
            flops, seconds = float(result["flops"]), float(result["seconds"])
            for key in _kinds(path.parent.parent.name, result["agent"], result["env"]):
                total = spent.setdefault(key, [0.0, 0.0])
                total[0] += flops
                total[1] += seconds
    return {key: flops / seconds for key, (flops, seconds) in spent.items() if seconds and flops}


def _kinds(label: str, agent: str, env_id: str) -> tuple[str, ...]:
    """What runs are alike in, the closest first: a wide network makes more FLOPs a second than a narrow one."""
    return f"{label} on {env_id}", f"{agent} on {env_id}", f"{label} anywhere", f"{agent} anywhere"
