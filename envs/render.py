"""Pictures of the worlds, drawn with Pillow."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw


def text(lines: str) -> np.ndarray:
    """Draw a few lines of text as an (H, W, 3) uint8 picture."""
    image = Image.new("RGB", (480, 96), (250, 248, 242))
    ImageDraw.Draw(image).multiline_text((12, 12), lines, fill=(40, 40, 40))
    return np.asarray(image)
