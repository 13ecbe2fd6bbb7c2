"""From what a user asks for to one frozen description of a run, with every hyperparameter in it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Union

import agents
import envs
from agents import checkpoint
from agents.config import completed
from agents.limits import check_hyperparameter
from envs.hints import did_you_mean
from experiments import limits, stream
from experiments.budget import Budget, slug


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: one agent, one environment, one seed."""

    agent: str
    """Name of the agent, a key of agents.AGENTS."""
    env: str
    """Id of the environment."""
    seed: int = 0
    """Seed of everything random in the run."""
    budget: str = ""
    """`steps=N`, `flops=N` or `seconds=N`; empty for the environment's own."""
    scale: float | None = None
    """Trained parameters as a multiple of the default superposed agent's; None leaves the width alone."""
    hp: dict[str, Any] = field(default_factory=dict)
    """Hyperparameters that differ from the agent's defaults; all of them once resolved."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of the environment."""
    stream: str = ""
    """Tasks to go through one after the other, ids and suites with commas; `env` is the first of them."""
    stream_repeats: int = 1
    """Passes through these tasks."""
    stream_fresh: bool = False
    """Begin each task with a fresh network, as a yardstick."""
    device: str = "cpu"
    """Where the networks live."""
    num_threads: int = 1
    """Threads of this process."""
    logdir: str = "runs"
    """Folder of all runs."""
    name: str = ""
    """Label appended to the agent's folder, to keep variants apart."""
    save_every: int = 0
    """Environment steps between numbered checkpoints; 0 keeps only the best and the last."""
    eval_every: int = 0
    """Environment steps between evaluations; 0 for none: training episodes then decide what is best."""
    eval_episodes: int = 100
    """Episodes of each of these evaluations."""

    @property
    def label(self) -> str:
        """Folder of the agent: its name, its scale and the label."""
        scale = "" if self.scale is None else f"{self.scale:g}x"
        return slug("-".join(part for part in (self.agent, scale, self.name) if part))

    @property
    def folder(self) -> Path:
        """Folder of the run; TensorBoard groups by its parts."""
        where = f"stream-{self.stream}"[:100] if self.stream else self.env
        return Path(self.logdir) / slug(where) / self.label / f"seed{self.seed}"


# What may change between the start of a run and its continuation.
RESUMABLE = frozenset(
    {"budget", "num_threads", "logdir", "name", "save_every", "eval_every", "eval_episodes", "device"}
)


UNREADABLE = (ValueError, TypeError, OverflowError)
"""What a value raises that cannot be read as the type of a field: a word, a list, an infinite whole number."""


def resolve(config: RunConfig) -> RunConfig:
    """Fill in budget and hyperparameters: agent's defaults < environment's settings < `hp`, then scale.

    Resolving twice changes nothing. ValueError for unknown names, each with the closest match, and for agents that
    need no training, and for values out of range.
    """
    limits.check_run(config)
    if not agents.get(config.agent).trained:
        raise ValueError(
            f"{config.agent} needs no training: python evaluate.py --agent {config.agent} --env {config.env}"
        )
    hyper = hyperparameters(config)
    budget = str(Budget.parse(config.budget or f"steps={envs.settings(config.env)['steps']}"))
    resolved = replace(config, hp=asdict(hyper), budget=budget)
    stream.check(resolved)
    return resolved


def hyperparameters(config: RunConfig) -> Any:
    """Build the agent's config dataclass for a run."""
    kind = agents.get(config.agent).config
    settings = {k: v for k, v in envs.settings(config.env).items() if k in names(kind)}
    if config.stream and "final_learning_rate" in names(kind):
        settings["final_learning_rate"] = 1.0  # nothing tells the agent that the stream is about to end
    hyper = kind(**(settings | typed(kind, config.hp)))
    # A width that was asked for, or written into a config.json by an earlier version, stays.
    given = agents.get(config.agent).width in config.hp
    if config.scale is None or given or (config.agent, config.scale) == ("superposed", 1):
        return hyper
    return _scaled(config.agent, hyper, config.scale, config.env, json.dumps(config.env_kwargs))


@functools.cache  # the same for every seed and budget, and some fifteen networks are built to find it
def _scaled(agent: str, hyper: Any, scale: float, env_id: str, env_kwargs: str) -> Any:
    """Turn the width of an agent to a number of trained parameters, see `agents.scaled`; `env_kwargs` is JSON."""
    world = envs.make(env_id, 1, **json.loads(env_kwargs))
    try:
        return agents.scaled(agent, hyper, world, scale)
    finally:
        world.close()


def kind(agent: str) -> type[Any]:
    """Return the config dataclass of an agent; ValueError if there is none of that name."""
    return agents.get(agent).config


def build(config: RunConfig, world: envs.World) -> Any:
    """Make the algorithm of a resolved run; ValueError for hyperparameters that do not go together."""
    agent = agents.get(config.agent)
    settings = agent.config(**typed(agent.config, config.hp))
    try:
        return agent.build(settings, world, config.seed, config.device)
    except AssertionError as error:  # SB3 says it that way
        raise ValueError(f"{config.agent} cannot be made: {' '.join(str(error).split())}") from error


