"""The floor and the ceiling of an environment: random actions, and its oracle.

They are the same for every agent, so they are played once and kept, with the code that played them as part of the
key, in `$XDG_CACHE_HOME/palimpsest` (`~/.cache/palimpsest`). That folder may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import agents
import envs
from agents import checkpoint
from experiments.compare import Entry, Settings, play
from experiments.evaluation import Episodes

FLOOR, CEILING = "random", "oracle"
PACKAGES = ("numpy", "numba", "gymnasium", "minigrid", "envpool")
"""That worlds are made of."""
_ROOT = Path(__file__).resolve().parent.parent


def bounds(env_id: str, settings: Settings, but: tuple[str, ...] = ()) -> list[Entry]:
    """Return how random actions and the oracle do; the names in `but` are left out.

    Where no oracle is known but success means something, the ceiling is 1 by definition.
    """
    floor = _kept(FLOOR, env_id, settings)
    entries = [floor]
    world = envs.make(env_id, 1, **settings.env_kwargs)
    try:
        known = any(form.fits(world) for form in agents.REFLEXES[CEILING])
    finally:
        world.close()
    if known and CEILING not in but:
        entries.append(_kept(CEILING, env_id, settings))
    elif not known and not np.isnan(floor.episodes.mean_success):
        nothing = np.full(1, np.nan)
        entries.append(Entry(floor.row | {"agent": "optimum (by definition)"}, Episodes(nothing, nothing, np.ones(1))))
    return entries[1:] if FLOOR in but else entries


def _kept(name: str, env_id: str, settings: Settings) -> Entry:
    """Play, or remember how it went."""
    path = _folder() / f"{_key(name, env_id, settings)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # nothing there, or not ours: play
        return _read(json.loads(path.read_text()))
    print(f"{name} on {env_id}", file=sys.stderr)
    entry = play(name, env_id, settings, {})
    with contextlib.suppress(OSError):  # a cache that cannot be written is none
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_atomic(path, json.dumps(_plain(entry)).encode())
    return entry


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palimpsest"


def _key(name: str, env_id: str, settings: Settings) -> str:
    """Hash what decides the result: the settings, who steps the world, and all code that may play a part in it."""
    world = envs.make(env_id, 1, **settings.env_kwargs)
    stepped_by = [type(world).__name__, *(f"{package} {_version(package)}" for package in PACKAGES)]
    world.close()
    digest = hashlib.sha256(json.dumps([name, env_id, asdict(settings), stepped_by], sort_keys=True).encode())
    modules = {form.__module__.replace(".", "/") + ".py" for form in agents.REFLEXES[name]}
    played = [
        *(_ROOT / "envs").glob("*.py"),
        *(_ROOT / "experiments").glob("*.py"),
        *(_ROOT / part for part in modules),
    ]
    for path in sorted(played):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _plain(entry: Entry) -> dict[str, Any]:
    episodes = entry.episodes
    columns = {"returns": episodes.returns, "lengths": episodes.lengths, "success": episodes.success}
    return {
        "row": entry.row,
        "columns": {name: part.tolist() for name, part in columns.items()},
        "scores": {name: part.tolist() for name, part in episodes.scores.items()},
    }


def _read(data: dict[str, Any]) -> Entry:
    arrays = ({name: np.array(part) for name, part in data[group].items()} for group in ("columns", "scores"))
    columns, scores = arrays
    return Entry(data["row"], Episodes(**columns, scores=scores))
