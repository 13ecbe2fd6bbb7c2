"""Counting floating point operations: torch's counter, and what it does not know, by formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from agents import recurrence


def _triangular(a: Any, b: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """A triangular solve of (..., T, T) with V right-hand sides: T^2 V multiply-adds halved."""
    batch = 1
    for size in b[:-2]:
        batch *= size
    return int(batch * b[-2] * b[-2] * b[-1])


def _product(out: Any, a: Any, b: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """A batch of matrix products added in place, which torch's counter does not know: a (N, I, K), b (N, K, J)."""
    return int(2 * a[0] * a[1] * a[2] * b[2])


def _elementwise(shape: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """One operation an element: a convention, since a sine costs more than a sum on every machine by another factor."""
    count = 1
    for size in shape:
        count *= size
    return count


_ATEN = torch.ops.aten
_FORMULAS: dict[Any, Any] = {_ATEN.linalg_solve_triangular: _triangular, _ATEN.baddbmm_: _product} | {
    op: _elementwise for op in (_ATEN.cos, _ATEN.sin, _ATEN.tanh, _ATEN.sigmoid, _ATEN.mul, _ATEN.add, _ATEN.addcmul)
}


def count_flops(run: Callable[[], object]) -> int:
    """FLOPs of one call, a multiply-add as two; compiled loops are counted through their torch equivalents."""
    small, recurrence.SMALL = recurrence.SMALL, 0
    try:
        with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter:
            run()
    finally:
        recurrence.SMALL = small
    return int(counter.get_total_flops())
