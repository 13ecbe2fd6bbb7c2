"""The labyrinth from above: where its nodes lie, and a picture with the port and the path so far."""

from __future__ import annotations

from functools import cache, partial
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK, _FAINT = (250, 247, 240), (45, 42, 38), (150, 145, 135)
_WALL, _FLOOR = (86, 78, 70), (236, 231, 220)
_WATER, _MOUSE, _PATH = (31, 110, 140), (205, 92, 40), (240, 160, 75)

_LEFT, _TOP, _BOTTOM = 12, 60, 24  # margins


@cache
def layout(depth: int) -> np.ndarray:
    """Return the cell (x, y) of every node and, last, of home: (2^depth, 2) int64, y downwards, corners at 0.

    Node 2^i - 1 + k of level i lies 2^((depth - 1 - i) // 2) cells from its parent, onwards if k is odd, along x
    if i is even and along y if it is odd; home lies to the left of node 0, outside the maze.
    """
    cells = np.zeros((1 << depth, 2), np.int64)
    for node in range(1, (1 << depth) - 1):
        level = (node + 1).bit_length() - 1
        step = 1 << (depth - 1 - level) // 2
        cells[node] = cells[(node - 1) // 2]
        cells[node, level % 2] += step if (node + 1) & 1 else -step
    cells -= cells[:-1].min(0)
    cells[-1] = cells[0] - (1 << (depth - 1) // 2, 0)
    return cells


def _unit(depth: int) -> int:
    """Return the pixels of a cell; there is one column of cells more than in the maze, at the left, for home."""
    return 480 // (int(layout(depth)[:-1, 0].max()) + 2)


def spot(depth: int, node: int) -> tuple[float, float]:
    """Return where a node lies in the picture, in pixels (x, y)."""
    (x, y), unit = layout(depth)[node].tolist(), _unit(depth)
    return _LEFT + unit * (x + 1.5), _TOP + unit * (y + 0.5)


def draw(depth: int, path: list[int], port: int, title: str, line: str) -> np.ndarray:
    """Draw the corridors, the port and the path (nodes, the present one last) as (H, W, 3) uint8."""
    unit, home = _unit(depth), len(layout(depth)) - 1
    columns, rows = layout(depth)[:-1].max(0).tolist()
    width, height = unit * (columns + 2), unit * (rows + 1)
    at = partial(spot, depth)
    size = (width + 2 * _LEFT, height + _TOP + _BOTTOM)
    image = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((_LEFT, 8), title, _INK, ImageFont.load_default(15))
    pen.text((_LEFT, 32), line, _FAINT, ImageFont.load_default(13))
    pen.rectangle((_LEFT + unit, _TOP, _LEFT + width, _TOP + height), _WALL)
    for node in range(home):
        stem = (node - 1) // 2 if node else home
        _line(pen, [at(stem), at(node)], 0.62 * unit, _FLOOR)
    x, y = at(home)
    pen.text((x, y - 0.6 * unit), "home", _FAINT, ImageFont.load_default(11), anchor="ms")
    x, y = at(port)
    pen.ellipse((x - 0.3 * unit, y - 0.3 * unit, x + 0.3 * unit, y + 0.3 * unit), _WATER)
    for age, (a, b) in enumerate(pairwise(path)):
        if a != b:
            share = (age + 1) / len(path)
            colour = tuple(int(f + share * (p - f)) for f, p in zip(_FLOOR, _PATH, strict=True))
            _line(pen, [at(a), at(b)], (0.08 + 0.14 * share) * unit, colour)
    x, y = at(path[-1])
    pen.ellipse((x - 0.25 * unit, y - 0.25 * unit, x + 0.25 * unit, y + 0.25 * unit), _MOUSE, _INK)
    return np.asarray(image)


def _line(pen: ImageDraw.ImageDraw, ends: list[tuple[float, float]], thickness: float, colour: tuple[int, ...]) -> None:
    """Draw a straight, axis-parallel line with square ends."""
    (x0, y0), (x1, y1) = sorted(ends)
    half = thickness / 2
    pen.rectangle((x0 - half, min(y0, y1) - half, x1 + half, max(y0, y1) + half), colour)
