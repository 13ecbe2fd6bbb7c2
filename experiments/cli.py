"""What train.py and evaluate.py share: flags from dataclasses (tyro), --hp.NAME, --config, --list, and errors.

Precedence: flag > file > defaults. Imports nothing of `agents` or `envs` before `check_packages` has run.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

if TYPE_CHECKING:
    from experiments.config import RunConfig

ROOT = Path(__file__).resolve().parent.parent
SWEPT = ("agent", "env", "seed", "scale", "hp", "env_kwargs")
"""Settings of a run that the command line gives as lists, or pieces by itself."""

T = TypeVar("T")


def check_packages() -> None:
    """Exit with a message if `agents` or `envs` would come from elsewhere: both names exist on PyPI, too."""
    for name in ("agents", "envs"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin != ROOT / name / "__init__.py":
            sys.exit(
                f"error: the package {name!r} that Python finds is {origin}, not {ROOT / name}. Run train.py and "
                f"evaluate.py from {ROOT} in an environment of their own: pip uninstall {name}."
            )


def guard(main: Callable[[list[str]], int]) -> int:
    """Call `main` on the command line; expected errors become one line and exit code 1, Ctrl-C becomes 130."""
    from experiments.run import EXPECTED

    try:
        return main(sys.argv[1:])
    except EXPECTED as error:
        if os.environ.get("PALIMPSEST_TRACEBACK"):
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def parse(kind: type[T], argv: list[str], lists: dict[str, Any]) -> tuple[T, dict[str, Any]]:
    """Read the command line: (an instance of `kind`, hyperparameters). Handles --list, --version and --config.

    `lists` maps what --list takes to something iterable, or to a function that returns it.
    """
    argv, hp = take_hp(argv)
    if "--version" in argv:
        print(f"palimpsest {metadata.version('palimpsest')}")
        sys.exit(0)
    if "--list" in argv:
        show_list(argv[argv.index("--list") + 1 :], lists)
        sys.exit(0)
    flags = [{"--stochastic": "--no-deterministic"}.get(a, a) for a in argv]
    epilog = "Also: --hp.NAME VALUE (hyperparameters), --list agents|envs|suites, --version. Underscores work in flags, too."
    args = tyro.cli(kind, args=flags, description=f"{kind.__doc__}\n\n{epilog}")
    path = getattr(args, "config", None)
    if path is not None:
        defaults, file_hp = read_file(kind, path)
        args, hp = tyro.cli(kind, args=flags, default=defaults), file_hp | hp
    return args, hp


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


def single(hp: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters with one value each, for training. ValueError where several were given."""
    for name, value in hp.items():
        if isinstance(value, list) and len(value) != 1:
            raise ValueError(f"--hp.{name} takes one value in training, got {' '.join(value)}; use --name for variants.")
    return {name: value[0] if isinstance(value, list) else value for name, value in hp.items()}


def split_hp(names: Iterable[str], hp: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give each agent the hyperparameters that it has. ValueError for one that none of them has."""
    import agents
    from experiments.config import names as fields_of

    known = {name: fields_of(agents.get(name).config) for name in names}
    every = sorted(set().union(*known.values()))
    for key in hp:
        if key not in every:
            close = difflib.get_close_matches(key, every, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"no agent of {', '.join(known)} has a hyperparameter {key!r}.{hint} Choices: {', '.join(every)}.")
    values = single(hp)
    return {name: {k: v for k, v in values.items() if k in has} for name, has in known.items()}


def read_file(kind: type[T], path: Path) -> tuple[T, dict[str, Any]]:
    """Read defaults for `kind` and hyperparameters from TOML, or from a run's config.json. ValueError if wrong."""
    try:
        text = path.read_text()
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    hp = data.pop("hp", {})
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    values = {}
    for key, value in data.items():
        name = key.replace("-", "_")
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{path}: unknown key {key!r}.{hint} Choices: {', '.join(names)}, hp.")
        if isinstance(value, dict):
            value = tuple(f"{k}={v}" for k, v in value.items())
        values[name] = value
    return replace(_defaults(kind), **_tuples(kind, values)), hp


def _defaults(kind: type[T]) -> Any:
    required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    return kind(**dict.fromkeys(required, ()))


def _tuples(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Let a file write `seed = 0` for `seed = [0]`, and nothing (null) for an empty list."""
    lists = {f.name for f in fields(kind) if "tuple[" in str(f.type)}
    many = {k: tuple(v) if isinstance(v, list | tuple) else () if v is None else (v,) for k, v in values.items() if k in lists}
    plain = {k: str(v) if k == "budget" else v for k, v in values.items()}
    return plain | many


def pairs(texts: Iterable[str]) -> dict[str, Any]:
    """Read NAME=VALUE words; a value is JSON where it can be, otherwise text. ValueError without a =."""
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--env-kwargs takes NAME=VALUE, got {text!r}.")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = {"True": True, "False": False, "None": None}.get(value, value)
    return values


def suites() -> Any:
    """Return the suites by name."""
    from envs.suites import SUITES

    return SUITES


def suite(name: str) -> tuple[str, ...]:
    """Return the ids of a suite; ValueError with the closest match if there is none of that name."""
    from experiments.config import known

    table = suites()
    return tuple(table[known(name, table, "suite", "`python train.py --list suites` shows them.")].env_ids)


def show_list(words: list[str], lists: dict[str, Any]) -> None:
    """Print what --list was asked for. ValueError for anything else."""
    if len(words) != 1 or words[0] not in lists:
        raise ValueError(f"--list takes one of: {', '.join(lists)}.")
    items = lists[words[0]]
    for item in items() if callable(items) else items:
        about = ""
        if words[0] == "agents":
            about = f"  {' '.join((items[item].config.__doc__ or '').split())}"
        if words[0] == "suites":
            about = f"  {', '.join(suite(item))}"
        print(f"{item:<16}{about}".rstrip())
    if words[0] == "envs":
        print("Also MiniGrid-* and BabyAI-*, every other id that gymnasium knows, and other numbers in the ids above.")


def describe(config: RunConfig) -> str:
    """Say what will be run, and where, before it is."""
    hp = " ".join(f"{k}={v}" for k, v in config.hp.items())
    return f"{config.folder}\n  {config.agent} on {config.env}, seed {config.seed}, budget {config.budget}\n  {hp}"


def cores() -> int:
    """Return how many processes this machine runs side by side."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
