"""MemoryPPO: Stable-Baselines3's contract and faults. Saving and rollouts have files of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

import agents
import envs
from agents.cores import CORES
from agents.ppo import MemoryPPO
from envs.vec import WorldVecEnv
from envs.world import Obs, Transition, World

ENV = "NoisyTMaze-M1-L10-v0"
SMALL: dict[str, Any] = {"num_envs": 4, "num_steps": 8, "num_minibatches": 2, "update_epochs": 2}
SMALLER: dict[str, dict[str, Any]] = {"superposed": {"dim": 32}, "transformer": {"window": 16}, "slots": {"slots": 6}}


def make(name: str = "gru", env: Any = ENV, seed: int = 0, **settings: Any) -> MemoryPPO:
    model: MemoryPPO = agents.make(name, env, seed=seed, **(SMALL | SMALLER.get(name, {}) | settings))
    return model


class Clock(World):
    """Reward 1 a step for `length` steps; then the episode ends, or is cut off, or both."""

    def __init__(self, num_envs: int, length: int, terminates: bool = False, truncates: bool = True) -> None:
        self.num_envs, self.length, self.ends = num_envs, length, (terminates, truncates)
        self.observation_space: spaces.Space[Any] = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space: spaces.Space[Any] = spaces.Discrete(2)
        self.time = np.arange(num_envs) % length
        self.obs = np.ones((num_envs, 2), np.float32)

    def reset(self, seed: int | None = None) -> Obs:
        return self.obs

    def step(self, actions: np.ndarray) -> Transition:
        self.time += 1
        over = self.time >= self.length
        self.time[over] = 0
        terminated, truncated = (over & flag for flag in self.ends)
        nothing = np.full(self.num_envs, np.nan, np.float32)
        return Transition(self.obs, np.ones(self.num_envs, np.float32), terminated, truncated, self.obs, nothing)

    def state(self) -> dict[str, np.ndarray]:
        return {"time": self.time.copy()}

    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        self.time[:] = state["time"]
        return self.obs

    def render(self, i: int = 0) -> np.ndarray:
        return np.zeros((8, 8, 3), np.uint8)


class Recorder(BaseCallback):
    """Counts hooks; takes a snapshot at the beginning of one rollout; may stop after some steps."""

    def __init__(self, snapshot_at: int = -1, stop_after: int = -1) -> None:
        super().__init__()
        self.hooks: list[str] = []
        self.seen: list[int] = []
        self.snapshot_at, self.stop_after = snapshot_at, stop_after
        self.snapshot: tuple[dict[str, torch.Tensor], dict[str, Any]] = {}, {}

    def _on_training_start(self) -> None:
        self.hooks.append("training_start")

    def _on_rollout_start(self) -> None:
        if self.hooks.count("rollout_start") == self.snapshot_at:
            self.snapshot = self.model.snapshot()  # type: ignore[attr-defined]
        self.hooks.append("rollout_start")

    def _on_step(self) -> bool:
        self.hooks.append("step")
        self.seen.append(self.num_timesteps)
        assert self.locals["dones"].shape == self.locals["rewards"].shape == (4,)
        return self.n_calls != self.stop_after

    def _on_rollout_end(self) -> None:
        self.hooks.append("rollout_end")

    def _on_training_end(self) -> None:
        self.hooks.append("training_end")


def weights(model: MemoryPPO) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in (*model.policy.parameters(), *model.policy.buffers())])


def same_future(one: MemoryPPO, other: MemoryPPO) -> None:
    """Bit for bit: parameters, the last rollout, the count."""
    assert one.num_timesteps == other.num_timesteps
    assert torch.equal(weights(one), weights(other))
    for name in ("actions", "rewards", "values", "log_probs", "starts"):
        assert torch.equal(getattr(one.rollout, name), getattr(other.rollout, name)), name
    assert all(torch.equal(part, other.rollout.obs[key]) for key, part in one.rollout.obs.items())


def venv_of(model: MemoryPPO) -> VecEnv:
    venv = model.get_env()
    assert venv is not None
    return venv


# -- learn --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "done"), [(4, 4), (7, 4), (32, 32), (33, 32), (50, 48), (95, 92)])
def test_learn_does_what_fits_into_the_budget_and_no_more(budget: int, done: int) -> None:
    model = make()
    assert model.learn(budget) is model
    assert model.num_timesteps == done


def test_learn_needs_one_step_of_every_environment() -> None:
    with pytest.raises(ValueError, match=r"total_timesteps=3 is less than one step of 4 environments.*num_envs"):
        make().learn(3)


def test_learn_goes_on_or_begins_again() -> None:
    model = make().learn(40)
    obs = model._obs[""].clone()
    model.learn(24, reset_num_timesteps=False)
    assert model.num_timesteps == 64
    assert not torch.equal(model._obs[""], obs)  # the episodes went on
    model.learn(24)
    assert model.num_timesteps == 24


@pytest.mark.parametrize("env", [ENV, "CartPole-v1"])
def test_another_learn_meets_other_episodes(env: str) -> None:
    class First(BaseCallback):
        def _on_training_start(self) -> None:
            seen.append(model._obs[""].clone())

        def _on_step(self) -> bool:
            return True

    seen: list[torch.Tensor] = []
    model = make(env=env)
    for _ in range(2):
        model.learn(32, callback=First())
    model.set_env(env)  # new ones begin with the seed
    model.learn(32, callback=First())
    assert not torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


def test_callbacks_are_told_of_episodes_as_by_a_monitor() -> None:
    def look(scope: dict[str, Any], _: Any) -> bool:
        infos, dones = scope["infos"], scope["dones"]
        assert [bool(info) for info in infos] == dones.tolist()
        told.extend((i["episode"]["r"], i["episode"]["l"], i["is_success"]) for i in infos if i)
        return True

    told: list[tuple[float, int, float]] = []
    model = make().learn(128, callback=look)
    assert told == list(model.episodes.recent) and len(told) >= 8


def test_one_step_of_one_environment_is_logged_without_nan() -> None:
    model = make(num_envs=1, num_steps=1, num_minibatches=1).learn(2)
    assert all(np.isfinite(value) for value in model._last_train.values())


def test_callbacks_are_called_as_sb3_calls_them() -> None:
    recorder = Recorder()
    make().learn(48, callback=recorder)
    rollouts = [*("rollout_start", *["step"] * 8, "rollout_end"), *("rollout_start", *["step"] * 4, "rollout_end")]
    assert recorder.hooks == ["training_start", *rollouts, "training_end"]
    assert recorder.seen == list(range(4, 49, 4))


def test_a_callback_can_stop_the_training() -> None:
    recorder, model = Recorder(stop_after=10), make()
    model.learn(400, callback=[recorder])
    assert model.num_timesteps == 40 and recorder.hooks[-1] == "training_end"


def test_functions_are_callbacks_too() -> None:
    seen: list[int] = []

    def see(scope: dict[str, Any], _: dict[str, Any]) -> bool:
        seen.append(model.num_timesteps)
        return True

    model = make()
    model.learn(32, callback=see)
    assert len(seen) == 8


def test_what_is_logged_has_sb3s_names() -> None:
    model = make("superposed")
    rows: list[dict[str, Any]] = []
    model.logger.dump = lambda step=0: rows.append(dict(model.logger.name_to_value))  # type: ignore[method-assign]
    model.learn(64)
    tags = {"rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/success_rate", "time/fps", "train/value_loss"}
    assert len(rows) == 2 and tags | {"train/approx_kl", "train/learning_rate"} <= set(rows[-1])
    memory = {"memory/norm", "memory/write_gate", "memory/key_similarity", "memory/read_error"}
    assert memory <= set(rows[-1])
    assert all(np.isfinite(value) for value in rows[-1].values())


def test_same_seed_same_training() -> None:
    one, same, other = (make(seed=seed).learn(96) for seed in (0, 0, 1))
    same_future(one, same)
    assert not torch.equal(weights(one), weights(other))


def test_other_random_numbers_do_not_matter() -> None:
    one = make().learn(64)
    torch.manual_seed(99)
    np.random.seed(99)
    same_future(one, make().learn(64))


# -- predict ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORES)
def test_predict_one_and_many(name: str) -> None:
    model = make(name).learn(32)
    obs = np.random.default_rng(0).uniform(-1, 1, (6, 3, *model.observation_space.shape)).astype(np.float32)
    state, alone, states = None, [], None
    for t in range(6):
        actions, state = model.predict(obs[t], state, np.full(3, t == 0), deterministic=True)
        assert actions.shape == (3,) and all(model.action_space.contains(a) for a in actions)
        action, states = model.predict(obs[t, 1], states, deterministic=True)
        assert np.shape(action) == () and all(part.shape[0] == 1 for part in states)
        alone.append(action == actions[1])
    assert all(alone)


@pytest.mark.parametrize("name", CORES)
def test_predict_is_pure(name: str) -> None:
    model = make(name).learn(32)
    obs = np.ones((2, *model.observation_space.shape), np.float32)
    state = model.predict(obs, deterministic=True)[1]
    before, inside = [part.copy() for part in state], weights(model)
    starts = np.array([True, False])
    first = model.predict(obs, state, starts, deterministic=True)
    assert all(np.array_equal(now, then) for now, then in zip(state, before, strict=True))
    second = model.predict(obs, state, starts, deterministic=True)
    assert np.array_equal(first[0], second[0])
    assert all(np.array_equal(one, other) for one, other in zip(first[1], second[1], strict=True))
    assert torch.equal(weights(model), inside)


@pytest.mark.parametrize("name", CORES)
def test_episode_start_empties_the_memory_of_its_row(name: str) -> None:
    model = make(name).learn(32)
    obs = np.ones((2, *model.observation_space.shape), np.float32)
    state = model.predict(-obs, deterministic=True)[1]
    fresh = model.predict(obs, None, deterministic=True)[1]
    kept = model.predict(obs, state, np.array([False, False]), deterministic=True)[1]
    mixed = model.predict(obs, state, np.array([True, False]), deterministic=True)[1]
    for part, new, old in zip(mixed, fresh, kept, strict=True):
        np.testing.assert_allclose(part[0], new[0], atol=1e-6)
        np.testing.assert_allclose(part[1], old[1], atol=1e-6)


def test_actions_are_drawn_unless_deterministic() -> None:
    model = make()
    obs = np.zeros((200, *model.observation_space.shape), np.float32)
    assert len(set(model.predict(obs)[0].tolist())) == 3
    assert len(set(model.predict(obs, deterministic=True)[0].tolist())) == 1


# -- the tools of SB3 ---------------------------------------------------------------------------------------------


def test_evaluate_policy() -> None:
    model: Any = make("gru").learn(64)
    mean, spread = evaluate_policy(model, WorldVecEnv(ENV, 2), n_eval_episodes=4)
    assert -2 <= np.mean(mean) <= 1 and np.min(spread) >= 0
    returns, lengths = evaluate_policy(model, venv_of(model), 4, return_episode_rewards=True)
    assert lengths == [12] * 4 and -2 <= np.min(returns) and np.max(returns) <= 1


def test_eval_callback_saves_the_best_and_stops(tmp_path: Path) -> None:
    model, stop = make("superposed"), StopTrainingOnRewardThreshold(reward_threshold=-100, verbose=0)
    callback = EvalCallback(
        WorldVecEnv(ENV, 2), stop, n_eval_episodes=2, eval_freq=4, best_model_save_path=str(tmp_path), verbose=0
    )
    model.learn(400, callback=callback)
    assert model.num_timesteps == 16  # 4 steps of 4 environments
    best = MemoryPPO.load(tmp_path / "best_model")
    assert best.num_timesteps == 16 and torch.equal(weights(best), weights(model))


def test_checkpoint_callback(tmp_path: Path) -> None:
    make().learn(64, callback=CheckpointCallback(8, str(tmp_path), name_prefix="m"))
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["m_32_steps.safetensors", "m_64_steps.safetensors"]


def test_env_of_many_kinds() -> None:
    for env in (envs.make(ENV, 4), WorldVecEnv(ENV, 4), DummyVecEnv([lambda: gym.make("CartPole-v1")] * 4)):
        model = make(env=env).learn(32)
        assert model.num_timesteps == 32 and venv_of(model).num_envs == 4
    model = make(env=gym.make("CartPole-v1"), num_minibatches=1).learn(16)
    assert model.num_timesteps == 16 and model.world.num_envs == 1


class Odd(gym.Env[Any, Any]):
    """Every kind of observation at once, several actions a step, some not counted from 0."""

    observation_space: spaces.Space[Any] = spaces.Dict(
        {
            "grid": spaces.Box(0, 10, (3, 3, 2), np.uint8),
            "pixels": spaces.Box(0, 255, (36, 36, 3), np.uint8),
            "speed": spaces.Box(-np.inf, np.inf, (), np.float32),
            "mission": spaces.MultiDiscrete([3, 4], start=[1, 0]),
            "door": spaces.Discrete(2, start=-1),
            "bits": spaces.MultiBinary(3),
        }
    )
    action_space: spaces.Space[Any] = spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(np.asarray(action, np.int64))
        return self.observation_space.sample(), 1.0, bool(self.np_random.random() < 0.1), False, {}


@pytest.mark.parametrize("name", ["superposed", "none"])
def test_unusual_spaces_train_save_and_act(name: str, tmp_path: Path) -> None:
    model = make(name, Odd(), num_minibatches=1).learn(24)
    model.save(tmp_path / "odd")
    loaded = MemoryPPO.load(tmp_path / "odd")
    obs = model.observation_space.sample()
    actions = model.predict(obs, deterministic=True)[0]
    assert model.action_space.contains(np.asarray(actions, np.int64))
    assert np.array_equal(loaded.predict(obs, deterministic=True)[0], actions)
    batch = {key: np.stack([np.asarray(part)] * 2) for key, part in obs.items()}
    assert np.array_equal(model.predict(batch, deterministic=True)[0], np.stack([actions] * 2))


def test_worlds_with_feedback_train() -> None:
    model = make("gru", envs.make(ENV, 4, prev_action=True, prev_reward=True)).learn(32)
    assert model.policy.encoder.keys == ["obs", "prev_action", "prev_reward"] and model.num_timesteps == 32


def test_get_env_follows_set_env() -> None:
    model = make()
    assert venv_of(model) is model.get_env()
    model.set_env(envs.make(ENV, 2))
    assert venv_of(model).num_envs == 2
    assert model.learn(16).num_timesteps == 16


# -- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 5])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_observation_that_is_not_a_number_stops_the_training(bad: float, at: int) -> None:
    class Broken(Clock):
        def step(self, actions: np.ndarray) -> Transition:
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls == at:
                self.obs[2, 1] = bad
            return super().step(actions)

    world = Broken(4, 50)
    if at == 0:
        world.obs[2, 1] = bad
    model = make(env=world)
    before = weights(model)
    with pytest.raises(
        ValueError, match=f"environment 2 is not finite at step {max(at - 1, 0) * 4}: nothing was trained on it"
    ):
        model.learn(64)
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("where", ["reward", "final_obs"])
def test_a_gain_that_is_not_a_number_stops_the_training(where: str) -> None:
    class Broken(Clock):
        def step(self, actions: np.ndarray) -> Transition:
            self.calls = getattr(self, "calls", 0) + 1
            out = super().step(actions)
            if self.calls == 6:
                spoilt = getattr(out, where).copy()
                spoilt[2] = np.nan
                return out._replace(**{where: spoilt})
            return out

    model = make(env=Broken(4, 4))  # environment 2 begins in its third step, so its time runs out with the sixth
    before = weights(model)
    with pytest.raises(ValueError, match=r"environment 2, or .* is not finite at step 20: nothing was trained on it"):
        model.learn(64)
    assert torch.equal(weights(model), before)


def test_a_bad_number_inside_a_dict_is_named() -> None:
    class Broken(gym.Env[Any, Any]):
        observation_space = spaces.Dict({"fine": spaces.Discrete(2), "bad": spaces.Box(-1, 1, (2,), np.float32)})
        action_space = spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            return {"fine": 0, "bad": np.full(2, np.nan, np.float32)}, {}

    with pytest.raises(ValueError, match="observation in 'bad' of environment 0 is not finite at step 0"):
        make(env=Broken(), num_minibatches=1).learn(8)


def test_predict_names_the_shape_that_it_needs() -> None:
    model = make("gru")
    (width,) = model.observation_space.shape
    for wrong in ((width + 1,), (2, width + 1), (1, 2, width)):
        with pytest.raises(ValueError, match=rf"has the shape \({width},\), .*got \({wrong[0]},"):
            model.predict(np.zeros(wrong, np.float32))


def test_configs_are_not_shared() -> None:
    config = CORES["gru"][0](**SMALL)
    model = MemoryPPO("gru", ENV, config)
    assert model.config is config and replace(config, gamma=0.1) != config
