"""MiniGrid and BabyAI as they are, with a compact observation, on envpool's C++ engine where it is installed.

Description
    Any `MiniGrid-*` or `BabyAI-*` id. Two engines play by the same rules: `minigrid` (Python) and `envpool`
    (C++, the extra `[fast]`). They draw layouts from different random streams, so a seed means different
    episodes in each.
Observation
    Dict: `image` Box(0, (10, 5, 3), (7, 7, 3), uint8), what is in view as (type, colour, state); `direction`
    Discrete(4); `prev_action` Discrete(actions + 1), 0 at the first step of an episode, else 1 + the last
    action. The mission text is left out: ids whose goal stands only in the text (most of BabyAI's) cannot
    be solved fully.
Action, Reward, Termination
    MiniGrid's own: success pays 1 - 0.9 steps / max_steps; the step limit truncates.
Success
    1 if the episode ended with a positive reward, else 0.
Reference
    Chevalier-Boisvert et al. 2023 (arXiv 2306.13831); Weng et al. 2022, EnvPool (arXiv 2206.10558).
"""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.gym_world import GymWorld, minigrid_spot
from envs.kernels import seed_streams
from envs.world import Obs, Transition, World, check_id, fresh_seed, named

_HIGHEST = (10, 5, 3)  # of the types, colours and states that MiniGrid encodes (a state is also an agent's direction)

Engine = Literal["auto", "envpool", "minigrid"]


def make_minigrid(env_id: str, num_envs: int = 1, engine: Engine = "auto", **kwargs: Any) -> World:
    """Make `num_envs` MiniGrid environments; `kwargs` are for the environment (engine minigrid only)."""
    if engine not in ("auto", "envpool", "minigrid"):
        raise ValueError(f"unknown engine {engine!r}: choose auto, envpool or minigrid.")
    if engine == "auto":
        engine = "envpool" if _in_envpool(env_id) and not kwargs else "minigrid"
    if engine == "envpool":
        if kwargs:
            raise ValueError(f"engine='envpool' takes no keyword arguments, got {sorted(kwargs)}: use 'minigrid'.")
        return EnvpoolWorld(env_id, num_envs)
    return GymWorld(lambda: Compact(_python_env(env_id, **kwargs)), num_envs)


