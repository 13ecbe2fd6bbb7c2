"""Evaluate agents: `python evaluate.py runs/RecallMix-N32-D16-v0 --env Recall-N32-D16-v0 --table md`.

A RUN is a run folder or any folder above it; the seeds of an agent become one row, with a 95 % interval. Agents that
need no training go by their names: `python evaluate.py --agent never-reverse --suite routes`.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

import agents
from agents import checkpoint
from agents.loading import checkpoint_path
from agents.reflexes import Unfit
from envs.suites import SUITES
from experiments import bounds, cli, compare, labyrinth_page, limits, tables
from experiments import config as configs
from experiments.labyrinth_scores import Life
from experiments.life_log import LifeLog
from experiments.run import result_of
from experiments.trajectories import Writer
from experiments.video import PAGE_FRAMES, Film

Player = Path | str
"""A run folder, or the name of an agent that needs no training."""


@dataclass(frozen=True)
class Args:
    """Evaluate agents, frozen, on the environment of their training or on others, between floor and ceiling."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders, or folders above them."""
    agent: Annotated[tuple[str, ...], arg(aliases=["--algo"])] = ()
    """Of the runs, only those of these agents; agents without training play by their names."""
    env: Annotated[
        tuple[str, ...], arg(aliases=["--env-id"], help_behavior_hint="(default: the one of the training)")
    ] = ()
    """Environments to play."""
    suite: str = ""
    """All environments of a suite, see --list suites."""
    episodes: Annotated[
        int | None,
        arg(aliases=["--lives"], metavar="INT", help_behavior_hint="(default: the suite's number, or 128)"),
    ] = None
    """Episodes of each agent on each environment."""
    env_kwargs: tuple[str, ...] = ()
    """Arguments of the environments, as NAME=VALUE."""
    checkpoint: str = "last"
    """best, last, or the steps of a numbered checkpoint."""
    deterministic: bool = True
    """Take the most likely action; --stochastic draws one instead."""
    seed: int = 10_000
    """Seed of the worlds."""
    bounds: bool = True
    """Show random actions and, where it is known, the optimum beside the agents."""
    table: Literal["md", "csv", "tex", "json"] = "md"
    """How to print the rows."""
    trajectories: Path | None = None
    """Write what happened in every life, a JSON object a line; see docs/runs.md."""
    video: Path | None = None
    """Write the beginning of the first episode of all agents on the first environment, side by side, as a GIF."""
    report: Path | None = None
    """Write one self-contained HTML page: tables, curves, frontiers, replays (extra: plot); with --suite labyrinth, the
    agents beside the mice."""
    tensorboard_log: Path | None = None
    """Write how lives of the lifetime agents go (rewards, contexts, the map) for TensorBoard."""

    @property
    def mice(self) -> bool:
        """Whether the report is the page of the labyrinth."""
        return self.report is not None and self.suite == "labyrinth"


def players(args: Args) -> list[Player]:
    """List who plays. ValueError if nobody does, CheckpointError if a run has nothing to play, with what to do."""
    named = [name for name in cli.once(args.agent) if not agents.get(name).trained]
    wanted = [name for name in args.agent if agents.get(name).trained]
    if wanted and not args.runs:
        raise ValueError(
            f"{wanted[0]} has to be trained: python train.py --agent {wanted[0]} --env ID; then name its run folder."
        )
    if not args.runs:
        return [*named]
    folders = compare.find_runs(list(args.runs))
    if args.agent:
        folders = [folder for folder in folders if configs.of(folder).agent in wanted] if wanted else folders
        if not folders:
            there = sorted({configs.of(folder).agent for folder in compare.find_runs(list(args.runs))})
            raise ValueError(f"none of these runs is of {', '.join(wanted)}; they are of {', '.join(there)}.")
    for path in (checkpoint_path(folder, args.checkpoint) for folder in folders):
        if not path.is_file():
            checkpoint.load(path)  # CheckpointError, now and not when the others have played
    return [*folders, *named]


def games(args: Args, hp: dict[str, Any]) -> list[tuple[Player, str, dict[str, Any]]]:
    """List what to play: who, in which environment, with which changed hyperparameters (each value a row)."""
    ids = cli.env_ids(args.env, args.suite)
    changes = [dict(zip(hp, values, strict=True)) for values in product(*map(cli.once, hp.values()))]
    played: list[tuple[Player, str, dict[str, Any]]] = []
    everyone = players(args)
    if not everyone and not args.mice:
        raise ValueError(
            "nothing to evaluate: name run folders, or agents without training: --agent random --env ID. A folder "
            "behind --hp.NAME is read as one of its values."
        )
    kinds = [configs.kind(configs.of(who).agent if isinstance(who, Path) else who) for who in everyone]
    for key in hp:
        configs.known(key, sorted({name for kind in kinds for name in configs.names(kind)}), "hyperparameter")
    trained_on = dict.fromkeys(configs.of(who).env for who in everyone if isinstance(who, Path))
    for who, kind in zip(everyone, kinds, strict=True):
        mine = changes if set(hp) <= set(configs.names(kind)) else [{}]  # without it: one plain row
        for change in mine:
            configs.typed(kind, change)  # ValueError now, and not when the others have been played
        own = (configs.of(who).env,) if isinstance(who, Path) else tuple(trained_on)
        played += product([who], ids or own, mine)
    if args.mice:  # the page shows these beside, in the first maze
        played += [(name, ids[0], {}) for name in labyrinth_page.BESIDE if name not in args.agent]
    if not played:
        raise ValueError("nothing to evaluate: agents without training need --env ID or --suite NAME.")
    return played


