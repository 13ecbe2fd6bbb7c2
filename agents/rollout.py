"""What a batch of environments did for T steps, and the advantages of it.

Axes: T time, B environments, k action components.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.core import drop_controller
from agents.encoder import TensorObs


class Rollout:
    """Preallocated buffers, time first; `obs` is a dict of tensors by path."""

    def __init__(
        self, obs: TensorObs, steps: int, components: int, device: torch.device, logits: int = 0, dropout: float = 0.0
    ) -> None:
        batch = next(iter(obs.values())).shape[0]
        self.obs = {key: part.new_zeros(steps, *part.shape) for key, part in obs.items()}
        self.actions = torch.zeros(steps, batch, components, dtype=torch.long, device=device)
        self.starts = torch.zeros(steps, batch, dtype=torch.bool, device=device)
        self.ends = torch.zeros(steps, batch, dtype=torch.bool, device=device)
        zeros = (torch.zeros(steps, batch, device=device) for _ in range(4))
        self.log_probs, self.values, self.rewards, self.cut_off = zeros  # the last: gamma V where time ran out, else 0
        self.logits = torch.zeros(steps, batch, logits, device=device)  # log probabilities of all actions, if wanted
        self.dropout = dropout  # of the core's controller
        self.dropped = torch.zeros_like(self.starts) if dropout else None
        self.state: Any = None  # of the core, before the first step
        self.steps = 0  # filled so far

    def nbytes(self) -> int:
        """Bytes of all buffers, the memories at the start of the rollout not among them."""
        parts = [self.actions, self.starts, self.ends, self.log_probs, self.values, self.rewards, self.cut_off]
        parts += [self.logits] if self.dropped is None else [self.logits, self.dropped]
        return sum(part.nbytes for part in (*self.obs.values(), *parts))

    def check_finite(self, steps: int) -> None:
        """ValueError for NaN in what was gained, which would poison every parameter; `steps` were done at its end."""
        wrong = (~torch.isfinite(self.rewards[: self.steps] + self.cut_off[: self.steps])).nonzero()
        if len(wrong):
            t, i = wrong[0].tolist()
            step = steps - (self.steps - t) * self.rewards.shape[1]
            raise ValueError(
                f"the reward of environment {i}, or the observation that its episode was cut off with, is not finite "
                f"at step {step}: nothing was trained on it; mend the environment or clip it with a wrapper"
            )

    def drop(self, t: int, state: Any, generator: torch.Generator) -> Any:
        """Empty the controllers in `state` that are dropped at step t, and remember which."""
        if self.dropped is None:
            return state
        self.dropped[t] = torch.rand(len(self.dropped[t]), generator=generator, device=generator.device) < self.dropout
        return drop_controller(state, self.dropped[t])

    def inputs(self, columns: Tensor) -> tuple[TensorObs, Any, Tensor, Tensor | None]:
        """What `Policy.unroll` takes, of these environments (n,): observations, first state, starts, dropped."""
        obs = {key: part[: self.steps].index_select(1, columns) for key, part in self.obs.items()}
        state = type(self.state)(*(part.index_select(0, columns) for part in self.state))
        dropped = None if self.dropped is None else self.dropped[: self.steps].index_select(1, columns)
        return obs, state, self.starts[: self.steps].index_select(1, columns), dropped

    def advantages(self, last_values: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
        """Generalised advantage estimates and returns, (steps, B) each (Schulman et al. 2016).

        Args:
            last_values: (B,), the value after the last step.
            gamma: discount.
            lam: lambda.
        """
        n = self.steps
        goes_on = 1 - self.ends[:n].float()
        after = torch.cat((self.values[1:n], last_values[None]))
        advantages = self.rewards[:n] + self.cut_off[:n] + gamma * after * goes_on - self.values[:n]
        decay = gamma * lam * goes_on
        for t in range(n - 2, -1, -1):
            advantages[t].addcmul_(decay[t], advantages[t + 1])
        return advantages, advantages + self.values[:n]


Infos = list[dict[str, Any]]


def infos_of(ends: np.ndarray, ended: list[tuple[float, int, float]]) -> Infos:
    """What SB3's Monitor says of a step, for callbacks: ends (B,), and what `Episodes.add` returned of them."""
    infos: Infos = [{}] * len(ends)  # one for all that have nothing to tell: this is done at every step
    for i, (reward, length, success) in zip(np.flatnonzero(ends).tolist() if ended else (), ended, strict=True):
        infos[i] = {"episode": {"r": reward, "l": length}} | ({} if np.isnan(success) else {"is_success": success})
    return infos


class Episodes:
    """Return, length and success of the episodes under way and of the last hundred that ended."""

    WINDOW = 100  # as in SB3

    def __init__(self, batch: int) -> None:
        self.returns, self.lengths = np.zeros(batch), np.zeros(batch, np.int64)
        self.recent: deque[tuple[float, int, float]] = deque(maxlen=self.WINDOW)
        self.monitored = False  # a Monitor was heard of

    def add(
        self, reward: np.ndarray, ends: np.ndarray, success: np.ndarray, infos: Infos | None = None
    ) -> list[tuple[float, int, float]]:
        """Count one step, (B,) each; returns (return, length, success) of the episodes that ended with it.

        Of a VecEnv's `infos`, what a Monitor says of an episode counts, as in SB3: the reward as it was before it was
        normalised, and a game as a whole where each of its lives ends one.
        """
        self.returns += reward
        self.lengths += 1
        if not ends.any():
            return []
        over = np.flatnonzero(ends).tolist()
        told = {i: episode for i in over if infos and (episode := infos[i].get("episode"))}
        for i, episode in told.items():
            self.returns[i], self.lengths[i] = episode["r"], episode["l"]
        self.monitored |= bool(told)
        counted = list(told) if self.monitored else ends
        columns = (self.returns[counted], self.lengths[counted], success[counted].astype(float))
        ended = list(zip(*(column.tolist() for column in columns), strict=True))
        self.recent.extend(ended)
        self.returns[ends], self.lengths[ends] = 0, 0
        return ended

    def mean(self) -> tuple[float, float, float]:
        """Mean return, length and success of the last hundred; NaN where there is none."""
        if not self.recent:
            return (float("nan"),) * 3
        r, n, s = (float(np.mean(column)) for column in zip(*self.recent, strict=True))
        return r, n, s
