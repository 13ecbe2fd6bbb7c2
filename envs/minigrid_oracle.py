"""The shortest way through a MiniGrid environment that can be solved on foot: no door to open, nothing to carry."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.gym_world import GymWorld
from envs.maze_paths import UNREACHABLE, descend, distances
from envs.maze_view import DOOR_CLOSED, DOOR_OPEN, GOAL, GREY_WALL, LAVA, PAD, WALL, move
from envs.minigrid import EnvpoolWorld
from envs.world import Obs, World

ON_FOOT = ("Memory", "Empty", "FourRooms", "SimpleCrossing", "LavaCrossing", "LavaGap", "DistShift")
_LONGEST = 512  # actions of a way


def fits(world: World) -> bool:
    """Whether `world` is one of MiniGrid's that can be solved on foot."""
    if isinstance(world, EnvpoolWorld):
        env_id = world.env_id
    else:
        spec = world.envs[0].spec if isinstance(world, GymWorld) else None
        env_id = spec.id if spec else ""
    return env_id.startswith("MiniGrid-") and env_id.removeprefix("MiniGrid-").startswith(ON_FOOT)


class OnFoot:
    """Plans at the beginning of an episode, from the whole grid, and follows the plan."""

    def __init__(self, world: Any) -> None:
        self.world = world

    def predict(
        self, obs: Obs, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return the next actions (B,), and the plans (B, 512) with the actions done (B,)."""
        batch = self.world.num_envs
        plans, done = (np.zeros((batch, _LONGEST), np.int64), np.zeros(batch, np.int64)) if state is None else state
        starts = np.ones(batch, np.bool_) if state is None else np.asarray(episode_start, np.bool_)
        for i in np.flatnonzero(starts).tolist():
            way = shortest_way(self.twin(i))
            plans[i, : len(way)], done[i] = way, 0
        actions = plans[np.arange(batch), done]
        return actions, (plans, done + 1)

    def twin(self, i: int) -> Any:
        """Return a MiniGridEnv in the situation of environment i, or that environment itself."""
        return self.world.twin(i) if isinstance(self.world, EnvpoolWorld) else self.world.envs[i].unwrapped


def shortest_way(env: Any) -> list[int]:
    """Return the fewest actions to the goal of a MiniGridEnv. ValueError where no way leads there on foot."""
    kind, colour, condition = np.moveaxis(env.grid.encode(), -1, 0)
    kind = np.where((kind == DOOR_OPEN) & (condition > 0), DOOR_CLOSED + condition - 1, kind)
    kind[kind == LAVA] = WALL
    width = env.width + 2 * PAD
    cells = np.pad((kind | colour << 4).T.astype(np.uint8), PAD, constant_values=GREY_WALL).ravel()
    goals = np.argwhere(kind == GOAL)
    goal_x, goal_y = goals[0].tolist() if len(goals) else env.success_pos  # in Memory a place, not an object
    x, y = env.agent_pos
    goal, position, heading = (goal_y + PAD) * width + goal_x + PAD, int((y + PAD) * width + x + PAD), env.agent_dir
    field = np.zeros((len(cells), 4), np.int16)
    distances(cells, width, goal, field)
    if field[position, heading] == UNREACHABLE:
        raise ValueError(f"no way leads on foot from {env.agent_pos} to ({goal_x}, {goal_y}).")
    way = []
    while position != goal:
        way.append(descend(field, width, position, heading))
        position, heading = move(cells, width, position, heading, way[-1])
    return way
