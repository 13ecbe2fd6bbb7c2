"""Frozen evaluation: episodes that count alike, seeds in one row, and everyone in the same worlds."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_runs import SMALL, small

import evaluate as evaluate_cli
from envs.world import Transition, World
from experiments import bounds, compare, run, tables
from experiments.evaluation import batch_size, evaluate


class Uneven(World):
    """Environment i has episodes of i + 1 steps, and succeeds if i is even."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.observation_space, self.action_space = spaces.Box(-1, 1, (1,)), spaces.Discrete(2)
        self._t = np.zeros(num_envs, np.int64)

    def reset(self, seed: int | None = None) -> np.ndarray:
        self._t[:] = 0
        return np.zeros((self.num_envs, 1), np.float32)

    def step(self, actions: np.ndarray) -> Transition:
        self._t += 1
        obs, ends = np.zeros((self.num_envs, 1), np.float32), self._t == np.arange(self.num_envs) + 1
        self._t[ends] = 0
        success = np.where(ends, np.arange(self.num_envs) % 2 == 0, np.nan).astype(np.float32)
        return Transition(obs, np.ones(self.num_envs, np.float32), ends, np.zeros_like(ends), obs, success)

    def state(self) -> dict[str, np.ndarray]:
        return {"t": self._t.copy()}

    def load_state(self, state: dict[str, np.ndarray]) -> np.ndarray:
        self._t[:] = state["t"]
        return np.zeros((self.num_envs, 1), np.float32)

    def render(self, i: int = 0) -> np.ndarray:
        return np.zeros((2, 2, 3), np.uint8)


class Zero:
    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        return np.zeros(len(observation), np.int64), state


def test_short_episodes_count_no_more_than_long_ones() -> None:
    episodes = evaluate(Zero(), Uneven(4), 12, seed=0)
    np.testing.assert_array_equal(np.sort(episodes.lengths), np.repeat([1, 2, 3, 4], 3))
    assert episodes.mean_success == 0.5 and episodes.mean_return == 2.5


@pytest.mark.parametrize(("episodes", "size"), [(100, 50), (128, 64), (7, 7), (1, 1), (67, 1)])
def test_batches_divide_the_episodes(episodes: int, size: int) -> None:
    assert batch_size(episodes) == size


def test_rows_put_seeds_together_and_dim_can_change(tmp_path: Path) -> None:
    config = small(tmp_path, agent="superposed", hp=SMALL | {"dim": 16}, budget="steps=256")
    for seed in (0, 1):
        run.train(replace(config, seed=seed))
    settings = compare.Settings(episodes=8)
    folders = compare.find_runs([tmp_path])
    entries = [
        compare.play(folder, "Recall-N8-D0-v0", settings, hp) for hp in ({}, {"dim": "64"}) for folder in folders
    ]
    narrow, wide = compare.rows(entries)
    assert narrow["seeds"] == [0, 1] and narrow["episodes"] == 16
    assert narrow["trained_parameters"] == wide["trained_parameters"] and narrow["state_bytes"] < wide["state_bytes"]
    assert narrow["success"]["low"] <= narrow["success"]["iqm"] <= narrow["success"]["high"]
    with pytest.raises(ValueError, match="cannot change after training"):
        compare.play(folders[0], "Recall-N8-D0-v0", settings, {"gamma": "0.3"})
    rows = [narrow, wide, *compare.rows(bounds.bounds("CartPole-v1", settings))]
    assert json.loads(tables.as_json(rows))[2]["success"] is None
    assert len(tables.markdown(rows).split("\n\n")[0].splitlines()) == 5
    assert len(list(csv.DictReader(tables.comma_separated(rows).splitlines()))) == 3
    assert tables.latex(rows).count(r"\\") == 4


def test_a_run_too_short_for_an_episode_says_so(tmp_path: Path) -> None:
    result = run.train(small(tmp_path, env="Treasure-9-v0", budget="steps=512"))
    assert run.summary(result).endswith(", no training episode ended")


def test_a_row_is_of_runs_that_differ_in_their_seeds_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = small(tmp_path / "a", agent="gru", hp=SMALL, budget="steps=256")
    run.train(base)
    run.train(replace(base, seed=1, hp=SMALL | {"gamma": 0.9}))
    run.train(replace(base, seed=2, logdir=str(tmp_path / "b"), budget="steps=512"))
    (replace(base, seed=1).folder / "result.json").unlink()
    capsys.readouterr()
    assert evaluate_cli.main([str(tmp_path), "--episodes", "4", "--no-bounds", "--table", "json"]) == 0
    out, err = capsys.readouterr()
    assert {row["agent"]: row["seeds"] for row in json.loads(out)} == {
        "gru budget=steps=256 gamma=0.5": [0],
        "gru budget=steps=256 gamma=0.9": [1],
        "gru budget=steps=512 gamma=0.5": [2],
    }
    assert err.count(", not finished") == 1


