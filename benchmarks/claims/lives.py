"""Lives of trained agents for the claim `explained`: pasts that differ in their cues alone, and a memory room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

import agents
import envs
from agents.core import reset
from agents.encoder import to_tensors
from agents.policy import Categoricals

PAIRS, DELAY, CUES, CORRIDOR, BATCH, KEYS = 32, 16, 4, 50, 128, 16
ROOM, LABELS = "MiniGrid-MemoryS9-v0", ("place", "heading", "cue", "goal")
T = TypeVar("T")


def per_seed(work: Callable[[int], T], seeds: Sequence[int], workers: int = 2) -> list[T]:
    """What `work` returns for each seed, on processes of one thread each."""
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        return list(pool.map(work, seeds))


def trained(env: str, seed: int, steps: int = 400_000) -> Any:
    """A superposed agent, trained until 99 of the last 100 episodes are right or the steps are used up."""
    model = agents.make("superposed", env, seed=seed, controller_dropout=0.0)  # drops cost success in training
    enough = lambda: len(model.episodes.recent) == 100 and model.episodes.mean()[2] >= 0.99  # noqa: E731
    return model.learn(steps, lambda *_: not enough(), log_interval=0)


class Lives(NamedTuple):
    """Lives of B episodes; in a corridor the walk goes on by itself, whatever is done."""

    own: Tensor  # (T, B, F), all that was seen before the first junction
    other: Tensor  # the same with all cues reversed
    same: Tensor  # the same cues among other noise and, where there are several signposts, in another order
    junctions: Tensor  # (J, B, F)
    right: Tensor  # (J, B), the actions that the own cues ask for
    wrong: Tensor  # (J, B), those that the reversed cues ask for


def walk(env: str, steps: int, answers: int, seed: int) -> tuple[Any, Tensor, Tensor]:
    """The world, and what is seen in it: before the first junction, and at the junctions."""
    world = envs.make(env, BATCH)
    seen = [world.reset(seed).copy(), *(world.step(np.zeros(BATCH)).obs.copy() for _ in range(steps - 1))]
    return world, *torch.from_numpy(np.stack(seen)).split((steps - answers, answers))


def recall(seed: int) -> Lives:
    """Signposts with a turn each, all turns reversed in `other`."""
    world, own, junctions = walk(f"Recall-N{PAIRS}-D{DELAY}-v0", 2 * PAIRS + DELAY, PAIRS, seed)
    signs, bits, other = own[:PAIRS], world.bits, own.clone()
    other[:PAIRS, :, bits] *= -1
    same = torch.cat((signs.flip(0), own[PAIRS:].roll(1, 1)))
    asked = torch.einsum("jbf,sbf->jbs", junctions[..., :bits], signs[..., :bits]).argmax(-1)
    right = (signs[..., bits].gather(0, asked) > 0).long()
    return Lives(own, other, same, junctions, right, 1 - right)


def tmaze(seed: int) -> Lives:
    """Cues at the first step only."""
    world, own, junctions = walk(f"NoisyTMaze-M{CUES}-L{CORRIDOR}-v0", 1 + CORRIDOR + CUES, CUES, seed)
    other, same, up = own.clone(), torch.cat((own[:1], own[1:].roll(1, 1))), own[0, :, : world.bits].T > 0
    other[0, :, : world.bits] *= -1
    return Lives(own, other, same, junctions, torch.where(up, 1, 2), torch.where(up, 2, 1))


def known(world: Any) -> np.ndarray:
    """LABELS as MiniGrid itself knows them, and whether the cue is in view, (B, 5)."""
    rows = []
    for env in (wrapped.unwrapped for wrapped in world.envs):
        cue = (1, env.height // 2 - 1)
        key, up = env.grid.get(*cue).type == "key", env.success_pos[1] <= cue[1]
        rows.append((env.agent_pos[0], env.agent_dir, key, up, env.agent_sees(*cue)))
    return np.array(rows, int)


@torch.inference_mode()
def stroll(model: Any, seed: int, batch: int = 64, steps: int = 120) -> tuple[list[Tensor], Tensor]:
    """What the agent had when it chose an action in the room, once the cue was seen and while it is out of view.

    Returns:
        The view, the controller, the read, and the matrix read at 16 keys that the agent once asked for, each (N, .);
        LABELS and the number of the environment, (N, 5).
    """
    world, policy, core = envs.make(ROOM, batch, engine="minigrid"), model.policy, model.policy.core
    obs, state, starts = world.reset(seed), core.initial_state(batch), torch.ones(batch, dtype=torch.bool)
    seen, rows, keys = np.zeros(batch, bool), [], torch.empty(0)
    for t in range(steps):
        now, x, old = known(world), policy.encoder(to_tensors(obs, policy.encoder.keys)), reset(state, starts)
        y, state = core.step(x, old)
        if t == KEYS:
            keys = core.memory.expansion(core.addresses(torch.cat((state.z, x), -1))[1][:KEYS].transpose(0, 1))[0]
        seen = seen & ~starts.numpy() | (now[:, -1] > 0)
        if t >= KEYS:
            use, labels = seen & (now[:, -1] == 0), np.column_stack((now[:, :-1], np.arange(batch)))
            held = (old.m[:, 0] @ keys.mT).flatten(1)
            rows.append([part[use] for part in (x, state.z, y[:, state.z.shape[1] :], held, torch.from_numpy(labels))])
        dist = Categoricals(policy.pi(torch.cat((x, y), -1)), policy.sizes)
        step = world.step(policy.to_env(dist.sample(model.generator)))
        obs, starts = step.obs, torch.from_numpy(step.terminated | step.truncated)
    *sources, labels = (torch.cat(part) for part in zip(*rows, strict=True))
    return sources, labels
