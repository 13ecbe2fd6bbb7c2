"""Tune an agent's hyperparameters with Optuna, every agent with the same number of trials and the same budget.

    python -m experiments.tuning --agent gru --env RecallMix-N64-D16-v0 --trials 20 --budget flops=1e11

Trial 0 are the defaults. Trials follow one another, each chosen after the last; a trial is one ordinary run a seed,
under LOGDIR/tuning, side by side by worker processes. The same command goes on where it stopped. What was tried stands
in `trials.csv`, the best in `best.toml`, which `train.py --config` takes. Extra `tune`.
"""

from __future__ import annotations

import csv
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from tyro.conf import arg

from experiments import cli, grid, run
from experiments import config as configs
from experiments.budget import slug
from experiments.config import RunConfig
from experiments.run import Result


class Range(NamedTuple):
    """Where a hyperparameter is looked for: between two numbers, or among a few."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    among: tuple[Any, ...] = ()


SPACE: dict[str, Range] = {
    "learning_rate": Range(1e-4, 1e-2, log=True),
    "ent_coef": Range(1e-3, 1e-1, log=True),
    "gae_lambda": Range(0.5, 0.98),
    "num_steps": Range(among=(32, 64, 128)),
    "n_steps": Range(among=(64, 128, 512, 2048)),
    "max_grad_norm": Range(0.2, 2.0, log=True),
    "exploration_fraction": Range(0.05, 0.5),
    "target_update_interval": Range(100, 10_000, log=True),
}
"""One space for all; an agent is tuned in those of these that it has. Widths are left to --scale."""


@dataclass(frozen=True)
class Args:
    """Tune one agent on one environment."""

    agent: Annotated[str, arg(aliases=["--algo"])] = "superposed"
    """Agent, see train.py --list agents."""
    env: Annotated[str, arg(aliases=["--env-id"])] = "RecallMix-N64-D16-v0"
    """Environment to train on."""
    trials: int = 20
    """Settings to try, the defaults among them."""
    budget: Annotated[str, arg(help_behavior_hint="(default: the environment's)")] = ""
    """Of each run of each trial: steps=N, flops=N or seconds=N."""
    seed: tuple[int, ...] = (0, 1)
    """Seeds of each trial; never those that results are reported on."""
    scale: float | None = None
    """Trained parameters as a multiple of the default superposed agent's."""
    workers: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: one per core)")] = None
    """Processes at a time: the seeds of a trial run side by side."""
    logdir: Path = Path("runs")
    """The runs stand under LOGDIR/tuning."""


def space(agent: str) -> dict[str, Range]:
    """Return the part of the space that an agent has. ValueError if it has nothing to tune."""
    has = configs.names(configs.kind(agent))
    mine = {name: where for name, where in SPACE.items() if name in has}
    if not mine:
        raise ValueError(f"{agent} has none of the hyperparameters that are tuned: {', '.join(SPACE)}.")
    return mine


def tune(args: Args, hp: dict[str, Any], command: str) -> Path:
    """Run the trials that are missing, and return the folder with trials.csv and best.toml."""
    optuna = _optuna()
    base = configs.resolve(_config(args, hp, 0, args.seed[0]))
    mine = {name: where for name, where in space(args.agent).items() if name not in hp}
    folder = args.logdir / "tuning" / slug(args.env) / base.label.removesuffix("-trial0")
    folder.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "trials.log"))
    study = optuna.create_study(
        study_name=base.label,
        storage=optuna.storages.JournalStorage(backend),
        direction="maximize",
        load_if_exists=True,
    )
    _same(study, {"budget": base.budget, "seeds": list(args.seed), "hp": hp}, folder)
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))  # begun again it does not propose the same
    defaults = {name: base.hp[name] for name in mine if _inside(base.hp[name], mine[name])}
    for first in _interrupted(study) if study.trials else [defaults]:
        study.enqueue_trial(first)

    def objective(trial: Any) -> float:
        chosen = {name: _suggest(trial, name, where) for name, where in mine.items()}
        jobs = [configs.resolve(_config(args, hp | chosen, trial.number, seed)) for seed in args.seed]
        outcomes = grid.run_jobs(jobs, args.workers or cli.cores(), resume=True)
        if grid.exit_code(outcomes) > 128:  # Ctrl-C ended these runs, and ends all of this: half a trial is none
            raise KeyboardInterrupt
        if failed := grid.failures(outcomes):
            raise run.RunError(failed)
        results = [run.result_at(job.folder) for job in jobs]
        trial.set_user_attr("flops", sum(result.flops for result in results))
        return float(np.mean([score(result) for result in results]))

    done = sum(trial.value is not None for trial in study.trials)
    study.optimize(objective, n_trials=max(args.trials - done, 0))
    _write(folder, study, args, hp, command)
    return folder


