"""What every family keeps to at the end of an episode, through every adapter, and with what can be added to it."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector.utils import batch_space

import envs
from envs.atlas import Atlas
from envs.detour import Detour
from envs.keydoor import KeyDoor
from envs.labyrinth import Labyrinth
from envs.maze import Maze
from envs.recall import Recall
from envs.tmaze import EndlessTMaze, TMaze
from envs.treasure import Treasure
from envs.vec import WorldEnv, WorldVecEnv, WorldVectorEnv
from envs.world import copy_obs, row

FAMILIES = {family.ids()[0]: family.world for family in envs.FAMILIES}
SHORT: dict[Any, dict[str, Any]] = {
    KeyDoor: {"life": 37},
    Labyrinth: {"life": 37},
    Maze: {"size": 5, "trials": 1},
    Atlas: {"mazes": 2, "size": 5, "trials": 1, "visits": 1},
    Detour: {"size": 9, "trials": 1},
    Treasure: {"steps": 41},
}
"""Arguments with which a life is over soon."""
BATCH, STEPS = 5, 400
CUT = (KeyDoor, Labyrinth, Treasure)
"""Lives that a time limit ends, and nothing else."""


def short(env_id: str, num_envs: int = BATCH, **kwargs: Any) -> envs.World:
    """A world whose episodes are short."""
    return envs.make(env_id, num_envs, **SHORT.get(FAMILIES[env_id], {}), **kwargs)


def random_actions(world: envs.World, steps: int = STEPS) -> np.ndarray:
    """Actions (steps, B)."""
    assert isinstance(world.action_space, gymnasium.spaces.Discrete)
    return np.random.default_rng(0).integers(world.action_space.n, size=(steps, world.num_envs))


def equal(a: Any, b: Any) -> bool:
    """Whether two observations are the same."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
    return bool(np.array_equal(a, b))


@pytest.mark.parametrize("env_id", FAMILIES)
def test_episodes_begin_anew_in_the_same_step(env_id: str) -> None:
    vector, ended, cut = WorldVectorEnv(short(env_id)), 0, 0
    space, one = vector.single_observation_space, batch_space(vector.single_observation_space, BATCH)
    vector.reset(seed=0)
    for actions in random_actions(vector.world):
        obs, _, terminated, truncated, infos = vector.step(actions)
        assert one.contains(obs) and not (terminated & truncated).any()
        over = terminated | truncated
        assert over.any() == ("final_obs" in infos)
        if over.any():
            np.testing.assert_array_equal(infos["_final_obs"], over)
            for i in np.flatnonzero(over).tolist():
                assert space.contains(row(infos["final_obs"], i))
                assert "final_info" not in infos or 0 <= infos["final_info"]["is_success"][i] <= 1
        ended, cut = ended + int(over.sum()), cut + int(truncated.sum())
    assert ended >= BATCH
    assert cut == (
        ended if FAMILIES[env_id] in CUT else 0 if FAMILIES[env_id] in (Recall, TMaze, EndlessTMaze) else cut
    )


@pytest.mark.parametrize("env_id", FAMILIES)
def test_one_environment_and_the_first_of_a_batch_are_the_same(env_id: str) -> None:
    """Through gymnasium.Env, where the user resets, and Stable-Baselines3's VecEnv, where nobody does."""
    single, many, venv = WorldEnv(short(env_id, 1)), short(env_id), WorldVecEnv(short(env_id))
    venv.seed(3)
    begun: Any = venv.reset()
    first = [single.reset(seed=3)[0], row(many.reset(3), 0), row(begun, 0)]
    assert equal(first[0], first[1]) and equal(first[1], first[2])
    for actions in random_actions(many):
        out = many.step(actions)
        obs, reward, terminated, truncated, info = single.step(actions[0])
        stepped: Any = venv.step(actions)
        shown, rewards, dones, infos = stepped
        assert reward == out.reward[0] == rewards[0]
        assert (terminated, truncated) == (out.terminated[0], out.truncated[0]) and dones[0] == (
            terminated or truncated
        )
        if dones[0]:
            last = infos[0]
            assert equal(obs, row(out.final_obs, 0)) and equal(obs, last["terminal_observation"])
            assert last["TimeLimit.truncated"] == truncated
            assert info.get("is_success") == last.get("is_success")
            obs, _ = single.reset()
        assert equal(obs, row(out.obs, 0)) and equal(obs, row(shown, 0))


