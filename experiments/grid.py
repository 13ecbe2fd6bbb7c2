"""Many runs at once: agents x environments x seeds x scales as a list of jobs, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from tqdm import tqdm

from experiments import run
from experiments.config import RunConfig, resolve

ROOT = Path(__file__).resolve().parent.parent
POLL = 0.2
"""Seconds between two looks at the workers."""


class Outcome(NamedTuple):
    """How a job ended."""

    config: RunConfig
    exit_code: int
    message: str
    """The last line that its process wrote."""


class Worker:
    """One process: `python -m experiments.run`, the job on its standard input, its words in log.txt."""

    def __init__(self, config: RunConfig, resume: bool, force: bool) -> None:
        self.config, self.path = config, config.folder / "log.txt"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "OMP_NUM_THREADS": str(config.num_threads),
        }
        with open(self.path, "ab" if resume else "wb") as log:
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
        job = {"config": asdict(config), "resume": resume, "force": force}
        assert self.process.stdin is not None
        with self.process.stdin as pipe:
            pipe.write(json.dumps(job).encode())

    def last_line(self) -> str:
        """Return what the process said last."""
        with open(self.path, "rb") as log:
            log.seek(max(log.seek(0, 2) - 500, 0))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def run_jobs(
    configs: list[RunConfig],
    workers: int,
    *,
    resume: bool = False,
    force: bool = False,
    progress: bool = False,
) -> list[Outcome]:
    """Run every job, `workers` at a time; returns all outcomes, in the order of the jobs.

    Every run folder is checked before the first job starts: RunError names the first that is in the way.
    Ctrl-C and SIGTERM are passed on to the workers, which save and stop; jobs not yet begun are left out.
    """
    for config in configs:
        run.prepare(resolve(config), resume, force)
    waiting, running = list(configs), list[Worker]()
    outcomes: dict[Path, Outcome] = {}
    display = _Display(configs, progress)
    with _forwarding(running) as stopped:
        while running or (waiting and not stopped):
            while waiting and len(running) < workers and not stopped:
                running.append(Worker(waiting.pop(0), resume, force))
            time.sleep(POLL)
            for worker in list(running):
                display.show(worker.config, worker.last_line())
                code = worker.process.poll()
                if code is not None:
                    running.remove(worker)
                    outcomes[worker.config.folder] = Outcome(worker.config, code, worker.last_line())
                    display.end(outcomes[worker.config.folder])
    display.close()
    return [outcomes[c.folder] for c in configs if c.folder in outcomes]


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


class _Display:
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
            print(f"{title(outcome.config)}  {outcome.message}", flush=True)

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
    if not failed:
        return ""
    rows = [
        f"  {title(o.config)}: exit {o.exit_code}, {o.message}\n    log: {o.config.folder / 'log.txt'}" for o in failed
    ]
    return "\n".join([f"{len(failed)} of {len(outcomes)} jobs did not finish:", *rows])


def exit_code(outcomes: list[Outcome]) -> int:
    """0 if all finished, otherwise the largest code of a job (130, 143: interrupted); 1 for a crash."""
    return max((o.exit_code if o.exit_code >= 0 else 1 for o in outcomes), default=0)
