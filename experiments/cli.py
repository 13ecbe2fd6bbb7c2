"""What train.py and evaluate.py share: flags from dataclasses, --hp.NAME, --config, --list, errors.

Precedence: flag > file > defaults.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
import tomllib
import traceback
from collections.abc import Callable, Iterable
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro

import agents
import envs
from envs.suites import SUITES, Suite
from experiments import config as configs
from experiments import limits
from experiments.config import RunConfig
from experiments.run import EXPECTED

SWEPT = ("agent", "env", "stream", "seed", "scale", "hp", "env_kwargs")
"""Settings of a run that the command line gives as lists, or pieces by itself."""

ALIASES = {
    "algo": "agent",
    "env_id": "env",
    "steps": "budget",
    "total_timesteps": "budget",
    "tensorboard_log": "logdir",
}
"""Other names of settings, in files; the flags have them from train.py."""

T = TypeVar("T")


def guard(main: Callable[[list[str]], int]) -> int:
    """Call `main` on the command line; expected errors become one line and code 1, Ctrl-C 130."""
    try:
        with limits.enough_memory():
            return main(sys.argv[1:])
    except EXPECTED as error:
        if os.environ.get("PALIMPSEST_TRACEBACK"):
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)  # of other packages it may be many lines
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 1


def parse(kind: type[T], argv: list[str]) -> tuple[T, dict[str, Any]]:
    """Read the command line: (an instance of `kind`, hyperparameters); --list and --version end here."""
    argv, hp = take_hp(argv)
    if "--version" in argv:
        print(f"palimpsest {metadata.version('palimpsest')}")
        sys.exit(0)
    if "--list" in argv:
        show_list(argv[argv.index("--list") + 1 :])
        sys.exit(0)
    _check_flags(kind, argv)
    flags = [{"--stochastic": "--no-deterministic"}.get(a, a) for a in argv]
    epilog = "Also: --hp.NAME VALUE (hyperparameters), --list agents|envs|suites|hp, --version."
    args = tyro.cli(kind, args=flags, prog=_program(), description=f"{kind.__doc__}\n\n{epilog}")
    path = getattr(args, "config", None)
    if path is not None:
        defaults, file_hp = read_file(kind, path)
        args = tyro.cli(kind, args=flags, prog=_program(), default=defaults)
        beaten = _decided(args, getattr(defaults, "scale", ()))
        hp = {name: value for name, value in file_hp.items() if name not in beaten} | hp
    elif twice := _decided(args, ()) & set(hp):
        names = " and ".join(f"--hp.{name}" for name in sorted(twice))
        raise ValueError(f"{names} is said twice: leave it out, or leave out --num-envs or --scale, which decide it.")
    return args, hp


def _program() -> str | None:
    """What was typed before the flags, of a module; None, for the name of the script, otherwise."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name}" if spec and spec.name.startswith("experiments.") else None


def said(kind: type, argv: list[str]) -> set[str]:
    """Names of the fields of `kind` that the command line gives, also where it gives their defaults."""
    words = (word.partition("=")[0].removeprefix("--").replace("-", "_") for word in argv if word.startswith("--"))
    return {ALIASES.get(word, word) for word in words} & set(configs.names(kind))


def _decided(args: Any, scale: tuple[float, ...]) -> set[str]:
    """Hyperparameters that flags of train.py decide: --num-envs says one; --scale, if new, solves for the widths."""
    if not hasattr(args, "num_envs"):
        return set()
    widths = {agents.get(name).width or "" for name in args.agent} if args.scale != scale else set()
    return widths | ({"num_envs"} if args.num_envs is not None else set())


def _check_flags(kind: type, argv: list[str]) -> None:
    """ValueError for a hyperparameter that is given as a flag, as in other programs, and a setting under two names."""
    every, spelled = _hyperparameters() - set(configs.names(kind)), dict[str, str]()
    for word in argv:
        name = word.removeprefix("--").partition("=")[0].replace("-", "_")
        if word.startswith("--") and (name == "hp" or name in every):
            wanted = "NAME" if name == "hp" else name
            raise ValueError(
                f"hyperparameters are --hp.NAME VALUE: write --hp.{wanted} instead of {word.partition('=')[0]}."
            )
        if _is_flag(word):
            flag, setting = word.partition("=")[0].replace("_", "-"), {"_n": "budget", **ALIASES}.get(name, name)
            if (first := spelled.setdefault(setting, flag)) != flag:
                raise ValueError(f"{first} and {flag} are two names of one setting: leave out one of them.")


def _hyperparameters() -> set[str]:
    """Names of the hyperparameters of all agents."""
    return {name for agent in agents.AGENTS.values() for name in configs.names(agent.config)}


