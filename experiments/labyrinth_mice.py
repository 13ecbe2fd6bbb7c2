"""What the 19 mice did in the labyrinth: the measures of their published node sequences, one row a mouse.

Ten of them, the first, could drink; of the others nothing is said that has to do with water. Rewards before a run are
those that the mice really got; `drinks` are those that the rule of `Labyrinth-v0` gives for the same node sequence,
which has no time at home (113.6 and 80.7 on average).

Source: Rosenberg, Zhang, Perona and Meister 2021, eLife 10:e66175; the node sequences as in the public repository
sobecker/sim_nov, which agree with the intermediate results in the authors' own (Rosenberg-2021-Repository).
"""

from __future__ import annotations

import numpy as np

from experiments.labyrinth_scores import NAN

_COLUMNS = (
    "E", "ends_half", "ends_all", "home_direct",
    "first_arrival", "first_perfect", "R45", "S45", "late", "long_port", "long_control", "drinks",
)  # fmt: skip
_DRY = (NAN,) * 8
_ROWS: dict[str, tuple[float, ...]] = {
    "B1": (0.388, 91, 595, 1, 1187, 2, 19, 4139, 0.875, 83, 8, 49),
    "B2": (0.397, 62, 517, 1, 10, 2, 41, 7944, 0.865, 109, 7.67, 75),
    "B3": (0.495, 71, 292, 0, 14, 8, 42, 7006, 0.583, 37, 7.33, 35),
    "B4": (0.319, 73, 380, 1, 388, 17, 40, 7544, 0.756, 97, 11.67, 83),
    "C1": (0.436, 85, 362, 1, 89, 11, 28, 5582, 0.861, 85, 15.67, 88),
    "C3": (0.432, 81, 498, 1, 83, 2, 26, 5102, 0.875, 111, 11.33, 106),
    "C6": (0.381, 196, 585, 1, 2181, 15, 35, 9631, 0.867, 93, 17.33, 75),
    "C7": (0.366, 88, NAN, 0, 358, 24, 24, 5019, 0.462, 123, 16.33, 88),
    "C8": (0.351, 115, 453, 0, 38, 6, 12, 3325, 0.486, 107, 20, 93),
    "C9": (0.322, 53, 545, 1, 466, 5, 5, 1333, 0.655, 196, 11.33, 115),
    "B5": (0.452, 89, 260, 1, *_DRY),
    "B6": (0.429, 82, 256, 1, *_DRY),
    "B7": (0.355, 134, 581, 1, *_DRY),
    "D3": (0.405, 109, 569, 0, *_DRY),
    "D4": (0.423, 124, 283, 1, *_DRY),
    "D5": (0.421, 93, 442, 1, *_DRY),
    "D7": (0.415, 63, 250, 1, *_DRY),
    "D8": (0.356, 182, 356, 0, *_DRY),
    "D9": (0.322, 108, 359, 1, *_DRY),
}

MICE: dict[str, dict[str, float]] = {name: dict(zip(_COLUMNS, row, strict=True)) for name, row in _ROWS.items()}
"""The measures by mouse; NaN where what one is about never happened, or could not."""

RUN_LENGTHS: tuple[tuple[int, int, int, float, float], ...] = (
    (0, 1, 17, 0.06, 88), (1, 2, 4, 0.0, 83), (2, 3, 6, 0.5, 9), (3, 5, 18, 0.0, 102), (5, 10, 43, 0.16, 28),
    (10, 15, 51, 0.18, 24), (15, 20, 52, 0.27, 24), (20, 30, 104, 0.43, 12), (30, 40, 113, 0.52, 6),
    (40, 60, 233, 0.72, 6), (60, 80, 223, 0.77, 6), (80, 100, 214, 0.79, 6), (100, 150, 257, 0.76, 6),
)  # fmt: skip
"""All runs to the port of the ten mice: from and below these rewards before, how many, share perfect, median moves."""


def mice(measure: str) -> np.ndarray:
    """Return a measure of all the mice for which it is known."""
    values = np.array([row[measure] for row in MICE.values()])
    return values[~np.isnan(values)]
