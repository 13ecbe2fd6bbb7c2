"""The optimum of every world: in closed form, and as a policy with unbounded memory that reaches it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from envs import family_of, keydoor_oracle, labyrinth_oracle, make, minigrid_oracle
from envs.atlas import Atlas
from envs.detour import Detour
from envs.keydoor import KeyDoor
from envs.labyrinth import Labyrinth
from envs.maze import Maze
from envs.recall import Recall
from envs.shuffled import ShuffledTMaze
from envs.tmaze import EndlessTMaze, TMaze
from envs.world import Obs, World

Act = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Optimum(NamedTuple):
    """What can be reached in an environment, and what chance reaches."""

    success: float
    """Of the oracle."""
    episode_return: float
    """Of the oracle: the mean over episodes, undiscounted."""
    chance: float
    """Mean success of uniformly random actions; NaN where it has no closed form."""


class Oracle:
    """A policy that writes what it is shown into a plain table, and sees nothing that an agent does not see.

    `act(obs (B, F), table (B, width))` updates the table in place and returns the actions (B,).
    """

    def __init__(self, width: int, act: Act) -> None:
        self.width, self.act = width, act

    def predict(
        self,
        obs: Obs,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return the best actions (B,) and the table, as an agent's `predict` does."""
        obs = obs["obs"] if isinstance(obs, dict) else obs  # beside it: the previous action and reward
        table = np.zeros((len(obs), self.width), np.int8) if state is None else state[0]
        if episode_start is not None:
            table[np.asarray(episode_start, np.bool_)] = 0
        return self.act(obs, table), (table,)


def optimum(env_id: str) -> Optimum:
    """Return the optimum of an id of this package; ValueError where there is no closed form."""
    family, arguments = family_of(env_id)
    if family.world not in _OPTIMA:
        raise ValueError(f"{env_id} has no optimum in closed form: let its oracle play.")
    return _OPTIMA[family.world](arguments)


