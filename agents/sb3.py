"""Outside baselines: Stable-Baselines3's PPO and DQN, sb3-contrib's RecurrentPPO, with their own defaults.

They train on the same worlds, write the same run folders and are charged by the same FLOP counter as the
agents of this package. Two things differ, and no setting changes that: their resume is not bit for bit (they
keep neither random streams, nor the replay buffer, nor the episodes under way), and their budget is rounded
down to whole rollouts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.utils import obs_as_tensor

from agents.accounting import ADAM_STEP, count_flops

if TYPE_CHECKING:
    from envs.world import World


@dataclass(frozen=True, kw_only=True)
class SB3PPOConfig:
    """Stable-Baselines3's PPO."""

    num_envs: int = 8
    """Environments stepped together; Stable-Baselines3 leaves the number to the user."""
    width: int = 64
    """Width of the two hidden layers of each network."""
    learning_rate: float = 3e-4
    """Adam's, constant."""
    n_steps: int = 2048
    """Steps of each environment between updates."""
    batch_size: int = 64
    """Samples per minibatch."""
    n_epochs: int = 10
    """Passes over each rollout."""
    gamma: float = 0.99
    """Discount."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation."""
    clip_range: float = 0.2
    """PPO's clip range."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this norm."""


@dataclass(frozen=True, kw_only=True)
class SB3RecurrentConfig(SB3PPOConfig):
    """sb3-contrib's RecurrentPPO: an LSTM for the policy and another one for the value."""

    n_steps: int = 128
    """Steps of each environment between updates."""
    batch_size: int = 128
    """Samples per minibatch."""
    lstm_hidden_size: int = 256
    """Width of each LSTM."""


@dataclass(frozen=True, kw_only=True)
class SB3DQNConfig:
    """Stable-Baselines3's DQN; discrete actions only."""

    num_envs: int = 1
    """Environments stepped together."""
    width: int = 64
    """Width of the two hidden layers."""
    learning_rate: float = 1e-4
    """Adam's, constant."""
    buffer_size: int = 1_000_000
    """Transitions kept; lower it where observations are large."""
    learning_starts: int = 100
    """Steps before the first update."""
    batch_size: int = 32
    """Samples per update."""
    tau: float = 1.0
    """Share of the target network that is replaced at each of its updates."""
    gamma: float = 0.99
    """Discount."""
    train_freq: int = 4
    """Steps of each environment between updates."""
    gradient_steps: int = 1
    """Updates each time."""
    target_update_interval: int = 10_000
    """Steps between updates of the target network."""
    exploration_fraction: float = 0.1
    """Share of the training over which exploration falls."""
    exploration_initial_eps: float = 1.0
    """Share of random actions at the start."""
    exploration_final_eps: float = 0.05
    """Share of random actions at the end."""
    max_grad_norm: float = 10.0
    """Gradients are scaled down to this norm."""


