"""Counting floating point operations: torch's counter, and what it leaves out, by formula.

`torch.utils.flop_counter` counts matrix products, convolutions and attention, a multiply-add as two. Added here:

* the triangular solve, T^2 V for a unit triangle of T and V right-hand sides; the triangular root, S^3 / 3;
* attention where the CPU has it in one piece, as in acting;
* elementwise operations and reductions, as many per element as their formula has, a sine or an exponential as one;
* Adam, and the clipping of gradients;
* compiled loops, which torch does not see, through their equivalents in torch.

Look-ups, copies, comparisons and whatever works on integers and masks cost nothing by this count.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from agents import context_forms, kernels
from agents.replay import Replay, reservoir
from agents.rollout import Rollout

if TYPE_CHECKING:
    from agents.ppo import MemoryPPO

ADAM_STEP = 13 + 3
"""FLOPs of an Adam step for each parameter: two running means 3 + 4, root and epsilon 3, the step 3; clipping 3."""

_ATEN = torch.ops.aten


def _triangular(a: Any, b: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """A triangular solve of (..., T, T) with V right-hand sides: T^2 V multiply-adds halved."""
    batch = 1
    for size in b[:-2]:
        batch *= size
    return int(batch * b[-2] * b[-2] * b[-1])


def _product(out: Any, a: Any, b: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """A batch of matrix products added in place, which torch's counter does not know: a (N, I, K), b (N, K, J)."""
    return int(2 * a[0] * a[1] * a[2] * b[2])


