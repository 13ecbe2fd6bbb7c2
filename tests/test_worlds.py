"""Contracts over every registered id, and the rules of each family."""

import copy
import pickle
import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import envs
from envs.labyrinth import Labyrinth
from envs.maze import Maze
from envs.oracle import optimum, oracle
from envs.world import Transition, World

IDS = envs.ids()
FAMILY_IDS = [family.ids()[0] for family in envs.FAMILIES]
ORACLE_IDS = [
    "Recall-N8-D0-v0", "Recall-N32-D16-v0", "Recall-N512-D100-v0", "RecallMix-N32-D16-v0", "TMaze-L100-v0",
    "TMaze-Max50-v0", "NoisyTMaze-M8-L1000-v0", "NoisyTMaze-M4-Max50-v0", "EndlessTMaze-Fixed-L10-C10-v0",
    "EndlessTMaze-Uniform-L50-C10-v0", "ShuffledTMaze-K3-M4-Max10-v0",
]  # fmt: skip

INFORMED_IDS = ["BraidedMaze-11-v0", "Atlas-S11-K2-v0", "Detour-Close-11-v0", "Detour-Latent-11-v0"]
"""Their oracles know everything; how often chance reaches a goal has no closed form."""
PICTURE = r".*(upper and lower bounds are not in \[0, 255\]|minimal resolution for an image is 36x36)"
"""What Stable-Baselines3 takes a view of codes for."""


def array(obs: envs.Obs) -> np.ndarray:
    """Copy observations into one array; those of a Dict side by side, flat."""
    if isinstance(obs, dict):
        return np.concatenate([part.reshape(len(part), -1) for part in obs.values()], 1)
    return obs.copy()


def random_actions(world: World, steps: int, seed: int = 0) -> np.ndarray:
    """Draw (steps, B) actions whose column i does not depend on B."""
    assert isinstance(world.action_space, gymnasium.spaces.Discrete)
    draws = np.random.default_rng(seed).integers(world.action_space.n, size=(steps, 256))
    return draws[:, : world.num_envs]


def rollout(world: World, actions: np.ndarray) -> list[np.ndarray]:
    """Return the stacked parts of the transitions, (steps, B, ...) each."""
    parts = []
    for action in actions:
        out = world.step(action)
        ended = out.terminated | out.truncated
        final = np.where(ended[:, None], array(out.final_obs), 0)
        parts.append([x.copy() for x in (array(out.obs), *out[1:4], final, out.success)])
    return [np.stack(part) for part in zip(*parts, strict=True)]


