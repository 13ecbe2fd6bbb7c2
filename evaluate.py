"""Evaluate trained agents: `python evaluate.py runs/RecallMix-N32-D16-v0 --env Recall-N32-D16-v0 --table md`.

A RUN is a run folder or any folder above it; the seeds of an agent become one row, with a 95 % interval.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from experiments import cli, compare, tables
from experiments import config as configs


@dataclass(frozen=True)
class Args:
    """Evaluate trained agents, frozen, on the environment of their training or on others."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders, or folders above them."""
    agent: Annotated[tuple[str, ...], arg(aliases=["--algo"])] = ()
    """Only the runs of these agents; `random` adds a row of random actions, the floor."""
    env: Annotated[tuple[str, ...], arg(aliases=["--env-id"])] = ()
    """Environments to play. Default: the one of the training."""
    suite: str = ""
    """All environments of a suite, see --list suites."""
    episodes: int | None = None
    """Episodes of each run on each environment. Default: the suite's number, or 128."""
    checkpoint: str = "last"
    """best, last, or the steps of a numbered checkpoint."""
    deterministic: bool = True
    """Take the most likely action; --stochastic draws one instead."""
    seed: int = 0
    """Seed of the worlds."""
    table: Literal["md", "csv", "tex", "json"] = "md"
    """How to print the rows."""
    video: Path | None = None
    """Write the first episode of the first run as a GIF."""


def games(args: Args, hp: dict[str, Any]) -> list[tuple[Path, str, dict[str, Any]]]:
    """List what to play: run folder, environment, changed hyperparameters (each value a row)."""
    if not args.runs:
        return []
    wanted = [name for name in args.agent if name != "random"]
    folders = [f for f in compare.find_runs(list(args.runs)) if not wanted or configs.of(f).agent in wanted]
    if not folders:
        raise ValueError(f"none of these runs is of {', '.join(wanted)}.")
    ids = cli.env_ids(args.env, args.suite)
    changes = [dict(zip(hp, values, strict=True)) for values in product(*hp.values())]
    fields = {folder: configs.names(configs.kind(configs.of(folder).agent)) for folder in folders}
    for key in hp:
        configs.known(key, sorted({name for names in fields.values() for name in names}), "hyperparameter")
    return [
        (folder, env_id, change)
        for folder in folders
        for env_id in ids or (configs.of(folder).env,)
        for change in (changes if set(hp) <= set(fields[folder]) else [{}])  # without it: one plain row
    ]


def write_gif(path: Path, frames: list[Any], fps: int = 8) -> None:
    """Write frames (H, W, 3) uint8 as an endless GIF."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=1000 // fps, loop=0)


def main(argv: list[str]) -> int:
    """Run the command line and return the exit code."""
    args, hp = cli.parse(Args, argv)
    played = games(args, hp)
    floor = cli.env_ids(args.env, args.suite) if "random" in args.agent else ()
    if not played and not floor:
        raise ValueError("nothing to evaluate: name run folders, or give --agent random --env ID.")
    settings = compare.Settings(
        episodes=args.episodes or cli.episodes(args.suite),
        checkpoint=args.checkpoint,
        deterministic=args.deterministic,
        seed=args.seed,
    )
    entries: list[compare.Entry] = []
    for folder, env_id, change in played:
        print(f"{folder} on {env_id} {change or ''}".rstrip(), file=sys.stderr)
        frames: list[Any] | None = [] if args.video and not entries else None
        entries.append(compare.play(folder, env_id, settings, change, frames))
        if args.video and frames:
            write_gif(args.video, frames)
            print(f"wrote {args.video}, {len(frames)} frames", file=sys.stderr)
    if "random" in args.agent:
        floor = tuple(dict.fromkeys((*floor, *(env_id for _, env_id, _ in played))))
    rows = compare.rows(entries) + [compare.chance(env_id, settings) for env_id in floor]
    print(tables.FORMATS[args.table](rows))
    return 0


if __name__ == "__main__":
    sys.exit(cli.guard(main))
