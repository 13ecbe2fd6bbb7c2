"""World: B environments held as arrays and stepped together; one environment is a batch of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from envs import render
from envs.kernels import seed_streams

Obs = np.ndarray | dict[str, np.ndarray]


class Transition(NamedTuple):
    """What one step of a batch returns; the arrays are buffers that the next step overwrites."""

    obs: Obs
    """(B, ...) the next observation; where an episode ended, the first one of the next episode."""
    reward: np.ndarray
    """(B,) float32."""
    terminated: np.ndarray
    """(B,) bool: the task itself ended."""
    truncated: np.ndarray
    """(B,) bool: a time limit cut the episode; bootstrap from `final_obs`."""
    final_obs: Obs
    """As `obs`: the last observation of an episode; rows are valid only where one just ended."""
    success: np.ndarray
    """(B,) float32: share of the task done, in [0, 1], where an episode just ended; NaN elsewhere, and where
    the environment has no notion of it."""


def new_buffer(space: spaces.Space[Any], num_envs: int) -> Obs:
    """Return zeros for `num_envs` observations of `space`: an array, or a dict of arrays for a Dict space."""
    if isinstance(space, spaces.Dict):
        return {name: _zeros(part, num_envs) for name, part in space.items()}
    return _zeros(space, num_envs)


def _zeros(space: spaces.Space[Any], num_envs: int) -> np.ndarray:
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return np.zeros((num_envs, *tuple(space.shape or ())), space.dtype)
    raise ValueError(
        f"observations in {space} are not supported, only Box, Discrete, MultiDiscrete, MultiBinary and "
        "a flat Dict of these: wrap it in gymnasium.wrappers.FlattenObservation or FilterObservation."
    )


def fresh_seed(seed: int | None) -> np.uint64:
    """Return 64 bits of `seed`, or of entropy for None."""
    if seed is None:
        return np.random.SeedSequence().generate_state(1, np.uint64)[0]
    return np.uint64(int(seed) & 0xFFFFFFFFFFFFFFFF)


def copy_obs(obs: Obs) -> Obs:
    """Copy a batch of observations out of the buffers."""
    return {name: part.copy() for name, part in obs.items()} if isinstance(obs, dict) else obs.copy()


def row(obs: Obs, i: int) -> Any:
    """Copy the observation of environment i out of a batch."""
    if isinstance(obs, dict):
        return {name: row(part, i) for name, part in obs.items()}
    return obs[i].copy() if obs.ndim > 1 else obs[i]


def write_row(buffer: Obs, i: int, value: Any) -> None:
    """Write the observation of environment i into a batch."""
    if isinstance(buffer, dict):
        for name, part in buffer.items():
            part[i] = value[name]
    else:
        buffer[i] = value


def named(env_id: str) -> np.ndarray:
    """Return an id as an array for `state()`, (length,) uint8."""
    return np.array(list(env_id.encode()), np.uint8)


def check_id(state: dict[str, np.ndarray], env_id: str) -> None:
    """ValueError if a state says that it is of another environment; those of earlier versions do not say it."""
    saved = bytes(state.get("env_id", named(env_id)).tolist()).decode()
    if saved != env_id:
        raise ValueError(f"this state is of {saved}, this world is of {env_id}: make the world that it was saved from.")


class World(ABC):
    """A batch of environments with SAME_STEP autoreset; the i-th one depends on (seed, i), never on B."""

    num_envs: int
    observation_space: spaces.Space[Any]
    """The space of ONE environment."""
    action_space: spaces.Space[Any]
    """The space of ONE environment."""
    resumable: bool = True
    """Whether `state()` is exact; False for environments that cannot be saved."""

    @abstractmethod
    def reset(self, seed: int | None = None) -> Obs:
        """Begin an episode in every environment and return the observations, batch first.

        With None the random streams go on where they are (a fresh seed is drawn the first time).
        """

    @abstractmethod
    def step(self, actions: np.ndarray) -> Transition:
        """Advance every environment by one action, (B,) or (B, k)."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Return a copy of everything a bit-for-bit resume needs, also in mid-episode."""

    @abstractmethod
    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        """Continue from `state()` of a world of the same id and size; returns the current observations."""

    @abstractmethod
    def render(self, i: int = 0) -> np.ndarray:
        """Draw environment i as an (H, W, 3) uint8 picture; where an episode just ended, of the next one's beginning.

        Its last situation is gone by then: a film leaves that picture out.
        """

    def ansi(self, i: int = 0) -> str:
        """Describe environment i in a few lines of text."""
        return f"{type(self).__name__} {i}"

    def trace(self) -> dict[str, np.ndarray]:
        """Return what the last step did, one array a name, batch first; for logs, scores and drawn paths.

        Where the step ended an episode it is still of that episode. Empty where there is nothing to tell.
        """
        return {}

    def spot(self, i: int) -> tuple[float, float] | None:
        """Return where in the picture of `render(i)` the agent is, in pixels (x, y); None where nothing says so."""
        return None

    @property
    def unwrapped(self) -> World:
        """The world itself, without what only adds to its observation."""
        return self

    def close(self) -> None:
        """Free what the environments hold; kernels hold nothing."""
        return None


Kernel = Callable[..., Any]


