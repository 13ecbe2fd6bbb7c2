"""Where a run comes from: the command, the versions, the commit and the machine of each of its starts."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from agents import checkpoint
from experiments import config as configs
from experiments.config import RunConfig

PACKAGES = (
    "torch",
    "numpy",
    "numba",
    "gymnasium",
    "minigrid",
    "stable-baselines3",
    "safetensors",
    "tensorboard",
)


def append(config: RunConfig) -> None:
    """Append this start to provenance.json: command, hash of the run, versions, commit, machine."""
    path, starts = config.folder / "provenance.json", _starts(config.folder)
    starts.append(
        {
            "argv": sys.argv,
            "fingerprint": configs.fingerprint(config),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
            "versions": {name: metadata.version(name) for name in PACKAGES},
            "git": commit(),
        }
    )
    checkpoint.write_atomic(path, json.dumps(starts, indent=2).encode())


def processor() -> str:
    """Name the processor of this machine, as far as the system says."""
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        model = None
    return model[1] if model else platform.processor() or "an unknown processor"


def processors(folder: Path) -> set[str]:
    """Processors that a run was trained on."""
    return {start.get("processor", "an unrecorded processor") for start in _starts(folder)}


def _starts(folder: Path) -> list[dict[str, Any]]:
    path = folder / "provenance.json"
    try:
        starts = json.loads(path.read_text()) if path.exists() else []
        if not isinstance(starts, list):
            raise ValueError("no list")
    except ValueError as error:
        raise ValueError(f"{path} does not say where the run comes from ({error}): delete it to go on.") from error
    return starts


def commit() -> str | None:
    """Return the commit of this program, "+changes" where the tree differs; None outside of its own git."""
    root = Path(__file__).resolve().parent.parent
    try:
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root:
            return None  # installed inside of another repository
        return _git(root, "describe", "--always", "--abbrev=40", "--match=", "--dirty=+changes")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
