"""Adapters: a World as gymnasium.Env, VectorEnv or Stable-Baselines3 VecEnv, and those as Worlds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from envs.world import Obs, Transition, World, copy_obs, new_buffer, row, write_row

_MODES = ["ansi", "rgb_array"]
_METADATA = {"render_modes": _MODES, "render_fps": 8}


def _world(world: World | str, num_envs: int, **kwargs: Any) -> World:
    if isinstance(world, World):
        return world
    from envs import make

    return make(world, num_envs, **kwargs)


def _checked(render_mode: str | None) -> str | None:
    if render_mode not in (None, *_MODES):
        raise ValueError(f"unknown render_mode {render_mode!r}: choose {', '.join(_MODES)} or None.")
    return render_mode


class WorldEnv(gymnasium.Env[Any, Any]):
    """A World of one environment as a gymnasium.Env; `info["is_success"]` at the end of an episode."""

    metadata = _METADATA

    def __init__(self, world: World | str, render_mode: str | None = None, **kwargs: Any) -> None:
        self.world = _world(world, 1, **kwargs)
        if self.world.num_envs != 1:
            raise ValueError(f"WorldEnv takes a world of one environment, this one has {self.world.num_envs}.")
        self.observation_space = self.world.observation_space
        self.action_space = self.world.action_space
        self.render_mode = _checked(render_mode)
        self._action = np.zeros((1, *(self.action_space.shape or ())), self.action_space.dtype)
        self._fresh: Obs | None = None  # the first observation of an episode that the world began by itself
        self._begun = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        obs = self._fresh if self._fresh is not None and seed is None else self.world.reset(seed)
        self._fresh, self._begun = None, True
        return row(obs, 0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one action."""
        self._action[0] = action
        out = self.world.step(self._action)
        terminated, truncated = out.terminated.item(), out.truncated.item()
        if not (terminated or truncated):
            self._fresh = None  # stepped past an end: the next reset begins another episode
            return row(out.obs, 0), out.reward.item(), False, False, {}
        self._fresh = copy_obs(out.obs)
        success = out.success.item()
        info = {} if np.isnan(success) else {"is_success": success}
        return row(out.final_obs, 0), out.reward.item(), terminated, truncated, info

    def render(self) -> Any:
        """Return the picture or the text that `render_mode` asked for. ResetNeeded before the first reset."""
        if not self._begun:
            raise gymnasium.error.ResetNeeded("there is nothing to render yet: call reset() first.")
        if self.render_mode == "rgb_array":
            return self.world.render(0)
        return self.world.ansi(0) if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Close the world."""
        self.world.close()


class WorldVectorEnv(VectorEnv[Any, Any, Any]):
    """A World as a gymnasium VectorEnv with SAME_STEP autoreset.

    Where episodes ended, `infos` holds `final_obs` (batch first; rows are valid where `_final_obs`) and
    `final_info["is_success"]`.
    """

    metadata = {**_METADATA, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - read from the class

    def __init__(self, world: World | str, num_envs: int = 1, render_mode: str | None = None, **kwargs: Any) -> None:
        self.world = _world(world, num_envs, **kwargs)
        self.num_envs = self.world.num_envs
        self.single_observation_space = self.world.observation_space
        self.single_action_space = self.world.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.render_mode = _checked(render_mode)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode everywhere. One integer seeds the whole batch."""
        if not (seed is None or isinstance(seed, int | np.integer)):
            raise ValueError("a world is seeded by one integer: environment i depends on (seed, i).")
        seed = None if seed is None else int(seed)
        super().reset(seed=seed)
        return copy_obs(self.world.reset(seed)), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one action in every environment."""
        out = self.world.step(np.asarray(actions))
        ended = out.terminated | out.truncated
        infos: dict[str, Any] = {}
        if ended.any():
            infos = {"final_obs": copy_obs(out.final_obs), "_final_obs": ended}
            known = ended & ~np.isnan(out.success)
            if known.any():
                success = {"is_success": out.success.copy(), "_is_success": known}
                infos |= {"final_info": success, "_final_info": ended}
        return copy_obs(out.obs), out.reward.copy(), out.terminated.copy(), out.truncated.copy(), infos

    def render(self) -> tuple[Any, ...] | None:
        """Return one picture or text for each environment."""
        if self.render_mode is None:
            return None
        draw = self.world.render if self.render_mode == "rgb_array" else self.world.ansi
        return tuple(draw(i) for i in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Close the world."""
        self.world.close()