def check_env(env_id: str, kwargs: dict[str, Any]) -> None:
    """Make an environment and close it: an unknown id or argument fails before anything is written."""
    envs.make(env_id, 1, **kwargs).close()


def known(name: str, choices: Iterable[str], kind: str, then: str = "") -> str:
    """Return `name` if it is a choice; otherwise ValueError with the closest match and the choices."""
    choices = list(choices)
    if name in choices:
        return name
    hint = did_you_mean(name, choices)
    raise ValueError(f"unknown {kind} {name!r}.{hint} Choices: {', '.join(choices) or 'none'}. {then}".rstrip())


def names(kind: type) -> list[str]:
    """Return the names of a dataclass's fields."""
    return [f.name for f in fields(kind)]


def typed(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Check hyperparameters against a dataclass, reading strings as the field's type; or ValueError."""
    hints = typing.get_type_hints(kind)
    checked = {}
    for key, value in values.items():
        known(key, names(kind), f"hyperparameter of {kind.__name__}")
        try:
            checked[key] = convert(hints[key], value)
        except UNREADABLE:
            choices = " or ".join(map(repr, typing.get_args(hints[key])))
            literal = typing.get_origin(hints[key]) is typing.Literal
            expected = choices if literal else getattr(hints[key], "__name__", str(hints[key]))
            raise ValueError(f"hyperparameter {key!r} of {kind.__name__} must be {expected}, got {value!r}.") from None
        check_hyperparameter(key, checked[key])
    return checked


def convert(hint: Any, value: Any) -> Any:
    """Read a value from a flag, TOML or JSON as the type of a field; one of UNREADABLE if it is not one."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _first(inner, value)
    if origin is typing.Literal:
        if value not in inner:
            raise ValueError(value)
        return value
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(convert(inner[0], part) for part in parts)
    if hint is type(None) and value in (None, "none", "None"):
        return None
    if hint is bool and str(value).lower() in ("true", "false", "1", "0", "yes", "no"):
        return str(value).lower() in ("true", "1", "yes")
    if hint is int and not isinstance(value, bool) and float(value) == int(float(value)) and abs(float(value)) < 2**63:
        return int(value) if isinstance(value, int) else int(float(value))  # 1e6 is a whole number, too
    if hint is float and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    raise ValueError(value)


def _first(hints: tuple[Any, ...], value: Any) -> Any:
    for hint in hints:
        try:
            return convert(hint, value)
        except UNREADABLE:
            continue
    raise ValueError(value)


def fingerprint(config: RunConfig) -> str:
    """Hash what a resolved run is, and nothing that may change when it goes on: eight hexadecimal digits."""
    what = {name: value for name, value in asdict(config).items() if name not in RESUMABLE}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]


def settings(config: RunConfig) -> dict[str, Any]:
    """What two runs of one agent on one environment may differ in, apart from their seeds, in one flat dictionary."""
    rest = {name: getattr(config, name) for name in ("budget", "stream", "stream_repeats", "stream_fresh")}
    return rest | config.env_kwargs | config.hp


def write(config: RunConfig, path: Path) -> None:
    """Write a config as JSON; `train.py --config` reads it back."""
    checkpoint.write_atomic(path, (json.dumps(asdict(config), indent=2) + "\n").encode())


def read(path: Path) -> RunConfig:
    """Read the config of a run folder; ValueError if the file is not one."""
    try:
        config = _complete(RunConfig(**json.loads(path.read_text())))
        for name, hint in typing.get_type_hints(RunConfig).items():
            kinds = typing.get_args(hint) if typing.get_origin(hint) is types.UnionType else (hint,)
            kinds = tuple(typing.get_origin(kind) or kind for kind in kinds) + ((int,) if float in kinds else ())
            if not isinstance(getattr(config, name), kinds):
                raise ValueError(f"{name} is {getattr(config, name)!r}, not {' or '.join(k.__name__ for k in kinds)}")
        return config
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path} does not describe a run ({error}): name a folder that train.py has written."
        ) from error


def _complete(config: RunConfig) -> RunConfig:
    """Add hyperparameters that came later than a config.json, at the values that change nothing."""
    if config.agent not in agents.AGENTS or not isinstance(config.hp, dict) or not config.hp:
        return config
    return replace(config, hp=json.loads(json.dumps(completed(kind(config.agent), config.hp))))


def of(folder: Path) -> RunConfig:
    """Return the config of a run folder, wherever its LOGDIR stands now; ValueError if renamed."""
    below = [] if (folder / "config.json").exists() else sorted(map(str, folder.glob("*/**/config.json")))
    if below:
        raise ValueError(f"{folder} is not one run: name a run folder in it, such as {Path(below[0]).parent}.")
    here = Path(os.path.abspath(folder))  # without `..`, whose parents are others
    config = replace(read(folder / "config.json"), logdir=str(Path(*here.parts[:-3])))
    if config.folder != here:
        raise ValueError(f"{folder} was renamed: the run in it is called {config.folder}.")
    return config
