"""GymWorld: any gymnasium environment as a World, stepped one by one in Python."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.kernels import seed_streams
from envs.world import Obs, Transition, World, check_id, fresh_seed, named, new_buffer, write_row

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


class GymWorld(World):
    """B gymnasium environments of one kind.

    Every episode is reset with a seed of its own, a hash of (seed, i, number of the episode). So
    environment i depends on (seed, i) only, and a state is that seed and the actions taken since:
    `load_state` resets and replays them, which is exact for every environment that keeps gymnasium's
    contract of `reset(seed=...)`, and pickles nothing.

    Observations may be Box, Discrete, MultiDiscrete, MultiBinary or a flat Dict of these; actions Discrete,
    MultiDiscrete, MultiBinary or Box (clipped to its bounds), counted as the environment counts them.
    `info["success"]` or `info["is_success"]` at the end of an episode is its success, NaN without either.
    """

    def __init__(self, env: str | Callable[[], gymnasium.Env[Any, Any]], num_envs: int = 1, **kwargs: Any) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}.")
        if isinstance(env, str):
            name = env
            kwargs = {"render_mode": "rgb_array"} | kwargs if _draws(name) else kwargs
            self.envs = [gymnasium.make(name, **kwargs) for _ in range(num_envs)]
        else:
            self.envs = [env() for _ in range(num_envs)]
        self.num_envs = num_envs
        self.observation_space = self.envs[0].observation_space
        self.action_space = _known(self.envs[0].action_space)
        self._obs = new_buffer(self.observation_space, num_envs)
        self._final = new_buffer(self.observation_space, num_envs)
        self._reward = np.zeros(num_envs, np.float32)
        self._ended = np.zeros((2, num_envs), np.bool_)
        self._success = np.full(num_envs, np.nan, np.float32)
        self._rng = np.zeros(num_envs, np.uint64)
        self._episode_seed = np.zeros(num_envs, np.int64)
        self._log: list[list[np.ndarray]] = [[] for _ in range(num_envs)]
        self._seeded = False

    def reset(self, seed: int | None = None) -> Obs:
        """Begin an episode in every environment."""
        if seed is not None or not self._seeded:
            seed_streams(fresh_seed(seed), self._rng)
            self._seeded = True
        for i in range(self.num_envs):
            self._begin(i)
        return self._obs

    def step(self, actions: np.ndarray) -> Transition:
        """Take one action in every environment."""
        if not self._seeded:
            raise RuntimeError("call reset() before the first step().")
        actions = np.asarray(actions)
        shape = (self.num_envs, *(self.action_space.shape or ()))
        if actions.shape != shape:
            raise ValueError(f"actions must have shape {shape}, got {actions.shape}.")
        if isinstance(self.action_space, spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        actions = actions.astype(self.action_space.dtype)
        self._success.fill(np.nan)
        for i, env in enumerate(self.envs):
            obs, reward, terminated, truncated, info = env.step(self._action(actions[i]))
            self._reward[i] = float(reward)
            self._ended[:, i] = terminated, truncated
            if terminated or truncated:
                self._success[i] = info.get("success", info.get("is_success", np.nan))
                write_row(self._final, i, obs)
                self._begin(i)
            else:
                self._log[i].append(actions[i].copy())
                write_row(self._obs, i, obs)
        return Transition(self._obs, self._reward, self._ended[0], self._ended[1], self._final, self._success)

    def state(self) -> dict[str, np.ndarray]:
        """Return the id, the streams, the seed of each running episode and the actions taken in it."""
        shape = (0, *(self.action_space.shape or ()))
        actions = [np.array(log, self.action_space.dtype).reshape(len(log), *shape[1:]) for log in self._log]
        return {
            "env_id": named(_name(self.envs[0])),
            "rng": self._rng.copy(),
            "episode_seed": self._episode_seed.copy(),
            "length": np.array([len(log) for log in self._log], np.int64),
            "actions": np.concatenate(actions),
        }

    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        """Replay the running episodes; takes as long as their steps took. ValueError for a state of another world."""
        missing = {"rng", "episode_seed", "length", "actions"} - state.keys()
        if missing:
            raise ValueError(f"this state is not of a gymnasium environment, it has no {', '.join(sorted(missing))}.")
        check_id(state, _name(self.envs[0]))
        if state["rng"].shape != self._rng.shape:
            raise ValueError(f"this state has {len(state['rng'])} environments, this world has {self.num_envs}.")
        self._rng[...] = state["rng"]
        self._seeded = True
        starts = np.cumsum(state["length"]) - state["length"]
        for i, env in enumerate(self.envs):
            self._start(i, int(state["episode_seed"][i]))
            for action in state["actions"][starts[i] : starts[i] + state["length"][i]]:
                obs, _, terminated, truncated, _ = env.step(self._action(action))
                if terminated or truncated:
                    raise RuntimeError(f"{env} does not repeat itself when seeded: its episodes cannot be resumed.")
                write_row(self._obs, i, obs)
                self._log[i].append(action)
        return self._obs

    def render(self, i: int = 0) -> np.ndarray:
        """Return the environment's own picture."""
        env, frame = self.envs[i], None
        with contextlib.suppress(NotImplementedError):  # of an environment without `render`
            frame = env.render()
        if not isinstance(frame, np.ndarray):
            raise ValueError(
                f"{env} draws no picture (render_mode {env.render_mode!r}): leave out --video and --report."
            )
        return frame

    def spot(self, i: int) -> tuple[float, float] | None:
        """Return where in the picture the agent is, as far as MiniGrid's environments say."""
        return minigrid_spot(self.envs[i].unwrapped)

    def ansi(self, i: int = 0) -> str:
        """Describe environment i."""
        return f"{self.envs[i].unwrapped}  step {len(self._log[i])}"

    def close(self) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()

    def _begin(self, i: int) -> None:
        self._rng[i] = (int(self._rng[i]) + _GOLDEN) & _MASK
        self._start(i, _hash31(int(self._rng[i])))

    def _start(self, i: int, seed: int) -> None:
        self._episode_seed[i] = seed
        self._log[i] = []
        write_row(self._obs, i, self.envs[i].reset(seed=seed)[0])

    def _action(self, action: np.ndarray) -> Any:
        return int(action) if isinstance(self.action_space, spaces.Discrete) else action


