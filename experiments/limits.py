"""What values settings may have: a wrong one is answered before anything is built or written."""

from __future__ import annotations

import math
from typing import Any

import torch

_COUNTS = (
    "num_envs num_steps n_steps num_minibatches update_epochs n_epochs batch_size encoder head hidden frames dim heads "
    "controller key value width attention_heads layers window slots lstm_hidden_size buffer_size train_freq "
    "gradient_steps target_update_interval widest plateau grow"
)
_SHARES = (
    "recycle gamma gae_lambda final_learning_rate write_cost_from tau exploration_fraction exploration_initial_eps "
    "exploration_final_eps"
)
_WEIGHTS = "l2_init clip_coef clip_range ent_coef vf_coef max_grad_norm kl_skip write_cost learning_starts noise"
LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_COUNTS.split(), (1, math.inf)),
    **dict.fromkeys(_SHARES.split(), (0, 1)),
    **dict.fromkeys(_WEIGHTS.split(), (0, math.inf)),
    "learning_rate": (1e-12, 1e3),
    "contexts": (0, math.inf),
    "replay": (0, math.inf),
}
"""Least and largest value of a hyperparameter; one that is not named takes any number."""

_LEAST = {"seed": 0, "stream_repeats": 1, "num_threads": 1, "save_every": 0, "eval_every": 0, "eval_episodes": 1}


def check_hyperparameter(name: str, value: Any) -> None:
    """ValueError for a number, or a number in a tuple, that is out of range or not a number."""
    low, high = LIMITS.get(name, (-math.inf, math.inf))
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not low <= number <= high:  # holds for NaN, too
            bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise ValueError(f"hyperparameter {name!r} must be {bounds}, got {number!r}.")


def check_run(config: Any) -> None:
    """ValueError for a number that no run can have, and for a device that is not there; config is a RunConfig."""
    for name, low in _LEAST.items():
        if getattr(config, name) < low:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {low}, got {getattr(config, name)}.")
    if config.scale is not None and not 0 < config.scale < math.inf:
        raise ValueError(f"--scale takes positive multiples such as 1 4 16 64, got {config.scale:g}.")
    try:
        torch.zeros(1, device=config.device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        reason = str(error).split("\n")[0][:120]
        raise ValueError(f"--device {config.device} cannot be used here ({reason}): try cpu.") from error
