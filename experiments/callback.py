"""The one callback of a run, for our algorithms and SB3's alike: episodes, budget, evaluation, checkpoints.

Everything that touches a file or may end the run happens at an iteration boundary, where the previous
update is done and logged; so a checkpoint is a complete state, and a run that continues from it repeats the
same floats.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

import envs
from agents import checkpoint
from envs import Transition
from experiments.budget import Bill, Clock, Meter, bill, human, peak_memory
from experiments.config import RunConfig
from experiments.evaluation import Watch, batch_size, evaluate
from experiments.logs import Monitor, RunLogger, say
from experiments.stream import Course

SAVE_SECONDS = 30.0
"""`last.safetensors` is never older than this, give or take an iteration."""
CHECKS = 50
"""How often in a run the training episodes may set a new best, and the memory is pictured."""
EVAL_SEED = 1_000_003
"""Added to the seed of the run, so that evaluations see other episodes than the training."""


class Stop(Exception):
    """Raised at an iteration boundary to end training; `signum` is the signal that asked, 0 the budget."""

    def __init__(self, signum: int = 0) -> None:
        super().__init__(signum)
        self.signum = signum


class Deadline(Watch):
    """Breaks an evaluation off, with Stop, once a clock has come to its limit."""

    def __init__(self, clock: Clock, limit: float) -> None:
        self._clock, self._limit = clock, limit

    def step(self, actions: np.ndarray, out: Transition) -> None:
        """Look at the clock."""
        if self._clock.seconds >= self._limit:
            raise Stop


class RunCallback(BaseCallback):
    """See the module. `steps` is the number of environment steps to reach, None where clock or meter decide."""

    def __init__(
        self, config: RunConfig, logger: RunLogger, monitor: Monitor, cost: Bill, steps: int | None, bar: bool
    ) -> None:
        super().__init__()
        self.config, self.log, self.monitor, self.cost, self.steps = config, logger, monitor, cost, steps
        self.folder: Path = config.folder
        self.signum = 0
        self.clock = Clock()
        self.meter = Meter()
        self.seconds_limit = self.flops_limit = float("inf")
        self.best: float | None = None
        self.recent: deque[tuple[float, float]] = deque(maxlen=100)
        self.boundary = 0
        self.course: Course | None = None
        self.due = {"save": config.save_every, "eval": config.eval_every, "check": self._check_every()}
        self._saved = time.monotonic()
        self._progress = Progress(steps, bar, config)

    # What BaseCallback is asked for ---------------------------------------------------------------

    def _on_training_start(self) -> None:
        self._size = self._size_now()
        self._progress.start(self.num_timesteps)

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps > self.boundary:
            self.at_boundary()
        if self.signum:
            self.save("last")
            raise Stop(self.signum)
        size = self._size_now()
        if size != self._size:  # it has grown
            self._size, self.cost = size, bill(self.model)
        if self.clock.seconds >= self.seconds_limit or self.flops_after(self.iteration_steps) > self.flops_limit:
            raise Stop

    def _on_step(self) -> bool:
        if self.course is not None:
            self.course.step(self.locals["rewards"], self.locals["ended_episodes"])
        ours = self.locals.get("ended_episodes")  # of this step; SB3's algorithms have `infos` instead
        for reward, length, success in self._sb3_episodes() if ours is None else ours:
            self.monitor.write(reward, length, self.clock.seconds, success)
            self.recent.append((reward, success))
        return self.clock.seconds < self.seconds_limit

    def _sb3_episodes(self) -> list[tuple[float, int, float]]:
        infos = self.locals["infos"]
        ended = [infos[i] for i in np.flatnonzero(self.locals["dones"])]
        return [(i["episode"]["r"], i["episode"]["l"], float(i.get("is_success", np.nan))) for i in ended]

    def _on_rollout_end(self) -> None:
        steps = self.model.num_timesteps
        self.meter.charge(steps, self.cost.flops_per_training_step)
        for name, value in {
            "env_steps": steps,
            "flops": self.meter.flops,
            "trained_parameters": self.cost.trained_parameters,
            "state_bytes": self.cost.state_bytes,
            "seconds": self.clock.seconds,
            "cpu_seconds": self.clock.cpu_seconds,
            "peak_memory": peak_memory(),
        }.items():
            self.log.record(f"budget/{name}", value)
        if steps >= self.due["check"] and hasattr(self.model, "memory_image"):
            picture = self.model.memory_image()
            if picture is not None:
                self.log.image("memory/image", np.asarray(picture))

    # What happens between two iterations ----------------------------------------------------------

    def at_boundary(self) -> None:
        """Evaluate, keep the best, save what is due and report; the counters end up in the checkpoint."""
        self.boundary = step = self.model.num_timesteps
        self.meter.charge(step, self.cost.flops_per_training_step)
        if self.course is not None:
            self.course.at_boundary(self.model, step, self.log)
        due = self._is_due("eval", step, self.config.eval_every) and self.clock.seconds < self.seconds_limit
        score = self._evaluate(step) if due else None
        if self._is_due("check", step, self._check_every()) and not self.config.eval_every:
            score = self._training_score()
        if score is not None and (self.best is None or score > self.best):
            self.best = score
            self.save("best")
        if self._is_due("save", step, self.config.save_every):
            self.save("last")
            self.save(f"step-{step:012d}")
        elif time.monotonic() - self._saved > SAVE_SECONDS:
            self.save("last")
        self._progress.report(step, self.clock, self.recent)

    def save(self, name: str) -> None:
        """Write `name`.safetensors into the run folder; CheckpointError if it cannot be written."""
        tensors, meta = self.model.snapshot()  # type: ignore[attr-defined]
        checkpoint.save(self.folder / f"{name}.safetensors", tensors, {"algorithm": meta, "run": self._state()})
        if name == "last":
            self._saved = time.monotonic()

    def close(self) -> None:
        """End the progress display."""
        self._progress.close()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the `run` part of a checkpoint's description."""
        self.clock = Clock(state["seconds"], state["cpu_seconds"])
        self.meter = Meter(state["meter"])
        self.best = state["best"]
        self.recent.extend((r, s) for r, s in state["recent"])
        self.boundary = state["boundary"]
        self.due |= {k: v for k, v in state["due"].items() if k in self.due}
        for name, every in (("eval", self.config.eval_every), ("save", self.config.save_every)):
            if every:  # more often than before: sooner than was planned
                self.due[name] = min(self.due[name], (self.boundary // every + 1) * every)
        if self.course is not None:
            self.course.records, self.course.now = state["stream"]
        self.log.restore(state["pending"])
        self.log.latest = dict(state["latest"])

    def _state(self) -> dict[str, Any]:
        return {
            "seconds": self.clock.seconds,
            "cpu_seconds": self.clock.cpu_seconds,
            "meter": self.meter.parts,
            "best": self.best,
            "recent": list(self.recent),
            "boundary": self.boundary,
            "due": self.due,
            "stream": [self.course.records, self.course.now] if self.course is not None else None,
            "monitor_size": self.monitor.flush(),
            "pending": self.log.pending(),
            "latest": self.log.latest,
        }

    @property
    def iteration_steps(self) -> int:
        """Environment steps of a whole iteration."""
        one = self.config.hp["num_envs"] * self.config.hp.get("num_steps", 1)
        return int(getattr(self.model, "iteration_steps", one))

    def flops_after(self, steps: int) -> float:
        """FLOPs used once `steps` more steps are done."""
        return self.meter.flops + steps * self.cost.flops_per_training_step

    def _size_now(self) -> int:
        """Numbers in the network: another one means another cost of a step."""
        policy = self.model.policy
        return sum(part.numel() for part in (*policy.parameters(), *policy.buffers()))  # the frequencies are no state

    def _is_due(self, name: str, step: int, every: int) -> bool:
        if not every or step < self.due[name]:
            return False
        self.due[name] = (step // every + 1) * every
        return True

    def _check_every(self) -> int:
        return max((self.steps or 5_000_000) // CHECKS, 1)

    def _training_score(self) -> float | None:
        """Mean success of the last 100 training episodes, or mean return where success is not defined.

        None before there are as many: the first to end are the quick ones, and a mean of a few is soon at 1.
        """
        if len(self.recent) < 100:
            return None
        returns, successes = np.array(self.recent).T
        return float(np.mean(returns if np.isnan(successes).all() else successes[~np.isnan(successes)]))

    def _evaluate(self, step: int) -> float | None:
        """Score of an evaluation; None, and nothing is logged, where the time of the run was over before it was."""
        world = envs.make(self.config.env, batch_size(self.config.eval_episodes), **self.config.env_kwargs)
        try:
            # Greedy, hence without a draw from the random streams that training goes on with.
            late = Deadline(self.clock, self.seconds_limit)
            seed = self.config.seed + EVAL_SEED
            episodes = evaluate(self.model, world, self.config.eval_episodes, seed, watches=[late])
        except Stop:  # what had ended by then are the short episodes
            return None
        finally:
            world.close()
        found = {
            "eval/mean_reward": episodes.mean_return,
            "eval/mean_ep_length": episodes.mean_length,
        }
        if not np.isnan(episodes.mean_success):
            found["eval/success_rate"] = episodes.mean_success
        for name, value in found.items():
            self.log.record(name, value)
        self.log.dump(step)
        return found.get("eval/success_rate", episodes.mean_return)


@contextlib.contextmanager
def signals(callback: RunCallback) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the run at the next boundary; a second one ends it at once."""

    def ask(signum: int, frame: FrameType | None) -> None:
        if callback.signum:
            raise KeyboardInterrupt
        callback.signum = signum
        print("\nFinishing this iteration, then saving; once more to give it up.", file=sys.stderr, flush=True)

    previous: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not in the main thread: the caller handles signals
        previous = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


class Progress:
    """A tqdm bar, or from time to time a line of text for logs and pipes."""

    def __init__(self, steps: int | None, bar: bool, config: RunConfig) -> None:
        self._steps, self._bar = steps, bar
        self._title = f"{config.label} {config.env} seed{config.seed}"
        self._tqdm: tqdm[Any] | None = None
        self._next, self._first = 0.0, (-1, 0.0)

    def start(self, step: int) -> None:
        """Begin at `step`."""
        if self._bar:
            self._tqdm = tqdm(
                total=self._steps,
                initial=step,
                desc=self._title,
                unit="step",
                unit_scale=True,
                dynamic_ncols=True,
            )

    def report(self, step: int, clock: Clock, recent: deque[tuple[float, float]]) -> None:
        """Show where the run is."""
        if self._first[0] < 0:  # speed is counted from here: most of the time before goes into compilation
            self._first = (step, time.monotonic())
        score = ""
        if recent:
            returns, successes = np.array(recent).T
            score = f"return {returns.mean():.3g}"
            if not np.isnan(successes).all():
                score = f"success {np.nanmean(successes):.3f}"
        if self._tqdm is not None:
            self._tqdm.set_postfix_str(score, refresh=False)
            self._tqdm.update(step - self._tqdm.n)
        elif clock.seconds >= self._next:
            self._next = clock.seconds * 1.05 + 2.0  # ever rarer: a log of a week is still short
            say(self._line(step, score))

    def _line(self, step: int, score: str) -> str:
        fps = (step - self._first[0]) / max(time.monotonic() - self._first[1], 1e-9)
        speed = f"  {human(fps)} fps" if fps else ""
        if self._steps is None:
            return f"{human(step)} steps{speed}  {score}"
        left = f"  {(self._steps - step) / fps:.0f} s left" if fps else ""
        share = f"{100 * step / self._steps:.0f}%"
        return f"{human(step)}/{human(self._steps)} steps  {share}{speed}  {score}{left}"

    def close(self) -> None:
        """End the bar."""
        if self._tqdm is not None:
            self._tqdm.close()
