"""Claim b: at equal bytes the superposed matrix holds more than separate slots.

N pairs of a 16-wide key and 16 bits are written one after the other and all asked for again, with a tenth of noise on
the query. D numbers for each of 16 values take the bytes of D / 2 slots. `python benchmarks/claims/memory.py`
"""

from __future__ import annotations

import numpy as np
import torch
from laboratory import SEEDS, Report, canvas, cell, page
from torch import Tensor

from agents.superposition import Expansion, SuperposedMemory

KEY = VALUE = 16
DIMS, LOADS, ALIKE = (64, 256), (0.5, 1.0, 2.0, 4.0), (0.0, 0.5, 0.9)
SCALES = (0.2, 2.0)  # the frequencies of the superposed agent
SHARPNESS = 2.0  # of attention: keys have norm 4, so the right key leads an unlike one by e^32


def draw(pairs: int, alike: float, seeds: range) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, queries and values, (seeds, N, 16); `alike` is the mean correlation of two keys."""
    parts = []
    for seed in seeds:
        rng = torch.Generator().manual_seed(seed)
        own, shared, noise = (torch.randn(n, KEY, generator=rng) for n in (pairs, 1, pairs))
        keys = (1 - alike) ** 0.5 * own + alike**0.5 * shared
        values = torch.randn(pairs, VALUE, generator=rng).sign()
        parts.append((unit(keys), unit(unit(keys) + 0.1 * noise), values))
    keys, queries, values = (torch.stack(part) for part in zip(*parts, strict=True))
    return keys, queries, values


def unit(keys: Tensor) -> Tensor:
    """Norm sqrt(U), as in the agent."""
    return torch.nn.functional.normalize(keys, dim=-1) * KEY**0.5


def matrix(keys: Tensor, queries: Tensor, values: Tensor, dim: int, erase: float) -> Tensor:
    """Write all, then read all: (seeds, N, V); `erase` 1 is the delta rule, 0 a plain sum."""
    seeds, pairs, _ = keys.shape
    memory, gates = SuperposedMemory(Expansion(KEY, dim, [SCALES])), torch.ones(seeds, 1, pairs)
    empty, starts = torch.zeros(seeds, 1, VALUE, dim), torch.zeros(seeds, pairs, dtype=torch.bool)
    k, v = keys[:, None], values[:, None]
    _, m = memory.unroll(empty, k, k, v, gates, erase * gates, starts)
    return (memory.expansion(queries[:, None]) @ m.mT)[:, 0]


def slots(keys: Tensor, queries: Tensor, values: Tensor, dim: int, sharpness: float) -> Tensor:
    """The newest D / 2 pairs, read by softmax over their keys: (seeds, N, V); an infinite sharpness is a table."""
    k, v = keys[:, -dim // 2 :], values[:, -dim // 2 :]
    scores = queries @ k.mT
    weights = torch.nn.functional.one_hot(scores.argmax(-1), k.shape[1]).float()
    return (weights if sharpness == float("inf") else (sharpness * scores).softmax(-1)) @ v


def right(reads: Tensor, values: Tensor) -> np.ndarray:
    """Share of bits right, (seeds,)."""
    return (reads.sign() == values).float().mean((1, 2)).numpy()


@torch.no_grad()
def measure(dim: int, load: float, alike: float, seeds: range) -> list[np.ndarray]:
    """Delta rule, plain sum, table, attention: (seeds,) each."""
    keys, queries, values = draw(int(load * dim / 2), alike, seeds)
    reads = [matrix(keys, queries, values, dim, erase) for erase in (1.0, 0.0)]
    reads += [slots(keys, queries, values, dim, sharpness) for sharpness in (float("inf"), SHARPNESS)]
    return [right(read, values) for read in reads]


def run(seeds: range = SEEDS) -> Report:
    table = [["D", "bytes", "keys alike", "pairs / slots", "delta rule", "plain sum", "table", "attention"]]
    found: dict[tuple[int, float, float], list[np.ndarray]] = {}
    for dim, load, alike in [(d, n, a) for d in DIMS for a in ALIKE for n in LOADS if a == 0 or d == DIMS[-1]]:
        found[dim, load, alike] = scores = measure(dim, load, alike, seeds)
        head = [str(dim), f"{4 * VALUE * dim:,}", f"{alike:g}", f"{int(load * dim / 2)} / {dim // 2}"]
        table.append(head + [cell(score) for score in scores])
    delta, _, *rivals = found[256, 2.0, 0.0]
    figure = canvas("pairs written / slots of the same bytes", "share of bits right, D = 256")
    axes = figure.axes[0]
    for index, name in enumerate(("delta rule", "plain sum", "table", "attention")):
        line = "o--" if name == "attention" else "o-"  # it lies on the table
        axes.plot(LOADS, [found[256, load, 0.0][index].mean() for load in LOADS], line, label=name)
    axes.legend()
    return Report(
        "A superposed matrix holds more than separate slots of the same bytes.",
        "with twice as many pairs as slots, unlike keys and D = 256, it answers fewer bits right than the better of a "
        "table of the newest pairs and softmax attention over them. Margin: its share of bits right minus theirs.",
        delta - np.maximum(*rivals),
        table,
        figure,
        "A narrow win, and only where more is written than fits: a table of the same bytes makes no mistake until it "
        "is full, and keys that are alike are hard on the matrix and easy on the table. All numbers are 32-bit floats, "
        "the table's values, too: a table that knew its values to be bits could keep nearly twice as many pairs.",
    )


if __name__ == "__main__":
    print(page("memory", run()))
