"""Agents used elsewhere: loaded in one call, exported as ONNX, shipped in the repository, tuned."""

from __future__ import annotations

import csv
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy

import agents
import envs
import train
from agents import checkpoint
from envs.vec import WorldVecEnv
from experiments import compare, export, grid, run, tuning
from experiments.config import RunConfig

ROOT = Path(__file__).resolve().parent.parent
HP: dict[str, Any] = {"num_envs": 8, "num_steps": 16}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run of a superposed agent that was grown."""
    config = RunConfig(
        agent="superposed", env="RecallMix-N8-D0-v0", budget="steps=512", hp=HP | {"dim": 16, "grow": (32,)},
        logdir=str(tmp_path_factory.mktemp("runs")),
    )  # fmt: skip
    run.train(config)
    return config


def test_three_lines_of_python(trained: RunConfig) -> None:
    model = agents.load(trained.folder)
    obs = envs.make(trained.env, 3).reset(0)
    actions, state = model.predict(obs, deterministic=True)
    assert actions.shape == (3,) and state[1].shape[-1] == 32
    assert agents.load(Path(trained.logdir), dim=64).predict(obs)[1][1].shape[-1] == 64  # the only run under it
    assert len(evaluate_policy(model, WorldVecEnv(trained.env, 2), n_eval_episodes=4)) == 2
    again = agents.load(trained.folder, "RecallMix-N16-D0-v0").learn(256)  # and trains on
    assert again.world.num_envs == model.world.num_envs == HP["num_envs"]


def test_a_checkpoint_from_before_it_grew_has_the_dimension_that_it_had(trained: RunConfig, tmp_path: Path) -> None:
    config = replace(trained, budget="steps=1024", save_every=256, logdir=str(tmp_path))
    run.train(config)
    dims = [agents.load(config.folder, checkpoint=str(step)).policy.core.dim for step in (256, 512, 1024)]
    assert dims[0] == 16 and dims[-1] == 32
    assert agents.load(config.folder, checkpoint="256", dim=64).policy.core.dim == 64
    shipped = export.ship(config.folder, tmp_path / "shipped", "256")
    assert agents.load(shipped).policy.core.dim == 16


def test_what_cannot_be_loaded_is_explained(trained: RunConfig, tmp_path: Path) -> None:
    run.train(replace(trained, seed=1))
    with pytest.raises(ValueError, match=r"holds 2 runs.*seed0.*seed1"):
        agents.load(trained.logdir)
    with pytest.raises(ValueError, match="holds 0 runs"):
        agents.load(tmp_path)
    with pytest.raises(ValueError, match="observations or actions differ"):
        agents.load(trained.folder, "TMaze-L10-v0")
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint"):
        agents.load(trained.folder, checkpoint="77")
    agents.load(trained.folder).save(trained.folder / "step-000000000078")  # of a model, not of a run
    with pytest.raises(checkpoint.CheckpointError, match="is no checkpoint of this run, it has no 'algorithm'"):
        agents.load(trained.folder, checkpoint="78")
    (trained.folder / "step-000000000078.safetensors").unlink()


@pytest.mark.parametrize(
    ("agent", "env"),
    [("lstm", "MiniGrid-MemoryS7-v0"), *((core, "RecallMix-N8-D0-v0") for core in ("superposed", "gru", "none"))],
)
def test_onnx_acts_as_the_agent_does(tmp_path: Path, agent: str, env: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = agents.make(agent, env, **HP).learn(256)
    names = export.onnx(model, tmp_path / "agent.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "agent.onnx"))
    world = envs.make(env, 5)  # another batch than it was exported with
    obs, state, starts = world.reset(0), None, np.ones(5, np.bool_)
    memory = [part.numpy() for part in model.policy.core.initial_state(5)]
    for _ in range(40):
        actions, state = model.predict(obs, state, starts, deterministic=True)
        fed = {names[0]: obs, "episode_start": starts} if not isinstance(obs, dict) else {
            name: obs[name.removeprefix("obs.")] for name in names if name.startswith("obs")
        } | {"episode_start": starts}  # fmt: skip
        action, logits, *memory = session.run(None, fed | {f"state.{i}": part for i, part in enumerate(memory)})
        np.testing.assert_array_equal(action[:, 0], actions)
        np.testing.assert_array_equal(logits.argmax(1), actions)
        for ours, theirs in zip(state, memory, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
        out = world.step(actions)
        obs, starts = out.obs, out.terminated | out.truncated


def test_only_our_agents_become_onnx(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="MemoryPPO"):
        export.onnx(agents.make("random", "Recall-N8-D0-v0"), tmp_path / "a.onnx")


def test_export_takes_a_checkpoint_and_a_dimension(trained: RunConfig, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    graph = tmp_path / "agent.onnx"
    assert export.main([str(trained.folder), str(graph), "--checkpoint", "best", "--hp.dim", "64"]) == 0
    session = pytest.importorskip("onnxruntime").InferenceSession(str(graph))
    assert 64 in {size for part in session.get_inputs() for size in part.shape}
    assert export.main([str(trained.folder), str(tmp_path / "best"), "--checkpoint", "best"]) == 0
    (folder,) = compare.find_runs([tmp_path / "best"])
    shipped, best = (
        checkpoint.load(path)[0] for path in (folder / "last.safetensors", trained.folder / "best.safetensors")
    )
    assert all(shipped[name].equal(best[name]) for name in shipped)
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint"):
        export.main([str(trained.folder), str(tmp_path / "none"), "--checkpoint", "77"])
    with pytest.raises(ValueError, match=r"can change after training: 'hidden'.*dim"):
        export.main([str(trained.folder), str(graph), "--hp.hidden", "8"])
    with pytest.raises(ValueError, match=r"leave out --hp\.dim"):
        export.main([str(trained.folder), str(tmp_path / "ship"), "--hp.dim", "64"])


def test_a_run_is_not_replaced_by_its_copy(trained: RunConfig) -> None:
    before = (trained.folder / "last.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"replaced by its copy.*another folder"):
        export.main([str(trained.folder), trained.logdir])
    assert (trained.folder / "last.safetensors").read_bytes() == before


def test_contexts_of_other_forms_do_not_become_onnx(tmp_path: Path) -> None:
    model = agents.make("gru", "RecallMix-N8-D0-v0", **HP, contexts=2, context_form="mask")
    with pytest.raises(ValueError, match="contexts as mask cannot be exported"):
        export.onnx(model, tmp_path / "a.onnx")


def test_a_shipped_run_plays_the_same(trained: RunConfig, tmp_path: Path) -> None:
    assert export.main([str(trained.folder), str(tmp_path / "shipped")]) == 0
    (folder,) = compare.find_runs([tmp_path / "shipped"])
    assert sum(path.stat().st_size for path in folder.iterdir()) < 100_000
    settings = compare.Settings(episodes=8)
    ours, theirs = (compare.play(f, "Recall-N4-D0-v0", settings, {}) for f in (trained.folder, folder))
    np.testing.assert_array_equal(ours.episodes.success, theirs.episodes.success)


def test_the_agent_in_the_repository_recalls() -> None:
    """What `evaluate.py pretrained/recall` shows at once; remade by `make pretrained`."""
    (folder,) = compare.find_runs([ROOT / "pretrained" / "recall"])
    assert sum(path.stat().st_size for path in folder.iterdir()) < 100_000
    entry = compare.play(folder, "Recall-N16-D16-v0", compare.Settings(episodes=32), {})
    assert entry.episodes.mean_success > 0.9


def test_tuning_keeps_its_trials_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    words = ["--agent", "gru", "--env", "RecallMix-N8-D0-v0", "--budget", "steps=256", "--seed", "0", "1"]
    words += ["--hp.hidden", "8", "--hp.num-envs", "8", "--logdir", str(tmp_path)]
    assert tuning.main([*words, "--trials", "1"]) == 0

    def here(jobs: list[RunConfig], *_: int, resume: bool) -> list[grid.Outcome]:  # without a process for each
        return [grid.Outcome(job, run.train(job, resume=resume).exit_code, "") for job in jobs]

    monkeypatch.setattr(grid, "run_jobs", here)
    assert tuning.main([*words, "--trials", "3"]) == 0
    folder = tmp_path / "tuning" / "RecallMix-N8-D0-v0" / "gru"
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert [row["trial"] for row in rows] == ["0", "1", "2"] and all(float(row["flops"]) > 0 for row in rows)
    assert float(rows[0]["learning_rate"]) == agents.get("gru").config().learning_rate  # the defaults come first
    best = tomllib.loads((folder / "best.toml").read_text())
    assert best["hp"]["hidden"] == 8 and "experiments.tuning --agent gru" in (folder / "best.toml").read_text()

    def interrupted(jobs: list[RunConfig], *_: int, **__: bool) -> list[grid.Outcome]:
        run.train(jobs[0])
        return [grid.Outcome(jobs[0], 130, "Stopped by SIGINT")]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):  # the fourth trial
        patched.setattr(grid, "run_jobs", interrupted)
        tuning.main([*words, "--trials", "5"])
    with pytest.raises(ValueError, match="holds trials with budget steps=256, not steps=512"):
        tuning.main([*words, "--trials", "5", "--budget", "steps=512"])
    with pytest.raises(ValueError, match=r"holds trials with seeds \[0, 1\], not \[1\]"):
        tuning.main([*words, "--trials", "5", "--seed", "1"])
    assert tuning.main([*words, "--trials", "5"]) == 0
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "4", "5"]
    assert len({row["learning_rate"] for row in rows}) == 5  # begun again it proposes others
    lost, again = (folder.with_name(f"gru-trial{k}") / "seed0" / "config.json" for k in (3, 4))
    assert json.loads(lost.read_text())["hp"] == json.loads(again.read_text())["hp"]  # and first the one that was lost
    repeat = ["--config", str(folder / "best.toml"), "--steps", "256", "--logdir", str(tmp_path), "--dry-run"]
    assert train.main(repeat) == 0
    with monkeypatch.context() as patched, pytest.raises(run.RunError, match="1 of 1 jobs did not finish"):
        patched.setattr(grid, "run_jobs", lambda jobs, *_, **__: [grid.Outcome(jobs[0], 1, "error: out of disk")])
        tuning.main([*words, "--trials", "6"])
    with pytest.raises(ValueError, match="none of the hyperparameters"):
        tuning.space("random")


class Camera(gym.Env[Any, Any]):
    """A grey picture and a name with a slash; actions count from 5."""

    observation_space: spaces.Space[Any] = spaces.Dict(
        {"eye": spaces.Box(0, 255, (36, 40), np.uint8), "arm/angle": spaces.Box(-1, 1, (2,), np.float32)}
    )
    action_space: spaces.Space[Any] = spaces.Discrete(3, start=5)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        return self.observation_space.sample(), 0.0, bool(self.np_random.random() < 0.1), False, {}


def test_onnx_takes_what_the_agent_takes_and_counts_actions_as_it_does(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = agents.make("gru", Camera(), num_steps=8, num_minibatches=1).learn(16)
    names = export.onnx(model, tmp_path / "agent.onnx")
    assert names == ["obs.arm~1angle", "obs.eye", "episode_start", "state.0"]
    session = onnxruntime.InferenceSession(str(tmp_path / "agent.onnx"))
    samples = [model.observation_space.sample() for _ in range(7)]
    obs = {name: np.stack([sample[name] for sample in samples]) for name in ("arm/angle", "eye")}
    actions, state = model.predict(obs, deterministic=True)
    memory = np.zeros_like(state[0])
    fed = zip(names, (*obs.values(), np.ones(7, np.bool_), memory), strict=True)
    action, _, after = session.run(None, dict(fed))
    assert min(actions) >= 5
    np.testing.assert_array_equal(action[:, 0], actions)
    np.testing.assert_allclose(after, state[0], atol=1e-5)
