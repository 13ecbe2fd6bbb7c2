"""MiniGrid worlds: the compact observation, and envpool held to MiniGrid step by step."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from minigrid.wrappers import FullyObsWrapper, ImgObsWrapper
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import envs
from envs.minigrid import EnvpoolWorld, compact_space, copy_into
from envs.oracle import has_oracle, oracle
from envs.vec import WorldEnv, as_world
from envs.world import Obs, World, copy_obs, row

MEMORY = "MiniGrid-MemoryS7-v0"
# The rules of these ids stand in the grid and the positions, which `copy_into` carries over.
LOCKSTEP_IDS = [
    MEMORY, "MiniGrid-MemoryS17Random-v0", "MiniGrid-DoorKey-5x5-v0", "MiniGrid-MultiRoom-N2-S4-v0",
    "MiniGrid-LavaGapS5-v0", "MiniGrid-SimpleCrossingS9N1-v0", "MiniGrid-LockedRoom-v0",
]  # fmt: skip


def part(obs: Obs, name: str) -> np.ndarray:
    assert isinstance(obs, dict)
    return obs[name]


def make(env_id: str, num_envs: int, engine: str) -> World:
    if engine == "envpool":
        pytest.importorskip("envpool")
    return envs.make(env_id, num_envs, engine=engine)


def biased_actions(world: World, steps: int, seed: int = 0) -> np.ndarray:
    """Draw (steps, B) actions that walk more than they fumble, column i the same for every B."""
    actions = 7 if int(world.action_space.n) == 7 else 3  # type: ignore[attr-defined]
    walk = [0.15, 0.15, 0.4, 0.1, 0.05, 0.1, 0.05][:actions]
    draws = np.random.default_rng(seed).choice(actions, (steps, 32), p=np.array(walk) / sum(walk))
    return draws[:, : world.num_envs]


def play(world: World, actions: np.ndarray) -> list[Any]:
    rows = []
    for action in actions:
        out = world.step(action)
        rows.append((copy_obs(out.obs), *(x.copy() for x in out[1:4]), out.success.copy()))
    return rows


@pytest.mark.parametrize("engine", ["minigrid", "envpool"])
def test_observations_and_ends(engine: str) -> None:
    world = make(MEMORY, 4, engine)
    obs, space = world.reset(0), compact_space(7)
    assert world.observation_space == space and world.action_space == gymnasium.spaces.Discrete(7)
    assert not part(obs, "prev_action").any()
    ended = 0
    for actions in biased_actions(world, 600):
        out = world.step(actions)
        over = out.terminated | out.truncated
        np.testing.assert_array_equal(part(out.obs, "prev_action"), np.where(over, 0, actions + 1))
        np.testing.assert_array_equal(np.isnan(out.success), ~over)
        np.testing.assert_array_equal(out.success[over], out.reward[over] > 0)
        for i in range(4):
            assert space.contains(row(out.obs, i))
        for i in np.flatnonzero(over).tolist():
            final = row(out.final_obs, i)
            assert space.contains(final) and final["prev_action"] == actions[i] + 1
        ended += int(over.sum())
    assert ended > 5
    world.close()


@pytest.mark.parametrize("engine", ["minigrid", "envpool"])
def test_seeds_batches_and_resume(engine: str) -> None:
    big, small = make(MEMORY, 5, engine), make(MEMORY, 2, engine)
    np.testing.assert_equal([row(big.reset(9), i) for i in range(2)], [row(small.reset(9), i) for i in range(2)])
    actions = biased_actions(big, 250)
    for a, b in zip(play(big, actions), play(small, actions[:, :2]), strict=True):
        np.testing.assert_equal({k: v[:2] for k, v in a[0].items()}, b[0])
        np.testing.assert_equal([x[:2] for x in a[1:]], b[1:])
    big.reset()  # without a seed, in mid-episode: the streams go on
    kept = play(big, actions[:37])[-1][0]
    state, other = big.state(), make(MEMORY, 5, engine)
    np.testing.assert_equal(other.load_state(state), kept)
    more = biased_actions(big, 250, seed=1)
    np.testing.assert_equal(play(other, more), play(big, more))
    with pytest.raises(ValueError, match="environments"):
        small.load_state(state)


@pytest.mark.parametrize("env_id", LOCKSTEP_IDS)
def test_envpool_plays_minigrid_step_by_step(env_id: str) -> None:
    """Put a MiniGridEnv into each layout that envpool draws, give both the same actions, compare all."""
    pytest.importorskip("envpool")
    world = EnvpoolWorld(env_id, 8)
    obs = world.reset(3)
    twins: list[Any] = [gymnasium.make(env_id, disable_env_checker=True).unwrapped for _ in range(8)]

    def follow(i: int, obs: Obs) -> None:
        copy_into(twins[i], world.debug_state(i))
        twins[i].step_count = 0
        seen = twins[i].gen_obs()
        np.testing.assert_array_equal(seen["image"], part(obs, "image")[i])
        assert seen["direction"] == part(obs, "direction")[i]

    for i, twin in enumerate(twins):
        twin.reset(seed=0)
        follow(i, obs)
    ended = cut = 0
    for actions in biased_actions(world, 500):
        out = world.step(actions)
        for i, twin in enumerate(twins):
            seen, reward, terminated, truncated, _ = twin.step(int(actions[i]))
            np.testing.assert_array_equal(seen["image"], part(out.final_obs, "image")[i])
            assert seen["direction"] == part(out.final_obs, "direction")[i]
            assert reward == pytest.approx(float(out.reward[i]), abs=1e-6)
            assert truncated == out.truncated[i]
            # envpool forgets a failure on the very last step that the limit allows, and no other end
            assert terminated == out.terminated[i] or (truncated and terminated and reward == 0)
            if terminated or truncated:
                ended, cut = ended + int(terminated), cut + int(truncated)
                follow(i, out.obs)
    assert ended + cut > 8


def test_both_engines_draw_the_same_kind_of_layouts() -> None:
    """The first views of MemoryS7 come from one finite set, with like frequencies."""
    counts: list[dict[bytes, int]] = []
    for engine in ("minigrid", "envpool"):
        world = make(MEMORY, 128, engine)
        count: dict[bytes, int] = {}
        for seed in range(4):
            for image in part(world.reset(seed), "image"):
                count[image.tobytes()] = count.get(image.tobytes(), 0) + 1
        counts.append(count)
    assert set(counts[0]) == set(counts[1])
    for view in counts[0]:
        a, b = counts[0][view], counts[1][view]
        assert abs(a - b) <= 4.5 * np.sqrt(a + b)


@pytest.mark.parametrize("engine", ["minigrid", "envpool"])
def test_pictures_are_minigrid_s_own(engine: str) -> None:
    world = make(MEMORY, 2, engine)
    world.reset(0)
    first = world.render(1)
    world.step(np.full(2, 0))
    assert first.ndim == 3 and first.dtype == np.uint8 and not np.array_equal(first, world.render(1))
    assert world.ansi(1)
    world.close()


def test_engines_are_chosen_by_name() -> None:
    with pytest.raises(ValueError, match="auto, envpool or minigrid"):
        envs.make(MEMORY, engine="cpp")
    pytest.importorskip("envpool")
    assert isinstance(envs.make(MEMORY), EnvpoolWorld)
    assert not isinstance(envs.make(MEMORY, max_steps=9), EnvpoolWorld)
    with pytest.raises(ValueError, match="takes no keyword"):
        envs.make(MEMORY, engine="envpool", max_steps=9)
    world = EnvpoolWorld(MEMORY, 2)
    with pytest.raises(RuntimeError, match="reset"):
        world.step(np.zeros(2, int))
    world.reset(0)
    with pytest.raises(ValueError, match=r"Discrete\(7\)"):
        world.step(np.array([0, 7]))
    with pytest.raises(ValueError, match="engine"):
        world.load_state(make(MEMORY, 2, "minigrid").state())
    with pytest.raises(ValueError, match="not of a gymnasium environment, it has no"):
        make(MEMORY, 2, "minigrid").load_state(world.state())


def test_other_wrappers_show_what_they_show() -> None:
    room = "MiniGrid-Empty-5x5-v0"
    pictures = as_world(ImgObsWrapper(gymnasium.make(room)))
    assert pictures.observation_space.shape == (7, 7, 3)
    seen = pictures.reset(0)
    assert not isinstance(seen, dict) and seen.shape == (1, 7, 7, 3)
    whole = as_world(FullyObsWrapper(gymnasium.make(room)))
    obs = whole.reset(0)
    assert isinstance(obs, dict) and obs["image"].shape == (1, 5, 5, 3)
    assert isinstance(whole.observation_space, gymnasium.spaces.Dict) and "prev_action" in obs
    assert whole.observation_space["image"].shape == (5, 5, 3)


def test_babyai_and_checkers() -> None:
    world = envs.make("BabyAI-GoToRedBallNoDists-v0", 3)
    world.reset(0)
    play(world, biased_actions(world, 130))
    for engine in ("minigrid", "auto"):
        env = WorldEnv(envs.make(MEMORY, 1, engine=engine))
        env.reset(seed=0)
        check_env(env, skip_render_check=True)
        sb3_check_env(env, warn=False)  # it warns that this is no picture: cells hold codes
    assert as_world(gymnasium.make(MEMORY)).observation_space == compact_space(7)


@pytest.mark.parametrize("engine", ["minigrid", "envpool"])
@pytest.mark.parametrize("env_id", [MEMORY, "MiniGrid-FourRooms-v0", "MiniGrid-Empty-Random-6x6-v0",
                                    "MiniGrid-LavaCrossingS9N2-v0"])  # fmt: skip
def test_the_oracle_takes_the_shortest_way(engine: str, env_id: str) -> None:
    """Breadth-first search on MiniGrid's own `step` finds no way with fewer actions."""
    world = make(env_id, 4, engine)
    best, obs = oracle(world), world.reset(1)
    state, starts, ended = None, np.ones(4, bool), 0
    fewest, steps = np.zeros(4, int), np.zeros(4, int)
    while ended < 8:
        for i in np.flatnonzero(starts).tolist():
            fewest[i], steps[i] = search(best.twin(i)), 0
        actions, state = best.predict(obs, state, starts)
        out = world.step(actions)
        obs, starts, steps = out.obs, out.terminated | out.truncated, steps + 1
        assert (out.success[starts] == 1).all() and (steps[starts] == fewest[starts]).all()
        ended += int(starts.sum())
    world.close()


def search(env: Any) -> int:
    """Count the fewest actions to a reward by trying them all, breadth first."""
    start = (tuple(env.agent_pos), env.agent_dir)
    seen, frontier, steps = {start}, [start], 0
    env.gen_obs = dict  # the steps are tried blindly
    try:
        while frontier:
            steps, poses = steps + 1, []
            for pose in frontier:
                for action in range(3):
                    (env.agent_pos, env.agent_dir), env.step_count = pose, 0
                    _, reward, terminated, _, _ = env.step(action)
                    if reward > 0:
                        return steps
                    pose_after = (tuple(env.agent_pos), env.agent_dir)
                    if not terminated and pose_after not in seen:
                        seen.add(pose_after)
                        poses.append(pose_after)
            frontier = poses
    finally:
        env.agent_pos, env.agent_dir = start
        env.step_count = 0
        del env.gen_obs
    raise AssertionError("no way to a reward")


def test_what_needs_more_than_feet_has_no_oracle() -> None:
    for env_id in ("MiniGrid-DoorKey-5x5-v0", "CartPole-v1"):
        world = envs.make(env_id, 1)
        assert not has_oracle(world)
        with pytest.raises(ValueError, match="no oracle"):
            oracle(world)
        world.close()
