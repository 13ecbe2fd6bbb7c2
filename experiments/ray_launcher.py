"""The same list of jobs on a Ray cluster: every job a task, retried where a node dies. Extra `cluster`.

All nodes need this program at the same place (or installed), and the folder of the runs on a file system that they
share: there the claims are held that keep any run from being trained twice, and the checkpoints from which a job
goes on when it is retried on another node.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments import grid
from experiments.config import RunConfig
from experiments.grid import Outcome
from experiments.logs import say

RETRIES = 5
"""How often a job is begun again after the node or the process that ran it has died."""


def run_jobs(
    configs: list[RunConfig],
    address: str | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    progress: bool = False,
) -> list[Outcome]:
    """Run every job on the cluster at `address`, or on one that is started here; outcomes in the order of the jobs.

    `progress` shows a line for each job. Raises ImportError without Ray, ConnectionError without a cluster at
    `address`, RunError as `grid.check` does. Ctrl-C lets the running jobs save and stop.
    """
    ray = _ray()
    if address:
        _answers(address)
    jobs = [replace(job, logdir=str(Path(job.logdir).absolute())) for job in grid.check(configs, resume, force)]
    if not ray.is_initialized():
        here = {} if address else {"include_dashboard": False}
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **here)
    largest = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if jobs and (most := max(job.num_threads for job in jobs)) > largest:
        say(f"--num-threads {most}: no node has as many CPUs, the largest has {largest:g}; jobs wait for one that has.")
    path = os.pathsep.join(filter(None, (str(grid.ROOT), os.environ.get("PYTHONPATH"))))
    task = ray.remote(max_retries=RETRIES, runtime_env={"env_vars": {"PYTHONPATH": path}})(grid.play)
    waiting = {task.options(num_cpus=job.num_threads, name=grid.title(job)).remote(job): job for job in jobs}
    display, outcomes = grid.Display(jobs, progress), dict[Path, Outcome]()
    try:
        while waiting:
            ended, _ = ray.wait(list(waiting), num_returns=1)
            for ref in ended:
                job = waiting.pop(ref)
                outcomes[job.folder] = _outcome(ray, ref, job)
                display.end(outcomes[job.folder])
    except KeyboardInterrupt:
        for ref in waiting:
            ray.cancel(ref)
        ray.wait(list(waiting), num_returns=len(waiting))
        outcomes |= {job.folder: Outcome(job, 130, "stopped, everything saved") for job in waiting.values()}
    display.close()
    return [outcomes[job.folder] for job in jobs]


def _outcome(ray: Any, ref: Any, job: RunConfig) -> Outcome:
    try:
        result: Outcome = ray.get(ref)
    except ray.exceptions.RayError as error:  # no more retries
        return Outcome(job, 1, " ".join(str(error).split())[:200])
    return result


def _ray() -> Any:
    """Import Ray late: it is an extra."""
    try:
        import ray
    except ImportError as error:
        raise ImportError("--launcher ray needs Ray, which is not installed: pip install 'ray>=2.40,<3'") from error
    return ray


def _answers(address: str) -> None:
    """ConnectionError where nothing listens at HOST:PORT: Ray would try for minutes. It finds "auto" by itself."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"nothing answers at {address} ({error})") from error