@pytest.mark.parametrize("env_id", FAMILIES)
def test_everything_pickles_in_mid_episode(env_id: str) -> None:
    env, vector = WorldEnv(short(env_id, 1)), WorldVectorEnv(short(env_id))
    env.reset(seed=1)
    vector.reset(seed=1)
    actions = random_actions(vector.world, 60)
    for taken in actions[:11]:
        if any(env.step(taken[0])[2:4]):
            env.reset()
        vector.step(taken)
    same, alike = pickle.loads(pickle.dumps(env)), pickle.loads(pickle.dumps(vector))
    for taken in actions[11:]:
        one, other = env.step(taken[0]), same.step(taken[0])
        assert equal(one[0], other[0]) and one[1:4] == other[1:4]
        if one[2] or one[3]:
            assert equal(env.reset()[0], same.reset()[0])
        assert equal(vector.step(taken)[0], alike.step(taken)[0])


@pytest.mark.parametrize("shown", [("prev_action",), ("prev_reward",), ("prev_action", "prev_reward")], ids="+".join)
@pytest.mark.parametrize("env_id", FAMILIES)
def test_previous_action_and_reward_can_be_added_everywhere(env_id: str, shown: tuple[str, ...]) -> None:
    world, plain = short(env_id, **dict.fromkeys(shown, True)), short(env_id)
    inner = plain.observation_space
    parts = set(inner.spaces) if isinstance(inner, gymnasium.spaces.Dict) else {"obs"}
    space = batch_space(world.observation_space, BATCH)
    obs, bare = world.reset(2), plain.reset(2)
    assert isinstance(obs, dict) and set(obs) == parts | set(shown)
    over = np.ones(BATCH, bool)
    for actions in random_actions(world, 80):
        assert space.contains(obs) and equal(bare, obs["obs"] if isinstance(bare, np.ndarray) else _only(obs, bare))
        if "prev_action" in shown:
            assert (obs["prev_action"][over] == 0).all()
        out, same = world.step(actions), plain.step(actions)
        assert isinstance(out.obs, dict) and isinstance(out.final_obs, dict)
        obs, bare, over = out.obs, same.obs, out.terminated | out.truncated
        for name, value in (("prev_action", actions + 1), ("prev_reward", out.reward[:, None])):
            if name in shown:
                np.testing.assert_array_equal(obs[name][~over], value[~over])
                np.testing.assert_array_equal(out.final_obs[name][over], value[over])
                assert not obs[name][over].any()


@pytest.mark.parametrize("env_id", FAMILIES)
def test_environments_stay_the_same_in_larger_batches(env_id: str) -> None:
    """Past the ends of short lives, in batches of 1, 7 and 256."""
    worlds = [short(env_id, batch) for batch in (1, 7, 256)]
    seen = [world.reset(6) for world in worlds]
    ended = 0
    for actions in random_actions(worlds[-1]):
        for batch, obs in zip((1, 7), seen, strict=False):
            assert all(equal(row(obs, i), row(seen[-1], i)) for i in range(batch))
        outs = [world.step(actions[: world.num_envs]) for world in worlds]
        seen = [out.obs for out in outs]
        for out in outs[:-1]:
            for part, whole in zip(out[1:4], outs[-1][1:4], strict=True):
                np.testing.assert_array_equal(part, whole[: len(part)])
        ended += int((outs[1].terminated | outs[1].truncated).sum())
    assert ended > 0


def _only(obs: dict[str, np.ndarray], like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: obs[name] for name in like}


@pytest.mark.parametrize("env_id", FAMILIES)
def test_looking_changes_nothing(env_id: str) -> None:
    """Traces, places and pictures are batch first and leave the world as it was."""
    world, unseen = short(env_id), short(env_id)
    world.reset(4)
    unseen.reset(4)
    for t, actions in enumerate(random_actions(world, 60)):
        out, same = world.step(actions), unseen.step(actions)
        assert equal(out.obs, same.obs) and np.array_equal(out.reward, same.reward)
        before = copy_obs(out.obs)
        assert all(len(part) == BATCH for part in world.trace().values())
        if t % 20 == 0:
            spot, picture = world.spot(0), world.render(0)
            assert spot is None or (0 <= spot[0] < picture.shape[1] and 0 <= spot[1] < picture.shape[0])
            assert world.ansi(0)
        assert equal(out.obs, before)
