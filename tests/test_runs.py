"""Runs from Python: folders, budgets, resume, configs, baselines, aggregates."""

from __future__ import annotations

import csv
import itertools
import json
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import agents
import envs
from agents import checkpoint
from envs.gym_world import GymWorld
from experiments import aggregate, budget, compare, plan, run
from experiments import config as configs
from experiments.callback import Progress, RunCallback
from experiments.config import RunConfig

SMALL = {"num_envs": 8, "num_steps": 16}


def small(tmp_path: Path, **changes: Any) -> RunConfig:
    config = RunConfig(
        agent="gru", env="RecallMix-N8-D16-v0", budget="steps=1024", hp=SMALL, logdir=str(tmp_path / "runs")
    )
    return replace(config, **changes)


def test_the_time_that_is_left_is_told_without_compilation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("experiments.callback.time.monotonic", lambda: now)
    progress, clock = Progress(10_000, bar=False, config=small(tmp_path)), SimpleNamespace(seconds=0.0)
    progress.start(0)
    for step, seconds in ((1000, 20.0), (2000, 22.5)):  # 20 s for the first thousand, 2.5 s for the second
        now, clock.seconds = 100.0 + seconds, seconds
        progress._next = 0.0
        progress.report(step, clock, deque([(1.0, np.nan)]))  # type: ignore[arg-type]
    first, second = capsys.readouterr().out.splitlines()
    assert first == "1k/10k steps  10%  return 1" and second == "2k/10k steps  20%  400 fps  return 1  20 s left"


# -- the run folder ------------------------------------------------------------


def test_the_folder_explains_itself(tmp_path: Path) -> None:
    config = small(tmp_path, save_every=512, eval_every=512, eval_episodes=4)
    result = run.train(config)
    folder = tmp_path / "runs" / "RecallMix-N8-D16-v0" / "gru" / "seed0"
    assert result.status == "finished" and result.exit_code == 0 and Path(result.folder) == folder
    assert result.steps == 1024 and result.flops == 1024 * result.flops_per_training_step > 0
    assert {p.name for p in folder.glob("*.safetensors")} == {
        "best.safetensors",
        "last.safetensors",
        "step-000000000512.safetensors",
        "step-000000001024.safetensors",
    }
    assert json.loads((folder / "result.json").read_text())["steps"] == 1024
    stored = json.loads((folder / "config.json").read_text())
    assert stored["hp"]["num_envs"] == 8 and stored["hp"]["gamma"] == 0.5  # the environment's own discount
    start = json.loads((folder / "provenance.json").read_text())[0]
    assert start["argv"] and start["versions"]["torch"] == torch.__version__
    curves = aggregate.scalars(folder)
    for tag in ("rollout/ep_rew_mean", "train/value_loss", "budget/flops", "eval/success_rate", "time/fps"):
        assert tag in curves, tag
    assert curves["budget/env_steps"][1][-1] == 1024


def test_monitor_csv_is_what_sb3_reads(tmp_path: Path) -> None:
    run.train(small(tmp_path))
    lines = (small(tmp_path).folder / "monitor.csv").read_text().splitlines()
    assert set(json.loads(lines[0].removeprefix("#"))) == {"t_start", "env_id"}
    rows = list(csv.DictReader(lines[1:]))
    assert sum(int(row["l"]) for row in rows) <= 1024 and len(rows) > 10
    assert all(0 <= float(row["is_success"]) <= 1 for row in rows)


def test_a_run_is_not_overwritten_unless_told_so(tmp_path: Path) -> None:
    config = small(tmp_path)
    run.train(config)
    with pytest.raises(run.RunError, match=r"(?s)finished.*--force.*--name"):
        run.train(config)
    assert run.train(config, force=True).status == "finished"
    assert run.train(replace(config, name="b")).folder.endswith("gru-b/seed0")


def test_a_finished_run_is_not_run_again_by_resume(tmp_path: Path) -> None:
    first = run.train(small(tmp_path))
    assert run.train(small(tmp_path), resume=True) == first


def test_resume_refuses_another_run(tmp_path: Path) -> None:
    run.train(small(tmp_path))
    with pytest.raises(run.RunError, match=r"another hp\.hidden; it goes on only"):
        run.train(small(tmp_path, hp=SMALL | {"hidden": 5}), resume=True)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    config = small(tmp_path)
    config.folder.mkdir(parents=True)
    with run.lock(config.folder), pytest.raises(run.RunError, match="another process"):
        run.train(config)


# -- resume ------------------------------------------------------------


