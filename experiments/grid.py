"""Many runs at once: agents x environments x seeds x scales as a list of jobs, each a process of its own.

The list can be begun again at any time, by the same command: what is finished is skipped, what is half done goes on,
and a run that another process holds is waited for. So several grids may share one list, and one that was killed
loses nothing but the time since its last checkpoints.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from tqdm import tqdm

from experiments import plan, run
from experiments.config import RunConfig, resolve
from experiments.logs import say

ROOT = Path(__file__).resolve().parent.parent
POLL = 0.2
"""Seconds between two looks at the workers."""
NOT_BEGUN = "not begun"
"""Message of a job that a signal left out."""


class Outcome(NamedTuple):
    """How a job ended."""

    config: RunConfig
    exit_code: int
    message: str
    """The last line that its process wrote."""


class Worker:
    """One process: `python -m experiments.run`, the job on its standard input, its words in log.txt.

    The pipe to it stays open: if it closes because this process was killed, the worker saves and stops.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config, self.path = config, config.folder / "log.txt"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "OMP_NUM_THREADS": str(config.num_threads),
        }
        with open(self.path, "ab") as log:
            # -P: a folder called `agents` where the user stands must not shadow ours.
            # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "experiments.run"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        # Always to resume: where nothing is yet, another process may begin before this one gets that far.
        job = {"config": asdict(config), "resume": True, "force": False, "watch": True}
        assert self.process.stdin is not None
        self.pipe = self.process.stdin
        self.pipe.write(json.dumps(job).encode() + b"\n")
        self.pipe.flush()

    def outcome(self) -> Outcome | None:
        """How it ended; None while it goes on."""
        code = self.process.poll()
        if code is None:
            return None
        self.pipe.close()
        return Outcome(self.config, code, self.last_line())

    def last_line(self) -> str:
        """Return what the process said last."""
        with open(self.path, "rb") as log:
            log.seek(max(log.seek(0, 2) - 500, 0))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def check(configs: list[RunConfig], resume: bool = False, force: bool = False) -> list[RunConfig]:
    """Look at every run folder before the first job starts, and empty those that `force` replaces.

    Returns the resolved jobs. RunError names the first folder that is in the way: one with another run in it, or,
    without `resume`, with another budget. ValueError for a budget that does not pay for a step of its job: then
    nothing has been emptied.
    """
    jobs = [resolve(config) for config in configs]
    for job in jobs:
        run.check(job, resume or run.started(job), force)
    if force:
        plan.table(jobs)  # raises where a budget pays for nothing
        with ExitStack() as held:
            full = [job.folder for job in jobs if job.folder.exists()]
            for folder in full:  # all of them before the first is emptied
                held.enter_context(run.lock(folder))
            for folder in full:
                run.clear(folder)
    return jobs


def run_jobs(
    configs: list[RunConfig],
    workers: int,
    *,
    resume: bool = False,
    force: bool = False,
    progress: bool = False,
) -> list[Outcome]:
    """Run every job, `workers` at a time; returns all outcomes, in the order of the jobs. RunError as in `check`.

    Ctrl-C and SIGTERM are passed on to the workers, which save and stop; jobs not yet begun end as they do.
    """
    waiting, running = deque(check(configs, resume, force)), list[Worker]()
    outcomes: dict[Path, Outcome] = {}
    display = Display(list(waiting), progress)
    with _forwarding(running) as stopped:
        while running or (waiting and not stopped):
            _start(waiting, running, outcomes, 0 if stopped else workers)
            time.sleep(POLL if running or waiting else 0)
            for worker in list(running):
                display.show(worker.config, worker.last_line())
                outcome = worker.outcome()
                if outcome is None:
                    continue
                running.remove(worker)
                if stopped and 0 != outcome.exit_code < 128:  # before it could listen
                    outcome = outcome._replace(exit_code=128 + stopped[0])
                if outcome.exit_code == run.CLAIMED:  # another process was quicker
                    waiting.append(worker.config)
                else:
                    outcomes[worker.config.folder] = outcome
                    display.end(outcome)
    display.close()
    left = {config.folder: Outcome(config, 128 + stopped[0], NOT_BEGUN) for config in waiting if stopped}
    return [(outcomes | left)[config.folder] for config in configs]