def _attention(query: Any, key: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Fused attention of queries (B, H, T, E) to keys (B, H, S, E): two products, scale, mask and softmax."""
    batch, heads, steps, width = query
    return int(batch * heads * steps * key[2] * (4 * width + 2 + 4))


def _cholesky(a: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """The triangular root of a (S, S) matrix."""
    return int(a[-1] ** 3 // 3)


_PRODUCTS: dict[Any, Any] = {
    _ATEN.linalg_solve_triangular: _triangular, _ATEN.baddbmm_: _product, _ATEN.linalg_cholesky_ex: _cholesky,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
}  # fmt: skip

_PER_ELEMENT: dict[Any, int] = {
    _ATEN.addcmul: 2, _ATEN.addcmul_: 2, _ATEN.addcdiv: 2, _ATEN.addcdiv_: 2, _ATEN.lerp: 3, _ATEN.lerp_: 3,
    _ATEN.tanh_backward: 3, _ATEN.sigmoid_backward: 3, _ATEN.gelu: 4, _ATEN.gelu_backward: 8,
    # subtract the maximum, exponential, sum, and divide or subtract; backwards two products, a sum, a difference
    _ATEN._softmax: 4, _ATEN._log_softmax: 4, _ATEN._softmax_backward_data: 4, _ATEN._log_softmax_backward_data: 4,
    # mean, centre, square, sum, scale, weight, bias; about twice that backwards
    _ATEN.native_layer_norm: 7, _ATEN.native_layer_norm_backward: 14,
    _ATEN.linalg_vector_norm: 2,
    _ATEN.cumsum: 1, _ATEN.var: 3, _ATEN.std: 3,
}  # fmt: skip
"""Operations per element where it is not one, or where torch does not tag the operation as elementwise."""


class _Meter(TorchDispatchMode):
    """Adds up the elementwise operations and reductions that are called while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        reduces = torch.Tag.reduction in func.tags
        known = _PER_ELEMENT.get(func.overloadpacket, 1 if reduces or torch.Tag.pointwise in func.tags else 0)
        if known:
            self.flops += known * _elements(args[0] if reduces else out)
        return out


def _elements(value: Any) -> int:
    """Floating point elements of a tensor, or of the first of several."""
    first = value[0] if isinstance(value, tuple) else value
    return first.numel() if isinstance(first, Tensor) and first.is_floating_point() else 0


def count_flops(run: Callable[[], object]) -> int:
    """FLOPs of one call, a multiply-add as two; compiled loops are counted through their torch equivalents."""
    with kernels.plain(), _Meter() as meter, FlopCounterMode(display=False, custom_mapping=_PRODUCTS) as counter:
        run()
    return int(counter.get_total_flops()) + meter.flops


def flops(model: MemoryPPO) -> dict[str, float]:
    """FLOPs per environment step: `act`, to choose it, and `train`, to learn from it, with `num_envs` environments.

    Counted on one acting step and one update of a whole rollout; minibatches that `kl_skip` leaves out are charged
    all the same, and so is rehearsal while hardly anything is kept yet.
    """
    c, batch, policy, twin = model.config, model.config.num_envs, model.policy, copy.copy(model)
    roll = twin.rollout = _rollout(model, batch)  # the same network, a rollout of its own
    roll.steps, roll.state = c.num_steps, policy.core.initial_state(batch)
    twin._targets = torch.zeros_like(roll.values), torch.zeros_like(roll.values)
    twin.replay, twin.generator = _replay(model, roll), torch.Generator(model.device)

    def act() -> None:
        dist, _, _ = policy.step({key: part[0] for key, part in roll.obs.items()}, roll.state, roll.starts[0])
        dist.log_prob(dist.sample(torch.Generator(model.device)))

    def update() -> None:
        twin._loss(torch.arange(batch, device=model.device), c.write_cost)[0].backward()

    model.optimizer.zero_grad()  # adding to gradients that are there would be counted
    with torch.no_grad():
        acting = count_flops(act) / batch
    training = count_flops(update) + min(c.num_minibatches, batch) * ADAM_STEP * _optimised(model)
    model.optimizer.zero_grad()
    contexts = copy.deepcopy(policy.contexts)  # it learns
    settling = 0 if contexts is None else count_flops(lambda: contexts.settle(roll))
    return {"act": acting, "train": (c.update_epochs * training + settling) / (batch * c.num_steps)}


def stats(model: MemoryPPO) -> dict[str, float]:
    """Sizes and cost: parameters, bytes of an environment's memory and of training, FLOPs per environment step.

    `flops_per_step` is acting alone, `flops_per_training_step` acting and the step's share of the updates;
    `optimizer_bytes` are Adam's two moments, `buffer_bytes` a rollout, the memories that it begins with, and what is
    kept of older ones.
    """
    cost, size, replay = flops(model), _size(model), _replay(model, _rollout(model, 1))
    state_bytes = sum(part.nbytes for part in model.policy.core.initial_state(1))
    return {
        "trained_parameters": size,
        "fixed_parameters": sum(part.numel() for part in model.policy.buffers()),
        "state_bytes": state_bytes,
        "optimizer_bytes": 2 * 4 * _optimised(model),
        "buffer_bytes": model.config.num_envs * (_rollout(model, 1).nbytes() + state_bytes)
        + (replay.nbytes if replay else 0),
        "flops_per_step": cost["act"],
        "flops_per_training_step": cost["act"] + cost["train"],
    }


def kept_bits(model: MemoryPPO) -> int:
    """Bits that must be kept to go on: of what is trained, a mask's scores one each, and of past segments."""
    return context_forms.kept_bits(model.policy) + (8 * model.replay.nbytes if model.replay else 0)


def _replay(model: MemoryPPO, roll: Rollout) -> Replay | None:
    """A full reservoir for rollouts like this one, if the agent has one."""
    replay = reservoir(model, roll, model.policy.core.initial_state(1))
    if replay is not None:
        replay.seen = replay.count
    return replay


def _size(model: MemoryPPO) -> int:
    return sum(part.numel() for part in model.policy.parameters())


def _optimised(model: MemoryPPO) -> int:
    """Parameters that Adam trains: the model by which contexts are inferred is solved for instead."""
    return sum(part.numel() for part in model.policy.parameters() if part.requires_grad)


def _rollout(model: MemoryPPO, batch: int) -> Rollout:
    """An empty rollout of `batch` environments."""
    from agents.encoder import to_tensors

    sample = to_tensors(model.observation_space.sample(), model.policy.encoder.keys, model.device)
    obs = {key: part.expand(batch, *part.shape) for key, part in sample.items()}
    return model.new_rollout(obs)
