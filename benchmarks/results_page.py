"""docs/results.md: one section for each experiment of benchmarks/results.py, refreshed one by one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from experiments import cli, provenance
from experiments.budget import human
from experiments.scores import LOWER_IS_BETTER

HEAD = """# Results

Written by `make results`, section by section; `python benchmarks/results.py --dry-run` says what is left of the whole
plan, in hours.

* **Scores** are interquartile means over seeds with 95 % bootstrap intervals (over episodes where there is one seed)
  of frozen agents in worlds that they did not train in. Play is greedy; where a column says `sampled`, actions are
  drawn as in training. `random` and `oracle` are floor and ceiling. What is scored: [worlds.md](worlds.md#suites).
  `sb3-dqn` has no policy to draw from: both are greedy.
* **Seeds** from 100 on tuned nothing; ten, but five of `sb3-recurrent` on MemoryS13, whose runs took seven to ten
  minutes.
* **Sizes**: 1x, 4x, 16x and 64x are multiples of the superposed agent's trained parameters. `none` with a size is a
  feed-forward network on the last four observations.
* **Settings** are the defaults, found with the superposed agent, but for what the points below name and in `tuned-*`,
  where everyone had the same number of trials. The trainer is the same for all; the sb3 agents have trainers of their
  own, and sb3-ppo collects 256 steps at a time instead of 2,048. `superposed-detached` is the superposed agent with
  `--hp.detach_addresses true`; the verdicts are of `superposed` as it is.
* **Steps to 0.95** and the lowest value afterwards are of the mean success of a hundred training episodes, actions
  sampled, and controllers of the superposed agent dropped (emptied now and then) as in all of its training; in
  `tuned-recall` and `memory` they are not dropped (`controller_dropout` 0), and nowhere those of `slots`.
* **Costs**: [comparison.md](comparison.md) says how they are counted. The same seconds for everyone (`timed-*`) are of
  the wall clock: in `timed-rewrite` one run at a time, while other work kept the second core busy, in the others two
  runs side by side, all agents seed by seed, so that a slower hour of the machine is everyone's; but the sb3 agents in
  an hour of their own, and they end with the update that is under way when the time is over. CPU seconds are of shared
  machines, which were up to three times slower at times. The bill by which `transformer` was given its steps left out
  its attention while it acts, but for 4x to 64x and two seeds of 1x in `equal-keydoor`: it had half a per cent to 4 %
  more steps than its budget pays for, and its FLOPs are printed as they are. That of `sb3-recurrent` did not count that
  its LSTMs are differentiated through time: it had a quarter to a third more than its budget in `equal-recall`,
  `equal-rewrite` and `equal-memory`, counted again in the tables; the padding of its sequences is not counted.
* **Machines**: all of `timed-rewrite`, and `superposed` where it drops controllers but in `equal-treasure-long`,
  `timed-recall` and `timed-memory`, ran on an Intel Xeon, which is faster than the EPYC.

All verdicts, by whether the intervals of `superposed` and of another overlap; each stands below its table again:
"""
TUNED = (
    "Settings are the best of as many trials for each, on seeds 0 and 1 at this budget, the defaults among them; the "
    "commands, scores and settings stand in [benchmarks/tuned](../benchmarks/tuned)."
)
OURS = "superposed"
HOW = ("ahead of", "not told apart from", "behind")
"""How two scores may stand to each other, as the page says it."""

Row = dict[str, Any]


def stamp(trained_on: Iterable[str] = ()) -> str:
    """Day and machine; `trained_on` are the processors of the runs, named where one is another than this."""
    cpu, others = provenance.processor(), sorted(set(trained_on))
    where = f"{cli.cores()} cores of {cpu}" + f", trained on {' and '.join(others)}" * (others not in ([], [cpu]))
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return f"{time.strftime('%Y-%m-%d')}, {where}, {gpu}, torch {torch.__version__.split('+')[0]}."


def table(rows: list[Row], env_ids: Sequence[str], score: str) -> str:
    """A line for each agent, a column for each environment, costs before them."""
    head = ["agent", "seeds", "parameters", "memory", "FLOPs/decision", "steps", "FLOPs", "CPU seconds", *env_ids]
    lines = [head, ["---"] * len(head)]
    for agent in dict.fromkeys(row["agent"] for row in rows):
        mine = {row["env"]: row for row in rows if row["agent"] == agent}
        row = next(iter(mine.values()))
        costs = [human(row[key]) + "B" * (key == "state_bytes") if row[key] else "" for key in _COSTS]
        scores = [_cell(mine[env_id][score]) if env_id in mine else "" for env_id in env_ids]
        lines.append([agent, str(len(row["seeds"])) if row["trained_on"] else "", *costs, *scores])
    return f"Score: {score}.\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


_COSTS = ("trained_parameters", "state_bytes", "flops_per_step", "steps", "flops", "cpu_seconds")


def _cell(metric: dict[str, Any] | None) -> str:
    if metric is None:
        return ""
    digits = 3 if abs(metric["iqm"]) < 10 else 1
    interval = "" if metric["low"] is None else f" [{metric['low']:.{digits}f} {metric['high']:.{digits}f}]"
    return f"{metric['iqm']:.{digits}f}{interval}"


def verdicts(rows: list[Row], env_ids: Sequence[str], score: str) -> str:
    """Whom the superposed agent is ahead of, behind, or not told apart from: whether the intervals overlap."""
    lines = []
    for env_id in env_ids:
        here = {row["agent"]: row[score] for row in rows if row["env"] == env_id and row["trained_on"] and row[score]}
        ours = here.pop(OURS, None)
        if ours is None or not here:
            continue
        told: dict[str, list[str]] = {how: [] for how in HOW}
        for agent, theirs in here.items():
            told[_told(ours, theirs, score in LOWER_IS_BETTER)].append(agent)
        found = "; ".join(f"{how} {', '.join(names)}" for how, names in told.items() if names)
        lines.append(f"* {env_id}: {found}.")
    return "\n".join(["`superposed` is, by whether the intervals overlap:\n", *lines]) if lines else ""


def _told(ours: dict[str, Any], theirs: dict[str, Any], lower_is_better: bool) -> str:
    """How two scores stand to each other; without an interval they are not told apart."""
    if ours["low"] is None or theirs["low"] is None:
        return "not told apart from"
    above, below = ours["low"] > theirs["high"], ours["high"] < theirs["low"]
    if lower_is_better:
        above, below = below, above
    return "ahead of" if above else "behind" if below else "not told apart from"


def few(rows: list[Row]) -> str:
    """A warning where an interval is of few seeds."""
    least = min(len(row["seeds"]) for row in rows if row["trained_on"])
    return "Ten seeds were planned: an interval over so few is little more than their range." if least < 5 else ""


def not_run(labels: Sequence[str]) -> str:
    """Say which agents are missing, those of the same sizes together; labels are `agent` or `agent-16x`."""
    sizes: dict[str, list[str]] = {}
    for label in labels:
        agent, _, size = label.rpartition("-") if label.endswith("x") else (label, "", "")
        sizes.setdefault(agent, []).append(size)
    alike: dict[str, list[str]] = {}
    for agent, found in sizes.items():
        alike.setdefault(" ".join(found), []).append(agent)
    groups = (", ".join(names) + f" at {size}" * bool(size) for size, names in alike.items())
    return f"Not run: {'; '.join(groups)}." if labels else ""


def summary(sections: Iterable[tuple[str, str]]) -> str:
    """The verdicts of the sections, (name, text), that compare all agents: a number ahead of, the others by name."""
    lines = ["| | played | ahead of | not told apart from | behind |", "| --- | --- | --- | --- | --- |"]
    for name, text in sections:
        if not name.startswith(("equal-", "timed-", "tuned-")):
            continue
        for env_id, found in re.findall(rf"^\* ([^:]+): ((?:{'|'.join(HOW)}) .*)\.$", text, re.MULTILINE):
            told = {how: part.removeprefix(how) for part in found.split("; ") for how in HOW if part.startswith(how)}
            number = len(told[HOW[0]].split(", ")) if HOW[0] in told else 0
            everyone = len(re.split("[,;] ", found))
            cells = [f"[{name}](#{name})", env_id, f"{number} of {everyone}", *(told.get(how, "") for how in HOW[1:])]
            lines.append(f"| {' | '.join(cell.strip() for cell in cells)} |")
    return "\n".join(lines)


def refresh(page: Path, name: str, text: str) -> None:
    """Write or replace the section of an experiment; the other sections stay, in their order."""
    old = page.read_text() if page.exists() else ""
    parts = re.split(r"^(?=## )", old, flags=re.MULTILINE)[1:]
    sections = {part.split("\n", 1)[0].removeprefix("## "): part.strip() for part in parts} | {name: text}
    page.write_text("\n\n".join([HEAD.strip(), summary(sections.items()), *sections.values()]) + "\n")
