"""A trained agent from its run folder, to act, to look at, or to train on."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import envs
from agents import checkpoint as checkpoints
from agents.config import completed
from agents.reflexes import Unfit
from envs.vec import as_world


def load(run: str | Path, env: Any = None, checkpoint: str = "last", dim: int | None = None) -> Any:
    """Load what `train.py` has trained; its `predict` is Stable-Baselines3's.

    `learn` trains on from these parameters with a new optimiser; `train.py --resume` goes on exactly.

    Args:
        run: the run folder, or a folder above it with no other run in it.
        env: World, VecEnv, gymnasium environment or id with the spaces of the training; None for the training's own.
            As many are stepped together as in the training, if env does not say.
        checkpoint: `best`, `last` or the number of steps of a numbered checkpoint.
        dim: another D for a superposed memory; None for the one that the checkpoint has.

    Raises:
        ValueError: if there is no such run, or no dim to change; Unfit, one of these, if `env` has other observations
            or actions.
        CheckpointError: if the checkpoint is missing or damaged.
    """
    from agents import get

    folder, settings = _read(Path(run))
    agent = get(settings["agent"])
    hp = completed(agent.config, settings["hp"])
    if dim and "dim" not in hp:
        raise ValueError(f"{settings['agent']} has no dim to change; only superposed has.")
    if env is None:
        world = envs.make(settings["env"], hp["num_envs"], **settings["env_kwargs"])
    else:
        world = as_world(env, hp["num_envs"])
    try:
        config = agent.config(**hp)
    except TypeError as error:
        raise ValueError(f"{folder} has settings that {settings['agent']} does not have here: {error}.") from error
    with warnings.catch_warnings():  # SB3 warns of minibatches that do not fit; acting has none
        warnings.simplefilter("ignore", UserWarning)
        model = agent.build(config, world, settings["seed"], "cpu")
    tensors, meta = checkpoints.load(checkpoint_path(folder, checkpoint))
    try:
        model.load_parameters(tensors, meta["algorithm"])
    except KeyError as error:
        raise checkpoints.CheckpointError(
            f"{checkpoint_path(folder, checkpoint)} is no checkpoint of this run, it has no {error}: train.py --resume "
            "and evaluate.py take those that train.py has written."
        ) from error
    except RuntimeError as error:
        raise Unfit(
            f"{folder} was trained on {settings['env']}, whose observations or actions differ from those asked for: "
            f"use environments of that family, for example {settings['env']}."
        ) from error
    tells = "dim" in meta["algorithm"] or meta["algorithm"].get("started")
    if dim or (hp.get("grow") and not tells):  # an older export, which has neither D nor a matrix to tell it
        model.resize(dim or hp["grow"][-1])
    return model


def checkpoint_path(folder: Path, name: str) -> Path:
    """Return the file that `best`, `last` or a number of steps stands for. ValueError for another word."""
    if name in ("best", "last"):
        return folder / f"{name}.safetensors"
    try:
        return folder / f"step-{int(float(name)):012d}.safetensors"
    except (ValueError, OverflowError):
        raise ValueError(f"--checkpoint takes best, last or a number of steps, got {name!r}.") from None


def _read(path: Path) -> tuple[Path, dict[str, Any]]:
    """Find the run at or under `path`: its folder and its settings."""
    found = [path / "config.json"] if (path / "config.json").is_file() else sorted(path.glob("**/config.json"))
    if len(found) != 1:
        names = f": name one of {', '.join(str(f.parent) for f in found)}" if found else ", such as train.py writes"
        raise ValueError(f"{path} holds {len(found)} runs, and one is needed{names}.")
    try:
        settings = json.loads(found[0].read_text())
        needed = {name: settings[name] for name in ("agent", "env", "seed", "hp", "env_kwargs")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{found[0]} does not describe a run ({error}): train.py writes such a file.") from error
    return found[0].parent, needed