def _start(waiting: deque[RunConfig], running: list[Worker], outcomes: dict[Path, Outcome], workers: int) -> None:
    """Fill the free workers with jobs that are neither finished nor held by another process.

    A folder that cannot be read or written is the failure of its job alone.
    """
    for _ in range(len(waiting)):
        if len(running) >= workers:
            return
        config = waiting.popleft()
        try:
            if run.claimed(config.folder):
                waiting.append(config)
            elif run.done(config):
                outcomes[config.folder] = Outcome(config, 0, "finished before")
            else:
                running.append(Worker(config))
        except (*run.EXPECTED, OSError) as error:
            outcomes[config.folder] = Outcome(config, 1, f"error: {' '.join(str(error).split())}")


def play(config: RunConfig) -> Outcome:
    """Run one job to its end, once no other process does: what a worker of a cluster is asked for."""
    while True:
        while run.claimed(config.folder):
            time.sleep(POLL)
        if run.done(config):
            return Outcome(config, 0, "finished before")
        worker = Worker(config)
        try:
            worker.process.wait()
        except BaseException:  # cancelled: let it save
            worker.process.terminate()
            worker.process.wait()
            raise
        outcome = worker.outcome()
        if outcome is not None and outcome.exit_code != run.CLAIMED:
            return outcome


@contextmanager
def _forwarding(running: list[Worker]) -> Iterator[list[int]]:
    """Pass Ctrl-C and SIGTERM on to the workers; yields the list of the signals received."""
    received: list[int] = []

    def forward(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        for worker in running:
            worker.process.send_signal(signum)

    previous: dict[int, Any] = {s: signal.signal(s, forward) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


class Display:
    """One line per job: live on a terminal, otherwise printed when the job ends."""

    def __init__(self, configs: list[RunConfig], live: bool) -> None:
        self._bars: dict[Path, tqdm[Any]] = {}
        if live:
            bars = (tqdm(total=0, position=i, bar_format="{desc}", dynamic_ncols=True) for i in range(len(configs)))
            self._bars = {config.folder: bar for config, bar in zip(configs, bars, strict=True)}
            for config in configs:
                self.show(config, "waiting")

    def show(self, config: RunConfig, text: str) -> None:
        """Show what a job does."""
        if config.folder in self._bars:
            self._bars[config.folder].set_description_str(f"{title(config)}  {text}")

    def end(self, outcome: Outcome) -> None:
        """Show how a job ended."""
        if self._bars:
            self.show(outcome.config, outcome.message)
        else:
            say(f"{title(outcome.config)}  {outcome.message}")

    def close(self) -> None:
        """Leave the lines on the screen."""
        for bar in self._bars.values():
            bar.close()


def title(config: RunConfig) -> str:
    """Name a job in a line."""
    return f"{config.label} {config.env} seed{config.seed}"


def failures(outcomes: list[Outcome]) -> str:
    """List the jobs that failed with their last words and logs; empty if none did."""
    failed = [o for o in outcomes if o.exit_code]
    begun = [o for o in failed if o.message != NOT_BEGUN]
    if not failed:
        return ""
    rows = [
        f"  {title(o.config)}: exit {o.exit_code}, {o.message}\n    log: {o.config.folder / 'log.txt'}" for o in begun
    ]
    if others := len(failed) - len(begun):
        rows.append(f"  {others} had not begun")
    return "\n".join([f"{len(failed)} of {len(outcomes)} jobs did not finish:", *rows])


def exit_code(outcomes: list[Outcome]) -> int:
    """0 if all finished, otherwise the largest code of a job (130, 143: interrupted); 1 for a crash."""
    return max((o.exit_code if o.exit_code >= 0 else 1 for o in outcomes), default=0)
