"""Uniform replay for PPO: past segments are rehearsed, so that policy and values stay there what they were.

PPO cannot learn from what an older policy did, but it can be held to it: each update also draws the policy towards the
one that acted then (Kullback-Leibler divergence) and the values towards those of then, as in CLEAR (Rolnick et al.
2019, arXiv 1811.11682), here without its off-policy gradient. Kept are `replay` columns, each what one environment met
in one rollout, every column of the past with the same chance (reservoir sampling, Vitter 1985), without labels. The
core begins with the state that it had then, as old as it may be (Kapturowski et al. 2019).

Axes: T time, C columns, A logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from agents.superposition import SuperposedMemory

if TYPE_CHECKING:
    from agents.policy import Policy
    from agents.ppo import MemoryPPO
    from agents.rollout import Rollout

SHARE = 0.5  # columns rehearsed for each new one
WEIGHT = 1.0  # of the divergence; values have vf_coef times as much


class Replay:
    """A reservoir of past columns.

    Args:
        count: C, columns to keep.
        like: a rollout, its tensors (T, B, ...); its `logits` (T, B, A) are those that acted.
        state: of the core, parts (B, ...).
    """

    def __init__(self, count: int, like: Rollout, state: Any) -> None:
        self.count, self.seen = count, 0
        self.columns = {name: part.new_zeros(len(part), count, *part.shape[2:]) for name, part in _parts(like).items()}
        self.states = {f"state.{i}": part.new_zeros(count, *part.shape[1:]) for i, part in enumerate(state)}
        self._state = type(state)

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        return sum(part.nbytes for part in (*self.columns.values(), *self.states.values()))

    def add(self, rollout: Rollout, generator: torch.Generator) -> None:
        """Offer the columns of a whole rollout, each of which stays with the chance that it is due."""
        kept: dict[int, int] = {}  # place -> column; a later one replaces an earlier one
        for column in range(rollout.starts.shape[1]):
            self.seen += 1
            place = self.seen - 1
            if place >= self.count:
                place = int(torch.randint(self.seen, (), generator=generator, device=generator.device))
            if place < self.count:
                kept[place] = column
        places, columns = list(kept), list(kept.values())
        for name, part in _parts(rollout).items():
            self.columns[name][:, places] = part[:, columns]
        for old, part in zip(self.states.values(), rollout.state, strict=True):
            old[places] = part[columns]

    def loss(self, policy: Policy, new: int, vf_coef: float, generator: torch.Generator) -> Tensor | float:
        """How far policy and values have moved on columns drawn beside `new` ones; 0 while nothing is kept."""
        held, wanted = min(self.seen, self.count), max(1, round(SHARE * new))
        if not held:
            return 0.0
        which = torch.randint(held, (wanted,), generator=generator, device=generator.device)
        old = {name: part.index_select(1, which) for name, part in self.columns.items()}
        state = self._state(*(part.index_select(0, which) for part in self.states.values()))
        obs = {name[4:]: part for name, part in old.items() if name.startswith("obs.")}
        dist, values, _, _ = policy.unroll(obs, state, old["starts"], old.get("dropped"))
        logits = old["logits"]
        divergence = (logits.exp() * (logits - torch.cat(dist.log_probs, -1))).sum(-1).mean()
        return WEIGHT * (divergence + vf_coef * (old["values"] - values).square().mean())

    def resize(self, dim: int) -> None:
        """Change D of the superposed memories that are kept."""
        self.states["state.1"] = SuperposedMemory.resize(self.states["state.1"], dim)

    def state(self) -> dict[str, Tensor]:
        """Everything, for a checkpoint."""
        return self.columns | self.states | {"seen": torch.tensor(self.seen)}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `state`."""
        for name, part in (self.columns | self.states).items():
            part.copy_(tensors[name])
        self.seen = int(tensors["seen"])


def reservoir(model: MemoryPPO, like: Rollout, state: Any) -> Replay | None:
    """An empty reservoir as the config of an agent wants it, or None. ValueError for a core that grows."""
    if not model.config.replay:
        return None
    if getattr(model.config, "grow", ()) or getattr(model, "grows", False):
        raise ValueError("replay keeps states of the core, which then cannot grow: leave out replay, or growing.")
    return Replay(model.config.replay, like, state)


def _parts(rollout: Rollout) -> dict[str, Tensor]:
    """What is kept of a rollout, besides the state that it began with."""
    obs = {f"obs.{key}": part for key, part in rollout.obs.items()}
    dropped = {} if rollout.dropped is None else {"dropped": rollout.dropped}
    return obs | dropped | {"starts": rollout.starts, "logits": rollout.logits, "values": rollout.values}
