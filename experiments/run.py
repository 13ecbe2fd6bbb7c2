"""`train(config) -> Result`: one agent, one environment, one seed, a run folder that explains itself.

    config.json         every setting, resolved; `train.py --config` takes it
    provenance.json     command, versions, git commit and machine of each start
    result.json         how it ended, with exact counts
    monitor.csv         every training episode, in the format of SB3's Monitor
    stream.json         with --stream: how each task went
    log.txt             what it printed, where it was one of several
    events.out.*        TensorBoard
    last.safetensors    to continue from; best.safetensors; step-*.safetensors with --save-every

`python -m experiments.run` is the worker process of a grid; the job comes on its standard input.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from agents import checkpoint
from experiments import config as configs
from experiments import limits, provenance, stream
from experiments.budget import Bill, Budget, Meter, bill, grows, human, multiples, peak_memory
from experiments.callback import RunCallback, Stop, signals
from experiments.config import RunConfig
from experiments.logs import Monitor, RunLogger, say

UNBOUNDED = 1 << 60
"""Environment steps that no run reaches: what `learn` is asked for when the clock decides."""


class RunError(RuntimeError):
    """A run cannot start or go on; the message says what to do."""


class ClaimedError(RunError):
    """Another process trains in the run folder."""


CLAIMED = 75
"""Exit code of a worker that finds its run claimed: `EX_TEMPFAIL` of sysexits.h, try again later."""

EXPECTED = (ValueError, ImportError, RunError, checkpoint.CheckpointError)
"""What `train` raises with a message that says what to do; anything else is a fault of the program."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run ended. `status` is finished, stopped (by `signum`) or failed (with `error`)."""

    agent: str
    env: str
    seed: int
    folder: str
    status: str
    steps: int
    flops: float
    seconds: float
    cpu_seconds: float
    peak_memory: int
    trained_parameters: int
    fixed_parameters: int
    state_bytes: int
    optimizer_bytes: int
    buffer_bytes: int
    flops_per_step: float
    flops_per_training_step: float
    scores: dict[str, float]
    """Last value of each `rollout/*` and `eval/*` scalar."""
    signum: int = 0
    error: str = ""

    @property
    def exit_code(self) -> int:
        """0, 1 when it failed, 128 + signal when it was stopped, as shells count."""
        return 128 + self.signum if self.signum else int(self.status == "failed")


def train(config: RunConfig, *, resume: bool = False, force: bool = False, progress: bool = False) -> Result:
    """Train, or continue with `resume`; `force` replaces an existing run.

    Returns the result, also after Ctrl-C or SIGTERM (status "stopped", the last checkpoint saved). RunError,
    CheckpointError or ValueError, each with what to do, when the run cannot start or go on.
    """
    config = configs.resolve(config)
    folder = config.folder
    check(config, resume, force)
    if resume and done(config):
        return result_at(folder)
    torch.set_num_threads(config.num_threads)
    world = stream.make(config)
    try:
        algorithm = configs.build(config, world)
        cost, budget = bill(algorithm), Budget.parse(config.budget)
        steps = stream.schedule(world, config, _steps(config, budget, cost, algorithm))
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder, configs.fingerprint(config)):
            check(config, resume, force)  # again: another process may have trained here meanwhile
            saved = _saved(config, force)
            if saved is None:
                clear(folder)
            else:
                _refuse_less(config, budget, saved[1]["run"], steps)
                _restore(algorithm, saved, config)
            (folder / "result.json").unlink(missing_ok=True)  # of a smaller budget: this run has not ended
            configs.write(config, folder / "config.json")
            provenance.append(config)
            return _run(config, algorithm, cost, budget, steps, saved, progress)
    except OSError as error:
        again = f"Checkpoints are intact; when that is mended, continue with: python train.py --resume {folder}"
        then = again if (folder / "config.json").is_file() else "Nothing was begun; give --logdir another folder."
        raise RunError(f"cannot write into {folder}: {error.strerror or error}. {then}") from error
    finally:
        world.close()


def _steps(config: RunConfig, budget: Budget, cost: Bill, algorithm: Any) -> int | None:
    """Environment steps to reach; None where the clock, or the FLOPs of an agent that grows, decide."""
    steps = budget.steps(cost.flops_per_training_step, multiples(algorithm, config.hp)[budget.kind])
    return None if budget.kind == "flops" and grows(algorithm, config.hp) else steps


def _refuse_less(config: RunConfig, budget: Budget, state: Any, steps: int | None) -> None:
    """RunError if a run has used more than the budget that it is now given, and it is another one than before."""
    if configs.read(config.folder / "config.json").budget == config.budget:  # of seconds, the last update may be late
        return
    used = {"seconds": state["seconds"], "flops": Meter(state["meter"]).flops, "steps": state["boundary"]}
    if used["steps"] > steps if steps is not None else used[budget.kind] > 1.01 * budget.amount:
        raise RunError(
            f"{config.folder} has {state['boundary']} steps already and the budget is {config.budget}. "
            f"Evaluate it: python evaluate.py {config.folder}; or train it longer, with a larger --budget."
        )


