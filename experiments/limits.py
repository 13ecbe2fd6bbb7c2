"""What values the settings of a run may have: a wrong one is answered before anything is built or written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from experiments.budget import slug

SCALES = 10_000
"""The largest scale: a hundred million parameters. To find a width, networks twice as large are built."""
THREADS = 1024
"""The most threads; where the system has no more to give, the process would end without a word."""
SEEDS = 2**32
"""Seeds are below this, as numpy's."""

_LEAST = {"stream_repeats": 1, "num_threads": 1, "save_every": 0, "eval_every": 0, "eval_episodes": 1}


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """ValueError where numpy or torch cannot have the memory that the settings ask for."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        too_much = any(words in reason for words in ("can't allocate memory", "calculation overflowed"))
        if not (too_much or isinstance(error, MemoryError | torch.OutOfMemoryError)):
            raise
        if len(reason) > 120:  # how much stands at the end
            reason = f"... {reason[-120:].partition(' ')[2]}"
        raise ValueError(
            f"not enough memory ({reason}): make smaller what was made large, for example --scale, --num-envs, "
            "--hp.dim, --hp.num_steps or --hp.hidden."
        ) from error


def check_seed(seed: int) -> None:
    """ValueError for a seed that a random stream does not take."""
    if not 0 <= seed < SEEDS:
        raise ValueError(f"--seed must be at least 0 and below {SEEDS}, got {seed}.")


def check_run(config: Any) -> None:
    """ValueError for a number that no run can have, and for a device that is not there; config is a RunConfig."""
    check_seed(config.seed)
    if config.name and config.name != slug(config.name):
        raise ValueError(
            f"--name {config.name!r} cannot be part of a folder's name as it is: take letters from a to z, digits and "
            f". _ - between them, for example {slug(config.name)}."
        )
    if config.num_threads > THREADS:
        raise ValueError(f"--num-threads must be at most {THREADS}, got {config.num_threads}.")
    for name, low in _LEAST.items():
        if getattr(config, name) < low:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {low}, got {getattr(config, name)}.")
    if config.scale is not None and not 0 < config.scale <= SCALES:
        raise ValueError(f"--scale takes multiples above 0, such as 1 4 16 64, up to {SCALES}, got {config.scale:g}.")
    try:
        torch.zeros(1, device=config.device)
        torch.Generator(config.device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        reason = str(error).split("\n")[0][:120]
        raise ValueError(f"--device {config.device} cannot be used here ({reason}): try cpu.") from error


def check_target(path: Path | None) -> None:
    """ValueError where a file cannot be written later, before what goes into it is made."""
    if path is None:
        return
    reason = "it is a folder" if path.is_dir() else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
    if reason is None and not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = "permission denied"
    if reason:
        raise ValueError(f"cannot write {path}: {reason}. Name another file.")