def stop_at(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Do what SIGTERM does, once `steps` steps are done."""
    original = RunCallback.at_boundary

    def at_boundary(self: RunCallback) -> None:
        original(self)
        if self.boundary >= steps:
            self.signum = 15

    monkeypatch.setattr(RunCallback, "at_boundary", at_boundary)


@pytest.mark.parametrize(
    ("agent", "env", "hp"),
    [
        ("superposed", "RecallMix-N8-D16-v0", {"dim": 16}),
        ("lstm", "CartPole-v1", {}),
        ("gru", "MiniGrid-MemoryS7-v0", {}),
    ],
)
def test_resume_is_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: str, env: str, hp: dict[str, Any]
) -> None:
    config = small(tmp_path, agent=agent, env=env, hp=SMALL | hp, budget="steps=1500", eval_every=300, eval_episodes=2)
    whole = replace(config, name="whole")
    run.train(whole)
    with monkeypatch.context() as patch:
        stop_at(patch, 600)
        stopped = run.train(config)
    assert stopped.status == "stopped" and stopped.exit_code == 143 and 600 <= stopped.steps < 1000
    assert run.train(config, resume=True).steps == run.result_of(whole.folder)["steps"]
    for name in ("last", "best"):
        expected, meta = checkpoint.load(whole.folder / f"{name}.safetensors")
        tensors, again = checkpoint.load(config.folder / f"{name}.safetensors")
        assert tensors.keys() == expected.keys()
        for key, tensor in expected.items():
            torch.testing.assert_close(tensors[key], tensor, rtol=0, atol=0, equal_nan=True, msg=f"{name} {key}")
        assert json.dumps(again["algorithm"]) == json.dumps(meta["algorithm"])
    curves, others = aggregate.scalars(whole.folder), aggregate.scalars(config.folder)
    assert curves.keys() == others.keys()
    for tag in curves.keys() - {"time/fps", "budget/seconds", "budget/cpu_seconds", "budget/peak_memory"}:
        np.testing.assert_array_equal(curves[tag], others[tag], err_msg=tag)
    assert episodes(whole.folder) == episodes(config.folder)


def episodes(folder: Path) -> list[tuple[str, ...]]:
    rows = csv.DictReader((folder / "monitor.csv").read_text().splitlines()[1:])
    return [(row["r"], row["l"], row["is_success"]) for row in rows]


def test_what_is_due_more_often_on_resume_comes_sooner(tmp_path: Path) -> None:
    config = small(tmp_path, budget="steps=256", eval_every=10_000, save_every=10_000)
    run.train(config)
    run.train(replace(config, budget="steps=1024", eval_every=256, save_every=512), resume=True)
    steps, _ = aggregate.scalars(config.folder)["eval/mean_reward"]
    assert list(steps) == [512, 768, 1024]
    assert {path.name for path in config.folder.glob("step-*")} == {
        "step-000000000512.safetensors",
        "step-000000001024.safetensors",
    }


def test_a_result_of_a_later_version_is_read(tmp_path: Path) -> None:
    config = small(tmp_path, budget="steps=256")
    result = run.train(config)
    path = config.folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"gpu_seconds": 3.0}))
    assert run.train(config, resume=True) == result


def test_a_longer_budget_continues_a_finished_run(tmp_path: Path) -> None:
    run.train(small(tmp_path))
    result = run.train(small(tmp_path, budget="steps=2048"), resume=True)
    assert result.steps == 2048 and len(json.loads((small(tmp_path).folder / "provenance.json").read_text())) == 2


# -- budgets ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("1e6", "steps", 1e6),
        ("1_000_000", "steps", 1e6),
        ("steps=5", "steps", 5),
        ("flops=2e12", "flops", 2e12),
    ],
)
def test_budgets_are_read(text: str, kind: str, amount: float) -> None:
    parsed = budget.Budget.parse(text)
    assert (parsed.kind, parsed.amount) == (kind, amount)
    assert budget.Budget.parse(str(parsed)) == parsed


@pytest.mark.parametrize("text", ["hours=3", "many", "steps=-1", "steps=inf", "seconds=nan", ""])
def test_wrong_budgets_are_explained(text: str) -> None:
    with pytest.raises(ValueError, match="budget"):
        budget.Budget.parse(text)


def test_steps_and_flops_are_never_exceeded(tmp_path: Path) -> None:
    steps = run.train(small(tmp_path, budget="steps=1001"))
    assert steps.steps == 1000
    flops = 700.9 * steps.flops_per_training_step
    result = run.train(small(tmp_path, budget=f"flops={flops}", name="flops"))
    assert result.steps == 696 and result.flops <= flops
    with pytest.raises(ValueError, match="less than one iteration"):
        run.train(small(tmp_path, budget="steps=7", name="tiny"))


def clock_of_reads(patch: pytest.MonkeyPatch) -> None:
    """Let the clock go on by a millisecond each time that it is read, however long that took."""
    reads = itertools.count()
    patch.setattr(budget.Clock, "seconds", property(lambda self: next(reads) / 1000))


def test_seconds_end_the_run_and_drive_the_schedules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[float] = []
    original = RunCallback.at_boundary

    def at_boundary(self: RunCallback) -> None:
        began.append(self.clock.seconds)
        original(self)

    clock_of_reads(monkeypatch)
    monkeypatch.setattr(RunCallback, "at_boundary", at_boundary)
    result = run.train(small(tmp_path, budget="seconds=1"))
    assert result.status == "finished" and 1 <= result.seconds
    assert sum(moment >= 1 for moment in began) <= 1  # late by less than an iteration: none begins after the end
    _, rates = aggregate.scalars(small(tmp_path).folder)["train/learning_rate"]
    assert rates[-1] < 0.5 * rates[0]


def test_steps_after_seconds_are_not_exceeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock ends a run of SB3 in the middle of a rollout; the next one is a whole one again."""
    with monkeypatch.context() as patch:
        clock_of_reads(patch)
        config = small(tmp_path, agent="sb3-ppo", hp={"num_envs": 8, "n_steps": 100, "batch_size": 800})
        first = run.train(replace(config, budget="seconds=1"))
    assert first.status == "finished" and first.steps % 800
    more = run.train(replace(config, budget=f"steps={(first.steps // 800 + 2) * 800}"), resume=True)
    assert more.status == "finished" and more.steps == first.steps + 800


def test_a_resumed_clock_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(tmp_path, budget="seconds=1")
    run.train(small(tmp_path))
    tensors, meta = checkpoint.load(config.folder / "last.safetensors")
    meta["run"]["seconds"] = 0.999
    checkpoint.save(config.folder / "last.safetensors", tensors, meta)

    def slow(self: RunCallback, steps: int) -> float:
        time.sleep(0.01)
        return 0.0

    monkeypatch.setattr(RunCallback, "flops_after", slow)
    result = run.train(config, resume=True)
    assert result.status == "finished" and result.steps <= 1024 + 128


def test_no_evaluation_begins_when_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = list[float]()
    clock_of_reads(monkeypatch)

    def evaluated(self: RunCallback, step: int) -> float:
        began.append(self.clock.seconds)
        return 0.0

    monkeypatch.setattr(RunCallback, "_evaluate", evaluated)
    run.train(small(tmp_path, budget="seconds=1", eval_every=1))
    assert began and max(began) < 1.005


def test_an_evaluation_is_broken_off_when_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock_of_reads(monkeypatch)
    result = run.train(small(tmp_path, budget="seconds=1", eval_every=1, eval_episodes=6400))
    assert result.status == "finished" and result.seconds < 1.02 and "eval/mean_reward" not in result.scores


def test_a_growing_agent_needs_a_whole_rollout(tmp_path: Path) -> None:
    config = small(tmp_path, agent="gru-growing")
    flops = budget.bill(configs.build(configs.resolve(config), envs.make(config.env, 8))).flops_per_training_step
    job = configs.resolve(replace(config, budget=f"flops={flops * 100}"))
    for begin in (run.train, lambda job: plan.table([job])):
        with pytest.raises(ValueError, match="is less than one iteration of this agent: give at least flops="):
            begin(job)
    assert not config.folder.exists()


def test_a_run_with_other_settings_is_not_done(tmp_path: Path) -> None:
    config = configs.resolve(small(tmp_path))
    run.train(config)
    assert run.done(config)
    other = replace(config, hp=config.hp | {"learning_rate": 1e-4})
    assert other.folder == config.folder and not run.done(other)


def test_the_best_is_not_one_lucky_episode(tmp_path: Path) -> None:
    """The first 99 episodes all succeed, later ones half of the time: none of the early checkpoints is the best."""
    callback = RunCallback(small(tmp_path), None, None, None, 1000, False)  # type: ignore[arg-type]
    callback.recent.extend([(1.0, 1.0)] * 99)
    assert callback._training_score() is None
    callback.recent.extend([(0.0, 0.0)] * 50)
    assert callback._training_score() == 0.5


def test_the_best_checkpoint_is_that_of_the_best_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.2, 0.9, 0.5, *[0.1] * 50])
    monkeypatch.setattr(RunCallback, "_training_score", lambda self: next(scores))
    config = small(tmp_path, budget="steps=2048")
    run.train(config)
    (best, its), (_, last) = (checkpoint.load(config.folder / f"{name}.safetensors") for name in ("best", "last"))
    assert its["run"]["best"] == last["run"]["best"] == 0.9 and best
    assert its["algorithm"]["num_timesteps"] == 2 * 128 < last["algorithm"]["num_timesteps"]