def _python_env(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    import minigrid  # noqa: F401 - registers its ids

    return gymnasium.make(env_id, **({"render_mode": "rgb_array"} | kwargs), disable_env_checker=True)


def _in_envpool(env_id: str) -> bool:
    if importlib.util.find_spec("envpool") is None:
        return False
    import envpool

    return env_id in envpool.list_all_envs()


def compact_space(actions: int, shape: tuple[int, ...] = (7, 7, 3)) -> spaces.Dict:
    """Return the observation space of an environment with that many actions and an image of that shape."""
    return spaces.Dict(
        {
            "image": spaces.Box(np.zeros(shape, np.uint8), np.full(shape, _HIGHEST, np.uint8), dtype=np.uint8),
            "direction": spaces.Discrete(4),
            "prev_action": spaces.Discrete(actions + 1),
        }
    )


class Compact(gymnasium.Wrapper[Any, Any, Any, Any]):
    """MiniGrid with the compact observation; `info["is_success"]` at the end of an episode."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        if not isinstance(env.action_space, spaces.Discrete):
            raise ValueError(f"{env} has actions in {env.action_space}, MiniGrid's are Discrete.")
        assert isinstance(env.observation_space, spaces.Dict)
        image = env.observation_space["image"].shape or ()
        self.observation_space = compact_space(int(env.action_space.n), image)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        obs, info = self.env.reset(**kwargs)
        return _compact(obs, 0), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one action."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            info = {**info, "is_success": float(reward) > 0.0}
        return _compact(obs, int(action) + 1), float(reward), terminated, truncated, info


def _compact(obs: dict[str, Any], prev_action: int) -> dict[str, Any]:
    return {
        "image": obs["image"],
        "direction": np.int64(obs["direction"]),
        "prev_action": np.int64(prev_action),
    }


class EnvpoolWorld(World):
    """MiniGrid on envpool, in one thread.

    envpool's autoreset spends a step on the reset (NEXT_STEP); here the environments that ended are reset
    at once, by their numbers, and the others do not move. Environment i is seeded with a hash of (seed, i).

    envpool cannot be saved, but repeats itself: a state is the seeds and every action since (one byte
    each), and `load_state` plays them again at some 0.1 million steps a second. A run of ten million steps
    resumes in minutes.
    """

    def __init__(self, env_id: str, num_envs: int = 1) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}.")
        if not _in_envpool(env_id):
            raise ValueError(f"envpool does not have {env_id!r}: pass engine='minigrid', or pip install envpool.")
        import envpool

        self._make, self.env_id, self.num_envs = envpool.make_gymnasium, env_id, num_envs
        space: Any = envpool.make_spec(env_id).action_space
        actions = int(space.n)
        self._choices = actions
        self.action_space = spaces.Discrete(actions)
        self.observation_space = compact_space(actions)
        self._all = np.arange(num_envs, dtype=np.int32)
        self._prev = np.zeros(num_envs, np.int64)
        self._success = np.full(num_envs, np.nan, np.float32)
        self._obs: dict[str, np.ndarray] = {}
        self._seeds = np.zeros(num_envs, np.int64)
        self._log: list[np.ndarray] = []
        self._pool: Any = None
        self._picture: gymnasium.Env[Any, Any] | None = None

    def reset(self, seed: int | None = None) -> Obs:
        """Begin an episode in every environment."""
        if seed is not None or self._pool is None:
            streams = np.zeros(self.num_envs, np.uint64)
            seed_streams(fresh_seed(seed), streams)
            self._build((streams >> np.uint64(33)).astype(np.int64))  # envpool's seeds are 31-bit
        else:
            self._log.append(np.full(self.num_envs, _RESET, np.uint8))
            self._begin()
        return self._obs

    def step(self, actions: np.ndarray) -> Transition:
        """Take one action in every environment."""
        if self._pool is None:
            raise RuntimeError("call reset() before the first step().")
        actions = np.asarray(actions).astype(np.int32)
        if actions.shape != (self.num_envs,):
            raise ValueError(f"actions must have shape ({self.num_envs},), got {actions.shape}.")
        if actions.min() < 0 or actions.max() >= self._choices:
            raise ValueError(f"actions {actions} are not all in {self.action_space}.")
        self._log.append(actions.astype(np.uint8))
        final, reward, terminated, truncated, _ = self._pool.step(actions, self._all)
        self._prev = actions.astype(np.int64) + 1
        self._success.fill(np.nan)
        final_obs = obs = self._observation(final)
        terminated |= truncated & (reward > 0.0)  # envpool drops it on the last step allowed
        ended = np.flatnonzero(terminated | truncated)
        if ended.size:
            self._success[ended] = reward[ended] > 0.0
            first, _ = self._pool.reset(self._all[ended])
            obs = {name: part.copy() for name, part in final_obs.items()}
            obs["image"][ended], obs["direction"][ended] = first["image"], first["direction"]
            obs["prev_action"][ended] = self._prev[ended] = 0
        self._obs = obs
        return Transition(obs, reward.astype(np.float32), terminated, truncated, final_obs, self._success)

    def state(self) -> dict[str, np.ndarray]:
        """Return the id, the seeds and all the actions since, (steps, B) uint8."""
        log = np.array(self._log, np.uint8).reshape(len(self._log), self.num_envs)
        return {"env_id": named(self.env_id), "envpool_seeds": self._seeds.copy(), "actions": log}

    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        """Play the actions again. ValueError for a state of another world."""
        if "envpool_seeds" not in state or state["envpool_seeds"].shape != self._seeds.shape:
            raise ValueError(
                f"this state is not of {self.num_envs} environments on envpool: make the world with the "
                "num_envs and the engine it was saved from (engine='minigrid', or pip install envpool)."
            )
        check_id(state, self.env_id)
        self._build(state["envpool_seeds"])
        for actions in state["actions"]:
            if actions[0] == _RESET:
                self.reset()
            else:
                self.step(actions)
        return self._obs

    def render(self, i: int = 0) -> np.ndarray:
        """Draw environment i with MiniGrid's own renderer."""
        picture: Any = self.twin(i).render()
        return np.asarray(picture)

    def spot(self, i: int) -> tuple[float, float] | None:
        """Return where in the picture the agent is."""
        return minigrid_spot(self.twin(i))

    def ansi(self, i: int = 0) -> str:
        """Describe environment i: the mission and MiniGrid's map, two letters a cell."""
        twin = self.twin(i)
        return f"{twin.mission}\n{twin.pprint_grid()}"

    def debug_state(self, i: int) -> Any:
        """Return envpool's view into environment i: its grid, agent, load and targets."""
        return self._pool.debug_states([i])[0]

    def twin(self, i: int) -> Any:
        """Return a MiniGridEnv in the situation of environment i."""
        if self._picture is None:
            self._picture = _python_env(self.env_id)
            self._picture.reset(seed=0)
        copy_into(self._picture.unwrapped, self.debug_state(i))
        return self._picture.unwrapped

    def close(self) -> None:
        """Close the pool."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _build(self, seeds: np.ndarray) -> None:
        self.close()
        self._seeds, self._log = seeds.copy(), []
        self._pool = self._make(self.env_id, num_envs=self.num_envs, num_threads=1, env_seed=seeds.tolist())
        self._begin()

    def _begin(self) -> None:
        first, _ = self._pool.reset()
        self._prev = np.zeros(self.num_envs, np.int64)
        self._obs = self._observation(first)

    def _observation(self, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            "image": raw["image"],
            "direction": raw["direction"].astype(np.int64),
            "prev_action": self._prev.copy(),
        }


_RESET = 255  # in the action log: all the environments were reset here


def copy_into(env: Any, state: Any) -> None:
    """Give a MiniGridEnv the layout, agent and load of an envpool debug state."""
    from minigrid.core.grid import Grid
    from minigrid.core.world_object import WorldObj

    cells = np.array(state.grid).reshape(state.width, state.height, 3)
    inside = np.array(state.grid_contains).reshape(state.width, state.height, 3)
    env.grid, env.width, env.height = Grid(state.width, state.height), state.width, state.height
    for y in range(state.height):
        for x in range(state.width):
            cell: Any = WorldObj.decode(*cells[x, y])
            if cell is not None:
                cell.cur_pos = cell.init_pos = (x, y)
                cell.contains = WorldObj.decode(*inside[x, y]) if inside[x, y].any() else None
            env.grid.set(x, y, cell)
    env.agent_pos, env.agent_dir = tuple(state.agent_pos), state.agent_dir
    load = (state.carrying_type, state.carrying_color, state.carrying_state)
    env.carrying = WorldObj.decode(*load) if state.has_carrying else None
    env.mission, env.max_steps = state.mission, state.max_steps
    for name in ("success_pos", "failure_pos"):
        setattr(env, name, tuple(getattr(state, name)))