def _name(env: gymnasium.Env[Any, Any]) -> str:
    """Return the id of an environment; the name of its class where gymnasium has none for it."""
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def minigrid_spot(env: Any) -> tuple[float, float] | None:
    """Return the pixel (x, y) of the agent in the picture of a MiniGridEnv; None for any other environment."""
    if not (hasattr(env, "agent_pos") and hasattr(env, "tile_size")):
        return None
    x, y = env.agent_pos
    return (x + 0.5) * env.tile_size, (y + 0.5) * env.tile_size


def _draws(env_id: str) -> bool:
    module, _, name = env_id.rpartition(":")
    if module:  # it registers its ids, as `gymnasium.make` of such an id expects
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise gymnasium.error.Error(f"{module} cannot be imported ({error})") from None
    creator: Any = gymnasium.spec(name).entry_point
    if isinstance(creator, str):
        creator = gymnasium.envs.registration.load_env_creator(creator)
    return "rgb_array" in getattr(creator, "metadata", {}).get("render_modes", ())


def _known(space: spaces.Space[Any]) -> spaces.Space[Any]:
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary | spaces.Box):
        raise ValueError(f"actions in {space} are not supported, only Discrete, MultiDiscrete, MultiBinary and Box.")
    return space


def _hash31(word: int) -> int:
    """Scramble 64 bits (splitmix64) into a seed of 31."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return (word ^ (word >> 31)) >> 33