def worlds(played: list[tuple[Player, str, dict[str, Any]]], settings: compare.Settings) -> dict[str, compare.Settings]:
    """Settings of each environment for agents without training: with the arguments that the first run in it has."""
    kwargs = {env_id: dict[str, Any]() for _, env_id, _ in played}
    for config in (configs.of(who) for who, _, _ in reversed(played) if isinstance(who, Path)):
        if config.env in kwargs:
            kwargs[config.env] = config.env_kwargs
    return {env_id: replace(settings, env_kwargs=own | settings.env_kwargs) for env_id, own in kwargs.items()}


def play(
    played: list[tuple[Player, str, dict[str, Any]]],
    settings: compare.Settings,
    beside: dict[str, compare.Settings],
    args: Args,
    writer: Writer | None,
) -> tuple[list[compare.Entry], dict[tuple[str, str], Film], labyrinth_page.Lives]:
    """Play all games; films and, for the mice, lives. An agent that is not made for a world is left out there.

    Runs play by `settings`, agents without training by those `beside` them in the same environment, see `worlds`.

    Unfit if none is made for any.
    """
    entries, films, lives = list[compare.Entry](), dict[tuple[str, str], Film](), dict[str, list[Life]]()
    unfit = list[Unfit]()
    runs = list(dict.fromkeys(who for who, _, _ in played if isinstance(who, Path)))
    names = compare.labels(runs, together=bool(args.env or args.suite))
    for who, env_id, change in played:
        unfinished = isinstance(who, Path) and (result_of(who) or {}).get("status") != "finished"
        print(f"{who} on {env_id} {change or ''}".rstrip() + ", not finished" * unfinished, file=sys.stderr)
        film_it = args.video and env_id == played[0][1]
        filmed = [Film() if film_it else Film(PAGE_FRAMES)] if film_it or (args.report and not args.mice) else []
        kept = [labyrinth_page.Chronicle()] if args.mice else []
        called = " ".join([str(who), *(f"{key}={value}" for key, value in change.items())])
        logs = [LifeLog(args.tensorboard_log, called, env_id)] if args.tensorboard_log else []
        act = logs[0].before if logs else None
        try:
            label = names[who] if isinstance(who, Path) else ""
            how = settings if isinstance(who, Path) else beside[env_id]
            entry = compare.play(who, env_id, how, change, act, [*filmed, *kept, *logs], writer, label)
        except Unfit as error:
            unfit.append(error)
            if len(played) > 1:
                print(f"left out: {error}", file=sys.stderr)
            continue
        entries.append(entry)
        for film in filmed:  # of several seeds, the first
            films.setdefault((entry.row["agent"], env_id), film.of(entry.row["agent"]))
        for chronicle in kept:
            lives.setdefault(f"{entry.row['agent']}, {env_id}", []).extend(chronicle.lives)
        for log in logs:
            log.close()
    if not entries:
        raise unfit[0]
    return entries, films, lives


def main(argv: list[str]) -> int:
    """Run the command line and return the exit code."""
    args, hp = cli.parse(Args, argv)
    if args.episodes is not None and args.episodes < 1:
        raise ValueError(f"--episodes must be at least 1, got {args.episodes}.")
    limits.check_seed(args.seed)
    if args.video and args.video.suffix != ".gif":
        raise ValueError(f"{args.video} is no GIF. Give --video a file that ends in .gif.")
    limits.check_target(args.report)
    limits.check_target(args.video)
    settings = compare.Settings(
        episodes=args.episodes or cli.episodes(args.suite),
        checkpoint=args.checkpoint,
        deterministic=args.deterministic,
        seed=args.seed,
        env_kwargs=cli.pairs(args.env_kwargs),
    )
    played = games(args, hp)
    beside = worlds(played, settings)
    for env_id, how in beside.items():
        configs.check_env(env_id, how.env_kwargs)  # now and not when the others have been played
    writer = Writer(args.trajectories) if args.trajectories else None
    entries, films, lives = play(played, settings, beside, args, writer)
    if writer:
        writer.close()
    if args.bounds:
        ready = tuple(who for who in args.agent if not agents.get(who).trained)
        for env_id in dict.fromkeys(env_id for _, env_id, _ in played):
            entries += bounds.bounds(env_id, beside[env_id], but=ready)
    rows = compare.rows(entries)
    print(tables.FORMATS[args.table](rows))
    if args.suite and args.table == "md":
        print(tables.references(SUITES[args.suite].references))
    if args.video:
        shown = [film for (_, env_id), film in films.items() if env_id == played[0][1]]
        done = f"wrote {args.video}, {Film.write(args.video, shown)} frames" if shown else "no film: nobody plays it"
        print(f"{done} ({played[0][1]})", file=sys.stderr)
    if args.report:
        from experiments import report

        command = shlex.join(["python", "evaluate.py", *argv])
        if args.mice:
            labyrinth_page.write(args.report, lives, command)
        else:
            report.write(args.report, rows, entries, films, command)
        print(f"wrote {args.report}", file=sys.stderr)
    return int(writer is not None and writer.failed)


if __name__ == "__main__":
    sys.exit(cli.guard(main))
