"""Encoder -> core -> heads: one network that acts step by step and trains on whole sequences.

Axes: T time, B batch, X encoder width, Y core output, A action logits (all components side by side).
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents.config import PPOConfig
from agents.context_forms import FORMS
from agents.contexts import Contexts
from agents.core import reset
from agents.cores import CORES
from agents.encoder import Encoder, TensorObs, leaves
from agents.plasticity import Plasticity
from agents.rollout import Rollout


class Categoricals:
    """Independent categorical distributions side by side: logits (..., A), A = sum of `sizes`, actions (..., k)."""

    def __init__(self, logits: Tensor, sizes: list[int]) -> None:
        self.log_probs = [part.log_softmax(-1) for part in logits.split(sizes, -1)]

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log probability of actions (..., k) -> (...)."""
        chosen = [p.gather(-1, actions[..., i : i + 1]) for i, p in enumerate(self.log_probs)]
        return chosen[0][..., 0] if len(chosen) == 1 else torch.cat(chosen, -1).sum(-1)

    def entropy(self) -> Tensor:
        """Sum of the entropies (...), in nats."""
        return -sum(((p.exp() * p).sum(-1) for p in self.log_probs), start=torch.zeros(()))

    def sample(self, generator: torch.Generator | None) -> Tensor:
        """Draw actions (..., k) by the Gumbel-max trick; the most likely ones if `generator` is None."""
        if generator is None:
            return torch.stack([p.argmax(-1) for p in self.log_probs], -1)
        noise = [torch.empty_like(p).exponential_(generator=generator).log() for p in self.log_probs]
        return torch.stack([(p - g).argmax(-1) for p, g in zip(self.log_probs, noise, strict=True)], -1)


class Evaluation(NamedTuple):
    """What `Policy.unroll` returns."""

    dist: Categoricals  # over (T, B)
    values: Tensor  # (T, B)
    state: Any
    info: dict[str, Tensor]


