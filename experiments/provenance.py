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
    path = config.folder / "provenance.json"
    starts = json.loads(path.read_text()) if path.exists() else []
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
    """Processors that a run was trained on; none where an earlier version did not write them down."""
    path = folder / "provenance.json"
    starts = json.loads(path.read_text()) if path.exists() else []
    return {start["processor"] for start in starts if "processor" in start}


def commit() -> str | None:
    """Return the commit of this program, "+changes" where the tree differs; None outside of git."""
    root = Path(__file__).resolve().parent.parent
    try:
        command = [
            "git",
            "-C",
            str(root),
            "describe",
            "--always",
            "--abbrev=40",
            "--match=",
            "--dirty=+changes",
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