class Informed:
    """A policy that knows everything: it plays the `best_actions()` (B,) of the very world that it is made for."""

    def __init__(self, world: Any) -> None:
        self.world = world

    def predict(
        self, obs: Obs, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return the best actions (B,); nothing needs to be remembered."""
        return self.world.best_actions(), ()


def has_oracle(world: World) -> bool:
    """Whether `oracle` knows a policy for this world."""
    inner = world.unwrapped
    return type(inner) in ORACLES or hasattr(inner, "best_actions") or minigrid_oracle.fits(inner)


def oracle(world: World | str) -> Any:
    """Return the policy, with SB3's `predict`, that reaches the optimum of a world or id; ValueError without one.

    A policy that knows more than its agents see reads it from this very world: let it play in no other.
    """
    inner = (make(world) if isinstance(world, str) else world).unwrapped
    if type(inner) in ORACLES:
        return ORACLES[type(inner)](inner)
    if hasattr(inner, "best_actions"):
        return Informed(inner)
    if minigrid_oracle.fits(inner):
        return minigrid_oracle.OnFoot(inner)
    raise ValueError(f"no oracle is known for {type(inner).__name__}: give it `best_actions() -> (B,)`.")


def _recall_optimum(arguments: dict[str, Any]) -> Optimum:
    n = arguments["n"]
    if arguments.get("mix"):  # P(k) = log((k + 1) / k) / log(n + 1)
        mean = sum(k * math.log1p(1 / k) for k in range(1, n + 1)) / math.log(n + 1)
        return Optimum(1.0, mean, 0.5)
    return Optimum(1.0, float(n), 0.5)


def _tmaze_optimum(arguments: dict[str, Any]) -> Optimum:
    return Optimum(1.0, float(arguments.get("bits", 1)), 1 / 3)


def _endless_optimum(arguments: dict[str, Any]) -> Optimum:
    length, corridors = arguments["length"], arguments["corridors"]
    steps = (length + 1) / 2 if arguments.get("random_length") else length
    return Optimum(1.0, corridors * (1 - 0.01 * steps), (1 - 0.5**corridors) / corridors)


def _labyrinth_optimum(arguments: dict[str, Any]) -> Optimum:
    depth, life = arguments.get("depth", 7), arguments.get("life", 15_170)
    if arguments.get("port") == "unrewarded":
        return Optimum(math.nan, 0.0, math.nan)
    # A random walk from node 0 comes to the port before it comes home with 1 / depth, and directly with 1/3 a junction.
    # That is the share of perfect runs; lives that have no late run count as 0, so that success is a little less.
    return Optimum(1.0, labyrinth_oracle.expected_return(depth, life), depth / 3 ** (depth - 1))


def _keydoor_optimum(arguments: dict[str, Any]) -> Optimum:
    life, relayout = arguments.get("life", 4_000), arguments.get("relayout", 0)
    return Optimum(1.0, keydoor_oracle.expected_return(arguments["size"], life, relayout), math.nan)


def _maze_optimum(arguments: dict[str, Any]) -> Optimum:
    return Optimum(1.0, float(arguments.get("trials", 5)), math.nan)


def _atlas_optimum(arguments: dict[str, Any]) -> Optimum:
    trials = arguments["mazes"] * arguments.get("trials", 20) * arguments.get("visits", 4)
    return Optimum(1.0, float(trials), math.nan)


def _detour_optimum(arguments: dict[str, Any]) -> Optimum:
    halves = 1 if arguments["change"] == "latent" else 2  # in the first half of latent learning there is no goal
    return Optimum(1.0, float(halves * arguments.get("trials", 10)), math.nan)


def _recall_oracle(world: Recall) -> Oracle:
    """Keep a table from symbol to turn."""
    bits = world.bits

    def act(obs: np.ndarray, turns: np.ndarray) -> np.ndarray:
        everyone = np.arange(len(obs))
        symbol = (obs[:, :bits] > 0) @ (1 << np.arange(bits))
        study = obs[:, bits + 1] > 0
        turns[everyone[study], symbol[study]] = obs[study, bits]
        return (turns[everyone, symbol] > 0).astype(np.int64)

    return Oracle(1 << bits, act)


def _tmaze_oracle(world: TMaze) -> Oracle:
    """Keep the first observation."""
    bits = world.bits

    def act(obs: np.ndarray, cues: np.ndarray) -> np.ndarray:
        start = obs[:, bits] > 0
        cues[start] = obs[start, :bits]
        asked = cues[np.arange(len(obs)), obs[:, bits + 3 :].argmax(1)]
        return np.where(obs[:, bits + 2] > 0, np.where(asked > 0, 1, 2), 0)

    return Oracle(bits, act)


def _shuffled_oracle(world: ShuffledTMaze) -> Oracle:
    """Be told the shuffle, and play the maze inside."""
    inside, hands = _tmaze_oracle(world), world.hands.argsort()
    return Oracle(inside.width, lambda obs, cues: hands[inside.act(world.sorted(obs), cues)])


def _endless_oracle(world: EndlessTMaze) -> Oracle:
    """Keep the newest cue."""

    def act(obs: np.ndarray, cue: np.ndarray) -> np.ndarray:
        shown = obs[:, :2].any(1)
        cue[shown, 0] = obs[shown, 1]
        return cue[:, 0].astype(np.int64)

    return Oracle(1, act)


_OPTIMA: dict[Any, Callable[[dict[str, Any]], Optimum]] = {
    Labyrinth: _labyrinth_optimum,
    KeyDoor: _keydoor_optimum,
    Maze: _maze_optimum,
    Atlas: _atlas_optimum,
    Detour: _detour_optimum,
    Recall: _recall_optimum,
    TMaze: _tmaze_optimum,
    ShuffledTMaze: _tmaze_optimum,
    EndlessTMaze: _endless_optimum,
}
ORACLES: dict[type[World], Callable[[Any], Any]] = {
    Labyrinth: labyrinth_oracle.Patrol,
    Recall: _recall_oracle,
    TMaze: _tmaze_oracle,
    ShuffledTMaze: _shuffled_oracle,
    EndlessTMaze: _endless_oracle,
}