class Policy(nn.Module):
    """Encoder, core and two heads on [x, y].

    Args:
        observation_space: of one environment.
        action_space: Discrete or MultiDiscrete, of one environment.
        core: a name in `agents.cores.CORES`.
        config: the widths.
        seed: of fixed random features.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        core: str,
        config: PPOConfig,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(action_space, spaces.Discrete | spaces.MultiDiscrete):
            raise ValueError(
                f"action space {action_space} is not supported: use Discrete or MultiDiscrete "
                "(sb3-ppo takes the others)"
            )
        self.action_shape, self.sizes, start = _components(action_space)
        self.action_start = np.array(start)
        self.encoder = Encoder(observation_space, config.encoder, config.normalize_obs)
        self.core = CORES[core][1](config.encoder, config, seed)
        width, head = config.encoder + self.core.output_width, config.head
        self.pi = nn.Sequential(nn.Linear(width, head), nn.Tanh(), nn.Linear(head, sum(self.sizes)))
        self.vf = nn.Sequential(nn.Linear(width, head), nn.Tanh(), nn.Linear(head, 1))
        last = cast(nn.Linear, self.pi[2])
        nn.init.orthogonal_(last.weight, 0.01)
        nn.init.zeros_(last.bias)
        self.contexts: Contexts | None = None
        self.into_core: nn.Module = nn.Identity()
        if config.contexts:
            if config.recycle and config.context_form != "flip":
                raise ValueError(f"recycle needs plain heads: context_form flip, not {config.context_form}")
            layers = FORMS[config.context_form](self, config, seed)
            self.contexts = Contexts(layers, observation_space, self.sizes, config, seed)

        self.plasticity = Plasticity(self, config) if config.l2_init or config.recycle else None

    def fits(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> bool:
        """Whether the network takes these observations and gives these actions; bounds may differ."""
        if not isinstance(action_space, spaces.Discrete | spaces.MultiDiscrete):
            return False
        parts, mine = leaves(observation_space), self.encoder.spaces
        alike = parts.keys() == mine.keys() and all(
            type(part) is type(mine[key])
            and part.shape == mine[key].shape
            and (isinstance(part, spaces.Box) or part == mine[key])
            for key, part in parts.items()
        )
        return alike and _components(action_space) == (self.action_shape, self.sizes, self.action_start.tolist())

    def memory(self, state: tuple[np.ndarray, ...] | None, batch: int) -> Any:
        """A copy of `state`, parts (B, ...), as tensors; None is the empty one. ValueError for other shapes."""
        empty = self.core.initial_state(batch)
        if state is None:
            return empty
        for given, wanted in zip(state, empty, strict=True):  # compiled loops would read beyond it
            if given.shape != wanted.shape:
                raise ValueError(
                    f"the state has a part of shape {tuple(given.shape)}, and for this batch and memory it is "
                    f"{tuple(wanted.shape)}: begin with state=None"
                )
        return type(empty)(*(torch.tensor(part, device=empty[0].device) for part in state))

    def step(self, obs: TensorObs, state: Any, starts: Tensor) -> tuple[Categoricals, Tensor, Any]:
        """One step: obs (B, ...), starts (B,) bool -> distribution, values (B,), next state."""
        x = self.encoder(obs)
        return self._heads(x, *self.core.step(self.into_core(x), reset(state, starts)))

    def step_(self, obs: TensorObs, state: Any, starts: Tensor) -> tuple[Categoricals, Tensor, Any]:
        """`step` that may change the tensors of `state` in place, for acting: a large memory is not copied."""
        x = self.encoder(obs)
        return self._heads(x, *self.core.step_(self.into_core(x), reset(state, starts, in_place=True)))

    def _heads(self, x: Tensor, y: Tensor, state: Any) -> tuple[Categoricals, Tensor, Any]:
        features = torch.cat((x, y), -1)
        return Categoricals(self.pi(features), self.sizes), self.vf(features)[..., 0], state

    def unroll(self, obs: TensorObs, state: Any, starts: Tensor, dropped: Tensor | None = None) -> Evaluation:
        """A sequence: obs (T, B, ...), starts (T, B) bool; equal to `step` applied T times.

        `dropped` (T, B) bool, where the core knows it: `drop_controller` was called before these steps.
        """
        xs, more = self.encoder(obs), () if dropped is None else (dropped,)
        ys, state, info = self.core.unroll(self.into_core(xs), state, starts, *more)
        return Evaluation(*self._heads(xs, ys, state), info)

    def diagnose(self, obs: TensorObs, state: Any, starts: Tensor, dropped: Tensor | None = None) -> dict[str, Tensor]:
        """What the core says of its memory; arguments as of `unroll`."""
        return self.core.diagnose(self.into_core(self.encoder(obs)), state, starts, dropped)

    def tell(self, task: int) -> None:
        """Say which task is on; only contexts that are told listen."""
        if self.contexts is not None and self.contexts.how == "told":
            self.contexts.enter(task % self.contexts.count)

    def settle(self, rollout: Rollout) -> bool:
        """Choose the context by what happened; False if the policy should not learn from it. Always True without."""
        return self.contexts is None or self.contexts.settle(rollout)

    def pulled(self, loss: Tensor) -> Tensor:
        """The loss with what pulls towards the initial parameters, if anything does."""
        return loss if self.plasticity is None else loss + self.plasticity.penalty()

    def recycle(self, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """Begin anew with the units that are due after an update, if any ever are."""
        if self.plasticity is not None:
            self.plasticity.after(optimizer, generator)

    def where(self) -> dict[str, float]:
        """What the log says of contexts."""
        return {} if self.contexts is None else self.contexts.log()

    def to_env(self, actions: Tensor) -> np.ndarray:
        """Actions (B, k) of the network as the environment expects them."""
        out: np.ndarray = actions.cpu().numpy() + self.action_start
        return out.reshape(len(out), *self.action_shape)


def _components(space: spaces.Discrete | spaces.MultiDiscrete) -> tuple[tuple[int, ...], list[int], list[int]]:
    """Shape of an action, and of its components how many choices each has and from where they count."""
    sizes = space.n if isinstance(space, spaces.Discrete) else space.nvec
    return space.shape or (), np.ravel(sizes).tolist(), np.ravel(space.start).tolist()