class CompiledWorld(World):
    """A world whose whole state is a few arrays, advanced by one compiled call.

    `arrays` are handed to the kernels in their order, by these names in all families:

    params   (P,) int64          constants of the variant
    ints     (K, B) int64        the state of each environment
    memory   (B, W)              longer per-environment storage (what has been shown, a map); W may be 0
    rng      (B,) uint64         one random stream each
    ...                          the observations, as the family keeps them
    scalars  (2 or more, B) float32   reward, within [-1, 1], and success
    flags    (2, B) bool         terminated, truncated

    `step_kernel(actions, *arrays)` does dynamics, reward, autoreset and observation in one loop over the
    environments and returns the index of an invalid action, or -1. `reset_kernel` takes the first
    `reset_arrays` of them and begins every episode. Few arguments on purpose: a call costs about two
    microseconds, which is what small batches pay.
    """

    action_names: tuple[str, ...]
    reset_arrays: int
    passing: tuple[str, ...] = ("flags",)
    """Arrays that the next step overwrites unread: not part of the state."""

    def __init__(
        self,
        num_envs: int,
        kernels: tuple[Kernel, Kernel],
        observation_space: spaces.Space[Any],
        arrays: dict[str, np.ndarray],
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}.")
        self.num_envs = num_envs
        self.observation_space = observation_space
        self.action_space = spaces.Discrete(len(self.action_names))
        self._reset_kernel, self._step_kernel = kernels
        self._arrays = arrays
        self._params, self._ints, self._memory = arrays["params"], arrays["ints"], arrays["memory"]
        self._rng, self._scalars, self._flags = arrays["rng"], arrays["scalars"], arrays["flags"]
        self._actions = np.zeros(num_envs, np.int64)
        self._seeded = False
        self._link()

    @abstractmethod
    def _views(self) -> tuple[Obs, Obs]:
        """Return the buffers of the observations and of the final ones."""

    def _link(self) -> None:
        (reward, success), (terminated, truncated), (obs, final) = self._scalars[:2], self._flags, self._views()
        self._transition = Transition(obs, reward, terminated, truncated, final, success)
        self._arguments = tuple(self._arrays.values())

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        self._link()  # a pickle or deep copy has copied views and arrays apart

    def reset(self, seed: int | None = None) -> Obs:
        """Begin an episode in every environment."""
        if seed is not None or not self._seeded:
            seed_streams(fresh_seed(seed), self._rng)
            self._seeded = True
        self._scalars.fill(0.0)
        self._reset_kernel(*self._arguments[: self.reset_arrays])
        return self._transition.obs

    def step(self, actions: np.ndarray) -> Transition:
        """Advance every environment by `actions` (B,). ValueError names an action outside the space."""
        actions = np.ascontiguousarray(actions, np.int64)
        if actions.shape != (self.num_envs,):
            raise ValueError(f"actions must have shape ({self.num_envs},), got {actions.shape}.")
        if not self._seeded:
            raise RuntimeError("call reset() before the first step().")
        bad = self._step_kernel(actions, *self._arguments)
        if bad >= 0:
            raise ValueError(f"action {actions[bad]} of environment {bad} is not in {self.action_space}.")
        self._actions[:] = actions
        return self._transition

    def state(self) -> dict[str, np.ndarray]:
        """Return copies of the arrays that make up the world."""
        return {name: array.copy() for name, array in self._state().items()}

    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        """Continue from `state()`; ValueError when it belongs to another id or batch size."""
        arrays = self._state()
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in arrays.items()}:
            raise ValueError(
                f"this state does not fit {type(self).__name__} with {self.num_envs} environments: "
                "make the world with the id and num_envs it was saved from."
            )
        if not np.array_equal(state["params"], self._params):
            raise ValueError(f"this state was saved with parameters {state['params']}, this world has {self._params}.")
        for name, array in arrays.items():
            array[...] = state[name]
        self._seeded = True
        return self._transition.obs

    def _state(self) -> dict[str, np.ndarray]:
        kept = {name: array for name, array in self._arrays.items() if name not in self.passing}
        return kept | {"actions": self._actions}

    def last(self, i: int) -> tuple[str, float]:
        """Return the name of the last action of environment i and the reward it brought."""
        return self.action_names[int(self._actions[i])], float(self._scalars[0, i])


class KernelWorld(CompiledWorld):
    """A compiled world that shows numbers: obs and final (B, F) float32 within [-1, 1], named by `feature_names`.

    `reset_kernel(params, ints, memory, rng, obs)`;
    `step_kernel(actions, params, ints, memory, rng, obs, final, scalars, flags)`; memory is (B, W) uint64.
    """

    feature_names: tuple[str, ...]
    reset_arrays = 5
    passing = ("final", "flags")

    def __init__(
        self, num_envs: int, kernels: tuple[Kernel, Kernel], params: tuple[int, ...], ints: int, memory: int = 0
    ) -> None:
        features, batch = len(self.feature_names), max(num_envs, 0)
        arrays: dict[str, np.ndarray] = {
            "params": np.array(params, np.int64),
            "ints": np.zeros((ints, batch), np.int64),
            "memory": np.zeros((batch, memory), np.uint64),
            "rng": np.zeros(batch, np.uint64),
            "obs": np.zeros((batch, features), np.float32),
            "final": np.zeros((batch, features), np.float32),
            "scalars": np.zeros((2, batch), np.float32),
            "flags": np.zeros((2, batch), np.bool_),
        }
        self._obs, self._final = arrays["obs"], arrays["final"]
        super().__init__(num_envs, kernels, spaces.Box(-1.0, 1.0, (features,), np.float32), arrays)

    def _views(self) -> tuple[Obs, Obs]:
        return self._obs, self._final


class CorridorWorld(KernelWorld):
    """A KernelWorld that is a walk down a corridor: it says what is to be seen, and is drawn from that."""

    @abstractmethod
    def scene(self, i: int) -> render.Scene:
        """Return what there is to see of environment i."""

    def render(self, i: int = 0) -> np.ndarray:
        """Draw environment i as a (320, 480, 3) uint8 picture."""
        return render.draw(self.scene(i))

    def ansi(self, i: int = 0) -> str:
        """Describe environment i in two lines."""
        return render.ansi(self.scene(i))
