"""The adapters between Worlds, gymnasium and Stable-Baselines3, and any gymnasium environment as a World."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import agents
import envs
from envs.feedback import Feedback
from envs.gym_world import GymWorld
from envs.oracle import oracle
from envs.vec import VecEnvWorld, WorldEnv, WorldVecEnv, WorldVectorEnv, as_world
from envs.world import World, copy_obs, row


class Odd(gymnasium.Env[Any, Any]):
    """Every kind of observation; the episode ends when the actions add up to 9 and is cut after 7 steps."""

    observation_space: spaces.Space[Any] = spaces.Dict(
        {
            "box": spaces.Box(-9, 99, (2, 2), np.float64),
            "discrete": spaces.Discrete(5, start=1),
            "multi": spaces.MultiDiscrete([8, 99]),
            "bits": spaces.MultiBinary(3),
        }
    )

    def __init__(self, action_space: spaces.Space[Any]) -> None:
        self.action_space = action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time, self.total = 0, 0
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.time, self.total = self.time + 1, self.total + int(np.sum(action))
        done, cut = self.total >= 9, self.time >= 7
        return self._obs(), float(self.total), done, cut, {"success": done}

    def _obs(self) -> dict[str, Any]:
        return {
            "box": self.np_random.normal(size=(2, 2)).clip(-9, 9),
            "discrete": np.int64(self.np_random.integers(1, 6)),
            "multi": np.array([self.time, min(self.total, 98)]),
            "bits": self.np_random.integers(0, 2, 3).astype(np.int8),
        }


def play(world: World, steps: int, seed: int = 0) -> list[Any]:
    """Return copies of what `steps` random steps give."""
    world.action_space.seed(seed)
    rows = []
    for _ in range(steps):
        actions = np.array([world.action_space.sample() for _ in range(world.num_envs)])
        out = world.step(actions)
        rows.append((copy_obs(out.obs), *(part.copy() for part in out[1:4]), out.success.copy()))
    return rows


def assert_same(a: Any, b: Any) -> None:
    np.testing.assert_equal(a, b)


def test_vec_env_reports_episodes_as_sb3_expects() -> None:
    venv, world = WorldVecEnv("Recall-N8-D16-v0", 5), envs.make("Recall-N8-D16-v0", 5)
    assert venv.seed(3) == [3] * 5
    assert_same(venv.reset(), world.reset(3))
    total, episodes = np.zeros(5), 0
    kept: Any = venv.step(np.zeros(5, int))[0]
    copy = kept.copy()
    world.step(np.zeros(5, int))
    for t in range(2, 200):
        actions = np.random.default_rng(t).integers(0, 2, 5)
        (obs, rewards, dones, infos), out = venv.step(actions), world.step(actions)
        total += rewards
        assert_same((obs, rewards, dones), (out.obs, out.reward, out.terminated))
        assert len(infos) == 5 and all(bool(info) == done for info, done in zip(infos, dones, strict=True))
        for i in np.flatnonzero(dones):
            episode = infos[i].pop("episode")
            assert (episode["r"], episode["l"]) == (total[i], 32) and episode["t"] >= 0
            assert_same(infos[i].pop("terminal_observation"), np.zeros(14, np.float32))
            assert infos[i] == {"TimeLimit.truncated": False, "is_success": out.success[i]}
            total[i], episodes = 0, episodes + 1
    assert episodes == 30
    assert_same(kept, copy)  # what step returned is not overwritten later


def test_vec_env_attributes() -> None:
    venv = WorldVecEnv("TMaze-L10-v0", 3)
    venv.reset()
    assert venv.get_attr("num_envs") == [3, 3, 3] and venv.get_attr("render_mode", 0) == ["rgb_array"]
    assert venv.env_is_wrapped(Monitor) == [True] * 3 and venv.env_is_wrapped(gymnasium.Wrapper, 1) == [True]
    assert venv.env_is_wrapped(gymnasium.wrappers.TimeLimit) == [False] * 3
    assert [len(text) > 0 for text in venv.env_method("ansi", indices=[0, 2])] == [True, True]
    assert len(venv.get_images()) == 3
    with pytest.raises(AttributeError, match="'render' and 'ansi'"):
        venv.env_method("action_masks")
    with pytest.raises(ValueError, match="share"):
        venv.set_attr("note", 1, indices=0)
    venv.set_attr("note", 1)
    assert venv.get_attr("note") == [1, 1, 1]


@pytest.mark.parametrize("env_id", ["Recall-N8-D16-v0", "NoisyTMaze-M4-L10-v0", "EndlessTMaze-Uniform-L10-C3-v0"])
def test_sb3_evaluates_whatever_predicts(env_id: str) -> None:
    venv: Any = WorldVecEnv(env_id, 4)
    policy: Any = oracle(env_id)
    returns, _ = evaluate_policy(policy, venv, n_eval_episodes=16, return_episode_rewards=True)
    assert isinstance(returns, list) and min(returns) > 0.99 * {"R": 8, "N": 4, "E": 2.7}[env_id[0]]


def test_sb3_trains_on_it() -> None:
    venv = WorldVecEnv("TMaze-L10-v0", 4)
    model = PPO("MlpPolicy", venv, n_steps=32, batch_size=64, n_epochs=1, device="cpu").learn(256)
    assert model.num_timesteps == 256 and len(model.ep_info_buffer or ()) >= 16


def test_gymnasium_env_and_vector_env_play_the_same_episodes() -> None:
    env = gymnasium.make("Recall-N8-D0-v0")
    vector = gymnasium.make_vec("Recall-N8-D0-v0", num_envs=1, vectorization_mode="vector_entry_point")
    assert isinstance(vector, WorldVectorEnv) and vector.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    first, _ = env.reset(seed=4)
    assert_same(first[None], vector.reset(seed=4)[0])
    for t in range(50):
        action = t * t % 2
        obs, reward, terminated, truncated, info = env.step(action)
        batch, rewards, ends, cuts, infos = vector.step(np.array([action]))
        assert (reward, terminated, truncated) == (rewards[0], ends[0], cuts[0])
        if terminated:
            assert infos["_final_obs"].tolist() == [True]
            assert_same(obs[None], infos["final_obs"])
            assert info["is_success"] == infos["final_info"]["is_success"][0]
            obs, _ = env.reset()  # the world has begun this episode already
        assert_same(obs[None], batch)
    env.close()
    vector.close()


def test_a_reset_after_a_step_past_the_end_begins_an_episode() -> None:
    env, fresh = WorldEnv("TMaze-L10-v0"), WorldEnv("TMaze-L10-v0")

    def length() -> int:
        count, ended = 0, False
        while not ended:
            _, _, terminated, truncated, _ = env.step(0)
            count, ended = count + 1, terminated or truncated
        return count

    env.reset(seed=0)
    whole = length()
    env.step(0)
    obs, _ = env.reset()
    assert obs[0] == fresh.reset(seed=0)[0][0] == 1 and length() == whole


def test_rendering_needs_an_episode_and_a_mode_that_there_is() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\) first"):
        gymnasium.make("EndlessTMaze-Fixed-L10-C50-v0", render_mode="rgb_array").render()
    with pytest.raises(ValueError, match="unknown render_mode 'human': choose ansi, rgb_array or None"):
        WorldEnv("TMaze-L10-v0", render_mode="human")


def test_seeds_may_be_numpy_s() -> None:
    seed: Any = np.int64(5)
    one, other = (envs.make("NoisyTMaze-M1-L10-v0", 4).reset(number) for number in (seed, 5))
    assert np.array_equal(np.asarray(one), np.asarray(other))


def test_env_renders_as_made() -> None:
    for mode, kind in (("ansi", str), ("rgb_array", np.ndarray)):
        env = gymnasium.make("TMaze-L10-v0", render_mode=mode)
        env.reset(seed=0)
        assert isinstance(env.render(), kind)
    vector = WorldVectorEnv("TMaze-L10-v0", 2, render_mode="rgb_array")
    vector.reset(seed=0)
    assert len(vector.render() or ()) == 2
    with pytest.raises(ValueError, match="one integer"):
        vector.reset(seed=[1, 2])
    with pytest.raises(ValueError, match="one environment"):
        WorldEnv(envs.make("TMaze-L10-v0", 2))


ACTION_SPACES = [
    spaces.Discrete(3),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([3, 2]),
    spaces.MultiBinary(2),
    spaces.Box(0.0, 3.0, (2,), np.float32),
]


@pytest.mark.parametrize("action_space", ACTION_SPACES, ids=str)
def test_any_environment_is_a_world(action_space: spaces.Space[Any]) -> None:
    big, small = (GymWorld(lambda: Odd(action_space), n) for n in (6, 2))
    first, other = big.reset(5), small.reset(5)
    for i in range(6):
        assert big.observation_space.contains(row(first, i))
    assert_same([row(first, 1)], [row(other, 1)])
    ended = cut = 0
    rng = np.random.default_rng(0)
    for _ in range(60):
        samples = np.array([big.action_space.sample() for _ in range(6)])
        if isinstance(action_space, spaces.Box):
            samples = samples + rng.normal(size=samples.shape) * 3  # beyond the bounds: clipped
        out, few = big.step(samples), small.step(samples[:2])
        assert_same([row(out.obs, 1), out.reward[1]], [row(few.obs, 1), few.reward[1]])
        over = out.terminated | out.truncated
        assert_same(np.isnan(out.success), ~over)
        assert_same(out.success[over], out.terminated[over].astype(np.float32))
        for i in np.flatnonzero(over).tolist():
            final, fresh = row(out.final_obs, i), row(out.obs, i)
            assert final["multi"][0] > 0 and fresh["multi"].tolist() == [0, 0]
        ended, cut = ended + int(out.terminated.sum()), cut + int(out.truncated.sum())
    assert ended + cut > 30
    assert big.action_space == action_space


def test_actions_are_those_of_the_environment_wherever_it_counts_from() -> None:
    space = spaces.Discrete(3, start=5)
    model = agents.make("gru", Odd(space), num_steps=8, num_minibatches=1).learn(16)  # Odd looks at what it is given
    env: Any = Odd(space)
    evaluate_policy(model, env, n_eval_episodes=2, deterministic=False, warn=False)
    kept = model.world.state()
    assert_same(GymWorld(lambda: Odd(space)).load_state(kept), model.world.load_state(kept))
    with pytest.raises(ValueError, match=r"actions Discrete\(3, start=5\), and env has .*Discrete\(3\): give an env"):
        model.set_env(Odd(spaces.Discrete(3)))
    with pytest.raises(ValueError, match=r"counts actions from 0.*Discrete\(3, start=5\): shift them with gymnasium"):
        agents.make("sb3-ppo", Odd(space))
    world = Feedback(GymWorld(lambda: Odd(space), 4))
    floor, obs = agents.make("random", world), world.reset(0)
    for _ in range(8):
        out = world.step(floor.predict(obs)[0])
        obs = out.obs
        for i, over in enumerate(out.terminated | out.truncated):
            assert over or row(obs, i)["prev_action"] in (1, 2, 3)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCar-v0", "Pendulum-v1", "Taxi-v4"])
def test_gymnasium_ids_resume_exactly(env_id: str) -> None:
    world = envs.make(env_id, 3)
    world.reset(2)
    kept = play(world, 190)[-1][0]
    state = world.state()
    assert all(isinstance(part, np.ndarray) and part.dtype != object for part in state.values())
    expected = play(world, 60, seed=1)
    other = envs.make(env_id, 3)
    assert_same(other.load_state(state), kept)
    assert_same(play(other, 60, seed=1), expected)
    world.close()
    other.close()


def test_time_limits_truncate() -> None:
    world = envs.make("MountainCar-v0", 2)
    world.reset(0)
    for t in range(1, 401):
        out = world.step(np.ones(2, int))
        assert out.truncated.tolist() == [t % 200 == 0] * 2 and not out.terminated.any()


def test_gym_world_names_what_it_cannot_do() -> None:
    world = envs.make("CartPole-v1", 2)
    with pytest.raises(RuntimeError, match="reset"):
        world.step(np.zeros(2, int))
    world.reset(0)
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        world.step(np.zeros(3, int))
    with pytest.raises(ValueError, match="2 environments"):
        envs.make("CartPole-v1", 3).load_state(world.state())
    env = Odd(spaces.Discrete(2))
    env.observation_space = spaces.Text(5)
    with pytest.raises(ValueError, match="FlattenObservation"):
        GymWorld(lambda: env)
    with pytest.raises(ValueError, match="actions in"):
        GymWorld(lambda: Odd(spaces.Text(5)))
    assert world.render(1).ndim == 3
    world.close()


@pytest.mark.parametrize("env_id", ["Recall-N2-D0-v0", "CartPole-v1", "MiniGrid-Empty-5x5-v0"])
def test_feedback_shows_the_last_action_and_reward(env_id: str) -> None:
    world, plain = envs.make(env_id, 3, prev_action=True, prev_reward=True), envs.make(env_id, 3)
    first, bare = world.reset(1), plain.reset(1)
    for i in range(3):
        assert world.observation_space.contains(row(first, i))
    assert_same(row(first, 0)["obs"] if isinstance(bare, np.ndarray) else row(first, 0)["image"],
                row(bare, 0) if isinstance(bare, np.ndarray) else row(bare, 0)["image"])  # fmt: skip
    actions = np.array([1, 0, 1])
    for _ in range(40):
        out = world.step(actions)
        over = out.terminated | out.truncated
        for i in range(3):
            shown, final = row(out.obs, i), row(out.final_obs, i)
            expected = (0, 0.0) if over[i] else (actions[i] + 1, out.reward[i])
            assert (shown["prev_action"], shown["prev_reward"][0]) == expected
            assert (final["prev_action"], final["prev_reward"][0]) == (actions[i] + 1, out.reward[i])
    state, other = world.state(), envs.make(env_id, 3, prev_action=True, prev_reward=True)
    assert_same(other.load_state(state), out.obs)
    assert_same(play(other, 30), play(world, 30))
    with pytest.raises(ValueError, match="Discrete"):
        envs.make("Pendulum-v1", prev_action=True, prev_reward=True)


def test_as_world_takes_everything() -> None:
    world = envs.make("TMaze-L10-v0", 2)
    assert as_world(world) is world
    assert as_world("TMaze-L10-v0", 3).num_envs == 3
    assert as_world(WorldVecEnv(world)) is world and as_world(WorldVectorEnv(world)) is world
    single = as_world(gymnasium.make("TMaze-L10-v0"))
    assert single.num_envs == 1 and single.resumable
    assert isinstance(as_world(gymnasium.make("CartPole-v1")), GymWorld)
    nothing: Any = 3
    with pytest.raises(TypeError, match="int"):
        as_world(nothing)


class Blind(gymnasium.Env[Any, Any]):
    """Draws nothing."""

    observation_space, action_space = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2)

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2, np.float32), {}


def test_what_draws_nothing_says_so() -> None:
    with pytest.raises(ValueError, match=r"draws no picture .*leave out --video"):
        as_world(Blind()).render(0)


def test_an_id_may_name_the_module_that_registers_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere.py").write_text(
        "import gymnasium\ngymnasium.register('Elsewhere-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    obs: Any = envs.make("elsewhere:Elsewhere-v0", 2).reset(0)
    assert obs.shape == (2, 4)


def test_an_eval_callback_takes_over_the_moments_of_a_vec_normalize() -> None:
    def cart_pole() -> VecNormalize:
        return VecNormalize(DummyVecEnv([lambda: Monitor(gymnasium.make("CartPole-v1"))] * 2), norm_reward=False)

    training, evaluation = cart_pole(), cart_pole()
    model = agents.make("gru", training, num_steps=16, num_minibatches=1)
    assert model.get_env() is training and model.get_vec_normalize_env() is training
    model.learn(128, callback=EvalCallback(evaluation, n_eval_episodes=1, eval_freq=64, verbose=0))
    moments: Any = evaluation.obs_rms
    assert not np.allclose(moments.var, 1)
    assert agents.make("gru", "CartPole-v1").get_vec_normalize_env() is None


class Lives(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A game of three lives: the first two that are lost end an episode, and the game goes on, as in Atari with SB3."""

    lives = 0

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        if self.lives == 0:
            self.lives, (self.obs, _) = 3, self.env.reset(**kwargs)
        return self.obs, {}

    def step(self, action: Any) -> Any:
        self.obs, reward, terminated, truncated, info = self.env.step(action)
        lost = self.lives > 1 and self.np_random.random() < 0.5
        self.lives = 0 if terminated or truncated else self.lives - lost
        return self.obs, min(float(reward), 0.5), terminated or lost, truncated, info


