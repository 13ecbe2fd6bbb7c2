"""What a run may use and what it has used: steps, FLOPs, seconds, parameters, bytes."""

from __future__ import annotations

import re
import resource
import sys
import time
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

    def steps(self, flops_per_step: float, multiple: int) -> int | None:
        """Environment steps that the budget pays for, a multiple of `multiple`; None if the clock decides.

        Always rounds down, so that no run uses more than it was given. ValueError if not even one fits.
        """
        if self.kind == "seconds":
            return None
        steps = int(self.amount if self.kind == "steps" else self.amount / flops_per_step)
        if steps < multiple:
            least = multiple if self.kind == "steps" else multiple * flops_per_step
            raise ValueError(
                f"the budget {self} is less than one iteration of this agent: give at least "
                f"{self.kind}={least:.4g}, or lower --num-envs or the rollout length."
            )
        return steps - steps % multiple


class Bill(NamedTuple):
    """What an agent costs, counted before it trains."""

    trained_parameters: int
    fixed_parameters: int
    state_bytes: int
    """Bytes that one environment's memory takes between two steps."""
    flops_per_act: float
    """FLOPs of choosing one action in one environment."""
    flops_per_step: float
    """FLOPs per environment step of training: acting and the step's share of the updates."""


def bill(algorithm: Any) -> Bill:
    """Count what an algorithm costs from its own `stats()` and `flops()`."""
    stats, flops = algorithm.stats(), algorithm.flops()
    return Bill(
        int(stats["trained_parameters"]),
        int(stats["fixed_parameters"]),
        int(stats["state_bytes"]),
        float(flops["act"]),
        float(flops["act"] + flops["train"]),
    )


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
