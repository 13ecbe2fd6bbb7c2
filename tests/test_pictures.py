"""The pictures in the pages show the worlds as they are now."""

import numpy as np
import pictures
import pytest
from PIL import Image

import envs


@pytest.mark.parametrize("name", pictures.SHOTS)
def test_pictures_are_of_today(name: str) -> None:
    if name == "minigrid":
        pytest.importorskip("envpool")  # its layouts, which MiniGrid draws otherwise
    shot = pictures.SHOTS[name]
    page = (pictures.FOLDER.parent / "worlds.md").read_text()
    assert f"(images/{name}.png)" in page
    with Image.open(pictures.FOLDER / f"{name}.png") as shown:
        kept, taken = (np.asarray(part.convert("RGB"), np.float64) for part in (shown, pictures.take(shot)))
    assert kept.shape == taken.shape
    assert np.abs(kept - taken).mean() < 4  # of 255: what 64 colours and another font make of it


def test_every_family_has_its_picture() -> None:
    worlds = {type(envs.make(shot.env_id).unwrapped) for shot in pictures.SHOTS.values()}
    assert worlds >= {family.world for family in envs.FAMILIES}
