"""Worlds: long-horizon memory tasks as compiled batches, with every gymnasium environment beside them.

Importing this package registers its ids in gymnasium: `import envs; gymnasium.make("TMaze-L100-v0")`.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import re
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple, get_args

import gymnasium

from envs import kernel_cache  # noqa: F401 - before any kernel is defined
from envs.atlas import Atlas
from envs.detour import CHANGES, Detour
from envs.feedback import Feedback
from envs.hints import did_you_mean
from envs.keydoor import KeyDoor
from envs.labyrinth import Labyrinth
from envs.maze import Maze
from envs.recall import Recall
from envs.shuffled import ShuffledTMaze
from envs.tmaze import EndlessTMaze, TMaze
from envs.treasure import MEMORY_MAZE, Treasure
from envs.world import Obs, Transition, World

__all__ = ["FAMILIES", "Family", "Obs", "Transition", "World", "family_of", "ids", "make", "settings"]


class Family(NamedTuple):
    """One row of the table of ids: a template, its world and how to train on it."""

    template: str
    """An id with the constructor's arguments in braces."""
    world: Callable[..., World]
    """Called as world(num_envs, **arguments, **fixed)."""
    grid: dict[str, tuple[int, ...]]
    """The values registered in gymnasium; `make` takes any others too."""
    fixed: dict[str, Any]
    """Arguments that every id of this row shares."""
    gamma: float
    """Discount to train with: the motor horizon, not the memory horizon."""
    steps: int
    """Budget to train with, in environment steps over all environments."""

    def ids(self) -> list[str]:
        """Return the registered ids, in the order of the grid."""
        return [
            self.template.format(**dict(zip(self.grid, v, strict=True))) for v in itertools.product(*self.grid.values())
        ]

    def arguments(self, env_id: str) -> dict[str, Any] | None:
        """Return the constructor's arguments in `env_id`, or None if it is not of this family."""
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\d+)", re.escape(self.template))
        match = re.fullmatch(pattern, env_id)
        return None if match is None else {k: int(v) for k, v in match.groupdict().items()} | self.fixed


_LENGTHS = (10, 50, 100, 1_000, 10_000, 100_000, 1_000_000)
_SHORT = (10, 50, 100, 1_000)
_SENSES: dict[str, dict[str, Any]] = {
    "": {},
    "Local-": {"track": "local"},
    "Drift-": {"track": "local", "drift": 0.03},
    "Noisy-": {"track": "noisy", "flip": 0.1, "drift": 0.03},
}
_LINKS: dict[str, tuple[int, ...]] = {"length": (10, 50, 100), "corridors": (10, 50, 100)}

