"""A trained agent for use elsewhere: as ONNX, its memory an input and an output; or as a run folder to ship.

    python -m experiments.export runs/RecallMix-N64-D16-v0/superposed/seed0 agent.onnx
    python -m experiments.export runs/RecallMix-N64-D16-v0/superposed/seed0 agent.onnx --checkpoint best --hp.dim 1024
    python -m experiments.export runs/RecallMix-N64-D16-v0/superposed/seed0 pretrained/recall

The ONNX graph is one step of a batch: observations (one input for each part), `episode_start` (B,) bool and the
memory, `state.0`, `state.1`, ... (B, ...), zeros at first; it returns `action` (B, k) of every component, `logits`
(B, A) and the memory after the step, `next.0`, `next.1`, ... Extra `onnx`.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tyro.conf import Positional

import agents
from agents import checkpoint, kernels
from agents.encoder import to_tensors
from agents.loading import checkpoint_path
from agents.ppo import MemoryPPO
from experiments import cli, compare, run
from experiments import config as configs


@dataclass(frozen=True)
class Args:
    """Export a trained agent; --hp.dim is the D of the ONNX graph."""

    run: Positional[Path]
    """A run folder, or a folder above it with no other run in it."""
    target: Positional[Path]
    """FILE.onnx, or the folder to ship the run in."""
    checkpoint: str = "last"
    """best, last, or the steps of a numbered checkpoint."""


class Step(nn.Module):
    """The greedy policy as a pure function of observations, episode starts and memory."""

    def __init__(self, model: MemoryPPO) -> None:
        super().__init__()
        self.policy, self.keys = model.policy, model.policy.encoder.keys
        self.state_type = type(model.policy.core.initial_state(1))

    def forward(self, obs: list[Tensor], episode_start: Tensor, state: list[Tensor]) -> tuple[Tensor, ...]:
        """Parts of the observation, starts (B,) bool, parts of the memory -> action, logits, parts of the memory."""
        parts = [torch.where(episode_start.view(-1, *[1] * (s.dim() - 1)), torch.zeros_like(s), s) for s in state]
        x = self.policy.encoder(dict(zip(self.keys, obs, strict=True)))
        y, after = self.policy.core.step(self.policy.into_core(x), self.state_type(*parts))
        logits = self.policy.pi(torch.cat((x, y), -1))
        action = torch.stack([part.argmax(-1) for part in logits.split(self.policy.sizes, -1)], -1)
        return action + torch.as_tensor(self.policy.action_start), logits, *after


def onnx(model: MemoryPPO, path: Path, batch: int = 2) -> list[str]:
    """Write the step of a model as ONNX with a free batch size; returns the names of its inputs.

    ImportError without the extra `onnx`, ValueError for an agent that is no MemoryPPO.
    """
    if not isinstance(model, MemoryPPO):
        raise ValueError(f"only agents trained by MemoryPPO can be exported, not {type(model).__name__}.")
    if model.config.contexts and model.config.context_form != "flip":
        raise ValueError(f"contexts as {model.config.context_form} cannot be exported, only those of the form flip.")
    _installed()
    sample = to_tensors(model.observation_space.sample(), model.policy.encoder.keys)
    obs = [part[None].repeat(batch, *[1] * part.dim()) for part in sample.values()]
    state = list(model.policy.core.initial_state(batch))
    start = torch.zeros(batch, dtype=torch.bool)
    names = [*(f"obs.{key}" if key else "obs" for key in sample), "episode_start"]
    names += [f"state.{i}" for i in range(len(state))]
    free = {0: torch.export.Dim("batch", min=1)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it says that torchvision is not there
    with kernels.plain(), warnings.catch_warnings():  # the exporter announces changes of its own internals
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Step(model).eval(),
            (obs, start, state),
            str(path),
            input_names=names,
            output_names=["action", "logits", *(f"next.{i}" for i in range(len(state)))],
            dynamic_shapes=([free] * len(obs), free, [free] * len(state)),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return names


def ship(folder: Path, target: Path, which: str = "last") -> Path:
    """Copy a run under `target` with nothing but what acting takes: no optimiser, no worlds, no curves, no paths.

    `which` checkpoint of the run becomes the last, and only, one of the copy. ValueError where that is the run itself.
    """
    config = configs.of(folder)
    tensors, meta = checkpoint.load(checkpoint_path(folder, which))
    place = target / Path(*folder.absolute().parts[-3:])
    if place.resolve() == folder.resolve():
        raise ValueError(f"{folder} would be replaced by its copy, which cannot go on training: name another folder.")
    place.mkdir(parents=True, exist_ok=True)
    kept = {name: part for name, part in tensors.items() if name.startswith("policy.")}
    acting = {"algorithm": meta["algorithm"] | {"started": False, "episodes": []}, "run": {}}
    checkpoint.save(place / "last.safetensors", kept, acting)
    configs.write(replace(config, logdir=str(target)), place / "config.json")
    result = run.result_of(folder) | {"folder": str(place)}
    checkpoint.write_atomic(place / "result.json", (json.dumps(result, indent=2) + "\n").encode())
    return place


def _dim(source: Path, hp: dict[str, Any]) -> int | None:
    """The D that is asked for. ValueError for another hyperparameter, or an agent without one."""
    for name in hp:
        configs.known(name, ["dim"], "hyperparameter that can change after training:")
    agent = configs.of(source).agent
    given = configs.typed(configs.kind(agent), cli.split_hp([agent], hp)[agent])
    return given.get("dim")


def _installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError("ONNX needs its packages, which are not installed: pip install onnx onnxscript") from error


def main(argv: list[str]) -> int:
    """Run the command line and return the exit code."""
    args, hp = cli.parse(Args, argv)
    found, target = compare.find_runs([args.run]), args.target
    if len(found) > 1:
        raise ValueError(f"{args.run} holds {len(found)} runs: name one of {', '.join(map(str, found))}.")
    (source,) = found
    if target.suffix == ".onnx":
        names = onnx(agents.load(source, checkpoint=args.checkpoint, dim=_dim(source, hp)), target)
        print(f"wrote {target}, inputs {', '.join(names)}")
    elif hp:
        raise ValueError(f"a shipped run keeps its settings: leave out --hp.{min(hp)}; evaluate.py takes it.")
    else:
        configs.read(source / "config.json")
        if not run.result_of(source):
            raise run.RunError(f"{source} is not finished: python train.py --resume {source}")
        print(f"wrote {ship(source, target, args.checkpoint)}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.guard(main))
