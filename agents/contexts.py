"""Contexts of a policy: which of the tasks in its superposed layers it is in, told or found out without labels.

With `contexts` N > 0 the linear layers of encoder and heads, and the input of the core, are seen through one of N
generated contexts (`agents.superposed_linear`); the trained parameters stay those of the plain layers. Rivals of such
contexts are in `agents.context_forms`. Which context is settled once a rollout, for all environments together, from how
well each of them predicts what happened:

    v_t    = [e_t, e_{t-1}, a_t]                 e a fixed random encoding of the observation, a one-hot
    p_k    = W (c_k * phi(v_t))                  predicts the reward and e_{t+1}; one superposed layer W for all k
    L_k   <- lambda L_k - min(error_k / s_k, worst)    evidence; s_k is the usual error of context k, followed slowly
    L_new <- lambda L_new - surprise                   one context is always open, until all N are known

The leader takes over when it is ahead by more than a margin. A rollout that speaks against the present context is not
learned from, neither here nor by the policy: what is known well is not overwritten by what contradicts it. W changes
by the least that answers a rollout (ridge regression). The reward counts little: it depends on the policy, and a task
met again is first acted in by another one. So tasks that differ in nothing else are not told apart.

Sources: context inference with one context always open, Heald et al. 2021 (COIN), here with point estimates.

Axes: T time, B batch, N contexts, S samples, X numbers of e, F features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import gymnasium as gym
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from agents.config import PPOConfig
from agents.encoder import Encoder, to_tensors
from agents.rollout import Rollout
from agents.superposed_linear import SCALE, SuperposedLinear, flip, random_codes
from agents.superposition import Expansion

if TYPE_CHECKING:
    from agents.ppo import MemoryPPO
    from envs.world import World

CODE = 16  # width of the code that generates a context


class Layer(Protocol):
    """What a context changes."""

    def enter(self, k: int, code: Tensor) -> None:
        """Be in context k from now on, whose code is (U,)."""


class ContextLinear(SuperposedLinear):
    """A plain linear layer, its parameters kept, that is seen through the context it was last told to enter."""

    context: Tensor  # (n,), -1 or +1

    def __init__(self, plain: nn.Linear, seed: int) -> None:
        super().__init__(plain.weight.shape[1], plain.weight.shape[0], CODE, seed=seed)
        self.weight, self.bias = plain.weight, plain.bias
        self.register_buffer("context", torch.ones(self.in_features))

    def enter(self, k: int, code: Tensor) -> None:
        """See the weights through the context of a code (U,) from now on."""
        self.context.copy_(self.turn(torch.ones_like(self.context), code))

    @override
    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """Answer in the present context: (..., n) -> (..., m)."""
        return F.linear(x * self.context, self.weight, self.bias)


class Turn(nn.Module):
    """Turns a vector of n numbers into the context it was last told to enter, on its way to layers of another kind."""

    context: Tensor  # (n,), -1 or +1

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        self.expansion = Expansion(CODE, width + width % 2, [SCALE], seed)
        self.register_buffer("context", torch.ones(width))

    def enter(self, k: int, code: Tensor) -> None:
        """Turn into the context of a code (U,) from now on."""
        self.context.copy_(flip(torch.ones_like(self.context), code @ self.expansion.omega[0]))

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x * self.context


def superpose(parts: list[nn.Module], seed: int) -> list[ContextLinear]:
    """Put a ContextLinear of the same parameters in the place of each linear layer directly inside some modules."""
    layers: list[ContextLinear] = []
    for part in parts:
        for name, plain in list(part.named_children()):
            if isinstance(plain, nn.Linear) and plain.weight.shape[1]:
                layers.append(ContextLinear(plain, seed + 1 + len(layers)))
                setattr(part, name, layers[-1])
    return layers


class Contexts(nn.Module):
    """The N contexts of a policy and the present one.

    Args:
        layers: what is seen through them.
        observation_space: of one environment.
        actions: sizes of the action's components.
        config: `contexts`, `context_from`, `encoder`.
        seed: what the contexts are generated from.
    """

    DECAY = 0.3  # lambda, of the evidence, a rollout
    MARGIN = 0.05  # by which a known context must lead to take over
    SURPRISE = 1.25  # a new context explains everything as badly as that: times what is usual
    WORST = 1.5  # nothing counts as worse: a context that was wrong for long can be right at once
    FOLLOW = 0.2  # share of a rollout in the usual error of its context
    LEAST = 0.02  # the usual error is at least this share of the spread
    WATCHED = 4  # environments that are looked at
    FEWEST = 32  # samples to judge by
    EYE = 16  # X
    REWARD = 0.25  # how loud it is: under another policy than usual it differs, though the task is the same
    FEATURES = 2048  # F
    SCALE = 0.5  # of the frequencies
    RIDGE = 0.5  # features are of norm 1
    evidence: Tensor
    usual: Tensor
    known: Tensor
    present: Tensor
    codes: Tensor

    def __init__(
        self,
        layers: Sequence[Layer],
        observation_space: gym.Space[Any],
        actions: list[int],
        config: PPOConfig,
        seed: int,
    ) -> None:
        super().__init__()
        self.layers, self.actions, self.how, self.count = tuple(layers), actions, config.context_from, config.contexts
        self.register_buffer("codes", random_codes(config.contexts, CODE, seed), persistent=False)
        self.register_buffer("present", torch.tensor(0))
        if self.how == "inferred":
            self.eye = _fixed(Encoder(observation_space, self.EYE, normalize=False))
            self.expansion = Expansion(2 * self.EYE + sum(actions), self.FEATURES, [self.SCALE], seed)
            self.model = SuperposedLinear(self.FEATURES, self.EYE + 1, CODE, seed=seed).requires_grad_(False)
            self.model.weight.zero_()
            self.register_buffer("evidence", torch.zeros(self.count + 1))  # the last is of the open one
            self.register_buffer("usual", torch.zeros(self.count))
            self.register_buffer("known", torch.tensor(0))
        self.enter(0)

    def enter(self, k: int) -> None:
        """See the policy through context k from now on."""
        self.present.fill_(k)
        for layer in self.layers:
            layer.enter(k, self.codes[k])

    @contextmanager
    def inside(self, k: int) -> Iterator[None]:
        """See the policy through context k for a while."""
        before = int(self.present)
        self.enter(k)
        try:
            yield
        finally:
            self.enter(before)

    @torch.no_grad()
    def settle(self, rollout: Rollout) -> bool:
        """Weigh a rollout and learn to predict it; False if the policy should not learn from it, see the module."""
        if self.how != "inferred" or (rollout.steps - 1) * self.WATCHED < self.FEWEST:
            return True
        features, target = self._samples(rollout)
        error, spread = self.errors(features, target), float((target - target.mean(0)).square().mean())
        self._weigh(error)
        here, first, leader = int(self.present), not self.known, int(self.evidence.argmax())
        agreed, opened = leader == here, leader == self.count
        if opened:
            leader = int(self.known)
            self.evidence[leader], self.usual[leader] = self.evidence[-1], spread
            self.known += 1
        elif agreed:
            self.usual[here] += self.FOLLOW * (error[here] - self.usual[here])
        if opened or self.evidence[leader] > self.evidence[here] + self.MARGIN:
            self.enter(leader)
        if opened or agreed:
            self._learn(features, target)
            self.usual.clamp_(min=max(self.LEAST * spread, 1e-6))
        return agreed or first

    def _weigh(self, error: Tensor) -> None:
        """Fold the errors (N,) of a rollout into the evidence; what is not known, or not open, has none."""
        known = int(self.known)
        fit = torch.full_like(self.evidence, -math.inf)
        fit[:known] = -(error[:known] / self.usual[:known]).clamp(max=self.WORST)
        if known < self.count:
            fit[-1] = -self.SURPRISE
        self.evidence.copy_(fit + self.DECAY * self.evidence.nan_to_num(neginf=0.0))

    @torch.no_grad()
    def recognise(self, rollout: Rollout) -> int:
        """Return the context that explains a rollout best, of those that are known."""
        error, known = self.errors(*self._samples(rollout)), int(self.known)
        return int((error[:known] / self.usual[:known]).argmin()) if known else 0

    def log(self) -> dict[str, float]:
        """The present context, and how many are known where they are found out."""
        here = {"context/present": float(self.present)}
        return here | {"context/known": float(self.known)} if self.how == "inferred" else here

    def errors(self, features: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of each context's prediction, (N,); features (S, F), target (S, X + 1)."""
        guess = self.model(features, self.codes[:, None])  # (N, S, X + 1)
        return (guess - target).square().mean((1, 2))

    def _learn(self, features: Tensor, target: Tensor) -> None:
        """Change the weights as little as answers the samples, in the present context (ridge regression, dual)."""
        turned = self.model.turn(features, self.codes[self.present])
        gram = turned @ turned.T
        gram.diagonal().add_(self.RIDGE)
        root, wrong = torch.linalg.cholesky(gram), target - turned @ self.model.weight.T
        half = torch.linalg.solve_triangular(root, wrong, upper=False)
        self.model.weight += torch.linalg.solve_triangular(root.T, half, upper=True).T @ turned

    def _samples(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Features (S, F) and targets (S, X + 1) of the steps of some environments."""
        n, some = rollout.steps, slice(self.WATCHED)
        seen = self.eye({key: part[:n, some] for key, part in rollout.obs.items()})  # (T, B, X)
        goes_on = ~rollout.starts[: n - 1, some, None]
        before = torch.cat((torch.zeros_like(seen[:1]), seen[: n - 2])) * goes_on
        done = [F.one_hot(rollout.actions[: n - 1, some, i], size) for i, size in enumerate(self.actions)]
        known = torch.cat((seen[:-1], before, *done), -1).flatten(0, 1)
        target = torch.cat((seen[1:], self.REWARD * rollout.rewards[: n - 1, some, None]), -1).flatten(0, 1)
        return self.expansion(known[None])[0], target


@contextmanager
def orient(agent: Any, world: World, seed: int) -> Iterator[None]:
    """Inside, an agent that infers contexts is in the one that some steps in `world` speak for; others as they are."""
    contexts = getattr(getattr(agent, "policy", None), "contexts", None)
    if contexts is None or contexts.how != "inferred":
        yield
        return
    with contexts.inside(contexts.recognise(look_around(agent, world, seed))):
        yield


@torch.inference_mode()
def look_around(model: MemoryPPO, world: World, seed: int, steps: int = 64) -> Rollout:
    """Act for some steps in a world as the policy is, learning nothing and leaving its random stream alone."""
    policy, rng = model.policy, torch.Generator(model.device).manual_seed(seed)
    obs, state = (
        to_tensors(world.reset(seed), policy.encoder.keys, model.device),
        policy.core.initial_state(world.num_envs),
    )
    rollout = Rollout(obs, steps, len(policy.sizes), model.device)
    starts, rollout.steps = torch.ones(world.num_envs, dtype=torch.bool, device=model.device), steps
    for t in range(steps):
        for key, part in obs.items():
            rollout.obs[key][t] = part
        dist, _, state = policy.step_(obs, state, starts)
        rollout.starts[t], rollout.actions[t] = starts, dist.sample(rng)
        now = world.step(policy.to_env(rollout.actions[t]))
        rollout.rewards[t] = torch.as_tensor(now.reward, device=model.device)
        starts = torch.as_tensor(now.terminated | now.truncated, device=model.device).clone()
        obs = to_tensors(now.obs, policy.encoder.keys, model.device)
    return rollout


def _fixed(module: nn.Module) -> nn.Module:
    """Turn parameters into buffers: they are kept, not trained."""
    for part in list(module.modules()):
        for name, weight in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, weight.detach())
    return module