FAMILIES: tuple[Family, ...] = (
    Family("Recall-N{n}-D{delay}-v0", Recall,
           {"n": (8, 16, 32, 64, 128, 256, 512), "delay": (0, 16, 100, 1_000, 10_000)}, {}, 0.5, 500_000),
    Family("RecallMix-N{n}-D{delay}-v0", Recall, {"n": (8, 32, 64, 128), "delay": (16,)},
           {"mix": True}, 0.5, 500_000),
    Family("TMaze-L{length}-v0", TMaze, {"length": _LENGTHS}, {}, 0.99, 500_000),
    Family("TMaze-Max{length}-v0", TMaze, {"length": _SHORT}, {"random_length": True}, 0.99, 500_000),
    Family("NoisyTMaze-M{bits}-L{length}-v0", TMaze, {"bits": (1, 4, 8), "length": _LENGTHS},
           {"noise": True}, 0.5, 600_000),
    Family("NoisyTMaze-M{bits}-Max{length}-v0", TMaze, {"bits": (1, 4, 8), "length": _SHORT},
           {"noise": True, "random_length": True}, 0.5, 600_000),
    Family("ShuffledTMaze-K{task}-M{bits}-Max{length}-v0", ShuffledTMaze,
           {"task": tuple(range(10)), "bits": (1, 4), "length": (10,)}, {}, 0.5, 100_000),
    Family("EndlessTMaze-Fixed-L{length}-C{corridors}-v0", EndlessTMaze, _LINKS, {}, 0.5, 600_000),
    Family("EndlessTMaze-Uniform-L{length}-C{corridors}-v0", EndlessTMaze, _LINKS,
           {"random_length": True}, 0.5, 600_000),
    Family("DarkKeyDoor-{size}-v0", KeyDoor, {"size": (8, 16, 32)}, {}, 0.95, 5_000_000),
    Family("DarkKeyDoor-{size}-Relayout{relayout}-v0", KeyDoor, {"size": (8, 16, 32), "relayout": (500,)},
           {}, 0.95, 5_000_000),
    *(Family(f"Labyrinth-{sense}{port}v0", Labyrinth, {}, {**track, "port": port.rstrip("-").lower() or "free"},
             0.99, 5_000_000) for sense, track in _SENSES.items() for port in ("", "Bout-", "Unrewarded-")),
    Family("Labyrinth-Depth{depth}-v0", Labyrinth, {"depth": (4, 5, 6, 7, 8)}, {}, 0.99, 5_000_000),
    Family("BraidedMaze-{size}-v0", Maze, {"size": (11, 21, 51, 101)}, {}, 0.99, 5_000_000),
    Family("PerfectMaze-{size}-v0", Maze, {"size": (11, 21, 51, 101)}, {"opened": 0.0}, 0.99, 5_000_000),
    Family("Atlas-K{mazes}-v0", Atlas, {"mazes": (4, 10, 20, 50, 100, 500)}, {}, 0.99, 5_000_000),
    Family("Atlas-S{size}-K{mazes}-v0", Atlas, {"size": (11,), "mazes": (2, 20)}, {}, 0.99, 5_000_000),
    *(Family(f"Detour-{change.capitalize()}-{{size}}-v0", Detour, {"size": (11, 21)}, {"change": change},
             0.99, 5_000_000) for change in CHANGES),
    Family("Treasure-{size}-v0", Treasure, {"size": tuple(MEMORY_MAZE)}, {}, 0.99, 5_000_000),
)  # fmt: skip

_MINIGRID = ("MiniGrid-", "BabyAI-")
_DEFAULTS = {"gamma": 0.99, "steps": 1_000_000}


def ids() -> list[str]:
    """Return every id that this package registers, without MiniGrid's own."""
    return [env_id for family in FAMILIES for env_id in family.ids()]


def make(
    env_id: str, num_envs: int = 1, *, prev_action: bool = False, prev_reward: bool = False, **kwargs: Any
) -> World:
    """Make a batch of `num_envs` environments.

    Knows the ids of this package (also with numbers that are not registered, such as `TMaze-L77-v0`),
    MiniGrid's and BabyAI's, and every other id of gymnasium, stepped one by one in Python. `prev_action` and
    `prev_reward` add the last action and what it brought to the observation (see `envs.feedback`); `kwargs` go
    to the environment. ValueError for an unknown id, and where a world, or gymnasium, refuses the arguments.
    """
    for name, value in (("prev_action", prev_action), ("prev_reward", prev_reward)):
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r}.")
    world = _make(env_id.removeprefix("envs:"), num_envs, kwargs)
    return Feedback(world, prev_action, prev_reward) if prev_action or prev_reward else world


