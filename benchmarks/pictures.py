"""The pictures in docs/images: each family a few steps into an episode, with the path so far.

`make pictures`, or `python benchmarks/pictures.py NAME...` for some of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import agents
import envs
from experiments import cli
from experiments import config as configs
from experiments.video import Film

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"


class Shot(NamedTuple):
    """One picture."""

    env_id: str
    agent: str
    steps: int
    """Taken before the picture."""
    seed: int = 0


SHOTS: dict[str, Shot] = {
    "recall": Shot("Recall-N8-D16-v0", "oracle", 3),
    "tmaze": Shot("NoisyTMaze-M4-L10-v0", "oracle", 11),
    "endless": Shot("EndlessTMaze-Uniform-L10-C10-v0", "oracle", 12),
    "shuffled": Shot("ShuffledTMaze-K1-M1-Max10-v0", "oracle", 4),
    "labyrinth": Shot("Labyrinth-v0", "never-reverse", 45),
    "keydoor": Shot("DarkKeyDoor-8-v0", "never-reverse", 30),
    "maze": Shot("BraidedMaze-21-v0", "greedy-map", 90),
    "atlas": Shot("Atlas-K4-v0", "greedy-map", 60, 2),
    "detour": Shot("Detour-Close-11-v0", "oracle", 26, 2),
    "treasure": Shot("Treasure-13-v0", "oracle", 60),
    "minigrid": Shot("MiniGrid-MemoryS13-v0", "never-reverse", 16),
}


def take(shot: Shot) -> Image.Image:
    """Play, and return the last picture, no side longer than 480 pixels."""
    world, film = envs.make(shot.env_id), Film(shot.steps + 1)
    agent = agents.make(shot.agent, world, shot.seed)
    obs, state, starts = world.reset(shot.seed), None, np.ones(1, np.bool_)
    film.begin(world)
    for _ in range(shot.steps):
        actions, state = agent.predict(obs, state, starts)
        out = world.step(actions)
        obs, starts = out.obs, out.terminated | out.truncated
        film.step(actions, out)
    world.close()
    picture = Image.fromarray(film.frames[-1])
    picture.thumbnail((480, 480), Image.Resampling.LANCZOS)
    return picture


def main(argv: list[str]) -> int:
    """Take the pictures that are named, all of them by default, and save them as small as PNG allows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SHOTS)} (default: all)")
    names = [configs.known(name, SHOTS, "picture") for name in parser.parse_args(argv).names]
    FOLDER.mkdir(exist_ok=True)
    for name in names or SHOTS:
        path = FOLDER / f"{name}.png"
        take(SHOTS[name]).quantize(64).save(path, optimize=True)
        print(f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}: {SHOTS[name].env_id}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.guard(main))