def test_the_same_seed_twice_is_not_two_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for logdir in ("before", "after"):
        run.train(small(tmp_path / logdir, agent="gru", budget="steps=256"))
    capsys.readouterr()
    alone, both = [str(tmp_path / "before")], [str(tmp_path / name) for name in ("before", "after")]
    assert evaluate_cli.main([*alone, "--episodes", "4", "--no-bounds", "--table", "json"]) == 0
    assert [row["agent"] for row in json.loads(capsys.readouterr().out)] == ["gru"]
    assert evaluate_cli.main([*both, "--episodes", "4", "--no-bounds", "--table", "json"]) == 0
    found = {row["agent"]: row["seeds"] for row in json.loads(capsys.readouterr().out)}
    assert found == {"gru before/runs": [0], "gru after/runs": [0]}


# -- side by side ------------------------------------------------------------


def test_floor_and_ceiling_play_in_the_world_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.train(small(tmp_path, env="DarkKeyDoor-4-v0", env_kwargs={"life": 37}))
    capsys.readouterr()
    words = [str(tmp_path), "--agent", "gru", "never-reverse", "--episodes", "2", "--table", "json"]
    assert evaluate_cli.main(words) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["agent"]: row["length"]["mean"] for row in rows} == dict.fromkeys(
        ("gru", "never-reverse", "random", "oracle"), 37
    )


def test_two_trainings_of_an_agent_are_two_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for env in ("TMaze-Max10-v0", "TMaze-L10-v0"):
        run.train(small(tmp_path, env=env))
    capsys.readouterr()
    words = [str(tmp_path), "--episodes", "2", "--table", "json", "--no-bounds"]
    assert evaluate_cli.main([*words, "--env", "TMaze-L10-v0"]) == 0
    assert [row["agent"] for row in json.loads(capsys.readouterr().out)] == ["gru TMaze-L10-v0", "gru TMaze-Max10-v0"]
    assert evaluate_cli.main(words) == 0  # each in its own: the column says which
    assert [row["agent"] for row in json.loads(capsys.readouterr().out)] == ["gru", "gru"]


def test_a_score_that_means_something_in_few_episodes_says_in_how_many() -> None:
    row = {"agent": "a", "env": "e", "seeds": [0], "episodes": 4, **dict.fromkeys(tables.COSTS.values())}
    score = compare.metric([np.array([17.0, np.nan, np.nan, np.nan])])
    text = tables.markdown([row | {"R45": score, "success": compare.metric([np.ones(4)])}])
    assert "17.0 (1 of 4)" in text and "1.000 [1.000, 1.000] " in text and "(k of n)" in text
    assert "(k of n)" not in tables.markdown([row | {"success": compare.metric([np.ones(4)])}])


def test_floors_are_kept_for_the_worlds_they_were_played_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def key() -> str:
        return bounds._key("random", "TMaze-L10-v0", compare.Settings())

    before = key()
    assert key() == before
    monkeypatch.setattr(bounds, "_version", lambda package: "another")
    assert key() != before


def test_every_setting_and_round_of_lives_has_a_curve_of_its_own(tmp_path: Path) -> None:
    words = ["--agent", "lifetime-table", "--env", "Labyrinth-Depth4-v0", "--env-kwargs", "life=450", "--no-bounds"]
    hp = ["--hp.bytes", "2000", "4000"]
    assert evaluate_cli.main([*words, "--lives", "66", *hp, "--tensorboard-log", str(tmp_path)]) == 0  # 2 x 33
    home = tmp_path / "Labyrinth-Depth4-v0"
    names = [f"lifetime-table-bytes-{size}{end}" for size in (2000, 4000) for end in ("", "-round-2")]
    assert sorted(folder.name for folder in home.iterdir()) == names
    for name in names:
        events = EventAccumulator(str(home / name)).Reload()
        assert [point.step for point in events.Scalars("rollout/reward_rate")] == [200, 400]


def test_a_misspelt_folder_is_not_passed_over(tmp_path: Path) -> None:
    config = small(tmp_path, agent="gru", budget="steps=256")
    run.train(config)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    assert compare.find_runs([config.folder, tmp_path / "notes.txt"]) == [config.folder]  # as runs/* may be
    for other in ("typo", "empty"):
        with pytest.raises(ValueError, match=f"no run under .*{other}"):
            compare.find_runs([config.folder, tmp_path / other])