class Bridge:
    """What a run needs beyond SB3's own interface: tensors and JSON instead of a zip of pickles."""

    exact_resume = False
    log_interval = 1
    progress: Callable[[], float] | None = None
    """Share of the training already done, where the clock and not the number of steps decides."""

    def snapshot(self: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Networks, optimiser and counters as (tensors, JSON); no random streams, no episodes under way."""
        tensors: dict[str, torch.Tensor] = {}
        tree = _split(self.get_parameters(), "", tensors)
        meta = {
            "parameters": tree,
            "num_timesteps": self.num_timesteps,
            "n_updates": self._n_updates,
            "episodes": list(self.ep_info_buffer or ()),
            "successes": [float(s) for s in self.ep_success_buffer or ()],
        }
        return tensors, meta

    def restore(self: Any, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
        """Continue from `snapshot()`: new episodes, new random streams that depend on the step reached."""
        self.load_parameters(tensors, meta)
        self.set_random_seed(((self.seed or 0) + meta["num_timesteps"]) % 2**32)  # before the environments begin
        self._setup_learn(0, reset_num_timesteps=True)  # makes the episode buffers
        self.num_timesteps = meta["num_timesteps"]
        self._n_updates = meta["n_updates"]
        self.ep_info_buffer.extend(meta["episodes"])
        self.ep_success_buffer.extend(meta["successes"])

    def load_parameters(self: Any, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
        """Take over networks and optimiser alone, for evaluation."""
        self.set_parameters(_join(meta["parameters"], tensors), device=self.device)

    def stats(self: Any) -> dict[str, float]:
        """Sizes and cost, named as in `agents.accounting.stats`."""
        flops = self.flops()
        trained = trained_parameters(self)
        total = sum(p.numel() for p in self.policy.parameters())
        return {
            "trained_parameters": trained,
            "fixed_parameters": total - trained,
            "state_bytes": self._state_bytes(),
            "optimizer_bytes": 2 * 4 * trained,
            "buffer_bytes": _array_bytes(getattr(self, "rollout_buffer", None) or self.replay_buffer),
            "flops_per_step": flops["act"],
            "flops_per_training_step": flops["act"] + flops["train"],
        }

    def _state_bytes(self) -> int:
        return 0

    def _update_current_progress_remaining(self: Any, num_timesteps: int, total_timesteps: int) -> None:
        """Let the clock drive the schedules where the budget is in seconds."""
        done = num_timesteps / total_timesteps if self.progress is None else self.progress()
        self._current_progress_remaining = 1.0 - min(done, 1.0)

    def _sample(self: Any, batch: int) -> tuple[Any, torch.Tensor]:
        """So many observations and actions of the right shapes, to count FLOPs on."""
        space = self.observation_space
        empty = {k: _zeros(s, batch) for k, s in space.items()} if isinstance(space, spaces.Dict) else None
        obs = obs_as_tensor(_zeros(space, batch) if empty is None else empty, self.device)
        actions = torch.as_tensor(np.array([self.action_space.sample() for _ in range(batch)]), device=self.device)
        return obs, actions.float() if isinstance(self.action_space, spaces.MultiBinary) else actions


class OnPolicyBridge(Bridge):
    """The bridge for algorithms that learn from whole rollouts."""

    @property
    def iteration_steps(self: Any) -> int:
        """Environment steps of one rollout; a budget is rounded down to a multiple."""
        return int(self.n_steps * self.n_envs)

    def flops(self: Any) -> dict[str, float]:
        """FLOPs per environment step, of acting and of the updates.

        Of an update, what two steps of every sequence take beyond one: a recurrent state is differentiated through.
        """
        obs, _ = self._sample(self.n_envs)

        def update(steps: int) -> None:
            seen, actions = self._sample(self.batch_size * steps)
            values, log_prob, _ = self.policy.evaluate_actions(
                seen, actions, *self._memory_inputs(self.batch_size, steps)
            )
            self.policy.zero_grad(set_to_none=True)  # adding to gradients that are there would be counted
            (values.sum() + log_prob.sum()).backward()

        with torch.random.fork_rng(devices=[]), _without_onednn():
            act = count_flops(lambda: self.policy(obs, *self._memory_inputs(self.n_envs, 1))) / self.n_envs
            one, two = count_flops(lambda: update(1)), count_flops(lambda: update(2))
        self.policy.zero_grad(set_to_none=True)
        train = (two - one + ADAM_STEP * trained_parameters(self)) / self.batch_size
        return {"act": act, "train": self.n_epochs * train}

    def _memory_inputs(self, batch: int, steps: int) -> tuple[Any, ...]:
        """What the policy takes beside the observations of so many sequences of so many steps."""
        return ()


class PPOBaseline(OnPolicyBridge, PPO):
    """Stable-Baselines3's PPO behind the interface of a run."""


class DQNBaseline(Bridge, DQN):
    """Stable-Baselines3's DQN behind the interface of a run."""

    log_interval = 20  # it counts episodes here

    @property
    def iteration_steps(self) -> int:
        """Environment steps between two updates; a budget is rounded down to a multiple."""
        return int(getattr(self.train_freq, "frequency", 1)) * self.n_envs

    def flops(self) -> dict[str, float]:
        """FLOPs per environment step, of acting and of the updates."""
        obs, _ = self._sample(self.n_envs)
        self.policy.zero_grad(set_to_none=True)  # adding to gradients that are there would be counted
        act = count_flops(lambda: self.q_net(obs)) / self.n_envs
        learn = count_flops(lambda: self.q_net(obs).sum().backward()) / self.n_envs
        self.policy.zero_grad(set_to_none=True)
        # An update runs the network forwards and backwards and the target network forwards.
        updates = self.gradient_steps / self.iteration_steps
        update = (learn + act) * self.batch_size + ADAM_STEP * trained_parameters(self)
        return {"act": act, "train": update * updates}


def build_ppo(config: SB3PPOConfig, world: World, seed: int, device: str) -> PPOBaseline:
    """Make Stable-Baselines3's PPO for a world."""
    return PPOBaseline(**_arguments(config, world, seed, device))


def build_dqn(config: SB3DQNConfig, world: World, seed: int, device: str) -> DQNBaseline:
    """Make Stable-Baselines3's DQN for a world; ValueError if the actions are not Discrete."""
    from envs.vec import as_world

    world = as_world(world, config.num_envs)
    if not isinstance(world.action_space, spaces.Discrete):
        raise ValueError(
            f"sb3-dqn needs a Discrete action space, this environment has {world.action_space}: use --agent sb3-ppo."
        )
    return DQNBaseline(**_arguments(config, world, seed, device))


def build_recurrent(config: SB3RecurrentConfig, world: World, seed: int, device: str) -> Any:
    """Make sb3-contrib's RecurrentPPO for a world; ImportError with the command that installs it."""
    arguments = _arguments(config, world, seed, device)
    arguments["policy_kwargs"] |= {"lstm_hidden_size": arguments.pop("lstm_hidden_size")}
    arguments["policy"] = arguments["policy"].replace("Policy", "LstmPolicy")
    return _recurrent_class()(**arguments)


def _recurrent_class() -> Any:
    """Define the class late: sb3-contrib is an extra."""
    try:
        from sb3_contrib import RecurrentPPO
    except ImportError as error:
        raise ImportError(
            "sb3-recurrent needs sb3-contrib, which is not installed: pip install 'sb3-contrib>=2.9,<3'"
        ) from error

    class RecurrentBaseline(OnPolicyBridge, RecurrentPPO):
        def _state_bytes(self) -> int:
            # Hidden and cell state, of the policy's LSTM and of the value's.
            lstm: Any = self.policy.lstm_actor
            return int(2 * 2 * 4 * lstm.hidden_size * lstm.num_layers)

        def _memory_inputs(self, batch: int, steps: int) -> tuple[Any, ...]:
            last: Any = self._last_lstm_states  # (layers, B, N), for the policy and for the value, twice each
            states = (tuple(part[:, :1].repeat(1, batch, 1) for part in both) for both in last)
            return type(last)(*states), torch.zeros(batch * steps, device=self.device)

    return RecurrentBaseline


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Keep the LSTM in pieces: oneDNN's fused one is a single opaque operation to the counter."""
    backend: Any = torch.backends.mkldnn  # its context manager warns about Intel GPUs
    before, backend.enabled = backend.enabled, False
    try:
        yield
    finally:
        backend.enabled = before


def _arguments(config: Any, world: World, seed: int, device: str) -> dict[str, Any]:
    """Turn a config into the constructor's arguments; Dict observations go through MultiInputPolicy."""
    from envs.vec import WorldVecEnv, as_world

    arguments = asdict(config)
    world = as_world(world, arguments.pop("num_envs"))
    if np.any(getattr(world.action_space, "start", 0)):
        raise ValueError(
            f"Stable-Baselines3 counts actions from 0, this environment has {world.action_space}: shift them with "
            "gymnasium.wrappers.TransformAction."
        )
    policy = "MultiInputPolicy" if isinstance(world.observation_space, spaces.Dict) else "MlpPolicy"
    shape = {"policy_kwargs": {"net_arch": 2 * [arguments.pop("width")]}}
    return {"policy": policy, "env": WorldVecEnv(world), "seed": seed, "device": device} | shape | arguments


def trained_parameters(algorithm: Any) -> int:
    """Parameters that the optimiser changes: a target network is none of them."""
    return sum(part.numel() for group in algorithm.policy.optimizer.param_groups for part in group["params"])


def _array_bytes(buffer: Any) -> int:
    """Bytes of the arrays of a buffer, also inside of dicts."""
    parts = [
        part for value in vars(buffer).values() for part in (value.values() if isinstance(value, dict) else [value])
    ]
    return sum(part.nbytes for part in parts if isinstance(part, np.ndarray))


def _zeros(space: spaces.Space[Any], batch: int) -> np.ndarray:
    return np.zeros((batch, *(space.shape or ())), space.dtype)


def _split(node: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Move the tensors of a nested dict or list into `tensors`; the JSON tree keeps {"tensor": path}.

    Dicts become lists of pairs, because the optimiser's integer keys would come back from JSON as strings.
    """
    if isinstance(node, torch.Tensor):
        tensors[path] = node
        return {"tensor": path}
    if isinstance(node, dict):
        return {"pairs": [[k, _split(v, f"{path}/{k}", tensors)] for k, v in node.items()]}
    if isinstance(node, list | tuple):
        return {"items": [_split(v, f"{path}/{i}", tensors) for i, v in enumerate(node)]}
    return {"value": node}


def _join(node: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    """Undo `_split`; tuples come back as lists."""
    if "tensor" in node:
        return tensors[node["tensor"]]
    if "pairs" in node:
        return {k: _join(v, tensors) for k, v in node["pairs"]}
    if "items" in node:
        return [_join(v, tensors) for v in node["items"]]
    return node["value"]
