"""Steps per second of the worlds on one core, beside minigrid and envpool: `make bench`.

Random actions drawn beforehand, observation and autoreset included, best of `--repeats` rounds in which all
rows take turns, so that a busy moment of the machine does not fall on one of them alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import gymnasium
import numpy as np

import envs
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
)
MINIGRID = "MiniGrid-MemoryS11-v0"
Row = tuple[str, int, Callable[[], None], int]


def draw(world: World, rounds: int = 64) -> np.ndarray:
    """Draw (rounds, B) random actions."""
    assert isinstance(world.action_space, gymnasium.spaces.Discrete)
    return np.random.default_rng(0).integers(world.action_space.n, size=(rounds, world.num_envs))


def world_row(env_id: str, num_envs: int, calls: int, **kwargs: str) -> Row:
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

    table = [world_row(env_id, num_envs, 4_000) for env_id in WORLDS]
    table += [world_row("NoisyTMaze-M8-L50-v0", n, 10_000) for n in (1, 16)]
    table += [vec_env_row("NoisyTMaze-M8-L50-v0", n, 4_000) for n in (8, 16, 64)]
    table += [gymnasium_row("NoisyTMaze-M8-L50-v0", 20_000)]
    table += [world_row(MINIGRID, num_envs, 200, engine="envpool")]
    table += [world_row(MINIGRID, 16, 50, engine="minigrid"), gymnasium_row(MINIGRID, 1_000)]
    return table


def main() -> None:
    """Time every row and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    table = rows(args.num_envs)
    best = [float("inf")] * len(table)
    for _, _, run, _ in table:
        run()  # compile and warm up
    for _ in range(args.repeats):
        for k, (_, _, run, _) in enumerate(table):
            start = time.perf_counter()
            run()
            best[k] = min(best[k], time.perf_counter() - start)
    print(f"| {'world':<44} | {'environments':>12} | {'steps/s':>12} |")
    print(f"|{'-' * 46}|{'-' * 13}:|{'-' * 13}:|")
    for (name, batch, _, steps), seconds in zip(table, best, strict=True):
        print(f"| {name:<44} | {batch:>12} | {steps / seconds:>12,.0f} |")


if __name__ == "__main__":
    main()
