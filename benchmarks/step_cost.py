"""What one acting step of the superposed agent costs: flat in the horizon, linear in D.

    python benchmarks/step_cost.py [--horizon 1000000]

Microseconds of CPU time for a batch of 16 environments, one thread. Flat: the median step after 10^3 and after
`horizon` steps of one unbroken episode. Linear: the same at D from 64 to 4096, beside the floating point operations
that are counted.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch

import agents
import envs

BATCH = 16


def steps(model: agents.MemoryPPO, world: envs.World, count: int) -> np.ndarray:
    """Seconds of each of `count` steps; the episode goes on from where the world is."""
    obs, out = world.reset(0), np.empty(count)
    policy, key = model.policy, ""
    state, starts = policy.core.initial_state(BATCH), torch.zeros(BATCH, dtype=torch.bool)
    actions = np.zeros(BATCH, np.int64)
    with torch.inference_mode():
        for i in range(count):
            began = time.process_time()
            _, _, state = policy.step_({key: torch.from_numpy(obs)}, state, starts)
            out[i] = time.process_time() - began
            obs = world.step(actions).obs
    return out * 1e6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--horizon", type=int, default=1_000_000, help="default: %(default)s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    world = envs.make("NoisyTMaze-M8-L100000000-v0", BATCH)
    model = agents.make("superposed", world, num_envs=BATCH)
    steps(model, world, 1_000)  # compiles, and warms up
    times = steps(model, world, args.horizon)
    print("| after steps | CPU us per step of 16 environments |\n|---|---|")
    for at in (1_000, args.horizon):
        print(f"| {at:,} | {np.median(times[max(at - 900, 0) : at]):.0f} |")
    print("\n| D | CPU us per step of 16 environments | FLOPs per environment step |\n|---|---|---|")
    for dim in (64, 128, 256, 512, 1024, 2048, 4096):
        model.resize(dim)
        print(f"| {dim} | {np.median(steps(model, world, 1_000)):.0f} | {model.flops()['act']:,.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
