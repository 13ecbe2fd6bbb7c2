"""Every default of the trained agents, once: a frozen dataclass per agent, a line of documentation under each field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal


def completed(kind: type[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an earlier version, with those of `kind` that came later at the values that change nothing.

    That is a field's default, or `before` in its metadata where the default changes what the agent does. Lists, as
    JSON has them, become tuples.
    """
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    return {f.name: f.metadata.get("before", f.default) for f in fields(kind)} | given


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """What all agents trained by MemoryPPO share."""

    num_envs: int = 64
    """Environments stepped together."""
    num_steps: int = 64
    """Steps of each environment between updates; gradients flow back through these."""
    num_minibatches: int = 4
    """Minibatches per epoch, each of whole environment columns."""
    update_epochs: int = 4
    """Passes over each rollout."""
    learning_rate: float = 2e-3
    """Adam's, at the start."""
    final_learning_rate: float = 0.1
    """Share of the learning rate left at the end of a linear anneal; 1 keeps it constant."""
    gamma: float = 0.99
    """Discount: the motor horizon, not the memory horizon."""
    gae_lambda: float = 0.7
    """Lambda of generalised advantage estimation (Schulman et al. 2016)."""
    advantage_floor: float = 0.1
    """Added to the standard deviation by which advantages are divided: while rewards are rare it is tiny, and
    dividing by it alone would turn the noise of the value function into a policy that has stopped exploring."""
    clip_coef: float = 0.2
    """PPO's clip range."""
    ent_coef: float = 0.03
    """Weight of the entropy bonus."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this norm."""
    kl_skip: float = 0.03
    """After the first epoch, minibatches whose approximate KL divergence exceeds this are not trained on."""
    write_cost: float = 0.1
    """Cost of writing to a gated memory, times the mean gate, at a success rate of 1."""
    write_cost_from: float = 0.85
    """Success rate from which that cost rises from 0: earlier it would keep the memory from being used at all."""
    encoder: int = 32
    """X, width of the encoded observation."""
    head: int = 32
    """Hidden width of the policy head and of the value head."""
    normalize_obs: bool = True
    """Normalise by running moments: symbols, and numbers whose space is not within [-1, 1]."""
    l2_init: float = 0.0
    """Weight of the squared distance to the initial parameters in the loss."""
    recycle: float = 0.0
    """Share of the heads' mature hidden units that begin anew with each update, the least useful first."""
    contexts: int = 0
    """N, contexts through which encoder and heads are seen, which adds no parameter to them; 0 for plain layers."""
    context_from: Literal["inferred", "told", "none"] = "inferred"
    """How a context is chosen: by surprise, told by a stream of tasks (a yardstick), or always the first."""
    context_form: Literal["flip", "mask", "heads"] = "flip"
    """What a context is: generated signs; as rivals, a trained mask over fixed weights, or two heads of its own."""
    replay: int = 0
    """Columns of past rollouts that are kept, and rehearsed with every update."""


@dataclass(frozen=True, kw_only=True)
class SuperposedConfig(PPOConfig):
    """The superposed core."""

    dim: int = 256
    """D, features of the expansion, of each head; free: it can be raised after or during training."""
    grow: tuple[int, ...] = ()
    """Later values of D, each for an equal share of the training; no trained parameter is added."""
    heads: int = 1
    """H, matrices side by side, each with its own keys, values and gate."""
    controller: int = 16
    """d, width of the recurrent controller."""
    key: int = 16
    """U, width of the learned keys and queries."""
    value: int = 16
    """V, width of a stored value."""
    controller_dropout: float = field(default=0.06, metadata={"before": 0.0})
    """Chance, at each step of training, that the controller's state is emptied: what is to last has to be stored."""
    detach_addresses: bool = False
    """Keys, queries, values and gates are read off observation and controller, but do not train them: then only what
    the heads make of them does. Better where reads are long of no use, worse where nothing else can be learned."""


@dataclass(frozen=True, kw_only=True)
class NoneConfig(PPOConfig):
    """No memory."""

    hidden: int = 64
    """Width of the feed-forward layer."""
    frames: int = 1
    """Last inputs that are seen at once: 1 is the floor, 4 the usual stack of frames."""


@dataclass(frozen=True, kw_only=True)
class GRUConfig(PPOConfig):
    """A GRU."""

    hidden: int = 64
    """Width of the recurrent state."""


@dataclass(frozen=True, kw_only=True)
class LSTMConfig(PPOConfig):
    """An LSTM."""

    hidden: int = 64
    """Width of the recurrent state."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(PPOConfig):
    """A causal transformer over a window of the episode."""

    width: int = 32
    """Width of the residual stream, a multiple of `attention_heads`; the feed-forward layers are twice as wide."""
    attention_heads: int = 2
    """Attention heads per layer."""
    layers: int = 2
    """Layers."""
    window: int = 128
    """W, steps that can be looked back on."""


@dataclass(frozen=True, kw_only=True)
class SlotsConfig(PPOConfig):
    """The superposed agent with its matrix replaced by separate slots of the same total size."""

    slots: int = 124
    """Pairs kept, newest first; 124 slots of 33 numbers fill the bytes of the default superposed matrix."""
    controller: int = 16
    """d, width of the recurrent controller."""
    key: int = 16
    """U, width of keys and queries."""
    value: int = 16
    """V, width of a stored value."""
    controller_dropout: float = 0.0
    """Chance, at each step of training, that the controller's state is emptied: what is to last has to be stored."""