# -- configs ------------------------------------------------------------


def test_a_run_from_before_controllers_were_dropped_goes_on_without(tmp_path: Path) -> None:
    config = configs.resolve(small(tmp_path, agent="superposed", hp=SMALL | {"controller_dropout": 0}))
    before = {name: value for name, value in config.hp.items() if name != "controller_dropout"}
    configs.write(replace(config, hp=before), tmp_path / "config.json")
    assert configs.fingerprint(configs.read(tmp_path / "config.json")) == configs.fingerprint(config)


def test_hyperparameters_are_checked() -> None:
    base = RunConfig(agent="superposed", env="Recall-N8-D0-v0")
    resolved = configs.resolve(replace(base, hp={"gamma": "0.9", "num_envs": "1e2", "normalize_obs": "false"}))
    assert (resolved.hp["gamma"], resolved.hp["num_envs"], resolved.hp["normalize_obs"]) == (0.9, 100, False)
    assert configs.resolve(resolved) == resolved
    for wrong, message in (({"gama": 1}, "Did you mean 'gamma'"), ({"dim": "2.5"}, "must be int, got '2.5'")):
        with pytest.raises(ValueError, match=message):
            configs.resolve(replace(base, hp=wrong))


def test_scale_sets_the_number_of_parameters(tmp_path: Path) -> None:
    counts = {}
    for agent, scale in (("superposed", 1.0), ("gru", 1.0), ("gru", 4.0)):
        config = configs.resolve(small(tmp_path, agent=agent, scale=scale))
        world = envs.make(config.env, 8)
        counts[agent, scale] = configs.build(config, world).stats()["trained_parameters"]
    assert counts["gru", 1.0] == pytest.approx(counts["superposed", 1.0], rel=0.05)
    assert counts["gru", 4.0] == pytest.approx(4 * counts["superposed", 1.0], rel=0.05)