def _run(
    config: RunConfig, algorithm: Any, cost: Bill, budget: Budget, steps: int | None, saved: Any, progress: bool
) -> Result:
    """Learn, and write down how it ended."""
    state = saved[1]["run"] if saved else None
    logger = RunLogger(config.folder, purge_step=state["boundary"] + 1 if state else None)
    size = state["monitor_size"] if state else None
    monitor = Monitor(config.folder / "monitor.csv", config.env, time.time(), size)
    callback = RunCallback(config, logger, monitor, cost, steps, progress)
    if config.stream:
        callback.course = stream.Course(config, algorithm.world, cost)
    if budget.kind == "seconds":
        callback.seconds_limit = budget.amount
        algorithm.progress = lambda: callback.clock.seconds / budget.amount  # drives the schedules
    elif steps is None:
        callback.flops_limit = budget.amount
        algorithm.progress = lambda: callback.meter.flops / budget.amount
    algorithm.set_logger(logger)
    if state:
        callback.restore(state)
        callback.cost = bill(algorithm)  # it may have grown
        if not getattr(algorithm, "exact_resume", True):
            say(f"{config.agent}: new episodes and random streams; this resume is not bit for bit.")
    else:
        logger.describe(asdict(config), str(cost))
    try:
        ended = _learn(algorithm, callback, steps, config)
        monitor.close()
        logger.close()
    except Exception as error:
        with contextlib.suppress(OSError):  # the disk may be what failed
            _write_result(config, callback, status="failed", error=str(error))
        with contextlib.suppress(OSError):
            monitor.close()
        raise
    finally:
        callback.close()
    return _write_result(config, callback, **ended)


def _restore(algorithm: Any, saved: Any, config: RunConfig) -> None:
    """Continue from a checkpoint; CheckpointError if it is of another network."""
    try:
        algorithm.restore(saved[0], saved[1]["algorithm"])
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise checkpoint.CheckpointError(
            f"{config.folder / 'last.safetensors'} does not fit the settings in config.json: its network is another "
            f"({reason}). Put config.json right, or begin anew with --force."
        ) from error


def _learn(algorithm: Any, callback: RunCallback, steps: int | None, config: RunConfig) -> dict[str, Any]:
    """Train to the end or to a signal; returns what the result says of it."""
    remaining = (UNBOUNDED if steps is None else steps) - algorithm.num_timesteps
    iteration = getattr(algorithm, "iteration_steps", config.hp["num_envs"])
    remaining -= remaining % iteration  # the clock may have stopped it in mid-iteration, and SB3 collects whole ones
    if algorithm.num_timesteps and remaining <= 0:
        return {"status": "finished"}  # it was killed between its last checkpoint and its result
    with signals(callback):
        try:
            if remaining > 0:
                interval = getattr(algorithm, "log_interval", 1)
                fresh = algorithm.num_timesteps == 0
                algorithm.learn(remaining, callback, log_interval=interval, reset_num_timesteps=fresh)
                callback.at_boundary()
        except Stop as stop:
            if stop.signum:
                say(
                    f"Stopped by {signal.Signals(stop.signum).name} at {callback.boundary} steps, "
                    f"everything saved. Continue with: python train.py --resume {config.folder}"
                )
                return {"status": "stopped", "signum": stop.signum}
        callback.save("last")
        if callback.best is None:
            callback.save("best")
        callback.log.dump(callback.boundary)
    return {"status": "finished"}


def check(config: RunConfig, resume: bool, force: bool) -> None:
    """RunError if the folder holds a run and neither `resume` nor `force` was said, or if it holds another run."""
    folder = config.folder
    again, look = f"python train.py --resume {folder}", f"python evaluate.py {folder}"
    if force or not (folder / "config.json").exists():
        return
    before = configs.read(folder / "config.json")
    if not resume:
        finished = (result_of(folder) or {}).get("status") == "finished"
        then = f"{look}, or train it longer with --resume and a larger --budget" if finished else again
        raise RunError(
            f"{folder} holds a run already ({'' if finished else 'not '}finished). Either go on with it: {then}; "
            "or replace it: add --force; or keep both: add --name LABEL."
        )
    free = configs.RESUMABLE - ({"budget"} if config.stream else set())  # another would move where its tasks end
    both = (asdict(c) | {"hp": None} | {f"hp.{name}": value for name, value in c.hp.items()} for c in (config, before))
    mine, theirs = map(_plain, both)
    other = [name for name in mine | theirs if name not in free and mine.get(name) != theirs.get(name)]
    if other:
        raise RunError(
            f"{folder} was trained with another {', '.join(other)}; it goes on only as it began. "
            f"Continue it as it is: {again}; or begin anew beside it: add --name {configs.fingerprint(config)}."
        )


