"""Agents by name: the only registry. An agent is a dataclass of settings and a constructor.

model = agents.make("superposed", "RecallMix-N32-D16-v0").learn(100_000)
model = agents.load("runs/RecallMix-N32-D16-v0/superposed/seed0")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import envs
from agents import (
    endotaxis,
    growing,
    keydoor_searcher,
    labyrinth_walks,
    life,
    lifetime,
    limits,
    maze_reflexes,
    reflexes,
    sb3,
)
from agents.config import PPOConfig
from agents.cores import CORES
from agents.loading import load
from agents.ppo import MemoryPPO
from envs.hints import did_you_mean
from envs.vec import as_world

__all__ = ["AGENTS", "REFLEXES", "Agent", "count_parameters", "get", "load", "make", "scaled"]


class Agent(NamedTuple):
    """A row of the registry."""

    config: type[Any]
    build: Callable[..., Any]  # (config, env, seed, device) -> algorithm with SB3's contract
    width: str | None = None  # the field of the config that `scaled` turns to reach a number of parameters
    trained: bool = True  # False: ready as it is built; evaluate.py plays it by name
    about: str = ""  # what --list agents says, if not the docstring of the config


def _memory_ppo(core: str) -> Agent:
    def build(config: PPOConfig, env: Any, seed: int = 0, device: str = "cpu") -> MemoryPPO:
        return MemoryPPO(core, env, config, seed, device)

    return Agent(CORES[core][0], build, CORES[core][2])


REFLEXES: dict[str, tuple[type[reflexes.Reflex], ...]] = {
    "random": (reflexes.Random,),
    "never-reverse": (labyrinth_walks.NeverReverse, reflexes.KeepMoving, reflexes.KeepWalking),
    "searcher": (keydoor_searcher.Searcher,),
    "four-bias": (labyrinth_walks.FourBias,),
    "wall-follower": (maze_reflexes.WallFollower,),
    "tremaux": (maze_reflexes.Tremaux,),
    "greedy-map": (maze_reflexes.GreedyMap,),
    "known-map": (maze_reflexes.KnownMap,),
    "oracle": (reflexes.Best,),
}
"""Reflexes by name, each in the forms that it has for different worlds: the first that fits plays."""


def _reflex(name: str) -> Agent:
    def build(config: reflexes.ReflexConfig, env: Any, seed: int = 0, device: str = "cpu") -> reflexes.Reflex:
        world = as_world(env)
        for form in REFLEXES[name]:
            if form.fits(world):
                return form(world, seed)
        able = [other for other in REFLEXES if any(form.fits(world) for form in REFLEXES[other])]
        raise reflexes.Unfit(
            f"{name} does not play {type(world.unwrapped).__name__}; reflexes that do: {', '.join(able)}."
        )

    about = " ".join((form.__doc__ or "").splitlines()[0] for form in REFLEXES[name])
    return Agent(reflexes.ReflexConfig, build, trained=False, about=about)


AGENTS: dict[str, Agent] = {name: _memory_ppo(name) for name in CORES} | {
    "gru-growing": Agent(growing.GrowingGRUConfig, growing.build),
    "sb3-ppo": Agent(sb3.SB3PPOConfig, sb3.build_ppo, "width"),
    "sb3-dqn": Agent(sb3.SB3DQNConfig, sb3.build_dqn, "width"),
    "sb3-recurrent": Agent(sb3.SB3RecurrentConfig, sb3.build_recurrent, "lstm_hidden_size"),
}
AGENTS |= {name: _reflex(name) for name in REFLEXES}
AGENTS |= {
    "lifetime": Agent(life.LifetimeConfig, lifetime.build, trained=False),
    "lifetime-table": Agent(life.LifetimeTableConfig, lifetime.build, trained=False),
    "endotaxis": Agent(endotaxis.EndotaxisConfig, endotaxis.build, trained=False),
    "successor": Agent(endotaxis.SuccessorConfig, endotaxis.build, trained=False),
}


def get(name: str) -> Agent:
    """The agent of this name; ValueError with the closest match and all choices."""
    if name not in AGENTS:
        hint = " Separate names with spaces." if "," in name else did_you_mean(name, AGENTS)
        raise ValueError(f"unknown agent {name!r}.{hint} Choices: {', '.join(AGENTS)}.")
    return AGENTS[name]


def make(name: str, env: Any, seed: int = 0, device: str = "cpu", **settings: Any) -> Any:
    """Build an agent by name; `settings` are fields of its config.

    For an id, gamma of an agent that is trained is what the id recommends.

    Raises:
        ValueError: if there is no agent of this name, or a setting is out of range.
        TypeError: if it has no such setting.
    """
    agent = get(name)
    known = {field.name for field in dataclasses.fields(agent.config)}
    for wrong in sorted(set(settings) - known):
        hint = did_you_mean(wrong, known)
        raise TypeError(f"{name} has no setting {wrong!r}.{hint} Settings: {', '.join(sorted(known)) or 'none'}.")
    advised = envs.settings(env) if isinstance(env, str) and agent.trained else {}
    config = agent.config(**({key: value for key, value in advised.items() if key in known} | settings))
    limits.check(config)
    return agent.build(config, env, seed, device)


def count_parameters(name: str, config: Any, world: Any) -> int:
    """Trained parameters of an agent on the spaces of a world."""
    from agents.policy import Policy

    if name not in CORES:
        small = {key: 2 for key in ("n_steps", "batch_size", "buffer_size") if hasattr(config, key)}
        return sb3.trained_parameters(get(name).build(dataclasses.replace(config, **small), world, 0, "cpu"))
    policy = Policy(world.observation_space, world.action_space, name, config)
    return sum(part.numel() for part in policy.parameters())


def scaled(name: str, config: Any, world: Any, multiple: float) -> Any:
    """The config whose width gives `multiple` times the trained parameters of the default superposed agent.

    Raises:
        ValueError: if no width comes within 5 %, or the agent has no width to turn.
    """
    field = get(name).width
    if field is None:
        raise ValueError(
            f"{name} has no width to scale; scale one of: {', '.join(n for n in AGENTS if AGENTS[n].width)}"
        )
    ours = CORES["superposed"][0]
    target = multiple * count_parameters("superposed", ours(encoder=getattr(config, "encoder", ours.encoder)), world)
    low, high = 1, 2
    unit = getattr(config, "attention_heads", 1)  # the width is a multiple of it
    size = lambda n: count_parameters(name, dataclasses.replace(config, **{field: n * unit}), world)  # noqa: E731
    while size(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) < target else (low, middle)
    width = min((low, high), key=lambda w: abs(size(w) - target))
    if abs(size(width) / target - 1) > 0.05:
        raise ValueError(
            f"{name} cannot have {multiple} x {target / multiple:.0f} trained parameters here: "
            f"the nearest is {size(width)}"
        )
    return dataclasses.replace(config, **{field: width * unit})