# -- several runs ------------------------------------------------------------


def test_aggregate_averages_seeds(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for seed, offset in enumerate((0.0, 1.0, 2.0)):
        writer = SummaryWriter(str(tmp_path / f"seed{seed}"))
        for step in range(0, 100 - 10 * seed, 10):
            writer.add_scalar("rollout/success_rate", step + offset, step)
        writer.close()
    assert aggregate.aggregate(tmp_path) == ["rollout/success_rate"]
    curves = {
        p: aggregate.scalars(tmp_path / "_aggregate" / p)["rollout/success_rate"] for p in ("low", "mean", "high")
    }
    steps, mean = curves["mean"]
    assert steps[-1] == 70  # what all seeds have reached
    np.testing.assert_allclose(mean, steps + 1.0, atol=1e-5)
    assert (curves["low"][1] < mean).all() and (mean < curves["high"][1]).all()


# -- Stable-Baselines3 ------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "hp"),
    [
        ("sb3-ppo", {"num_envs": 4, "n_steps": 32, "n_epochs": 1}),
        ("sb3-dqn", {"buffer_size": 500}),
        ("sb3-recurrent", {"num_envs": 4, "n_steps": 32, "n_epochs": 1, "lstm_hidden_size": 8}),
    ],
)
def test_outside_baselines_train_resume_and_act(tmp_path: Path, agent: str, hp: dict[str, Any]) -> None:
    if agent == "sb3-recurrent":
        pytest.importorskip("sb3_contrib")
    config = small(tmp_path, agent=agent, env="MiniGrid-MemoryS7-v0", hp=hp, budget="steps=300")
    result = run.train(config)
    assert result.steps == (300 if agent == "sb3-dqn" else 256) and result.flops_per_step > 0
    begun, reset = list[int | None](), GymWorld.reset

    def reset_seen(self: GymWorld, seed: int | None = None) -> Any:
        begun.append(seed)
        return reset(self, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GymWorld, "reset", reset_seen)
        assert run.train(replace(config, budget="steps=520"), resume=True).steps >= 512
    assert config.seed not in begun[1:]  # it does not begin with the episodes that it began with
    world = envs.make(config.env, 3)
    obs, actions = world.reset(0), []
    for name in ("last", "best"):
        actions.append(compare.load(config.folder, world, name).predict(obs, deterministic=True)[0])
    assert actions[0].shape == (3,)


def test_dqn_needs_discrete_actions() -> None:
    world = envs.make("Pendulum-v1", 1)
    with pytest.raises(ValueError, match="sb3-ppo"):
        agents.make("sb3-dqn", world)
