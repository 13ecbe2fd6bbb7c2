"""Pictures and texts of the corridor worlds: one Scene, drawn with Pillow or written as two lines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 480, 320
_PAPER, _INK, _FAINT = (250, 247, 240), (45, 42, 38), (150, 145, 135)
_PLUS, _MINUS, _ZERO = (31, 110, 140), (240, 160, 75), (222, 216, 204)
_GOOD, _BAD = (60, 140, 80), (190, 60, 55)
_STRETCH = ((188, 212, 190), (222, 216, 204), (240, 205, 160))  # where cues are shown, corridor, junctions
_WALL, _SIDE, _FLOOR, _SKY, _GAP = (
    (226, 218, 202),
    (206, 196, 178),
    (178, 166, 146),
    (236, 231, 220),
    (86, 78, 70),
)
_VIEW = (20, 78, 460, 248)  # left, top, right, bottom of the view into the corridor


class Scene(NamedTuple):
    """What there is to see of one environment."""

    title: str
    stretches: tuple[int, int, int]
    """Steps with cues, steps of corridor, junctions: the episode from left to right."""
    time: int
    """Steps since the beginning of the stretches."""
    place: str
    symbol: tuple[float, ...]
    """What is shown, as bars: +1, -1 or 0."""
    arrow: str
    """The turn that is shown beside the symbol, or ''."""
    exits: tuple[str, ...]
    """The turns to choose from here, empty unless at a junction."""
    score: str
    action: str
    reward: float


def ansi(scene: Scene) -> str:
    """Write a scene in two lines: what is to be seen, and what was done last."""
    symbol = "".join("#" if x > 0 else "-" if x < 0 else "." for x in scene.symbol)
    seen = "  ".join(part for part in (scene.place, symbol, scene.arrow, " | ".join(scene.exits)) if part)
    return f"{scene.title}: {seen}\nlast action {scene.action}, reward {scene.reward:+.2f}; {scene.score}"


def draw(scene: Scene) -> np.ndarray:
    """Draw a scene as a (320, 480, 3) uint8 picture."""
    image = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((20, 12), scene.title, _INK, _font(17))
    pen.text((WIDTH - 20, 14), scene.score, _FAINT, _font(14), anchor="ra")
    _draw_strip(pen, scene)
    _draw_corridor(pen, bool(scene.exits))
    if any(scene.symbol):
        _draw_board(pen, scene)
    for exit_, x in zip(scene.exits, (100, 380), strict=False):
        pen.text((x, 150), exit_, _PAPER, _font(20), anchor="mm")
    pen.text((20, 260), scene.place, _INK, _font(15))
    colour = _GOOD if scene.reward > 0 else _BAD if scene.reward < 0 else _FAINT
    pen.text((20, 286), f"last action: {scene.action}", _FAINT, _font(14))
    pen.text((WIDTH - 20, 286), f"reward {scene.reward:+.2f}", colour, _font(14), anchor="ra")
    return np.asarray(image)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_strip(pen: ImageDraw.ImageDraw, scene: Scene) -> None:
    """Draw the episode from left to right, stretches at least 12 pixels wide, a marker at the present."""
    room = WIDTH - 40 - 12 * sum(1 for steps in scene.stretches if steps)
    total, before, x = sum(scene.stretches), 0, 20.0
    for steps, colour in zip(scene.stretches, _STRETCH, strict=True):
        if not steps:
            continue
        width = 12 + room * steps / total
        pen.rectangle((x, 46, x + width - 1, 58), colour)
        if before <= scene.time < before + steps:
            here = x + width * (scene.time - before + 0.5) / steps
            pen.polygon(((here, 56), (here - 5, 66), (here + 5, 66)), _INK)
            pen.line((here, 44, here, 60), _INK, 2)
        before, x = before + steps, x + width


def _draw_corridor(pen: ImageDraw.ImageDraw, junction: bool) -> None:
    """Draw a corridor in perspective, or its end with an opening on each side."""
    left, top, right, bottom = _VIEW
    pen.rectangle(_VIEW, _WALL)
    inner = (150, 112, 330, 208) if junction else (215, 146, 265, 176)
    x0, y0, x1, y1 = inner
    pen.polygon(((left, top), (right, top), (x1, y0), (x0, y0)), _SKY)
    pen.polygon(((left, bottom), (right, bottom), (x1, y1), (x0, y1)), _FLOOR)
    pen.polygon(((left, top), (x0, y0), (x0, y1), (left, bottom)), _SIDE)
    pen.polygon(((right, top), (x1, y0), (x1, y1), (right, bottom)), _SIDE)
    if junction:
        pen.polygon(((60, 103), (140, 119), (140, 212), (60, 230)), _GAP)
        pen.polygon(((420, 103), (340, 119), (340, 212), (420, 230)), _GAP)
    else:
        for depth in (0.35, 0.62, 0.82):  # floor joints make the distance visible
            y = bottom + (y1 - bottom) * depth
            pen.line((left + (x0 - left) * depth, y, right + (x1 - right) * depth, y), _SIDE, 2)
        pen.rectangle(inner, _GAP)
    pen.rectangle(_VIEW, outline=_FAINT)


def _draw_board(pen: ImageDraw.ImageDraw, scene: Scene) -> None:
    """Draw the symbol as a board of coloured bars, with the turn below it."""
    count = len(scene.symbol)
    bar = min(18, 200 // count)
    x0 = (WIDTH - count * bar) // 2
    pen.rectangle((x0 - 7, 119, x0 + count * bar + 6, 199 if scene.arrow else 175), _PAPER, _INK)
    for k, value in enumerate(scene.symbol):
        colour = _PLUS if value > 0 else _MINUS if value < 0 else _ZERO
        pen.rectangle((x0 + k * bar + 1, 126, x0 + (k + 1) * bar - 2, 168), colour)
    if scene.arrow:
        pen.text((WIDTH // 2, 184), scene.arrow, _INK, _font(16), anchor="mm")
