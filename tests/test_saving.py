"""MemoryPPO: save and load, exact resume, and a memory that grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv
from test_ppo import ENV, Recorder, make, same_future, weights

import agents
import envs
from agents import checkpoint
from agents.cores import CORES
from agents.growing import GrowingPPO
from agents.ppo import MemoryPPO


@pytest.mark.parametrize("name", CORES)
def test_resume_is_bit_for_bit(name: str) -> None:
    recorder, whole = Recorder(snapshot_at=3), make(name)
    whole.learn(192, callback=recorder)
    resumed = make(name, seed=7)  # everything that the seed decided comes from the snapshot, except fixed features
    if name == "superposed":
        resumed = make(name)
    resumed.restore(*recorder.snapshot)
    assert resumed.num_timesteps == 96
    resumed.learn(96, reset_num_timesteps=False)
    same_future(whole, resumed)


def test_resume_of_a_python_environment_is_bit_for_bit() -> None:
    recorder, whole = Recorder(snapshot_at=2), make("gru", "CartPole-v1")
    whole.learn(160, callback=recorder)
    resumed = make("gru", "CartPole-v1")
    resumed.restore(*recorder.snapshot)
    same_future(whole, resumed.learn(96, reset_num_timesteps=False))


@pytest.mark.parametrize("name", CORES)
def test_save_and_load(name: str, tmp_path: Path) -> None:
    whole = make(name).learn(64)
    whole.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    acting, training = MemoryPPO.load(tmp_path / "model"), MemoryPPO.load(tmp_path / "model.safetensors", ENV)
    obs = np.random.default_rng(0).uniform(-1, 1, (9, *whole.observation_space.shape)).astype(np.float32)
    state, expected = None, whole.predict(obs, deterministic=True)
    for loaded in (acting, training):
        actions, state = loaded.predict(obs, deterministic=True)
        assert np.array_equal(actions, expected[0])
        assert all(np.array_equal(one, other) for one, other in zip(state, expected[1], strict=True))
        assert loaded.config == whole.config and loaded.observation_space == whole.observation_space
    same_future(whole.learn(64, reset_num_timesteps=False), training.learn(64, reset_num_timesteps=False))


def test_a_name_with_dots_keeps_them(tmp_path: Path) -> None:
    model = make().learn(32)
    model.save(tmp_path / "gru-lr0.001")
    assert [path.name for path in tmp_path.iterdir()] == ["gru-lr0.001.safetensors"]
    assert MemoryPPO.load(tmp_path / "gru-lr0.001").num_timesteps == 32


def test_an_untrained_agent_can_be_saved(tmp_path: Path) -> None:
    make("superposed").save(tmp_path / "new")
    loaded = MemoryPPO.load(tmp_path / "new", ENV)
    same_future(make("superposed").learn(32), loaded.learn(32))


def test_a_world_that_cannot_be_saved_begins_new_episodes() -> None:
    def build() -> MemoryPPO:
        return make("gru", DummyVecEnv([lambda: gym.make("CartPole-v1")] * 4))

    model, resumed = build().learn(32), build()
    resumed.restore(*model.snapshot())
    assert resumed._starts.all()  # so that no memory of the old ones is carried over
    assert not resumed.episodes.lengths.any()


def test_an_agent_goes_on_in_other_environments_with_the_same_spaces(tmp_path: Path) -> None:
    """Other worlds, or another number of them: the network, optimiser and counters, and new episodes."""
    model = make("superposed").learn(64)
    model.save(tmp_path / "agent")
    for env in ("NoisyTMaze-M1-L20-v0", envs.make(ENV, 3)):
        again = MemoryPPO.load(tmp_path / "agent", env)
        assert torch.equal(weights(again), weights(model)) and again.num_timesteps == 64
        assert again.optimizer.state_dict()["state"].keys() == model.optimizer.state_dict()["state"].keys()
        assert again.learn(48, reset_num_timesteps=False).num_timesteps > 64


def test_a_snapshot_can_be_continued_twice() -> None:
    model = make("superposed").learn(32)
    snapshot = model.snapshot()
    first, second = make("superposed"), make("superposed")
    first.restore(*snapshot)
    first.learn(64, reset_num_timesteps=False)
    second.restore(*snapshot)
    second.learn(64, reset_num_timesteps=False)
    assert torch.equal(weights(first), weights(second))


def test_an_agent_that_was_loaded_to_act_says_what_it_costs_and_what_training_needs(tmp_path: Path) -> None:
    model = make("superposed").learn(32)
    model.save(tmp_path / "agent")
    acting = MemoryPPO.load(tmp_path / "agent")
    assert acting.stats() == model.stats()
    assert acting.get_env() is None and acting.get_vec_normalize_env() is None
    with pytest.raises(ValueError, match="set_env"):
        acting.learn(32)
    acting.set_env(ENV)
    acting.learn(32)


def test_a_gru_that_grew_is_saved_and_loaded(tmp_path: Path) -> None:
    model = agents.make("gru-growing", ENV, num_envs=4, num_steps=8)
    model.learn(32)
    model.widen(32)
    model.save(tmp_path / "grown")
    for env in (None, ENV):
        loaded = GrowingPPO.load(tmp_path / "grown", env)
        assert isinstance(loaded, GrowingPPO) and loaded.hidden == 32 and torch.equal(weights(loaded), weights(model))
    same_future(model.learn(32, reset_num_timesteps=False), loaded.learn(32, reset_num_timesteps=False))
    with pytest.raises(
        checkpoint.CheckpointError, match="better, noise, plateau, widest: load it with the class that saved it"
    ):
        MemoryPPO.load(tmp_path / "grown")
    with pytest.raises(ValueError, match="leave out l2_init"):
        agents.make("gru-growing", ENV, l2_init=1e-3)


def test_another_environment_is_refused(tmp_path: Path) -> None:
    make("gru").save(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"agent was trained on observations .*: give an env with the same spaces"):
        MemoryPPO.load(tmp_path / "agent", "CartPole-v1")


def test_the_checkpoint_of_a_run_says_how_it_is_loaded(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "last.safetensors", *make("gru").snapshot())
    with pytest.raises(checkpoint.CheckpointError, match=r"the checkpoint of a run.*agents\.load\("):
        MemoryPPO.load(tmp_path / "last")


# -- growing ------------------------------------------------------------------------------------------------------


def dim_of(model: MemoryPPO) -> int:
    dim: int = model.policy.core.memory.expansion.dim  # type: ignore[union-attr, assignment]
    return dim


def test_dim_grows_during_training_and_parameters_do_not() -> None:
    def watch(scope: dict[str, Any], _: dict[str, Any]) -> bool:
        dims.append(dim_of(model))
        return True

    dims: list[int] = []
    model = make("superposed", dim=16, grow=(32, 64))
    before = model.stats()["trained_parameters"]
    model.learn(6 * 32, callback=watch)
    assert dims == [16] * 16 + [32] * 16 + [64] * 16
    assert model._state.m.shape[-1] == 64 and model.stats()["trained_parameters"] == before


@pytest.mark.parametrize("at", [1, 3, 5])
def test_resume_in_the_middle_of_growing_is_exact(at: int) -> None:
    recorder, whole = Recorder(snapshot_at=at), make("superposed", dim=16, grow=(32, 64))
    whole.learn(6 * 32, callback=recorder)
    resumed = make("superposed", dim=16, grow=(32, 64))
    resumed.restore(*recorder.snapshot)
    same_future(whole, resumed.learn((6 - at) * 32, reset_num_timesteps=False))
    assert dim_of(resumed) == 64


def test_a_grown_agent_acts_the_same_when_loaded(tmp_path: Path) -> None:
    model = make("superposed", dim=16, grow=(64,)).learn(64)
    model.save(tmp_path / "grown")
    obs = np.random.default_rng(0).uniform(-1, 1, (9, *model.observation_space.shape)).astype(np.float32)
    expected = model.predict(obs)[1]
    for loaded in (MemoryPPO.load(tmp_path / "grown", ENV), MemoryPPO.load(tmp_path / "grown")):
        assert dim_of(loaded) == 64
        found = loaded.predict(obs)[1]
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_every_dim_is_looked_at_before_the_training() -> None:
    with pytest.raises(ValueError, match="dim must be even and at least 2, got 33"):
        make("superposed", dim=16, grow=(32, 33))


def test_dim_can_be_changed_after_training() -> None:
    model = make("superposed").learn(64)
    model.resize(128)
    assert dim_of(model) == 128 and model._state.m.shape[-1] == 128
    model.learn(32, reset_num_timesteps=False)
    assert model.memory_image().shape[-1] == 128
    with pytest.raises(ValueError, match="GRUCore has no dim to change; only superposed has"):
        make("gru").resize(64)
    with pytest.raises(ValueError, match="dim must be even and at least 2, got 3"):
        model.resize(3)


class TwoNumbers(gym.Env[Any, Any]):
    """The right action is told by the part of the observation that comes first, and last by the alphabet."""

    def __init__(self) -> None:
        box = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.observation_space, self.action_space = gym.spaces.Dict([("z", box), ("a", box)]), gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.seen = {name: self.np_random.uniform(-1, 1, 1).astype(np.float32) for name in "za"}
        return self.seen, {}

    def step(self, action: Any) -> Any:
        return self.seen, 0.0, True, False, {}


def test_parts_of_an_observation_keep_their_order(tmp_path: Path) -> None:
    model = MemoryPPO("gru", DummyVecEnv([TwoNumbers]))
    model.save(tmp_path / "agent")
    rng = np.random.default_rng(0)
    obs = {name: rng.uniform(-1, 1, (50, 1)).astype(np.float32) for name in "az"}
    codes = [
        one.policy.encoder({name: torch.as_tensor(part) for name, part in obs.items()})
        for one in (model, MemoryPPO.load(tmp_path / "agent"))
    ]
    assert torch.equal(*codes) and list(model.policy.encoder.keys) == ["z", "a"]


def test_dim_is_kept_by_a_file_of_an_agent_that_is_not_under_way(tmp_path: Path) -> None:
    model = make("superposed", dim=16)
    model.resize(64)
    model.save(tmp_path / "new folder" / "agent")
    again = MemoryPPO.load(tmp_path / "new folder" / "agent")
    assert again.policy.core.dim == 64
    again.resize(32)
    again.save(tmp_path / "again")  # as it was loaded, to act
    assert MemoryPPO.load(tmp_path / "again").policy.core.dim == 32


def test_other_environments_are_refused_before_anything_is_trained() -> None:
    model = agents.make("gru", "CartPole-v1", num_envs=2, num_steps=4)
    with pytest.raises(ValueError, match=r"actions Discrete\(2\), and env has .*Discrete\(3\): give an env"):
        model.set_env("Acrobot-v1")
    assert model.learn(16).num_timesteps == 16  # in those that it had


@pytest.mark.parametrize("name", ["superposed", "gru"])
def test_a_state_of_another_batch_is_refused(name: str) -> None:
    model = make(name)
    obs = np.zeros((4, *model.observation_space.shape), np.float32)
    _, state = model.predict(obs[0])
    with pytest.raises(ValueError, match=r"a part of shape .*begin with state=None"):
        model.predict(obs, state)


def test_a_state_of_another_dim_is_refused() -> None:
    model = make("superposed", dim=16)
    obs = np.zeros((4, *model.observation_space.shape), np.float32)
    _, state = model.predict(obs)
    model.resize(64)
    with pytest.raises(ValueError, match=r"a part of shape .*16.* is .*64"):
        model.predict(obs, state)


def test_what_is_rehearsed_changes_its_dim_too() -> None:
    model = make("superposed", dim=16, replay=4).learn(64)
    assert model.replay is not None
    kept = [part.clone() for part in model.replay.states.values()]
    model.resize(64)
    model.learn(64, reset_num_timesteps=False)
    model.resize(16)
    assert model.replay.states["state.1"].shape == kept[1].shape and model.replay.seen == 16


@pytest.mark.parametrize("num_envs", [3, 4])
def test_the_past_is_rehearsed_in_other_environments_too(num_envs: int, tmp_path: Path) -> None:
    model = make("gru", replay=8).learn(64)
    model.save(tmp_path / "agent")
    acting = MemoryPPO.load(tmp_path / "agent")
    acting.save(tmp_path / "acting")
    world = envs.make("NoisyTMaze-M1-L20-v0", num_envs)
    for again in (model, acting, MemoryPPO.load(tmp_path / "acting", world), MemoryPPO.load(tmp_path / "agent", world)):
        again.set_env(world)
        assert again.replay is not None and model.replay is not None
        assert again.replay.seen == 8 and again.replay.state().keys() == model.replay.state().keys()
        again.learn(8 * num_envs, reset_num_timesteps=False)
        assert again.replay.seen == 8 + num_envs


@pytest.mark.parametrize("core", ["superposed", "gru-growing"])
def test_a_renewed_agent_has_the_size_and_the_empty_memory_of_a_new_one(core: str) -> None:
    model = make(core, **{"dim": 16, "replay": 4} if core == "superposed" else {})
    model.learn(64)
    model.widen(32) if isinstance(model, GrowingPPO) else model.resize(64)
    model.renew(3)
    assert all(not part.any() for part in model._state)
    fresh = make(core, **{"dim": 16} if core == "superposed" else {})
    fresh.renew(3)
    assert torch.equal(weights(model), weights(fresh))
    model.learn(64, reset_num_timesteps=False)
    assert model.num_timesteps == 128
    kept: Any = model.replay
    assert kept is None if core == "gru-growing" else kept.seen == 8