class WorldVecEnv(VecEnv):
    """A World as a Stable-Baselines3 VecEnv, with the episode statistics of its Monitor.

    An info dict is empty except where an episode ended: `terminal_observation`, `TimeLimit.truncated`,
    `episode` (r: return, l: length, t: seconds since the start) and, where the world knows it, `is_success`.
    """

    def __init__(self, world: World | str, num_envs: int = 1, **kwargs: Any) -> None:
        self.world = _world(world, num_envs, **kwargs)
        self._actions = np.zeros(0)
        self._seed: int | None = None
        self._returns = np.zeros(self.world.num_envs)
        self._lengths = np.zeros(self.world.num_envs, np.int64)
        self._start = time.time()
        super().__init__(self.world.num_envs, self.world.observation_space, self.world.action_space)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Set the seed of the next reset; environment i depends on (seed, i)."""
        self._seed = seed
        return [seed] * self.num_envs

    def reset(self) -> Any:
        """Begin an episode everywhere."""
        obs = self.world.reset(self._seed)
        self._seed = None
        self._returns.fill(0.0)
        self._lengths.fill(0)
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return copy_obs(obs)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Take the actions."""
        out = self.world.step(self._actions)
        self._returns += out.reward
        self._lengths += 1
        dones = out.terminated | out.truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = dones.nonzero()[0]
        if ended.size:
            self._close_episodes(out, ended, infos)
        return copy_obs(out.obs), out.reward.copy(), dones, infos

    def _close_episodes(self, out: Transition, ended: np.ndarray, infos: list[dict[str, Any]]) -> None:
        seconds = round(time.time() - self._start, 6)
        cut = (out.truncated & ~out.terminated)[ended].tolist()
        success, lengths = out.success[ended].tolist(), self._lengths[ended].tolist()
        returns = self._returns[ended].tolist()
        for k, i in enumerate(ended.tolist()):
            info = infos[i]
            info["terminal_observation"] = row(out.final_obs, i)
            info["TimeLimit.truncated"] = cut[k]
            info["episode"] = {"r": round(returns[k], 6), "l": lengths[k], "t": seconds}
            if success[k] == success[k]:  # not NaN
                info["is_success"] = success[k]
        self._returns[ended] = 0.0
        self._lengths[ended] = 0

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the world, once for each index."""
        value = "rgb_array" if attr_name == "render_mode" else getattr(self.world, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the world, which all its environments share."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"the environments of a world share {attr_name!r}: leave out `indices`.")
        setattr(self.world, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method that takes an environment's number (`render`, `ansi`) for each index."""
        if method_name not in ("render", "ansi"):
            raise AttributeError(f"environments of a world have 'render' and 'ansi', not {method_name!r}.")
        return [getattr(self.world, method_name)(i) for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Any = None) -> list[bool]:
        """Return True for Monitor, whose work is done here, and False for every other wrapper."""
        return [issubclass(Monitor, wrapper_class) for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray]:
        """Return one picture for each environment."""
        return [self.world.render(i) for i in range(self.num_envs)]

    def close(self) -> None:
        """Close the world."""
        self.world.close()


class VecEnvWorld(World):
    """A Stable-Baselines3 VecEnv (with its wrappers, such as VecNormalize) as a World.

    A VecEnv cannot be saved in mid-episode: `resumable` is False, and `load_state` begins new episodes. `infos` are
    those of its last step.
    """

    resumable = False

    def __init__(self, venv: VecEnv) -> None:
        self.venv = venv
        self.num_envs = venv.num_envs
        self.observation_space = venv.observation_space
        self.action_space = venv.action_space
        self.infos: list[dict[str, Any]] = []
        self._final = new_buffer(venv.observation_space, venv.num_envs)

    def reset(self, seed: int | None = None) -> Obs:
        """Begin an episode everywhere."""
        if seed is not None:
            self.venv.seed(seed)
        return _as_obs(self.venv.reset())

    def step(self, actions: np.ndarray) -> Transition:
        """Take one action in every environment."""
        obs, reward, dones, infos = self.venv.step(actions)
        self.infos = infos
        truncated = np.zeros(self.num_envs, np.bool_)
        success = np.full(self.num_envs, np.nan, np.float32)
        for i in np.flatnonzero(dones).tolist():
            truncated[i] = infos[i].get("TimeLimit.truncated", False)
            success[i] = infos[i].get("is_success", np.nan)
            write_row(self._final, i, infos[i]["terminal_observation"])
        dones = np.asarray(dones, np.bool_)
        return Transition(
            _as_obs(obs), np.asarray(reward, np.float32), dones & ~truncated, truncated, self._final, success
        )

    def state(self) -> dict[str, np.ndarray]:
        """Return nothing: see the class."""
        return {}

    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        """Begin new episodes."""
        return self.reset()

    def render(self, i: int = 0) -> np.ndarray:
        """Return the picture of environment i."""
        image = self.venv.get_images()[i]
        if image is None:
            raise RuntimeError("this VecEnv draws nothing: make its environments with render_mode='rgb_array'.")
        return image

    def close(self) -> None:
        """Close the VecEnv."""
        self.venv.close()


def _as_obs(obs: Any) -> Obs:
    if isinstance(obs, tuple):
        raise TypeError("Tuple observations are not supported: use a Dict space.")
    return obs


def as_world(env: World | VecEnv | gymnasium.Env[Any, Any] | WorldVectorEnv | str, num_envs: int = 1) -> World:
    """Return `env` as a World: a World, an id, one of the adapters, a gymnasium.Env or any SB3 VecEnv.

    `num_envs` counts for an id only. TypeError for anything else, gymnasium's own vector environments too.
    """
    if isinstance(env, World):
        return env
    if isinstance(env, str):
        return _world(env, num_envs)
    if isinstance(env, WorldVecEnv | WorldVectorEnv):
        return env.world
    if isinstance(env, VecEnv):
        return VecEnvWorld(env)
    if isinstance(env, gymnasium.Env):
        if isinstance(env, WorldEnv):
            return env.world
        from envs.gym_world import GymWorld
        from envs.minigrid import Compact

        plain = isinstance(env.observation_space, spaces.Dict) and "mission" in env.observation_space.spaces
        if plain and type(env.unwrapped).__module__.startswith("minigrid."):  # other wrappers know what they show
            env = Compact(env)
        single = env
        return GymWorld(lambda: single)
    raise TypeError(
        f"cannot make a World of {type(env).__name__}: pass an id, a gymnasium.Env or an SB3 VecEnv; for gymnasium's "
        "vector environments their id, with num_envs."
    )
