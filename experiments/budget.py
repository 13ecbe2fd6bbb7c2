"""What a run may use and what it has used: steps, FLOPs, seconds, parameters, bytes."""

from __future__ import annotations

import math
import re
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

KINDS = ("steps", "flops", "seconds")


@dataclass(frozen=True)
class Budget:
    """How long to train: environment steps, FLOPs (acting and updates together) or seconds of wall clock."""

    kind: str
    amount: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `steps=1e6`, `flops=2e12`, `seconds=600`, or a bare number of steps; ValueError otherwise."""
        kind, _, number = text.rpartition("=")
        kind = kind.strip() or "steps"
        if kind not in KINDS:
            raise ValueError(f"unknown budget {text!r}: write one of {', '.join(f'{k}=NUMBER' for k in KINDS)}.")
        try:
            amount = float(number)
        except ValueError:
            raise ValueError(f"budget {text!r} needs a number such as 1e6 or 1_000_000.") from None
        if not 0 < amount < float("inf"):
            raise ValueError(f"budget {text!r} must be a positive number.")
        return cls(kind, amount)

    def __str__(self) -> str:
        """Write the budget so that `parse` reads it back; whole numbers without an exponent."""
        number = f"{self.amount:.0f}" if self.amount == int(self.amount) and self.amount < 1e16 else repr(self.amount)
        return f"{self.kind}={number}"

    def steps(self, flops_per_training_step: float, multiple: int) -> int | None:
        """Environment steps that the budget pays for, a multiple of `multiple`; None if the clock decides.

        Always rounds down, so that no run uses more than it was given. ValueError if not even one fits.
        """
        if self.kind == "seconds":
            return None
        steps = int(self.amount if self.kind == "steps" else self.amount / flops_per_training_step)
        if steps < multiple:
            least = multiple if self.kind == "steps" else multiple * flops_per_training_step
            raise ValueError(
                f"the budget {self} is less than one iteration of this agent: give at least "
                f"{self.kind}={math.ceil(least)}, or lower --num-envs or the rollout length."
            )
        return steps - steps % multiple


class Bill(NamedTuple):
    """What an agent costs, counted before it trains."""

    trained_parameters: int
    fixed_parameters: int
    state_bytes: int
    """Bytes that one environment's memory takes between two steps."""
    optimizer_bytes: int
    """Bytes of the optimiser's running means."""
    buffer_bytes: int
    """Bytes of rollouts or replayed transitions."""
    flops_per_step: float
    """FLOPs of one decision: one acting step of one environment."""
    flops_per_training_step: float
    """FLOPs per environment step of training: acting and the step's share of the updates."""

    def __str__(self) -> str:
        """Say it in a line."""
        memory = ", ".join(
            f"{human(getattr(self, f'{name}_bytes'))}B of {name}" for name in ("state", "optimizer", "buffer")
        )
        flops = f"{human(self.flops_per_step)} FLOPs a decision, {human(self.flops_per_training_step)} a training step"
        parameters = f"{human(self.trained_parameters)} parameters trained, {human(self.fixed_parameters)} fixed"
        return f"{parameters}; {memory}; {flops}"


def bill(algorithm: Any) -> Bill:
    """Count what an algorithm costs, from its own `stats()`."""
    stats = algorithm.stats()
    return Bill(*(kind(stats[name]) for name, kind in zip(Bill._fields, 5 * (int,) + 2 * (float,), strict=True)))


def grows(algorithm: Any, hp: Mapping[str, Any]) -> bool:
    """Whether a step may cost more later than at the beginning."""
    return bool(hp.get("grow")) or getattr(algorithm, "grows", False)


def multiples(algorithm: Any, hp: Mapping[str, Any]) -> dict[str, int]:
    """Environment steps that a budget is a multiple of, by its kind.

    Given FLOPs, an agent that grows stops before the first rollout that it cannot pay for as a whole.
    """
    least = getattr(algorithm, "iteration_steps", hp["num_envs"])
    whole = hp["num_envs"] * hp["num_steps"] if grows(algorithm, hp) else least
    return dict.fromkeys(KINDS, least) | {"flops": whole}


class Meter:
    """FLOPs that a run has used: exact also where an agent grows, because every size is charged by itself."""

    def __init__(self, parts: list[list[float]] | None = None) -> None:
        self.parts: list[list[float]] = parts or []
        """[environment steps, FLOPs per training step] of every size, in order."""

    def charge(self, steps: int, cost: float) -> None:
        """Charge all steps up to `steps` that were not charged before, at `cost` FLOPs each."""
        new = steps - sum(part[0] for part in self.parts)
        if not self.parts or self.parts[-1][1] != cost:
            self.parts.append([0, cost])
        self.parts[-1][0] += new

    @property
    def flops(self) -> float:
        """The sum."""
        return sum(steps * cost for steps, cost in self.parts)


class Clock:
    """Wall-clock and CPU seconds of a run, going on from where a resumed run had stopped."""

    def __init__(self, seconds: float = 0.0, cpu_seconds: float = 0.0) -> None:
        self._wall = time.perf_counter() - seconds
        self._cpu = time.process_time() - cpu_seconds

    @property
    def seconds(self) -> float:
        """Wall-clock seconds."""
        return time.perf_counter() - self._wall

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process, all threads."""
        return time.process_time() - self._cpu


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts kilobytes


def human(number: float) -> str:
    """Write a count in three digits and a letter: 12300 -> 12.3k."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{letter}"
    return f"{number:.3g}"


def slug(text: str) -> str:
    """Turn an id into a folder name: no separators, nothing that a shell or TensorBoard would mind."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"
