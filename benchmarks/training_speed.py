"""Training speed in frames per second against sb3-contrib's RecurrentPPO: one thread each, alternated in one run.

    python benchmarks/training_speed.py [--env ID] [--rounds 3]

All step the same compiled or C++ worlds, so that trainers are compared and not environments. RecurrentPPO runs at its
default settings (LSTM of 256, 10 epochs, here 8 environments) and at its cheapest sensible ones (LSTM of 128,
4 epochs, 16 environments, whole rollouts in four minibatches). A second is one of CPU time, of all threads of the
process: on a shared machine the clock on the wall measures the neighbours too. It is printed beside.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

import torch

import agents

ENTRIES: dict[str, tuple[str, dict[str, Any]]] = {
    "superposed D=256": ("superposed", {"dim": 256}),
    "lstm 256": ("lstm", {"hidden": 256}),
    "lstm 128": ("lstm", {"hidden": 128}),
    "RecurrentPPO default": ("sb3-recurrent", {"num_envs": 8}),
    "RecurrentPPO cheapest": (
        "sb3-recurrent",
        {"num_envs": 16, "n_steps": 128, "n_epochs": 4, "batch_size": 512, "lstm_hidden_size": 128},
    ),
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="MiniGrid-MemoryS11-v0", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each, the median counts (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    models = {name: build(agent, args.env, settings) for name, (agent, settings) in ENTRIES.items()}
    speed: dict[str, list[float]] = {name: [] for name in models}
    wall: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(args.rounds + 1):  # the first warms up
        for name, model in models.items():
            steps = 16_384 if "Recurrent" not in name else model.n_steps * model.n_envs
            began = time.process_time(), time.perf_counter()
            model.learn(steps, reset_num_timesteps=False)
            if turn:
                speed[name].append(steps / (time.process_time() - began[0]))
                wall[name].append(steps / (time.perf_counter() - began[1]))
    ours = statistics.median(speed["superposed D=256"])
    print(f"{args.env}, one thread, median of {args.rounds}")
    print(
        "| trainer | frames per CPU second | min | max | on the wall | superposed is faster by |\n"
        "|---|---|---|---|---|---|"
    )
    for name, rates in speed.items():
        rate, walls = statistics.median(rates), statistics.median(wall[name])
        row = [f"{number:,.0f}" for number in (rate, min(rates), max(rates), walls)]
        print(f"| {name} | {' | '.join(row)} | {ours / rate:.1f} x |")
    return 0


def build(agent: str, env_id: str, settings: dict[str, Any]) -> Any:
    """Make an agent with its own environments."""
    import envs

    config = agents.get(agent).config(**settings)
    return agents.get(agent).build(config, envs.make(env_id, config.num_envs), 0, "cpu")


if __name__ == "__main__":
    sys.exit(main())