@pytest.mark.parametrize("lives", [False, True])
def test_episodes_are_logged_as_sb3_logs_them(lives: bool) -> None:
    """Of a reward that was normalised the one that it was made of, and whole games."""

    def cart_pole() -> gymnasium.Env[Any, Any]:
        env = Monitor(gymnasium.make("CartPole-v1"))
        return Lives(env) if lives else env

    def look(scope: dict[str, Any], _: Any) -> bool:
        told.extend(info["episode"] for info in scope["infos"] if "episode" in info)
        return True

    told: list[dict[str, Any]] = []
    model = agents.make("gru", VecNormalize(DummyVecEnv([cart_pole] * 2)), num_steps=32, num_minibatches=1)
    model.learn(1280, callback=look)
    theirs = [(episode["r"], episode["l"]) for episode in told][-100:]
    ours = [episode[:2] for episode in model.episodes.recent]
    assert len(theirs) > 20 and ours[-20:] == theirs[-20:]


def test_foreign_vec_envs_are_worlds() -> None:
    def cart_pole() -> gymnasium.Env[Any, Any]:
        return Monitor(gymnasium.make("CartPole-v1"))

    venv = VecNormalize(DummyVecEnv([cart_pole, cart_pole]), norm_reward=False)
    world = as_world(venv)
    assert isinstance(world, VecEnvWorld) and not world.resumable and world.state() == {}
    world.reset(0)
    ends = 0
    for _ in range(120):
        out = world.step(np.ones(2, int))
        for i in np.flatnonzero(out.terminated).tolist():
            ends += 1
            assert abs(row(out.final_obs, i)[2]) > abs(row(out.obs, i)[2])  # it fell; the next one stands
    assert ends > 10 and np.isnan(out.success).all()
    world.load_state(world.state())
    world.close()