def _same(study: Any, asked: dict[str, Any], folder: Path) -> None:
    """ValueError if trials of another budget, other seeds or other fixed settings stand there already."""
    asked = json.loads(json.dumps(asked))
    for name, value in asked.items():
        before = study.user_attrs.get(name, value)
        if before != value:
            raise ValueError(
                f"{folder} holds trials with {name} {before}, not {value}: say the same, or another --logdir."
            )
        study.set_user_attr(name, value)


def _interrupted(study: Any) -> list[dict[str, Any]]:
    """Settings of trials that were begun and not ended, and that do not wait for another try already."""
    tried = [t.params for t in study.trials if t.value is not None]
    tried += [t.system_attrs["fixed_params"] for t in study.trials if t.state.name == "WAITING"]
    found = list[dict[str, Any]]()
    for trial in study.trials:
        if trial.value is None and trial.params and trial.params not in [*tried, *found]:
            found.append(trial.params)
    return found


def score(result: Result) -> float:
    """What is tuned for: success of the last hundred training episodes; their return where there is no success."""
    found = result.scores.get("rollout/success_rate", result.scores.get("rollout/ep_rew_mean"))
    return float("-inf") if found is None else found


def _config(args: Args, hp: dict[str, Any], trial: int, seed: int) -> RunConfig:
    return RunConfig(
        agent=args.agent,
        env=args.env,
        seed=seed,
        budget=args.budget,
        scale=args.scale,
        hp=hp,
        logdir=str(args.logdir / "tuning"),
        name=f"trial{trial}",
    )


def _suggest(trial: Any, name: str, where: Range) -> Any:
    if where.among:
        return trial.suggest_categorical(name, where.among)
    if name == "target_update_interval":
        return trial.suggest_int(name, int(where.low), int(where.high), log=where.log)
    return trial.suggest_float(name, where.low, where.high, log=where.log)


def _inside(value: Any, where: Range) -> bool:
    """Whether a default lies in the space: otherwise trial 0 draws that one."""
    return value in where.among if where.among else where.low <= value <= where.high


def _write(folder: Path, study: Any, args: Args, hp: dict[str, Any], command: str) -> None:
    """Write all trials as CSV and the best as TOML, each with the command."""
    names = sorted({name for trial in study.trials for name in trial.params})
    with open(folder / "trials.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("trial", "score", "flops", *names))
        for trial in study.trials:
            if trial.value is not None:
                used = trial.user_attrs.get("flops", "")
                writer.writerow((trial.number, trial.value, used, *(trial.params.get(name, "") for name in names)))
    best = {"agent": args.agent, "env": args.env} | ({} if args.scale is None else {"scale": args.scale})
    lines = [f"# {command}", f"# trial {study.best_trial.number} of {len(study.trials)}, score {study.best_value:.4f}"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in best.items()]
    lines += ["", "[hp]", *(f"{name} = {json.dumps(value)}" for name, value in (hp | study.best_params).items())]
    (folder / "best.toml").write_text("\n".join(lines) + "\n")


def _optuna() -> Any:
    """Import Optuna late: it is an extra."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError("tuning needs Optuna, which is not installed: pip install 'optuna>=4,<5'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings are tracebacks of what is an error here
    return optuna


def main(argv: list[str]) -> int:
    """Run the command line and return the exit code."""
    args, hp = cli.parse(Args, argv)
    if args.trials < 1:
        raise ValueError(f"--trials must be at least 1, got {args.trials}.")
    if args.workers is not None and args.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {args.workers}.")
    if not args.seed:
        raise ValueError("--seed needs at least one value, or leave it out: python -m experiments.tuning --help.")
    given = configs.typed(configs.kind(args.agent), cli.split_hp([args.agent], hp)[args.agent])
    folder = tune(args, given, shlex.join(["python", "-m", "experiments.tuning", *argv]))
    print(f"wrote {folder / 'trials.csv'} and {folder / 'best.toml'}: python train.py --config {folder / 'best.toml'}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.guard(main))