def _make(env_id: str, num_envs: int, kwargs: dict[str, Any]) -> World:
    for family in FAMILIES:
        arguments = family.arguments(env_id)
        if arguments is not None:
            _check(env_id, family.world, kwargs)
            try:
                return family.world(num_envs, **(arguments | kwargs))
            except OverflowError as error:  # the worlds count in 64 bits
                raise ValueError(f"{env_id} cannot be made: {error}") from None
    build: Callable[..., World]
    if env_id.startswith(_MINIGRID):
        import minigrid  # noqa: F401 - registers its ids

        from envs.minigrid import make_minigrid as build
    else:
        from envs.gym_world import GymWorld as build
    outside = not env_id.startswith(_MINIGRID) and (":" in env_id or "/" in env_id)  # gymnasium looks for these itself
    if env_id not in gymnasium.registry and not outside:
        raise ValueError(_unknown(env_id))
    try:
        return build(env_id, num_envs, **kwargs)
    except (TypeError, LookupError, AssertionError, gymnasium.error.Error) as error:  # of the environment's own code
        kind = f"{type(error).__name__} " if isinstance(error, LookupError | AssertionError) else ""
        given = f" with {', '.join(f'{k}={v}' for k, v in kwargs.items())}" if kwargs else ""
        raise ValueError(f"{env_id} cannot be made{given}: {kind}{' '.join(str(error).split())[:300]}") from error


def _check(env_id: str, world: Callable[..., World], kwargs: dict[str, Any]) -> None:
    """Raise a ValueError for an argument that a world does not take, or of another type than it says."""
    taken = dict(inspect.signature(world, eval_str=True).parameters)
    taken.pop("num_envs", None)
    if any(part.kind is part.VAR_KEYWORD for part in taken.values()):
        return
    for name, value in kwargs.items():
        if name not in taken:
            hint = did_you_mean(name, taken)
            raise ValueError(f"{env_id} takes no argument {name!r}.{hint} It takes {', '.join(taken)}.")
        kinds = get_args(taken[name].annotation) or (taken[name].annotation,)  # of `int | None` both
        if all(kind in _KINDS for kind in kinds) and not any(_is_a(value, kind) for kind in kinds):
            what = " or ".join(_KINDS[kind][0] for kind in kinds)
            raise ValueError(f"{name} of {env_id} must be {what}, got {value!r}.")


_KINDS: dict[Any, tuple[str, Any]] = {
    int: ("a whole number", Integral),
    float: ("a number", Real),
    str: ("a word", str),
    bool: ("true or false", bool),
    type(None): ("none", type(None)),
}


def _is_a(value: Any, kind: Any) -> bool:
    return isinstance(value, _KINDS[kind][1]) and (kind is bool or not isinstance(value, bool))


def family_of(env_id: str) -> tuple[Family, dict[str, Any]]:
    """Return the row of the table that `env_id` belongs to, and its arguments; ValueError for any other id."""
    for family in FAMILIES:
        arguments = family.arguments(env_id.removeprefix("envs:"))
        if arguments is not None:
            return family, arguments
    import minigrid  # noqa: F401 - registers its ids

    outside = f"{env_id} is of another package: no optimum of it, and no argument in its id, is known here."
    raise ValueError(outside if env_id in gymnasium.registry else _unknown(env_id))


def settings(env_id: str) -> dict[str, Any]:
    """Return the training settings of an id: `gamma` and a default budget `steps`."""
    for family in FAMILIES:
        if family.arguments(env_id.removeprefix("envs:")) is not None:
            return {"gamma": family.gamma, "steps": family.steps}
    return dict(_DEFAULTS)


def _unknown(env_id: str) -> str:
    import minigrid  # noqa: F401 - its ids may be what was meant

    known = {*ids(), *gymnasium.registry}
    part = sorted(known_id for known_id in known if env_id.lower() in known_id.lower())  # MemoryS13, without MiniGrid
    close = part[:3] or difflib.get_close_matches(env_id, known, n=3, cutoff=0.3)
    hint = f" Closest: {', '.join(close)}." if close else ""
    return f"unknown environment {env_id!r}.{hint} `python train.py --list envs` shows them all."


def _register() -> None:
    for env_id in ids():
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id,
                entry_point="envs.vec:WorldEnv",
                vector_entry_point="envs.vec:WorldVectorEnv",
                kwargs={"world": env_id},
                disable_env_checker=True,
                order_enforce=False,
            )


_register()
