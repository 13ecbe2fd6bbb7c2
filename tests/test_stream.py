"""One agent through a sequence of tasks: the world that changes, the run, what is measured, and wrong plans."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
import train
from agents import checkpoint
from envs.stream import Stream
from experiments import cli, compare, grid, run, stream
from experiments import config as configs
from experiments.aggregate import scalars
from experiments.budget import Bill
from experiments.callback import RunCallback
from experiments.config import RunConfig

IDS = tuple(f"ShuffledTMaze-K{k}-M1-Max10-v0" for k in range(3))
SMALL: dict[str, Any] = {"num_envs": 8, "num_steps": 32, "hidden": 8}
BILL = Bill(100, 0, 0, 0, 0, 1.0, 1e9)


def small(tmp_path: Path, **changes: Any) -> RunConfig:
    config = RunConfig(
        agent="gru", env=IDS[0], stream=",".join(IDS), budget="steps=3200", hp=SMALL, logdir=str(tmp_path), seed=3
    )
    return replace(config, **changes)


# -- the world ------------------------------------------------------------


def test_a_stream_becomes_another_task_and_cuts_what_is_under_way() -> None:
    world = Stream({env_id: envs.make(env_id, 4) for env_id in IDS[:2]}, repeats=2, share=5)
    world.reset(0)
    tasks, cut = [], []
    for _ in range(25):
        tasks.append(world.task)
        out = world.step(np.zeros(4, int))
        assert (out.terminated | out.truncated).all() or not out.truncated.any()
        cut.append(bool(out.truncated.any()))
    assert tasks == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 10  # the last one stays
    assert np.flatnonzero(cut).tolist() == [4, 9, 14]


def test_a_task_that_follows_itself_keeps_the_reward_of_its_last_step() -> None:
    alone, again = envs.make(IDS[0], 8), Stream({IDS[0]: envs.make(IDS[0], 8)}, repeats=9, share=3)
    rng, kept = np.random.default_rng(0), 0
    for _ in range(60):
        actions = rng.integers(0, alone.action_space.n, 8)  # type: ignore[attr-defined]
        alone.reset(1)
        again.reset(1)
        for _ in range(3):  # the third step is the first pass's last
            one, other = alone.step(actions), again.step(actions)
        assert np.array_equal(one.reward, other.reward) and np.array_equal(one.success, other.success, equal_nan=True)
        kept += int(np.count_nonzero(one.reward))
    assert kept


def test_streams_of_neighbouring_seeds_share_no_episode() -> None:
    """Two tasks: the second visit of seed 0 and the first of seed 2 would be the same, were seeds added up."""
    seen = set()
    for seed in range(4):
        world = Stream({env_id: envs.make(env_id, 2) for env_id in IDS[:2]}, repeats=2, share=3)
        world.reset(seed)
        for _ in range(12):
            if world._time % 3 == 0:
                seen.add((world.task, *world.world.state()["rng"].tolist()))
            world.step(np.zeros(2, int))
    assert len(seen) == 4 * 4


def test_a_stream_that_begins_anew_goes_on_with_its_random_numbers() -> None:
    def episodes() -> list[np.ndarray]:
        world = Stream({name: envs.make(name, 4) for name in IDS}, repeats=1, share=4)
        return [np.array(world.reset(seed)) for seed in (0, None, None)]

    first, again = episodes(), episodes()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[1], first[2])


def test_a_stream_refuses_what_is_not_its_own() -> None:
    world = Stream({name: envs.make(name, 4) for name in IDS})
    single = envs.make(IDS[0], 4)
    single.reset(0)
    with pytest.raises(ValueError, match="of a single world"):
        world.load_state(single.state())
    with pytest.raises(ValueError, match="as many environments, but the num envs of a is 4 and that of b is 5"):
        Stream({"a": single, "b": envs.make(IDS[1], 5)})


def test_a_stream_continues_from_its_state() -> None:
    def make() -> Stream:
        return Stream({env_id: envs.make(env_id, 4) for env_id in IDS}, share=7)

    whole, actions = make(), np.random.default_rng(0).integers(3, size=(20, 4))
    whole.reset(5)
    for taken in actions[:10]:
        whole.step(taken)
    again = make()
    again.load_state(whole.state())
    for taken in actions[10:]:
        a, b = whole.step(taken), again.step(taken)
        np.testing.assert_array_equal(a.obs, b.obs)
        np.testing.assert_array_equal(a.reward, b.reward)
    assert again.task == whole.task == 2


# -- the run ------------------------------------------------------------


def test_a_stream_is_a_run_that_says_how_it_went(tmp_path: Path) -> None:
    config = small(tmp_path, stream_repeats=2)
    result = run.train(config)
    assert result.steps == 6 * 2 * 256  # whole rollouts, the same for each task
    told = json.loads((config.folder / "stream.json").read_text())
    assert told["tasks"] == list(IDS) and [r["task"] for r in told["records"]] == [0, 1, 2, 0, 1, 2]
    assert [sum(x is not None for x in r["scores"]) for r in told["records"]] == [1, 2, 3, 3, 3, 3]
    assert all(0 <= r["online"] <= 1 for r in told["records"])
    assert told["scores"] == stream.summary(told["records"], run_bill(result), 32 * result.trained_parameters)
    curves = scalars(config.folder)
    assert curves["stream/average"][0].tolist() == [512, 1024, 1536, 2048, 2560, 3072] and "stream/score_2" in curves
    stored = json.loads((config.folder / "config.json").read_text())
    assert stored["hp"]["final_learning_rate"] == 1


def run_bill(result: run.Result) -> Bill:
    return Bill(*(getattr(result, name) for name in Bill._fields))


SETTINGS: list[dict[str, Any]] = [{"contexts": 4}, {"replay": 6}]


@pytest.mark.parametrize("changes", [{}, {"stream_fresh": True}, *({"hp": SMALL | more} for more in SETTINGS)], ids=str)
def test_a_killed_stream_ends_as_the_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    whole, config = (small(tmp_path, name=name, save_every=512, **changes) for name in ("whole", "broken"))
    run.train(whole)
    original = RunCallback.at_boundary

    def dies(self: RunCallback) -> None:
        original(self)
        if self.boundary >= 1280:  # the last checkpoint is of the boundary at 1024: the next rollout is another task's
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(RunCallback, "at_boundary", dies)
        with pytest.raises(MemoryError):
            run.train(config)
    run.train(config, resume=True)
    (expected, _), (tensors, _) = (checkpoint.load(c.folder / "last.safetensors") for c in (whole, config))
    assert all(np.array_equal(part, tensors[name], equal_nan=True) for name, part in expected.items())
    told, again = (json.loads((c.folder / "stream.json").read_text()) for c in (whole, config))
    assert told == again


def test_an_agent_that_was_told_plays_each_task_in_its_context(tmp_path: Path) -> None:
    hp = SMALL | {"contexts": 3, "context_from": "told"}
    config = small(tmp_path, hp=hp, budget="steps=1536")
    run.train(config)
    last = json.loads((config.folder / "stream.json").read_text())["records"][-1]["scores"]
    settings = compare.Settings(episodes=stream.EPISODES, seed=config.seed + stream.SEED)
    for env_id, score in zip(IDS, last, strict=True):
        entry = compare.play(config.folder, env_id, settings, {})
        assert entry.episodes.mean_success == pytest.approx(score)
    with pytest.raises(ValueError, match=r"told which task it is in, and ShuffledTMaze-K7.* is none of them"):
        compare.play(config.folder, "ShuffledTMaze-K7-M1-Max10-v0", settings, {})


def test_a_fresh_network_keeps_what_the_old_ones_could(tmp_path: Path) -> None:
    config = small(tmp_path, stream_fresh=True)
    run.train(config)
    told = json.loads((config.folder / "stream.json").read_text())
    scores = [r["scores"] for r in told["records"]]
    assert scores[1][0] == scores[0][0] and scores[2][:2] == scores[1][:2]
    assert told["scores"]["forgetting"] == 0
    assert told["scores"]["persistent_bits"] == 3 * 32 * run.result_of(config.folder)["trained_parameters"]


# -- the scores ------------------------------------------------------------


def records(order: list[int], scores: list[list[float | None]], online: list[float]) -> list[dict[str, Any]]:
    return [
        {"task": t, "steps": 10 * (i + 1), "online": o, "reward": 5.0, "scores": s}
        for i, (t, s, o) in enumerate(zip(order, scores, online, strict=True))
    ]


def test_scores_by_hand() -> None:
    told = records([0, 1, 0, 1], [[0.9, None], [0.5, 0.8], [1.0, 0.2], [0.7, 0.8]], [0.5, 0.7, 0.8, 0.6])
    found = stream.summary(told, BILL, 3200)
    assert found["average"] == pytest.approx(0.75)
    assert found["forgetting"] == pytest.approx(np.mean([0.9 - 0.5, 0.8 - 0.2, 1.0 - 0.7]))
    assert found["online"] == pytest.approx(0.65) and found["plasticity_slope"] == pytest.approx(0.2)
    assert found["reward_per_gflop"] == pytest.approx(20 / 40) and found["persistent_bits"] == 3200
    fresh = records([0, 1], [[0.0, None], [0.0, 0.0]], [0.1, 0.4])
    assert stream.forward_transfer(told, fresh) == pytest.approx((0.7 - 0.4) / 0.6)
    nothing_left = records([0, 1], [[0.0, None], [0.0, 0.0]], [0.1, 1.0])
    assert np.isnan(stream.forward_transfer(told, nothing_left))
    assert "forgetting" not in stream.summary(told[:1], BILL, 0)


# -- wrong plans ------------------------------------------------------------

PLANS: list[tuple[list[str], str]] = [
    (["--stream", "shufled"], "Closest|unknown"),
    (
        ["--stream", IDS[0], "TMaze-L10-v0", "NoisyTMaze-M4-L10-v0"],
        "observation space of Shuffled.* that of NoisyTMaze-M4-L10-v0",
    ),
    (["--stream", IDS[0], "CartPole-v1"], "ShuffledTMaze-K0-M1-Max10-v0 is .* that of CartPole-v1 is"),
    (["--stream", "shuffled", "--env", "CartPole-v1"], "leave out --env"),
    (["--stream", "shuffled", "--budget", "seconds=5"], "steps=N or flops=N"),
    (["--stream", "shuffled", "--agent", "sb3-ppo"], "does not train on streams"),
    (["--stream", "shuffled", "--stream-repeats", "0"], "must be at least 1, got 0"),
    (["--stream", "shuffled", "--hp.contexts", "2", "--hp.context_from", "told"], "as many as the tasks, 4, got 2"),
    (["--stream", *IDS, IDS[1]], f"{IDS[1]} stands twice in the stream.*--stream-repeats"),
    (["--env", IDS[0], "--stream-fresh"], "need a stream"),
    (["--stream", "shuffled", "--stream-fresh", "--hp.replay", "4"], "nothing to rehearse"),
]


@pytest.mark.parametrize(("words", "message"), PLANS, ids=[" ".join(words) for words, _ in PLANS])
def test_a_wrong_stream_is_one_line(words: list[str], message: str) -> None:
    args, hp = cli.parse(train.Args, ["--agent", "gru", *words] if "--agent" not in words else words)
    with pytest.raises(ValueError, match=message) as caught:
        train.plan(args, hp)
    assert "\n" not in str(caught.value)


def test_hyperparameters_of_a_stream_are_read_as_everywhere() -> None:
    words = ["--agent", "gru", "--stream", "shuffled", "--stream-fresh", "--hp.replay", "0", "--hp.contexts", "1e1"]
    args, hp = cli.parse(train.Args, [*words, "--hp.context_from", "told"])
    assert train.plan(args, hp)[0].hp["contexts"] == 10


def test_a_budget_that_is_too_small_and_one_that_changes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"less than a rollout of 8 x 32 for each of 3 tasks"):
        run.train(small(tmp_path, budget="steps=700"))
    config = small(tmp_path, budget="steps=768")
    run.train(config)
    before = (config.folder / "last.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"less than a rollout of 8 x 32 for each of 3 tasks"):
        grid.run_jobs([small(tmp_path, budget="steps=700")], 1, force=True)
    assert (config.folder / "last.safetensors").read_bytes() == before
    with pytest.raises(run.RunError, match="another budget"):
        run.train(small(tmp_path, budget="steps=3200"), resume=True)


def test_the_command_line_makes_one_run_of_a_stream() -> None:
    args, hp = cli.parse(train.Args, ["--stream", "shuffled", "--agent", "superposed", "gru", "--seed", "4"])
    jobs = train.plan(args, hp)
    assert [str(job.folder) for job in jobs] == [f"runs/stream-shuffled/{a}/seed4" for a in ("superposed", "gru")]
    assert (
        configs.resolve(jobs[0]) == jobs[0] and stream.tasks(jobs[0].stream) == envs.suites.SUITES["shuffled"].env_ids
    )
