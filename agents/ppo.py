"""MemoryPPO: proximal policy optimisation for any memory core, on whole sequences, with Stable-Baselines3's contract.

Collect T steps of B environments, compute advantages, then train on minibatches of whole environment columns: the
core is unrolled from the state it had at the start of the rollout, over resets, exactly as it acted. Sources: PPO,
Schulman et al. 2017 (arXiv 1707.06347); GAE, Schulman et al. 2016; time limits, Pardo et al. 2018.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback, ProgressBarCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import configure_logger
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize
from torch import Tensor, nn

from agents import accounting, saving
from agents.config import PPOConfig, SuperposedConfig
from agents.cores import CORES, SuperposedCore
from agents.encoder import TensorObs, check_finite, is_single, on_device, to_tensors
from agents.policy import Policy
from agents.replay import Replay, reservoir
from agents.rollout import Episodes, Rollout, infos_of
from agents.superposition import SuperposedMemory

if TYPE_CHECKING:
    from envs.world import World

State = tuple[np.ndarray, ...]


class MemoryPPO:
    """PPO over whole sequences.

    Args:
        core: name of the memory core, one of `agents.cores.CORES`.
        env: a World, an SB3 VecEnv, a gymnasium environment or an id.
        config: every setting; the core's defaults if None.
        seed: of parameters, action sampling, minibatches and environments.
        device: "cpu", "cuda", ...

    Raises:
        ValueError: if there is no such core, or the action space is neither Discrete nor MultiDiscrete.
    """

    settings: type[PPOConfig] | None = None  # of a subclass; otherwise those of its core
    DIAGNOSED = 4  # environments whose memory is looked into for the log, once an iteration

    def __init__(
        self, core: str, env: Any, config: PPOConfig | None = None, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        if core not in CORES:
            raise ValueError(f"unknown core {core!r}: the first argument is one of {', '.join(CORES)}.")
        self.core_name, self.config, self.seed = core, config or CORES[core][0](), seed
        self.device = torch.device(device)
        self._venv: VecEnv | None = None
        self.num_timesteps, self.updates, self.verbose, self._started = 0, 0, 0, False
        if isinstance(env, saving.Spaces):  # loaded to act, not to train
            self.observation_space, self.action_space = env
            self.episodes = Episodes(0)
        else:
            self.set_env(env)
            self.observation_space, self.action_space = self.world.observation_space, self.world.action_space
        self.renew(seed)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self._logger: Logger | None = None
        self.progress: Callable[[], float] | None = None  # share of a budget that is not counted in steps

    def renew(self, seed: int) -> None:
        """Begin anew with an untrained network of the config's size, drawn from `seed`; counters and episodes go on."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            policy = Policy(self.observation_space, self.action_space, self.core_name, self.config, self.seed)
        self.policy = policy.to(self.device)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=self.config.learning_rate, eps=1e-5, fused=True)
        self.replay: Replay | None = None  # what the old network did and remembered is nothing to this one
        if self._started:
            self._state = self.policy.core.initial_state(self.world.num_envs)

    def set_env(self, env: Any) -> None:
        """Train on another environment from now on (World, VecEnv, gymnasium environment or id).

        ValueError if its observations or actions are not those of the network.
        """
        from envs.vec import as_world

        world = as_world(env, num_envs=self.config.num_envs)
        if hasattr(self, "policy") and not self.policy.fits(world.observation_space, world.action_space):
            raise ValueError(
                f"the agent takes observations {self.observation_space} and actions {self.action_space}, and env has "
                f"{world.observation_space} and {world.action_space}: give an env with the same spaces"
            )
        self.world: World = world
        self.episodes, self._started, self._venv = Episodes(self.world.num_envs), False, None
        self._seed: int | None = self.seed  # of the first episodes; later ones follow from these

    def get_env(self) -> VecEnv | None:
        """The training environments as an SB3 VecEnv, the one that was given if it is one; None if loaded to act."""
        from envs.vec import VecEnvWorld, WorldVecEnv

        if self._venv is None and hasattr(self, "world"):
            self._venv = self.world.venv if isinstance(self.world, VecEnvWorld) else WorldVecEnv(self.world)
        return self._venv

    def get_vec_normalize_env(self) -> VecNormalize | None:
        """The VecNormalize around the VecEnv that was given, whose moments an EvalCallback takes over; or None."""
        return unwrap_vec_normalize(env) if (env := self.get_env()) else None

    @property
    def logger(self) -> Logger:
        """SB3's logger."""
        if self._logger is None:
            self._logger = configure_logger(self.verbose)
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Log to this logger instead of none."""
        self._logger = logger

    def _init_callback(self, callback: Any, progress_bar: bool) -> BaseCallback:
        if isinstance(callback, list):
            callback = CallbackList(callback)
        if not isinstance(callback, BaseCallback):
            callback = ConvertCallback(callback) if callback else CallbackList([])
        if progress_bar:
            callback = CallbackList([callback, ProgressBarCallback()])
        callback.init_callback(self)
        return callback

    # -- the training loop ------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int = 1,
        tb_log_name: str = "MemoryPPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> MemoryPPO:
        """Train for `total_timesteps` environment steps, over all environments; never more.

        The number is rounded down to whole steps of all environments; `num_timesteps` holds what was done. With
        `reset_num_timesteps=False` count and episodes go on; else new episodes begin, which only the first time are
        those of `seed`. ValueError if the number is less than one such step, or there is no environment.
        """
        if not hasattr(self, "world"):
            raise ValueError("this agent was loaded to act: give it environments to train in with set_env(env)")
        if int(total_timesteps) < self.world.num_envs:
            raise ValueError(
                f"total_timesteps={total_timesteps} is less than one step of {self.world.num_envs} environments: "
                "give more steps or fewer environments (num_envs)"
            )
        if reset_num_timesteps:
            self.num_timesteps, self._started = 0, False
        target = self.num_timesteps + int(total_timesteps)
        self._callback = self._init_callback(callback, progress_bar)
        self._logger = self._logger or configure_logger(self.verbose, None, tb_log_name, reset_num_timesteps)
        self._begin()
        self._callback.on_training_start({"total_timesteps": target, "self": self}, {})
        iteration, self._clock = 0, (time.perf_counter(), self.num_timesteps)
        while target - self.num_timesteps >= self.world.num_envs:
            steps = min(self.config.num_steps, (target - self.num_timesteps) // self.world.num_envs)
            self._schedule(self.progress() if self.progress else self.num_timesteps / target)
            self._callback.on_rollout_start()
            if not self._collect(steps):
                break
            self._callback.on_rollout_end()
            if self.policy.settle(self.rollout):
                self._train()
            else:
                self._last_train = self.policy.where()
            iteration += 1
            if log_interval and iteration % log_interval == 0:
                self._log()
        self._callback.on_training_end()
        return self

    def _begin(self) -> None:
        """Reset the environments once; a restored run goes on where it was."""
        if not self._started:
            self._obs = to_tensors(self.world.reset(self._seed), self.policy.encoder.keys)
            self._starts = torch.ones(self.world.num_envs, dtype=torch.bool, device=self.device)
            self._state = self.policy.core.initial_state(self.world.num_envs)
            self.episodes = Episodes(self.world.num_envs)
            check_finite(self._obs, self.num_timesteps)
            self._started, self._seed = True, None
        self.rollout = self.new_rollout(on_device(self._obs, self.device))

    def new_rollout(self, obs: TensorObs) -> Rollout:
        """Empty buffers for a batch of environments, like obs (B, ...)."""
        logits = sum(self.policy.sizes) if self.config.replay else 0
        dropout = getattr(self.config, "controller_dropout", 0.0)
        return Rollout(obs, self.config.num_steps, len(self.policy.sizes), self.device, logits, dropout)

    def _collect(self, steps: int) -> bool:
        """Fill the rollout; False if a callback asked to stop."""
        self.replay = self.replay or reservoir(self, self.rollout, self._state)
        self.policy.tell(getattr(self.world, "task", 0))
        with torch.inference_mode(), self.policy.encoder.frozen():
            return self._act(steps)

    def _act(self, steps: int) -> bool:
        roll, world, policy = self.rollout, self.world, self.policy
        roll.state = type(self._state)(*(part.clone() for part in self._state))  # acting changes the memory in place
        roll.steps = steps
        for t in range(steps):
            for key, part in self._obs.items():
                roll.obs[key][t] = part
            obs = {key: part[t] for key, part in roll.obs.items()}
            state = roll.drop(t, self._state, self.generator)
            dist, roll.values[t], self._state = policy.step_(obs, state, self._starts)
            roll.starts[t], actions = self._starts, dist.sample(self.generator)
            roll.actions[t], roll.log_probs[t] = actions, dist.log_prob(actions)
            if self.replay is not None:
                roll.logits[t] = torch.cat(dist.log_probs, -1)
            now = world.step(policy.to_env(actions))
            ends = now.terminated | now.truncated
            cut = now.truncated & ~now.terminated
            roll.cut_off[t] = self._cut_off_value(now.final_obs, cut) if cut.any() else 0
            self._starts = torch.as_tensor(ends, device=self.device).clone()
            roll.rewards[t], roll.ends[t] = torch.as_tensor(now.reward, device=self.device), self._starts
            self._obs = to_tensors(now.obs, policy.encoder.keys)
            check_finite(self._obs, self.num_timesteps)
            infos = getattr(world.unwrapped, "infos", None)  # of a VecEnv
            ended = self.episodes.add(now.reward, ends, now.success, infos)
            self.num_timesteps += world.num_envs
            told = dict(dones=ends, rewards=now.reward, ended_episodes=ended, infos=infos or infos_of(ends, ended))
            self._callback.update_locals(told)
            if not self._callback.on_step():
                return False
        roll.check_finite(self.num_timesteps)
        return True

    def _cut_off_value(self, final_obs: Any, truncated: np.ndarray) -> Tensor:
        """Return gamma V(final observation) where a time limit cut the episode, 0 elsewhere: (B,)."""
        obs = to_tensors(final_obs, self.policy.encoder.keys, self.device)
        cut = torch.as_tensor(truncated, device=self.device)
        value = self.policy.step(obs, self._state, torch.zeros_like(cut))[1]
        return torch.where(cut, self.config.gamma * value, torch.zeros_like(value))

    def _train(self) -> None:
        """Several epochs of clipped updates on the rollout."""
        c, roll, batch = self.config, self.rollout, self.world.num_envs
        with torch.inference_mode():
            last_values = self.policy.step(on_device(self._obs, self.device), self._state, self._starts)[1]
            advantages, returns = roll.advantages(last_values, c.gamma, c.gae_lambda)
        # inference tensors cannot enter autograd: clone what the updates use
        self._targets = advantages.clone(), returns.clone()
        success = self.episodes.mean()[2]
        ramp = (success - c.write_cost_from) / max(1 - c.write_cost_from, 1e-6)
        write_cost = c.write_cost * min(ramp, 1.0) if ramp > 0 else 0.0  # success may be NaN
        logs: list[dict[str, float]] = []
        for epoch in range(c.update_epochs):
            order = torch.randperm(batch, generator=self.generator, device=self.device)
            for columns in order.chunk(min(c.num_minibatches, batch)):
                logs.append(self._update(columns, write_cost, may_skip=epoch > 0))
        self.policy.encoder.update({key: part[: roll.steps] for key, part in roll.obs.items()})
        if self.replay is not None and roll.steps == c.num_steps:
            self.replay.add(roll, self.generator)
        self.updates += 1
        self._last_train = {name: float(np.mean([row[name] for row in logs])) for name in logs[0]} | self._diagnose()
        if returns.numel() > 1:  # one number has no variance
            explained = 1 - (returns - roll.values[: roll.steps]).var() / (returns.var() + 1e-8)
            self._last_train["train/explained_variance"] = float(explained)

    @torch.inference_mode()
    def _diagnose(self) -> dict[str, float]:
        """What the core says of its memory, on a few environments of the rollout."""
        few = torch.arange(min(self.DIAGNOSED, self.world.num_envs), device=self.device)
        found = self.policy.diagnose(*self.rollout.inputs(few))
        return {f"memory/{name}": float(value) for name, value in found.items()} | self.policy.where()

    def _update(self, columns: Tensor, write_cost: float, may_skip: bool) -> dict[str, float]:
        """One minibatch of whole environment columns."""
        loss, logs = self._loss(columns, write_cost)
        skip = may_skip and logs["train/approx_kl"] > self.config.kl_skip
        if not skip:
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.max_grad_norm)
            self.optimizer.step()
            self.policy.recycle(self.optimizer, self.generator)
        return logs | {"train/skipped": float(skip)}

    def _loss(self, columns: Tensor, write_cost: float) -> tuple[Tensor, dict[str, float]]:
        c, roll, n = self.config, self.rollout, self.rollout.steps
        actions, log_probs = (part[:n].index_select(1, columns) for part in (roll.actions, roll.log_probs))
        dist, values, _, info = self.policy.unroll(*roll.inputs(columns))
        advantages, returns = (target.index_select(1, columns) for target in self._targets)
        if advantages.numel() > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + c.advantage_floor)

        log_ratio = dist.log_prob(actions) - log_probs
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - c.clip_coef, 1 + c.clip_coef)
        policy_loss = -torch.minimum(ratio * advantages, clipped * advantages).mean()
        value_loss = (returns - values).square().mean()
        entropy = dist.entropy().mean()
        loss = policy_loss + c.vf_coef * value_loss - c.ent_coef * entropy
        if write_cost and "write_gate" in info:
            loss = loss + write_cost * info["write_gate"]
        if self.replay is not None:
            loss = loss + self.replay.loss(self.policy, len(columns), c.vf_coef, self.generator)
        loss = self.policy.pulled(loss)
        with torch.no_grad():
            logs = {
                "train/loss": loss, "train/policy_gradient_loss": policy_loss, "train/value_loss": value_loss,
                "train/entropy_loss": -entropy, "train/approx_kl": (ratio - 1 - log_ratio).mean(),
                "train/clip_fraction": ((ratio - 1).abs() > c.clip_coef).float().mean(),
            } | {f"memory/{name}": value for name, value in info.items()}  # fmt: skip
            return loss, {name: float(value) for name, value in logs.items()}

    def _schedule(self, progress: float) -> None:
        """Anneal the learning rate, and grow D in equal shares of the training; progress in [0, 1]."""
        c = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = c.learning_rate * (1 - min(progress, 1.0) * (1 - c.final_learning_rate))
        if isinstance(c, SuperposedConfig) and c.grow:
            stages = (c.dim, *c.grow)
            self.resize(stages[min(int(progress * len(stages)), len(stages) - 1)])

    def _log(self) -> None:
        """SB3's tags, once per iteration, after the update."""
        reward, length, success = self.episodes.mean()
        (began, steps), record = self._clock, self.logger.record
        if self.episodes.recent:
            record("rollout/ep_rew_mean", reward)
            record("rollout/ep_len_mean", length)
            if not np.isnan(success):
                record("rollout/success_rate", success)
        record("time/fps", int((self.num_timesteps - steps) / max(time.perf_counter() - began, 1e-9)))
        record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        for name, value in self._last_train.items():
            record(name, value)
        record("train/learning_rate", self.optimizer.param_groups[0]["lr"])
        record("train/n_updates", self.updates, exclude="tensorboard")
        if hasattr(self._state, "m"):
            record("memory/norm", float(self._state.m.flatten(1).norm(dim=1).mean()))
        self.logger.dump(step=self.num_timesteps)

    # -- acting -----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def predict(
        self, observation: Any, state: State | None = None, episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State]:  # fmt: skip
        """SB3's predict, for one observation or a batch: actions, and the state of the memory after this step.

        Args:
            observation: one observation, or a batch of them.
            state: what the last call returned; None is the empty memory.
            episode_start: (B,) bool, True empties the memory of that environment first.
            deterministic: take the most likely action.

        ValueError for a state of another batch, or of another D.
        """
        obs = to_tensors(observation, self.policy.encoder.keys, self.device)
        single = is_single(obs, self.policy.encoder.spaces)
        if single:
            obs = {name: part[None] for name, part in obs.items()}
        batch = len(next(iter(obs.values())))
        memory = self.policy.memory(state, batch)
        starts = torch.zeros(batch, dtype=torch.bool, device=self.device)
        if episode_start is not None:
            starts |= torch.as_tensor(episode_start, dtype=torch.bool, device=self.device)
        dist, _, memory = self.policy.step_(obs, memory, starts)  # on a copy: the caller's state stays as it was
        actions = self.policy.to_env(dist.sample(None if deterministic else self.generator))
        return (actions[0] if single else actions), tuple(part.cpu().numpy() for part in memory)

    def resize(self, dim: int) -> None:
        """Change D of a superposed memory; the number of trained parameters stays the same."""
        if not isinstance(self.policy.core, SuperposedCore):
            raise ValueError(f"{type(self.policy.core).__name__} has no dim to change; only superposed has")
        if dim == self.policy.core.dim:
            return
        self.policy.core.resize(dim)
        if self._started:
            self._state = self._state._replace(m=SuperposedMemory.resize(self._state.m, dim))
        if self.replay is not None:
            self.replay.resize(dim)

    def fit(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Take on the size that a snapshot has, where it may have changed since the beginning: D has."""
        if isinstance(self.policy.core, SuperposedCore):
            m = tensors.get("core.1")  # before there was `dim`
            self.resize(meta.get("dim") or (self.policy.core.dim if m is None else m.shape[-1]))

    # -- saving and accounting; the work is done in the modules of these names ---------------------------------------

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a bit-for-bit resume needs, as tensors and JSON; take it at the start of a rollout."""
        return saving.snapshot(self)

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Continue from `snapshot`, of an agent with the same config."""
        saving.restore(self, tensors, meta)

    def load_parameters(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Take over the policy of a `snapshot` alone, to act; RuntimeError if it has other parameters."""
        saving.load_parameters(self, tensors, meta)

    def save(self, path: str | Path) -> None:
        """Write one file of tensors and JSON; see `load`. The suffix .safetensors is added when missing."""
        saving.save(self, path)

    @classmethod
    def load(cls, path: str | Path, env: Any = None, device: str = "cpu") -> MemoryPPO:
        """Read what `save` wrote; no code in the file is run. With `env` it can go on training, without it can act."""
        return saving.load(cls, path, env, device)

    def flops(self) -> dict[str, float]:
        """Floating point operations per environment step: `act`, to choose it, and `train`, to learn from it."""
        return accounting.flops(self)

    def stats(self) -> dict[str, float]:
        """Sizes and cost, see `accounting.stats`."""
        return accounting.stats(self)

    def memory_image(self) -> np.ndarray | None:
        """The matrix of the first environment, (H V, D) in [0, 1], or None for cores without one."""
        if not self._started or not hasattr(self._state, "m"):
            return None
        m = self._state.m[0].flatten(0, 1).cpu().numpy()
        return np.asarray(0.5 + 0.5 * m / max(float(np.abs(m).max()), 1e-8))
