"""A GIF of an episode, with the path so far drawn into the world's pictures; several agents side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.world import Transition, World
from experiments.evaluation import Watch

FPS = 8
MOST_FRAMES = 400
"""A film shows so many steps at most: a life may have a million."""
PAGE_FRAMES = 100
"""In a report, so that a page of many films stays small, and what is kept until it is written, too."""
_TRAIL, _INK, _PAPER = (214, 69, 65), (45, 42, 38), (250, 247, 240)
_CARRIED = ("over", "back")
"""In a trace: the agent has been put somewhere else, to begin the next trial or attempt."""
_LINE = 22  # pixels for the name of the agent


class Film(Watch):
    """Pictures of the first environment from the beginning of its first episode."""

    def __init__(self, most_frames: int = MOST_FRAMES) -> None:
        self.frames: list[np.ndarray] = []
        """(H, W, 3) uint8 each."""
        self.title = ""
        self._most = most_frames
        self._path: list[tuple[float, float] | None] = []
        self._over = False

    def begin(self, world: World) -> None:
        """Take the first picture."""
        self._world = world
        self._take()

    def step(self, actions: np.ndarray, out: Transition) -> None:
        """Take a picture, unless it would be one of the next episode."""
        self._over |= bool(out.terminated[0] or out.truncated[0])
        told = self._world.trace()
        if any(told[name][0] for name in _CARRIED if name in told):
            self._path.append(None)
        if not self._over and len(self.frames) < self._most:
            self._take()

    def of(self, title: str) -> Film:
        """Write the agent's name on it, and return it."""
        self.title = title
        return self

    def _take(self) -> None:
        self._path.append(self._world.spot(0))
        self.frames.append(with_path(self._world.render(0), self._path))

    @staticmethod
    def write(path: Path, films: list[Film]) -> int:
        """Write films side by side as an endless GIF; returns the number of frames. ValueError if it cannot."""
        count = max(len(film.frames) for film in films)
        pictures = []
        for k in range(count):
            parts = [_titled(film.frames[min(k, len(film.frames) - 1)], film.title) for film in films]
            pictures.append(beside(parts).quantize(128, Image.Quantize.FASTOCTREE))
        try:
            pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=1000 // FPS, loop=0)
        except (OSError, ValueError) as error:
            raise ValueError(f"cannot write {path}: {error}. Give --video a file that ends in .gif.") from error
        return count


def with_path(picture: np.ndarray, path: Sequence[tuple[float, float] | None]) -> np.ndarray:
    """Draw the path so far, pixels (x, y), into a copy of a picture (H, W, 3), older parts fainter; None breaks it."""
    image = Image.fromarray(picture)
    steps = [(a, b) for a, b in pairwise(path) if a is not None and b is not None and a != b]
    layer = Image.new("RGBA", image.size)
    pen = ImageDraw.Draw(layer)
    for age, (a, b) in zip(range(len(steps), 0, -1), steps, strict=True):
        pen.line((*a, *b), (*_TRAIL, max(90, 230 - age)), max(2, picture.shape[0] // 120))
    image.paste(layer, mask=layer)
    return np.asarray(image)


def beside(pictures: list[Image.Image], gap: int = 8) -> Image.Image:
    """Put pictures into a row, on paper, aligned at the top."""
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    row, x = Image.new("RGB", (width, max(p.height for p in pictures)), _PAPER), 0
    for picture in pictures:
        row.paste(picture, (x, 0))
        x += picture.width + gap
    return row


def _titled(frame: np.ndarray, title: str) -> Image.Image:
    """Add a line with the agent's name above a frame."""
    image = Image.new("RGB", (frame.shape[1], frame.shape[0] + _LINE), _PAPER)
    image.paste(Image.fromarray(frame), (0, _LINE))
    font: Any = ImageFont.load_default(14)
    ImageDraw.Draw(image).text((4, 2), title, _INK, font)
    return image
