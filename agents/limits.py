"""What values hyperparameters may have: a wrong one is answered before anything is built."""

from __future__ import annotations

import math
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

_COUNTS = (
    "num_envs num_steps n_steps num_minibatches update_epochs n_epochs batch_size encoder head hidden frames dim heads "
    "controller key value width attention_heads layers window slots lstm_hidden_size buffer_size train_freq "
    "gradient_steps target_update_interval widest plateau grow ball queue most_contexts places sweeps"
)
_SHARES = (
    "controller_dropout recycle gamma gae_lambda final_learning_rate write_cost_from tau exploration_fraction "
    "exploration_initial_eps exploration_final_eps epsilon"
)
_WEIGHTS = (
    "l2_init clip_coef clip_range ent_coef vf_coef max_grad_norm kl_skip write_cost noise tolerance learning_starts"
)
LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_COUNTS.split(), (1, math.inf)),
    **dict.fromkeys(_SHARES.split(), (0, 1)),
    **dict.fromkeys(_WEIGHTS.split(), (0, math.inf)),
    "learning_rate": (1e-12, 1e3),
    "backups": (0, math.inf),
    "contexts": (0, math.inf),
    "replay": (0, math.inf),
}
"""Least and largest value of a hyperparameter; one that is not named takes any number."""


def check(config: Any) -> None:
    """ValueError for a field of an agent's config that is of another kind than its default, or out of range."""
    hints = get_type_hints(type(config))
    for field in fields(config):
        value, kind = getattr(config, field.name), type(field.default)
        what = {int: ("a whole number", Integral), float: ("a number", Real), str: ("a word", str)}.get(kind)
        if what and (not isinstance(value, what[1]) or isinstance(value, bool)):
            raise ValueError(f"hyperparameter {field.name!r} must be {what[0]}, got {value!r}.")
        choices = get_args(hints[field.name]) if get_origin(hints[field.name]) is Literal else ()
        if choices and value not in choices:
            raise ValueError(f"hyperparameter {field.name!r} must be one of {', '.join(choices)}, got {value!r}.")
        check_hyperparameter(field.name, value)


def check_hyperparameter(name: str, value: Any) -> None:
    """ValueError for a number, or a number in a tuple, that is out of range or not a number."""
    low, high = LIMITS.get(name, (-math.inf, math.inf))
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not low <= number <= high:  # holds for NaN, too
            bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise ValueError(f"hyperparameter {name!r} must be {bounds}, got {number!r}.")