def episodes(env_id: str, batch: int, count: int, best: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Play `count` episodes in each environment, as the oracle or at random.

    Return returns, successes and lengths, (count * batch,) each.
    """
    world = envs.make(env_id, batch)
    act = oracle(world) if best else None
    obs, random = array(world.reset(1)), np.random.default_rng(0)
    state: tuple[np.ndarray, ...] | None = None
    starts, total, length = np.ones(batch, bool), np.zeros(batch), np.zeros(batch, int)
    done = np.zeros(batch, int)
    rows: list[tuple[float, float, int]] = []
    while (done < count).any():
        if act is None:
            assert isinstance(world.action_space, gymnasium.spaces.Discrete)
            actions = random.integers(world.action_space.n, size=batch)
        else:
            actions, state = act.predict(obs, state, starts)
        out = world.step(actions)
        obs, starts = array(out.obs), out.terminated | out.truncated
        total, length = total + out.reward, length + 1
        for i in np.flatnonzero(starts):
            if done[i] < count:
                rows.append((total[i], out.success[i], length[i]))
            done[i], total[i], length[i] = done[i] + 1, 0, 0
    returns, success, lengths = (np.array(column) for column in zip(*rows, strict=True))
    return returns, success, lengths


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_and_sb3_accept_it(env_id: str) -> None:
    check(env_id, looks=env_id in FAMILY_IDS)


@pytest.mark.parametrize("env_id", FAMILY_IDS)
def test_gymnasium_and_sb3_accept_what_is_added(env_id: str) -> None:
    check(env_id, prev_action=True, prev_reward=True)


def check(env_id: str, looks: bool = False, **kwargs: bool) -> None:
    """Run both checkers; any warning is an error, but those that take a view of codes for a picture."""
    check_env(gymnasium.make(env_id, **kwargs).unwrapped, skip_render_check=not looks)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", PICTURE, UserWarning)
        sb3_check_env(gymnasium.make(env_id, **kwargs))


@pytest.mark.parametrize("env_id", IDS)
def test_environment_depends_on_seed_and_number_only(env_id: str) -> None:
    world = envs.make(env_id, 256)
    first = [array(world.reset(7)), *rollout(world, random_actions(world, 40))]
    for batch in (1, 7):
        world = envs.make(env_id, batch)
        other = [array(world.reset(7)), *rollout(world, random_actions(world, 40))]
        np.testing.assert_array_equal(first[0][:batch], other[0])
        for a, b in zip(first[1:], other[1:], strict=True):
            np.testing.assert_array_equal(a[:, :batch], b)
    world.reset(8)
    assert not all(
        np.array_equal(a, b) for a, b in zip(other[1:], rollout(world, random_actions(world, 40)), strict=True)
    )


@pytest.mark.parametrize("env_id", IDS)
def test_state_continues_bit_for_bit_in_mid_episode(env_id: str) -> None:
    world = envs.make(env_id, 5)
    world.reset(3)
    seen = rollout(world, random_actions(world, 23))[0][-1]
    state = world.state()
    expected = rollout(world, random_actions(world, 60, seed=1))
    other = envs.make(env_id, 5)
    obs = other.load_state(state)
    np.testing.assert_array_equal(array(obs), seen)
    for a, b in zip(expected, rollout(other, random_actions(other, 60, seed=1)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("env_id", FAMILY_IDS)
def test_pickles_and_copies_go_their_own_way(env_id: str) -> None:
    world = envs.make(env_id, 5)
    world.reset(3)
    rollout(world, random_actions(world, 23))
    others = [pickle.loads(pickle.dumps(world)), copy.deepcopy(world)]
    expected = rollout(world, random_actions(world, 60))
    for other in others:
        for a, b in zip(expected, rollout(other, random_actions(other, 60)), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("env_id", IDS)
def test_ten_thousand_random_steps_stay_in_the_spaces(env_id: str) -> None:
    world = envs.make(env_id, 50)
    world.reset(0)
    spaces = batch_space(world.observation_space, 50)
    for actions in random_actions(world, 200):
        out = world.step(actions)
        assert spaces.contains(out.obs) and spaces.contains(out.final_obs)
    _, reward, terminated, truncated, _, success = rollout(world, random_actions(world, 200))
    assert [part.dtype.name for part in (reward, terminated, success)] == ["float32", "bool", "float32"]
    np.testing.assert_array_equal(np.isnan(success), ~(terminated | truncated))
    assert np.abs(reward).max() <= 1.0
    assert np.nanmin(success, initial=0.0) >= 0.0 and np.nanmax(success, initial=1.0) <= 1.0


def test_same_rollout_in_another_process() -> None:
    code = (
        "import envs, zlib, numpy as np\n"
        "for env_id in " + repr(FAMILY_IDS) + ":\n"
        "    world, total = envs.make(env_id, 7), 0\n"
        "    world.reset(5)\n"
        "    for t in range(100):\n"
        "        out = world.step((np.arange(7) + t * t) % world.action_space.n)\n"
        "        parts = out.obs.values() if isinstance(out.obs, dict) else [out.obs]\n"
        "        total = zlib.crc32(b''.join(x.tobytes() for x in (*parts, *out[1:4])), total)\n"
        "    print(env_id, total)\n"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(2)]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout == runs[1].stdout and runs[0].stdout.count("\n") == len(FAMILY_IDS)


@pytest.mark.parametrize("env_id", ORACLE_IDS + INFORMED_IDS)
def test_oracle_reaches_the_optimum(env_id: str) -> None:
    best = optimum(env_id)
    returns, success, _ = episodes(env_id, 64, 2, best=True)
    assert best.success == 1.0 and (success == 1.0).all()
    random_lengths = any(word in env_id for word in ("Mix", "Uniform"))
    error = 4 * returns.std() / np.sqrt(len(returns)) if random_lengths else 1e-3
    assert abs(returns.mean() - best.episode_return) <= error


@pytest.mark.parametrize("env_id", [e for e in ORACLE_IDS if "N512" not in e and "L1000" not in e])
def test_random_actions_reach_chance(env_id: str) -> None:
    _, success, _ = episodes(env_id, 128, 4)
    assert abs(success.mean() - optimum(env_id).chance) <= 4.5 * success.std() / np.sqrt(len(success))


def test_recall_asks_what_it_showed() -> None:
    world = envs.make("Recall-N16-D5-v0", 8)
    rows = [array(world.reset(0))]
    for _ in range(36):
        rows.append(array(world.step(np.zeros(8, int)).obs))
    for i in range(8):
        walk = np.array(rows)[:, i]
        assert walk[:16, 11].all() and walk[16:21, 13].all() and walk[21:37, 12].all()  # study, corridor, junction
        shown, asked = ({tuple(r) for r in walk[part, :10]} for part in (slice(16), slice(21, 37)))
        assert len(shown) == 16 and shown == asked
        assert (abs(walk[:16, 10]) == 1).all() and not walk[16:, 10].any()
        assert [tuple(r) for r in walk[:16, :10]] != [tuple(r) for r in walk[21:37, :10]]


def test_recall_mix_draws_the_whole_ladder() -> None:
    _, _, lengths = episodes("RecallMix-N32-D16-v0", 128, 8)
    assert lengths.min() >= 2 and lengths.max() <= 80 and len(set(lengths.tolist())) > 40


@pytest.mark.parametrize(
    ("env_id", "length"),
    [
        ("Recall-N8-D16-v0", 32),
        ("TMaze-L10-v0", 12),
        ("NoisyTMaze-M8-L50-v0", 59),
        ("NoisyTMaze-M3-L7-v0", 11),
    ],
)
def test_episode_lengths(env_id: str, length: int) -> None:
    assert (episodes(env_id, 4, 3)[2] == length).all()


def test_tmaze_rewards() -> None:
    world = envs.make("NoisyTMaze-M2-L3-v0", 1)
    cues = array(world.reset(0))[0, :2]
    right, wrong = (np.where(cues > 0, good, 3 - good) for good in (1, 2))
    rewards = [world.step(np.array([a])).reward[0] for a in (0, 1, 2, 0)]
    np.testing.assert_allclose(rewards, [0, -0.05, -0.05, 0])
    out = world.step(right[:1])
    assert out.reward[0] == 1 and not out.terminated[0]
    out = world.step(wrong[1:])
    assert out.reward[0] == -1 and out.terminated[0] and out.success[0] == 0.5


def test_noise_hides_nothing_but_looks_like_cues() -> None:
    world = envs.make("NoisyTMaze-M8-L50-v0", 64)
    world.reset(0)
    obs = rollout(world, random_actions(world, 49))[0]  # corridor steps 1..49
    assert (abs(obs[..., :8]) == 1).all() and abs(obs[..., :8].mean()) < 0.02
    quiet = envs.make("TMaze-L50-v0", 64)
    quiet.reset(0)
    assert not rollout(quiet, random_actions(quiet, 49))[0][..., 0].any()


def test_one_wrong_turn_ends_the_endless_maze() -> None:
    world = envs.make("EndlessTMaze-Fixed-L2-C3-v0", 1)
    cue = int(array(world.reset(0))[0, 1])
    rewards = [world.step(np.array([0])).reward[0] for _ in range(2)]
    np.testing.assert_allclose(rewards, -0.01)
    out = world.step(np.array([cue]))
    assert out.reward[0] == 1 and not out.terminated[0] and array(out.obs)[0, :2].any()
    cue = int(array(out.obs)[0, 1])
    world.step(np.array([0]))
    world.step(np.array([1]))
    out = world.step(np.array([1 - cue]))
    assert out.reward[0] == -1 and out.terminated[0]
    np.testing.assert_allclose(out.success[0], 1 / 3)


def test_a_million_steps_can_be_walked() -> None:
    world = envs.make("NoisyTMaze-M8-L1000000-v0", 1)
    cues = array(world.reset(4))[0, :8]
    forward = np.zeros(1, np.int64)
    for _ in range(1_000_000):
        out = world.step(forward)
    assert not out.terminated[0] and array(out.obs)[0, 9] == 1
    world.step(forward)
    outs: list[Transition] = []
    for cue in cues:
        out = world.step(np.array([1 if cue > 0 else 2]))
        outs.append(out)
        assert out.reward[0] == 1
    assert outs[-1].terminated[0] and outs[-1].success[0] == 1


def test_reset_without_seed_goes_on() -> None:
    world = envs.make("Recall-N8-D16-v0", 3)
    world.reset(0)
    first = [array(world.reset()), array(world.reset())]
    world.reset(0)
    again = [array(world.reset()), array(world.reset())]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("env_id", FAMILY_IDS)
def test_scenes(env_id: str) -> None:
    world = envs.make(env_id, 2)
    world.reset(0)
    pictures = set()
    for action in random_actions(world, 40):
        world.step(action)
        picture, text = world.render(1), world.ansi(1)
        assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8 and "\n" in text
        pictures.add(picture.tobytes())
    assert len(pictures) > 5


def test_registered_and_free_ids() -> None:
    assert len(IDS) == len(set(IDS)) and set(IDS) <= set(gymnasium.registry)
    assert envs.make("NoisyTMaze-M5-L77-v0").observation_space.shape == (13,)
    assert envs.make("Recall-N8-D0-v0", bits=4).observation_space.shape == (8,)
    assert envs.settings("RecallMix-N48-D16-v0")["gamma"] == 0.5
    assert envs.settings("CartPole-v1") == {"gamma": 0.99, "steps": 1_000_000}


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("Recal-N8-D16-v0", "Recall-N8-D16-v0"),
        ("MiniGrid-MemoryS14-v0", "MiniGrid-MemoryS13-v0"),
        ("Recall-N5000-D16-v0", "5000 distinct symbols"),
        ("TMaze-L0-v0", "length=0"),
    ],
)
def test_unknown_ids_say_what_is_near(env_id: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        envs.make(env_id)


@pytest.mark.parametrize(
    ("env_id", "arguments", "words"),
    [
        (
            "BraidedMaze-11-v0",
            {"opend": 1},
            "no argument 'opend'. Did you mean 'opened'\\? It takes size, trials, opened",
        ),
        ("BraidedMaze-11-v0", {"opened": "half"}, "opened of BraidedMaze-11-v0 must be a number, got 'half'"),
        ("Labyrinth-v0", {"port_node": 116.5}, "port_node of Labyrinth-v0 must be a whole number or none, got 116.5"),
        ("Atlas-K4-v0", {"pose": 1}, "pose of Atlas-K4-v0 must be true or false, got 1"),
        ("DarkKeyDoor-8-v0", {"life": True}, "life of DarkKeyDoor-8-v0 must be a whole number, got True"),
        ("MiniGrid-MemoryS7-v0", {"foo": 1}, "MiniGrid-MemoryS7-v0 cannot be made with foo=1"),
        ("CartPole-v1", {"foo": 1}, "CartPole-v1 cannot be made with foo=1"),
        ("TMaze-L10-v0", {"prev_action": "maybe"}, "prev_action must be true or false, got 'maybe'"),
    ],
)
def test_arguments_are_looked_at(env_id: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        envs.make(env_id, **arguments)


def test_numbers_of_numpy_are_numbers() -> None:
    world = envs.make("BraidedMaze-11-v0", trials=np.int64(2), opened=np.float32(1), pose=True)
    assert isinstance(world, Maze) and world.trials == 2
    assert isinstance(envs.make("Labyrinth-v0", port_node=None), Labyrinth)


def test_misuse_is_named() -> None:
    world = envs.make("TMaze-L10-v0", 3)
    with pytest.raises(RuntimeError, match="reset"):
        world.step(np.zeros(3, int))
    world.reset(0)
    with pytest.raises(ValueError, match=r"action 3 of environment 1 is not in Discrete\(3\)"):
        world.step(np.array([0, 3, 0]))
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2,\)"):
        world.step(np.zeros(2, int))
    with pytest.raises(ValueError, match="num_envs"):
        envs.make("TMaze-L10-v0", 4).load_state(world.state())
    with pytest.raises(ValueError, match="parameters"):
        envs.make("TMaze-L11-v0", 3).load_state(world.state())
    with pytest.raises(ValueError, match="num_envs"):
        envs.make("TMaze-L10-v0", 0)


@pytest.mark.parametrize(
    ("env_id", "other", "kwargs"),
    [
        ("CartPole-v1", "MountainCar-v0", {}),
        ("MiniGrid-MemoryS7-v0", "MiniGrid-MemoryS9-v0", {"engine": "minigrid"}),
        ("MiniGrid-MemoryS7-v0", "MiniGrid-MemoryS9-v0", {"engine": "envpool"}),
    ],
)
def test_a_state_says_of_which_environment_it_is(env_id: str, other: str, kwargs: dict[str, Any]) -> None:
    if kwargs.get("engine") == "envpool":
        pytest.importorskip("envpool")
    world = envs.make(env_id, 2, **kwargs)
    world.reset(0)
    state = world.state()
    with pytest.raises(ValueError, match=f"this state is of {env_id}, this world is of {other}: make the world"):
        envs.make(other, 2, **kwargs).load_state(state)
    del state["env_id"]  # as earlier versions wrote it
    world.load_state(state)