def take_hp(argv: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Take --hp.NAME VALUE... and --hp.NAME=VALUE out of the command line: (the rest, values by name)."""
    rest: list[str] = []
    hp: dict[str, list[str]] = {}
    taking: list[str] | None = None
    for word in argv:
        if word.startswith("--hp."):
            name, equals, value = word.removeprefix("--hp.").partition("=")
            taking = hp[name.replace("-", "_")] = [value] if equals else []
        elif taking is not None and not _is_flag(word):
            taking.append(word)
        else:
            taking = None
            rest.append(word)
    for name, values in hp.items():
        if not values:
            raise ValueError(f"--hp.{name} needs a value.")
    return rest, hp


def _is_flag(word: str) -> bool:
    """Whether a word starts a flag; -3 and -1e-4 are numbers."""
    return word.startswith("-") and not word[1:2].isdigit() and word[1:2] != "."


def split_hp(names: Iterable[str], hp: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give each agent the hyperparameters that it has. ValueError for one that none of them has."""
    has = {name: configs.names(agents.get(name).config) for name in names}
    every = sorted(set().union(*has.values()))
    for key in hp:
        configs.known(key, every, f"hyperparameter of {', '.join(has)}:")
    # Several words are a list for fields that take one, and an error for the others when they are read.
    values = {k: ",".join(v) if isinstance(v, list) and v and isinstance(v[0], str) else v for k, v in hp.items()}
    return {name: {k: v for k, v in values.items() if k in mine} for name, mine in has.items()}


def read_file(kind: type[T], path: Path) -> tuple[T, dict[str, Any]]:
    """Read (defaults for `kind`, hyperparameters) from TOML or a run's config.json; ValueError if wrong."""
    try:
        text = path.read_text()
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"cannot read {path}: {reason}") from error
    hp = data.pop("hp", {}) if isinstance(data, dict) else None
    if not isinstance(hp, dict):
        raise ValueError(
            f"cannot read {path}: it needs keys such as agent and env, and [hp] must be a table of its own."
        )
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    values = {}
    for key, value in data.items():
        name = ALIASES.get(key.replace("-", "_"), key.replace("-", "_"))
        if name not in names and name in _hyperparameters():
            raise ValueError(f"{key} in {path} is a hyperparameter: write it below a line [hp].")
        configs.known(name, [*names, "hp"], f"key in {path}:")
        if name in values:
            raise ValueError(f"{key} in {path} is another name of {name}, which stands there: leave out one of them.")
        if isinstance(value, dict):
            value = tuple(f"{k}={json.dumps(v, default=str)}" for k, v in value.items())
        values[name] = value
    values, hints = _tuples(kind, values), get_type_hints(kind)
    for name, value in values.items():
        try:
            values[name] = value if hints[name] == Path | None else configs.convert(hints[name], value)
        except configs.UNREADABLE:
            shown = value[0] if isinstance(value, tuple) and len(value) == 1 else value
            raise ValueError(f"{name} in {path} cannot be {shown!r}: `--help` says what it takes.") from None
    return kind(**values), hp


def _tuples(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Let a file write `seed = 0` for `seed = [0]`, and nothing (null) for an empty list."""
    lists = {f.name for f in fields(kind) if "tuple[" in str(f.type)}
    many = {
        k: tuple(v) if isinstance(v, list | tuple) else () if v is None else (v,)
        for k, v in values.items()
        if k in lists
    }
    plain = {k: str(v) if k == "budget" else v for k, v in values.items()}
    return plain | many


def pairs(texts: Iterable[str]) -> dict[str, Any]:
    """Read NAME=VALUE words for an environment; a value is JSON where it can be, otherwise text.

    ValueError without a =, and for what has a flag of its own.
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--env-kwargs takes NAME=VALUE, got {text!r}.")
        if name in ("env_id", "num_envs"):
            raise ValueError(f"--env-kwargs cannot set {name}: give --env ID, and train.py --num-envs N.")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = {"True": True, "False": False, "None": None}.get(value, value)
    return values


def env_ids(ids: tuple[str, ...], suite: str, training: bool = False) -> tuple[str, ...]:
    """Return the ids named on the command line, and those of a suite, to play or to train on; or ValueError."""
    if suite:
        chosen = _suite(suite)
        ids = (*ids, *((training and chosen.train_on) or chosen.env_ids))
    return once(ids)


def once(values: Iterable[T]) -> tuple[T, ...]:
    """Leave out what was named before: said twice, it would be counted as two."""
    return tuple(dict.fromkeys(values))


def episodes(suite: str) -> int:
    """Return how many episodes a suite asks for, or the usual number; ValueError for an unknown suite."""
    return _suite(suite).episodes if suite else 128


def _suite(name: str) -> Suite:
    return SUITES[configs.known(name, SUITES, "suite", "`python train.py --list suites` shows them.")]


def show_list(words: list[str]) -> None:
    """Print what --list was asked for. ValueError for anything else."""
    if words == ["agents"]:
        for name, agent in agents.AGENTS.items():
            print(f"{name:<16}{agent.about or ' '.join((agent.config.__doc__ or '').split())}")
    elif words == ["suites"]:
        for name, suite in SUITES.items():
            print(f"{name:<17}{suite.about}\n{'':<17}{', '.join(suite.env_ids)}")
    elif words == ["hp"]:
        for name, agent in agents.AGENTS.items():
            defaults = " ".join(f"{f.name}={f.default}".replace(" ", "") for f in fields(agent.config)) or "-"
            print(textwrap.fill(f"{name:<16}{defaults}", 120, subsequent_indent=16 * " ", break_on_hyphens=False))
    elif words == ["envs"]:
        print(*envs.ids(), sep="\n")
        print("and other numbers in these, MiniGrid-*, BabyAI-*, and every other id that gymnasium knows.")
    else:
        raise ValueError("--list takes one of: agents, envs, suites, hp.")


def describe(config: RunConfig) -> str:
    """Say what will be run, and where, before it is."""
    hp = " ".join(f"{k}={v}" for k, v in config.hp.items())
    what = f"{config.agent} on {config.env}, seed {config.seed}, budget {config.budget}"
    return f"{config.folder}\n  {what}\n  {hp}"


def cores() -> int:
    """Return how many processes this machine runs side by side."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
