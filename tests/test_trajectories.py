"""Logs of lives: recorded as they happen, written as JSON lines."""

import json
from pathlib import Path

import numpy as np
import pytest

import envs
import evaluate
from experiments.compare import Settings, play
from experiments.evaluation import Life, Watch
from experiments.scores import Log
from experiments.trajectories import Recorder, Writer
from experiments.video import with_path


class Everything(Watch):
    """Compares the recorder with a log that keeps all."""

    def begin(self, world: envs.World) -> None:
        self.world, self.recorder = world, Recorder(world)
        self.rows: list[dict[str, np.ndarray]] = []
        self.starts, self.lives = np.zeros(world.num_envs, int), 0

    def step(self, actions: np.ndarray, out: envs.Transition) -> None:
        self.starts[getattr(self, "ended", [])] = len(self.rows)
        told = {name: np.array(part) for name, part in self.world.trace().items()}
        self.rows.append({"action": np.array(actions), "reward": out.reward.copy(), **told})
        self.recorder.step(actions, out)
        self.ended = np.flatnonzero(out.terminated | out.truncated)

    def end(self, life: Life) -> None:
        log: Log = self.recorder.log(life.env)
        rows = self.rows[self.starts[life.env] :]
        assert len(rows) == life.length
        for name, part in log.items():
            np.testing.assert_array_equal(part, np.stack([row[name][life.env] for row in rows]))
        assert log["reward"].sum() == pytest.approx(life.episode_return)
        self.lives += 1


@pytest.mark.parametrize("env_id", ["BraidedMaze-11-v0", "EndlessTMaze-Uniform-L10-C10-v0", "Labyrinth-Depth4-v0"])
def test_logs_are_what_happened(env_id: str) -> None:
    kwargs = {"life": 700} if "Labyrinth" in env_id else {}  # longer than the first buffer
    watch = Everything()
    play("random", env_id, Settings(episodes=21, env_kwargs=kwargs), {}, watches=[watch])
    assert watch.lives == 21


def test_lines_of_a_labyrinth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lives.jsonl"
    words = ["--agent", "oracle", "--env", "Labyrinth-Depth4-v0", "--lives", "3", "--env-kwargs", "life=600"]
    assert evaluate.main([*words, "--no-bounds", "--table", "json", "--trajectories", str(file)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    lives = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lives) == 3 and row["episodes"] == 3
    for life in lives:
        assert (life["agent"], life["env"], life["length"]) == ("oracle", "Labyrinth-Depth4-v0", 600)
        nodes, reward = np.array(life["steps"]["node"]), np.array(life["steps"]["reward"])
        assert len(nodes) == 600 and life["rewards"] == np.flatnonzero(reward).tolist()
        inside = np.zeros(600, bool)
        for first, last in life["bouts"]:
            inside[first : last + 1] = True
        np.testing.assert_array_equal(inside, nodes != 15)
        assert life["scores"]["drinks"] == len(life["rewards"]) == life["return"]


def test_a_full_disk_keeps_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has /dev/full")
    words = ["--agent", "random", "--env", "DarkKeyDoor-8-v0", "--lives", "2", "--env-kwargs", "life=50"]
    assert evaluate.main([*words, "--no-bounds", "--trajectories", "/dev/full"]) == 1
    out, err = capsys.readouterr()
    assert "| random |" in out and err.count("cannot write /dev/full: No space left on device") == 1


def test_a_place_that_cannot_be_written_is_named_before_anything_is_played(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--trajectories another file"):
        Writer(tmp_path / "nowhere" / "lives.jsonl")
    with pytest.raises(ValueError, match="--video a file"):
        evaluate.main(["--agent", "random", "--env", "TMaze-L10-v0", "--lives", "1", "--video", str(tmp_path / "x.y")])


def test_films_show_several_agents_with_their_paths(tmp_path: Path) -> None:
    from PIL import Image

    film = tmp_path / "two.gif"
    words = ["--agent", "random", "oracle", "--env", "BraidedMaze-7-v0", "--lives", "1", "--no-bounds"]
    assert evaluate.main([*words, "--env-kwargs", "trials=1", "--seed", "1", "--video", str(film)]) == 0
    with Image.open(film) as image:
        one = envs.make("BraidedMaze-7-v0")
        one.reset(0)
        height, width, _ = one.render().shape
        assert image.size == (2 * width + 8, height + 22) and getattr(image, "n_frames", 1) > 20


def test_a_path_may_be_broken() -> None:
    paper = np.full((100, 100, 3), 255, np.uint8)
    walk = [(10.0, 10.0), (20.0, 10.0), (30.0, 10.0), None, (90.0, 90.0)]
    drawn = with_path(paper, walk)
    assert (drawn[10, 10:30] != 255).any(axis=1).all() and (drawn[40:] == 255).all() and (paper == 255).all()
    assert (with_path(paper, [None, None]) == 255).all()