def started(config: RunConfig) -> bool:
    """Whether the run folder holds this very run, with this budget, finished or not."""
    path = config.folder / "config.json"
    return path.exists() and _plain(asdict(replace(configs.read(path), logdir=config.logdir))) == _plain(asdict(config))


def _saved(config: RunConfig, force: bool) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """The checkpoint to continue from; None to begin, also when the run ended before its first checkpoint."""
    last = config.folder / "last.safetensors"
    if force or not last.exists() or not (config.folder / "config.json").exists():
        return None
    tensors, meta = checkpoint.load(last)
    if "meter" not in meta.get("run", {}):
        raise RunError(
            f"{last} can act, but not go on training: it was exported, or written by an earlier version. "
            "Begin anew with --force, or beside it with --name LABEL."
        )
    return tensors, meta


def done(config: RunConfig) -> bool:
    """Whether the run folder holds this very run, finished with this budget."""
    result = result_of(config.folder)
    if not result or result["status"] != "finished":
        return False
    found = configs.read(config.folder / "config.json")
    return found.budget == config.budget and configs.fingerprint(found) == configs.fingerprint(config)


def result_of(folder: Path) -> Any:
    """Return the result.json of a run folder, None if there is none (yet); RunError if it is something else."""
    path = folder / "result.json"
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_text())
        missing = sorted({field.name for field in fields(Result)} - set(result))
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{path} is not the result of a run here ({error}): delete it, and train.py --resume writes it anew."
        ) from error
    return result


def result_at(folder: Path) -> Result:
    """Return how a run ended; what a later version wrote beside it is left out. RunError as in `result_of`."""
    told = result_of(folder)
    return Result(**{field.name: told[field.name] for field in fields(Result)})


def clear(folder: Path) -> None:
    """Remove the files of a run, and only files that a run writes."""
    for pattern in ("*.json", "*.safetensors", ".*.tmp", "monitor.csv", "events.out.tfevents.*"):
        for path in folder.glob(pattern):
            path.unlink()


@contextlib.contextmanager
def lock(folder: Path, fingerprint: str = "") -> Iterator[None]:
    """Claim a run folder; ClaimedError if another process holds it. The system lets go when a process dies.

    The file says who holds it; the claim itself is the lock on the file, so a claim is never stale.
    """
    with open(folder / ".lock", "a+") as file:
        for patience in (0.05, 0.1, 0.2, 0.0):  # who looks whether a run is claimed holds it for a moment
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(patience)
        else:
            raise ClaimedError(
                f"another process is training in {folder} ({holder(folder)}); give this run a --name of its own."
            )
        file.truncate(0)
        file.write(f"{os.getpid()} {platform.node()} {fingerprint}\n")
        file.flush()
        yield


def claimed(folder: Path) -> bool:
    """Whether a process is training in a run folder at this moment."""
    if not (folder / ".lock").exists():
        return False
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def holder(folder: Path) -> str:
    """Say who claimed a run folder last."""
    process, host, *_ = (folder / ".lock").read_text().split() or ("?", "?")
    return f"process {process} on {host}"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _write_result(config: RunConfig, callback: RunCallback, **ended: Any) -> Result:
    scores = {k: v for k, v in callback.log.latest.items() if k.startswith(("rollout/", "eval/"))}
    clock, steps = callback.clock, callback.boundary
    result = Result(
        agent=config.agent,
        env=config.env,
        seed=config.seed,
        folder=str(config.folder),
        steps=steps,
        flops=callback.meter.flops,
        seconds=clock.seconds,
        cpu_seconds=clock.cpu_seconds,
        peak_memory=peak_memory(),
        scores=scores,
        **callback.cost._asdict(),
        **ended,
    )
    checkpoint.write_atomic(config.folder / "result.json", json.dumps(asdict(result), indent=2).encode())
    return result


def summary(result: Result) -> str:
    """Say in one line how a run ended."""
    names = {"rollout/success_rate": "success", "rollout/ep_rew_mean": "return"}
    scores = [f"{name} {result.scores[tag]:.3f}" for tag, name in names.items() if tag in result.scores]
    score = f"{scores[0]} (last 100 training episodes)" if scores else "no training episode ended"
    return f"{result.status}: {human(result.steps)} steps, {human(result.flops)}FLOP, {result.seconds:.1f} s, {score}"


def main() -> int:
    """Run the job described by a line of JSON on standard input, as a worker of a grid; returns its exit code."""
    job = json.loads(sys.stdin.readline())
    if job.get("watch"):
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        with limits.enough_memory():
            result = train(RunConfig(**job["config"]), resume=job["resume"], force=job["force"])
    except EXPECTED as error:
        print(f"error: {error}", flush=True)
        return CLAIMED if isinstance(error, ClaimedError) else 1
    print(summary(result), flush=True)
    return result.exit_code


def _stop_with_parent() -> None:
    """Save and stop as if told to when the grid that holds the other end of standard input is gone."""
    sys.stdin.read()  # returns when its end is closed, also by kill -9
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
