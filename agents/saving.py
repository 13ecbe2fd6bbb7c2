"""Saving and loading a MemoryPPO: tensors and JSON, no code; a resumed training is the unbroken one bit for bit."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from agents import checkpoint, space_json
from agents.config import completed
from agents.cores import CORES
from agents.encoder import on_device, to_tensors
from agents.replay import Replay
from agents.rollout import Episodes

if TYPE_CHECKING:
    from agents.ppo import MemoryPPO


class Spaces(NamedTuple):
    """Stands in for an environment when an agent is loaded only to act."""

    observation_space: Any
    action_space: Any


def snapshot(model: MemoryPPO) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that a bit-for-bit resume needs, as tensors and JSON; take it at the start of a rollout."""
    tensors = {f"policy.{name}": part for name, part in model.policy.state_dict().items()}
    for i, slot in model.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{name}": part for name, part in slot.items()}
    tensors["rng"] = model.generator.get_state()
    if model._started:
        tensors |= {f"core.{i}": part for i, part in enumerate(model._state)} | {"starts": model._starts}
        tensors |= {f"world.{name}": torch.as_tensor(part) for name, part in model.world.state().items()}
        tensors |= {name: torch.as_tensor(getattr(model.episodes, name)) for name in ("returns", "lengths")}
    if model.replay is not None:
        tensors |= {f"replay.{name}": part for name, part in model.replay.state().items()}
    meta = {
        "num_timesteps": model.num_timesteps, "updates": model.updates, "started": model._started,
        "seed": model.seed, "episodes": list(model.episodes.recent), "config": asdict(model.config),
    }  # fmt: skip
    if hasattr(model.policy.core, "resize"):
        meta["dim"] = model.policy.core.dim  # which may be another than that of the config
    return {name: part.detach().cpu().clone().contiguous() for name, part in tensors.items()}, meta


def restore(model: MemoryPPO, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Continue from `snapshot`, of an agent with the same config; ValueError if its environments are others."""
    tensors = {name: part.clone() for name, part in tensors.items()}  # what goes on changes them in place
    _network(model, tensors, meta)
    if meta["started"]:
        _episodes(model, tensors, meta)


def load_parameters(model: MemoryPPO, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """The policy alone, at the size that it has in the snapshot; RuntimeError if it has other parameters."""
    model.fit(tensors, meta)
    model.policy.load_state_dict(_under(tensors, "policy."))


def _network(model: MemoryPPO, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Parameters, optimiser, random numbers, counters and what is rehearsed; no episode is under way."""
    load_parameters(model, tensors, meta)
    slots: dict[int, dict[str, Tensor]] = {}
    for name, part in _under(tensors, "adam.").items():
        slots.setdefault(int(name.split(".")[0]), {})[name.split(".")[1]] = part
    model.optimizer.load_state_dict(model.optimizer.state_dict() | {"state": slots})
    if tensors["rng"].shape == model.generator.get_state().shape:  # another kind of device draws other numbers
        model.generator.set_state(tensors["rng"])
    model.num_timesteps, model.updates, model._started = meta["num_timesteps"], meta["updates"], False
    model.replay = _replay(model, _under(tensors, "replay."))


def _replay(model: MemoryPPO, kept: dict[str, Tensor]) -> Replay | None:
    """What is kept of past rollouts, which does not depend on the environments that come next."""
    if not kept:
        return None
    obs = {key: part[0] for key, part in _under(kept, "obs.").items()}
    like = model.new_rollout(on_device(obs, model.device))
    replay = Replay(model.config.replay, like, model.policy.core.initial_state(1))
    replay.load_state(kept)
    return replay


def _episodes(model: MemoryPPO, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """What is under way: the environments, and what the core remembers of each."""
    core, batch = _under(tensors, "core."), model.world.num_envs
    if len(tensors["starts"]) != batch:
        raise ValueError(f"{len(tensors['starts'])} environments are under way, and there are {batch}")
    empty = model.policy.core.initial_state(batch)
    state = type(empty)(*(core[str(i)].to(model.device) for i in range(len(empty))))
    if not model.world.resumable:  # new episodes begin: nothing of the old ones is carried over
        fresh = {name: torch.zeros_like(tensors[name]) for name in ("returns", "lengths")}
        tensors = tensors | fresh | {"starts": torch.ones_like(tensors["starts"])}
    obs = model.world.load_state({name: part.numpy() for name, part in _under(tensors, "world.").items()})
    model._state, model._starts = state, tensors["starts"].to(model.device)
    model._obs = to_tensors(obs, model.policy.encoder.keys)
    model.episodes = Episodes(batch)
    model.episodes.returns, model.episodes.lengths = tensors["returns"].numpy(), tensors["lengths"].numpy()
    model.episodes.recent.extend((r, n, s) for r, n, s in meta["episodes"])
    model._started, model._seed = True, None if model.world.resumable else model._seed


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: part for name, part in tensors.items() if name.startswith(prefix)}


def save(model: MemoryPPO, path: str | Path) -> None:
    """Write one file of tensors and JSON; see `load`. The suffix .safetensors is added when missing."""
    tensors, meta = model.snapshot()
    spaces = {"observation_space": model.observation_space, "action_space": model.action_space}
    meta |= {"core": model.core_name} | {name: space_json.dump(space) for name, space in spaces.items()}
    _file(path).parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(_file(path), tensors, meta)


def load(kind: type[MemoryPPO], path: str | Path, env: Any = None, device: str = "cpu") -> MemoryPPO:
    """Read what `save` wrote; no code in the file is run. With `env` it can go on training, without it can act.

    In the environments that it was saved with, `learn(..., reset_num_timesteps=False)` goes on in mid-episode; in
    others with the same spaces it begins new episodes.

    Raises:
        ValueError: if `env` has other spaces.
        CheckpointError: if the file is missing, damaged, or of another kind of agent.
    """
    tensors, meta = checkpoint.load(_file(path))
    if not {"core", "config"} <= meta.keys():
        folder = _file(path).parent
        raise checkpoint.CheckpointError(
            f"{_file(path)} is the checkpoint of a run, which its folder explains: agents.load({str(folder)!r})."
        )
    settings = kind.settings or CORES[meta["core"]][0]
    unknown = sorted(set(meta["config"]) - {field.name for field in fields(settings)})
    if unknown:
        raise checkpoint.CheckpointError(
            f"{_file(path)} has settings that {kind.__name__} does not, {', '.join(unknown)}: load it with the class "
            "that saved it."
        )
    acting = env is None
    if acting:
        env = Spaces(space_json.load(meta["observation_space"]), space_json.load(meta["action_space"]))
    config = settings(**completed(settings, meta["config"]))
    model = kind(meta["core"], env, config, meta["seed"], device)
    try:
        model.restore(tensors, meta | {"started": False})
    except RuntimeError as error:
        was = space_json.load(meta["observation_space"]), space_json.load(meta["action_space"])
        raise ValueError(
            f"{path} was trained on observations {was[0]} and actions {was[1]}, and env has "
            f"{model.observation_space} and {model.action_space}: give an env with the same spaces, or none to act"
        ) from error
    if meta["started"] and not acting:
        with contextlib.suppress(ValueError, RuntimeError):  # other environments: it begins anew in them
            model.restore(tensors, meta)
    return model


def _file(path: str | Path) -> Path:
    """The file of a checkpoint: .safetensors is added, in place of the .zip that SB3's callbacks add."""
    name = Path(path).name.removesuffix(".zip").removesuffix(".safetensors")
    return Path(path).with_name(f"{name}.safetensors")
