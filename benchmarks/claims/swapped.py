"""Claim j: what is swapped decides: the context what is done, the matrix where to turn.

An agent learns two mazes in two contexts that are told; then each is played in the context of the other. In a MiniGrid
memory room the matrix of a life with the other cue takes the place of the own one on the way to the junction. Tried on
seeds 0-3: steps a task, 20,480 or 40,960. `python benchmarks/claims/swapped.py`
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from laboratory import SEEDS, Report, canvas, cell, page
from lives import ROOM, per_seed, trained
from rooms import GRAFTS, graft
from torch import Tensor
from twins import BATCH, REPEATS, SHARE, STEPS, learned, walks

from experiments.budget import human

# Tasks 117 and 155 have all senses in common and no hand, so that the context alone tells which of them is on.
AGENTS = {
    "same senses, other hands": ((117, 155), 3),
    "other senses, other hands": ((6, 7), 3),
    "other senses, no contexts": ((6, 7), 0),
}  # the tasks and the contexts, of which the last one is never entered in training
SWAPS = {  # the context that a life was lived in and that of the turn: of the own task 0, the other 1, none 2
    "right context": (0, 0),
    "swapped": (1, 1),
    "swapped at the junction": (0, 1),
    "a context never trained": (2, 2),
}
ENOUGH = 0.9


@torch.inference_mode()
def decide(model: Any, obs: Tensor, starts: Tensor, lived: int, decided: int) -> Tensor:
    """Actions (T, B), each in context `decided` of an agent that came to that moment in context `lived`."""
    policy, state, acts = model.policy, model.policy.core.initial_state(BATCH), []
    for now, start in zip(obs, starts, strict=True):
        policy.tell(decided)
        acts.append(policy.step({"": now}, state, start)[0].sample(None)[:, 0])
        policy.tell(lived)
        state = policy.step({"": now}, state, start)[2]
    return torch.stack(acts)


def swap(tasks: tuple[int, int], contexts: int, seed: int) -> np.ndarray:
    """Share of the turns that the other task would ask for, and that the own one asks for, (SWAPS, 2)."""
    model, shares = learned(tasks, contexts, seed), []
    obs, starts, right, turns = walks(tasks, 10_000 + seed)
    for told in SWAPS.values():
        for task in (0, 1):
            acts = decide(model, obs[task], starts, *(k if k == 2 else (k + task) % 2 for k in told))[turns]
            shares.append([float((acts == right[k][turns]).float().mean()) for k in (1 - task, task)])
    return np.array(shares).reshape(len(SWAPS), 2, 2).mean(1)


def one(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The swaps (AGENTS, SWAPS, 2) and the grafts (GRAFTS, 2) of one seed's agents."""
    return np.array([swap(*agent, seed) for agent in AGENTS.values()]), graft(trained(ROOM, seed), 10_000 + seed)


def run(seeds: range = SEEDS) -> Report:
    swaps, grafts = (np.stack(part) for part in zip(*per_seed(one, seeds), strict=True))
    rows = {
        f"mazes of {agent}|{told}": swaps[:, a, k] for a, agent in enumerate(AGENTS) for k, told in enumerate(SWAPS)
    }
    rows |= {f"memory room|graft {what}": grafts[:, g] for g, what in enumerate(GRAFTS)}
    table = [["played in", "what is swapped", "as what is swapped in asks", "as its own asks"]]
    table += [[*name.split("|"), *(cell(shares[:, k]) for k in (0, 1))] for name, shares in rows.items()]
    shown = {name.replace("|", ": "): part for name, part in rows.items() if "other senses" not in name}
    figure = canvas("share of the turns, or lives", "")
    axes, spots = figure.axes[0], np.arange(len(shown))
    for k, side in enumerate(("as what is swapped in", "as its own")):
        axes.barh(spots + 0.4 * k, [part[:, k].mean() for part in shown.values()], 0.36, label=side)
    axes.set(yticks=spots + 0.2, yticklabels=shown, xlim=(0, 1))
    axes.invert_yaxis()
    axes.tick_params("y", labelsize=7)
    figure.legend(loc="outside upper right", ncols=2, fontsize=7)
    return Report(
        "What lies in superposition decides: swap the context and the agent does what the other task asks for, "
        "transplant the matrix and it turns to the other side.",
        f"where nothing but the context tells two tasks apart, less than {ENOUGH:.0%} of the turns in the swapped "
        "context are those of the other task; or of the lives in a room that go on with the matrix of a life with the "
        f"other cue, less than {ENOUGH:.0%} end at its object. Margin: seed by seed, the smaller of the two shares - "
        f"{ENOUGH}.",
        np.minimum(swaps[:, 0, 1, 0], grafts[:, 1, 0]) - ENOUGH,
        table,
        figure,
        f"It fails by the room. Without a graft only {cell(grafts[:, 0, 1])} of these lives end at the object of their "
        f"own cue, and with the matrix of another life as many, {cell(grafts[:, 1, 0])}, end at that of the other "
        "one: what the agents know they have in the matrix, but they know too little for the bound.\n\n"
        f"The mazes: two tasks of `ShuffledTMaze`, {REPEATS} times {human(SHARE)} steps of each, in two contexts that "
        f"are told; the turns of {BATCH} walks of {STEPS} steps, in both tasks. With the same senses a life in the "
        "other context is to the agent a life in the other task: what is tested is that one matrix of weights holds "
        "both and the context alone chooses. Swapped at the junction the cue was lived through in the own context, and "
        "only the turn is taken in the other one. Without contexts there is nothing to swap. The room: lives begin "
        "beside the cue; in the corridor they go on with the state of another life, and the cue is taken away, since "
        "agents look back at it. The other life had the other cue, and the objects at the junction on the same sides. "
        "In the last row they were on exchanged sides, so that its goal was where the goal is here: the first number "
        "is the share of lives that follow its cue, the second of those that follow its turn.",
    )


if __name__ == "__main__":
    print(page("swapped", run()))
