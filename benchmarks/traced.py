"""A trained agent as one traced graph: the same actions in less time per step, for corridors of 10^6 steps."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents import kernels
from agents.ppo import MemoryPPO


class _Step(nn.Module):
    """One acting step on flat observations, without resets, as tensors in and tensors out."""

    def __init__(self, model: MemoryPPO) -> None:
        super().__init__()
        self.policy = model.policy
        self.kind = type(model.policy.core.initial_state(1))

    def forward(self, obs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Most likely actions (B, k) and the parts of the next state."""
        starts = torch.zeros(obs.shape[0], dtype=torch.bool)
        dist, _, after = self.policy.step({"": obs}, self.kind(*state), starts)
        return dist.sample(None), *after


class TracedActor:
    """Greedy `predict` of a MemoryPPO on Box observations; any batch of one size."""

    def __init__(self, model: MemoryPPO, batch: int) -> None:
        self.model, self.empty = model, model.policy.core.initial_state(batch)
        obs = torch.zeros(batch, *model.observation_space.shape)
        with torch.inference_mode(), kernels.plain(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of shapes that are constant here
            traced = torch.jit.trace(_Step(model).eval(), (obs, *self.empty), check_trace=False)
            self.graph = torch.jit.freeze(traced)

    @torch.inference_mode()
    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, Any]:
        """As `MemoryPPO.predict`; the state stays a tuple of tensors."""
        parts = self.empty if state is None else state
        if episode_start is not None and episode_start.any():
            keep = torch.as_tensor(~episode_start)
            parts = tuple(part * keep.view(-1, *[1] * (part.dim() - 1)) for part in parts)
        actions, *after = self.graph(torch.from_numpy(observation), *parts)
        return self.model.policy.to_env(actions), tuple(after)
