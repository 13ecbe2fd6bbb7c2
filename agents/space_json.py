"""Gymnasium spaces as JSON and back, so that a saved agent knows its spaces without a pickle."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


def dump(space: gym.Space[Any]) -> dict[str, Any]:
    """A space as a JSON-able dict; ValueError for kinds that no agent here takes."""
    if isinstance(space, spaces.Dict):
        return {"dict": {name: dump(part) for name, part in space.spaces.items()}}
    if isinstance(space, spaces.Tuple):
        return {"tuple": [dump(part) for part in space.spaces]}
    if isinstance(space, spaces.Discrete):
        return {"discrete": [int(space.n), int(space.start)]}
    if isinstance(space, spaces.MultiDiscrete):
        return {"multi_discrete": [space.nvec.tolist(), space.start.tolist()]}
    if isinstance(space, spaces.MultiBinary):
        return {"multi_binary": np.asarray(space.n).tolist()}
    if isinstance(space, spaces.Box):
        low, high = (_shorten(bound) for bound in (space.low, space.high))
        return {"box": [low, high, list(space.shape), str(space.dtype)]}
    raise ValueError(f"{space} cannot be saved: use Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple")


def _shorten(bound: np.ndarray) -> Any:
    """One number when all bounds are equal; infinities as text, which JSON has no number for."""
    flat = [str(value) for value in bound.flatten().tolist()]
    return flat[0] if len(set(flat)) <= 1 and flat else flat


def load(data: dict[str, Any]) -> gym.Space[Any]:
    """The space that `dump` described."""
    ((kind, value),) = data.items()
    if kind == "dict":
        return spaces.Dict([(name, load(part)) for name, part in value.items()])  # a plain dict would be sorted
    if kind == "tuple":
        return spaces.Tuple([load(part) for part in value])
    if kind == "discrete":
        return spaces.Discrete(value[0], start=value[1])
    if kind == "multi_discrete":
        return spaces.MultiDiscrete(np.array(value[0]), start=np.array(value[1]))
    if kind == "multi_binary":
        return spaces.MultiBinary(value)
    low, high, shape, dtype = value
    low, high = (np.broadcast_to(np.reshape(b, shape if isinstance(b, list) else ()), shape) for b in (low, high))
    return spaces.Box(low.astype(dtype), high.astype(dtype), tuple(shape), np.dtype(dtype).type)
