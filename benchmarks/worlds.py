"""Steps per second of the worlds on one core, beside minigrid and envpool; time to draw a maze and to compile.

`make bench`, or `python benchmarks/worlds.py`.

Random actions drawn beforehand, observation and autoreset included, best of `--repeats` rounds in which all
rows take turns, so that a busy moment of the machine does not fall on one of them alone. Seconds on the wall
tell of a quiet machine, CPU seconds of any; envpool waits for its thread in a loop, which counts as CPU too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import envs
from envs.maze_generate import GENERATORS, generate
from envs.maze_view import PAD
from envs.vec import WorldVecEnv
from envs.world import World

WORLDS = (
    "Recall-N32-D16-v0",
    "RecallMix-N32-D16-v0",
    "TMaze-L100-v0",
    "NoisyTMaze-M8-L50-v0",
    "NoisyTMaze-M8-Max50-v0",
    "EndlessTMaze-Fixed-L10-C10-v0",
    "EndlessTMaze-Uniform-L10-C10-v0",
    "DarkKeyDoor-8-v0",
    "Labyrinth-v0",
    "BraidedMaze-11-v0",
    "BraidedMaze-21-v0",
    "BraidedMaze-51-v0",
    "BraidedMaze-101-v0",
    "PerfectMaze-21-v0",
    "Atlas-K10-v0",
    "Detour-Close-21-v0",
    "Treasure-11-v0",
)
MINIGRID = "MiniGrid-MemoryS11-v0"
Row = tuple[str, int, Callable[[], None], int]


def draw(world: World, rounds: int = 64) -> np.ndarray:
    """Draw (rounds, B) random actions."""
    assert isinstance(world.action_space, gymnasium.spaces.Discrete)
    return np.random.default_rng(0).integers(world.action_space.n, size=(rounds, world.num_envs))


def world_row(env_id: str, num_envs: int, calls: int, **kwargs: Any) -> Row:
    """Step a world `calls` times."""
    world = envs.make(env_id, num_envs, **kwargs)
    world.reset(0)
    actions = draw(world)

    def run() -> None:
        for t in range(calls):
            world.step(actions[t & 63])

    engine = f" ({kwargs['engine']})" if kwargs else ""
    return f"{env_id}{engine}", num_envs, run, num_envs * calls


def vec_env_row(env_id: str, num_envs: int, calls: int) -> Row:
    """Step a world as a Stable-Baselines3 VecEnv."""
    venv = WorldVecEnv(env_id, num_envs)
    venv.reset()
    actions = draw(venv.world)

    def run() -> None:
        for t in range(calls):
            venv.step(actions[t & 63])

    return f"{env_id} as SB3 VecEnv", num_envs, run, num_envs * calls


def gymnasium_row(env_id: str, calls: int) -> Row:
    """Step one environment of gymnasium.make."""
    env = gymnasium.make(env_id)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(64)]

    def run() -> None:
        for t in range(calls):
            _, _, terminated, truncated, _ = env.step(actions[t & 63])
            if terminated or truncated:
                env.reset()

    return f"{env_id} as gymnasium.Env", 1, run, calls


def rows(num_envs: int) -> list[Row]:
    """Return everything to time."""
    import minigrid  # noqa: F401 - registers its ids

    table = [world_row(env_id, num_envs, 1_000) for env_id in WORLDS]
    table += [world_row("NoisyTMaze-M8-L50-v0", n, 10_000) for n in (1, 16)]
    table += [vec_env_row("NoisyTMaze-M8-L50-v0", n, 4_000) for n in (8, 16, 64)]
    table += [gymnasium_row("NoisyTMaze-M8-L50-v0", 20_000)]
    table += [world_row("BraidedMaze-21-v0", n, calls) for n, calls in ((1, 10_000), (16, 10_000), (1024, 400))]
    table += [gymnasium_row("BraidedMaze-21-v0", 10_000)]
    table += [world_row(MINIGRID, num_envs, 200, engine="envpool")]
    table += [world_row(MINIGRID, 16, 50, engine="minigrid"), gymnasium_row(MINIGRID, 1_000)]
    return table


def clocks() -> tuple[float, float]:
    """Return the seconds on the wall and those of this process on a core, all its threads together."""
    return time.perf_counter(), time.process_time()


def draw_mazes(size: int, generator: int, count: int = 50) -> float:
    """Return the CPU seconds that it takes to draw a maze with half of its dead ends opened."""
    rng, cells = np.zeros(1, np.uint64), np.zeros((size + 2 * PAD) ** 2, np.uint8)
    generate(rng, 0, cells, size, generator, 50)
    start = time.process_time()
    for _ in range(count):
        generate(rng, 0, cells, size, generator, 50)
    return (time.process_time() - start) / count


FIRST_STEP = """
import sys, time
import numpy as np, envs
start = time.process_time()
world = envs.make(sys.argv[1], 256)
world.reset(0)
world.step(np.zeros(256, np.int64))
print(time.process_time() - start)
"""


def first_steps(env_id: str) -> tuple[float, float]:
    """Return the CPU seconds from `make` to the first step of a new process: nothing compiled yet, and cached."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", FIRST_STEP, env_id]
        where = os.environ | {"NUMBA_CACHE_DIR": folder, "PYTHONPATH": str(Path(envs.__file__).parent.parent)}
        cold, cached = (float(subprocess.check_output(command, env=where)) for _ in range(2))
    return cold, cached


def print_compilation() -> None:
    """Print the table of first steps: a family each."""
    print(f"\n| {'first step, CPU s':<44} | {'compiling':>12} | {'cached':>12} |")
    print(f"|{'-' * 46}|{'-' * 13}:|{'-' * 13}:|")
    for env_id in {family.world: family.ids()[0] for family in reversed(envs.FAMILIES)}.values():
        cold, cached = first_steps(env_id)
        print(f"| {env_id:<44} | {cold:>12.1f} | {cached:>12.2f} |", flush=True)


def main() -> None:
    """Time every row and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    table = rows(args.num_envs)
    best = np.full((len(table), 2), np.inf)
    for _, _, run, _ in table:
        run()  # compile and warm up
    for _ in range(args.repeats):
        for k, (_, _, run, _) in enumerate(table):
            start = np.array(clocks())
            run()
            best[k] = np.minimum(best[k], np.array(clocks()) - start)
    print(f"| {'world':<44} | {'environments':>12} | {'steps/s':>12} | {'steps/CPU s':>12} |")
    print(f"|{'-' * 46}|{'-' * 13}:|{'-' * 13}:|{'-' * 13}:|")
    for (name, batch, _, steps), (wall, cpu) in zip(table, best, strict=True):
        print(f"| {name:<44} | {batch:>12} | {steps / wall:>12,.0f} | {steps / cpu:>12,.0f} |")
    print(f"\n| {'maze':<44} | {'to draw it':>12} |")
    print(f"|{'-' * 46}|{'-' * 13}:|")
    for generator, label in enumerate(GENERATORS):
        for size in (21, 101):
            seconds = min(draw_mazes(size, generator) for _ in range(args.repeats))
            print(f"| {f'{size} x {size}, {label}':<44} | {1e6 * seconds:>9,.0f} µs |")
    print_compilation()


if __name__ == "__main__":
    main()
