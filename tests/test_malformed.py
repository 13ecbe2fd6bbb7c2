"""Plans, files and run folders that are wrong: each is answered by one clear line, and nothing is written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import evaluate
import train
from agents import checkpoint
from experiments import cli, run
from experiments.config import RunConfig

ENV = "RecallMix-N8-D0-v0"
HP: dict[str, Any] = {"num_envs": 8, "num_steps": 16, "hidden": 8}


def one_line(call: Callable[[list[str]], int], words: list[object]) -> str:
    """What the command line would print; it is one line, and none of Python's own."""
    with pytest.raises(run.EXPECTED) as caught:
        call([str(word) for word in words])
    message = str(caught.value)
    assert message and "\n" not in message and "Traceback" not in message and len(message) < 600
    return message


# -- plans ------------------------------------------------------------

PLANS: list[tuple[list[object], str]] = [
    ([], "no environment"),
    (["--env", "RecalMix-N8-D0-v0"], "Closest: RecallMix"),
    (["--env", "MemoryS13"], "Closest: MiniGrid-MemoryS13-v0, MiniGrid-MemoryS13Random-v0"),
    (["--env", "Recall-N0-D0-v0"], "n >= 1"),
    (["--env", "module.that.is.not:Env-v0"], "module.that.is.not"),
    (["--suite", "recal"], "Did you mean 'recall'"),
    (["--agent", "gruu"], "Did you mean 'gru'"),
    (["--agent", "random"], "needs no training|nothing to train"),
    (["--hp.hiden", 3], "Did you mean 'hidden'"),
    (["--hp.hidden", "wide"], "must be int, got 'wide'"),
    (["--hp.hidden", 2.5], "must be int"),
    (["--hp.hidden", 8, 16], "must be int"),
    (["--hp.hidden"], "needs a value"),
    (["--hp.hidden", 0], "hidden"),
    (["--hp.hidden", -3], "hidden"),
    (["--hp.num_steps", 0], "num_steps"),
    (["--hp.recycle", 2], "'recycle' must be between 0 and 1, got 2"),
    (["--hp.l2_init", -1], "'l2_init' must be at least 0, got -1"),
    (["--hp.contexts", -1], "'contexts' must be at least 0, got -1"),
    (["--hp.context_from", "guess"], "must be 'inferred' or 'told' or 'none', got 'guess'"),
    (["--hp.num_minibatches", 0], "num_minibatches"),
    (["--hp.update_epochs", -1], "update_epochs"),
    (["--hp.gamma", 1.5], "gamma"),
    (["--hp.learning_rate", -1], "learning_rate"),
    (["--hp.learning_rate", "nan"], "learning_rate"),
    (["--num-envs", 0], "num_envs"),
    (["--budget", "hours=3"], "steps=NUMBER, flops=NUMBER, seconds=NUMBER"),
    (["--budget", "steps=many"], "needs a number"),
    (["--budget", "flops=-1"], "positive"),
    (["--budget", "seconds=nan"], "positive"),
    (["--budget", "steps=inf"], "positive"),
    (["--budget", "steps=3"], "give at least steps=64"),
    (["--budget", "flops=1e9", "--total-timesteps", 64], "--budget and --total-timesteps are two names of one setting"),
    (["--budget", "flops=10"], "give at least flops="),
    (["--scale", 0], "scale"),
    (["--scale", -4], "scale"),
    (["--agent", "gru-growing", "--scale", 4], "no width to scale"),
    (["--shard", "0/3"], "--shard takes K/N"),
    (["--shard", "4/3"], "--shard takes K/N"),
    (["--shard", "third"], "--shard takes K/N"),
    (["--env-kwargs", "n"], "NAME=VALUE, got 'n'"),
    (["--env-kwargs", "m=3"], "takes no argument 'm'"),
    (["--env-kwargs", "num_envs=8"], "cannot set num_envs: give .*--num-envs N"),
    (["--env", "TMaze-L99999999999999999999-v0"], "TMaze-L99999999999999999999-v0 cannot be made"),
    (["--workers", 0, "--seed", 0, 1], "--workers"),
    (["--num-threads", 0], "--num-threads"),
    (["--seed", -1], "seed"),
    (["--num-threads", 100_000], "--num-threads must be at most 1024, got 100000"),
    (["--agent", "sb3-ppo", "--budget", "steps=10"], "give at least steps=16384,"),
    (["--agent", "sb3-ppo", "--hp.n_steps", 8, "--hp.batch_size", 1], "sb3-ppo cannot be made"),
    (["--save-every", -5], "--save-every"),
    (["--eval-every", 8, "--eval-episodes", 0], "--eval-episodes"),
    (["--device", "abacus"], "abacus"),
    (["--agent"], "--agent needs at least one value"),
    (["--seed"], "--seed needs at least one value"),
    (["--seed", 2**32], "--seed must be at least 0 and below 4294967296, got 4294967296"),
    (["--scale", 1e9], "--scale takes .* up to 10000, got 1e.09"),
    (["--learning-rate", 0.1], r"write --hp\.learning_rate instead of --learning-rate\."),
    (["--num-steps=8"], r"write --hp\.num_steps instead of --num-steps\."),
    (["--hp", "gamma=0.9"], r"write --hp\.NAME instead of --hp\."),
    (["--hp.lr", 0.1], r"unknown hyperparameter of gru: 'lr'\. Choices: .*learning_rate"),
    (["--stream", "shuffeld"], "unknown suite 'shuffeld'. Did you mean 'shuffled'"),
    (["--env", "FrozenLake-v1", "--env-kwargs", "map_name=9x9"], "made with map_name=9x9: KeyError '9x9'"),
    (["--resume", "nowhere"], "nowhere"),
    (["--resume", "nowhere", "--workers", -1], "--workers must be at least 1, got -1"),
    (["--name", "β"], "--name 'β' cannot be part of a folder's name as it is.*for example unnamed"),
    (["--name", "a b"], "for example a-b"),
    (["--hp.hidden", "inf"], "must be int, got 'inf'"),
    (["--hp.hidden", "1e30"], "must be int, got '1e30'"),
    (["--device", "meta"], "--device meta cannot be used here"),
    (["--config", "nowhere.toml"], "cannot read nowhere.toml"),
]


@pytest.mark.parametrize(("words", "message"), PLANS, ids=[" ".join(map(str, words)) for words, _ in PLANS])
def test_a_wrong_plan(tmp_path: Path, words: list[object], message: str) -> None:
    usual: list[object] = ["--logdir", tmp_path / "runs"]
    usual += [] if not words or words[0] in ("--env", "--suite", "--stream", "--resume", "--config") else ["--env", ENV]
    usual += [] if {"--agent", "--config"} & set(words) else ["--agent", "gru"]
    usual += [] if {"--budget", "--config"} & set(words) else ["--budget", "steps=64"]
    said = one_line(train.main, [*words, *usual])
    assert re.search(message, said), said
    assert not list(tmp_path.glob("**/config.json")) and not list(tmp_path.glob("**/*.safetensors"))


# -- files ------------------------------------------------------------

FILES: dict[str, tuple[str, str]] = {
    "not.toml": ("env = ", "cannot read"),
    "not.json": ('{"env": ', "cannot read"),
    "list.json": ("[1, 2]", "list.json"),
    "key.toml": ('enw = "CartPole-v1"', "Did you mean 'env'"),
    "hp.toml": (f'env = "{ENV}"\nhp = 3', "must be a table"),
    "seed.toml": (f'env = "{ENV}"\nseed = "one"', "cannot be 'one'"),
    "agent.toml": (f'env = "{ENV}"\nagent = 3', "cannot be 3"),
    "flat.toml": (f'env = "{ENV}"\nlearning_rate = 0.1', "flat.toml is a hyperparameter: write it below a line [hp]"),
    "resume.toml": (f'env = "{ENV}"\nresume = true', "resume.toml cannot be True:"),
    "inner.toml": (f'env = "{ENV}"\n[hp]\nhiden = 3', "hiden"),
    "number.toml": ("env = 3", "cannot be 3"),
    "twice.toml": (f'env = "{ENV}"\nbudget = 64\nsteps = 65', "is another name of budget"),
    "budget.toml": (f'env = "{ENV}"\nbudget = [1]', "needs a number"),
    "tuple.toml": (f'env = "{ENV}"\n[hp]\ndim = [64, 256]', "must be int, got [64, 256]"),
    "table.toml": (f'env = "{ENV}"\n[hp]\nlearning_rate = {{a = 1}}', "must be float"),
    "bool.toml": (f'env = "{ENV}"\nforce = "perhaps"', "cannot be 'perhaps'"),
    "path.toml": (f'env = "{ENV}"\nlogdir = 7', "cannot be 7"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_file(tmp_path: Path, name: str) -> None:
    text, message = FILES[name]
    (tmp_path / name).write_text(text)
    said = one_line(train.main, ["--config", tmp_path / name])
    assert message in said, said


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    for path in (tmp_path / "binary.toml", tmp_path):
        assert "cannot read" in one_line(train.main, ["--config", path])


# -- run folders ------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = RunConfig(
        agent="gru", env=ENV, budget="steps=256", hp=HP, logdir=str(tmp_path_factory.mktemp("a") / "runs")
    )
    run.train(config)
    return config.folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to break."""
    copied = tmp_path / "runs" / Path(*trained.parts[-3:])
    shutil.copytree(trained, copied)
    return copied


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in data.items() if value is not ...}))


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def without_run(folder: Path) -> None:
    tensors, meta = checkpoint.load(folder / "last.safetensors")
    checkpoint.save(folder / "last.safetensors", tensors, {"algorithm": meta["algorithm"]})


def narrower(folder: Path) -> None:
    edit(folder, hp=json.loads((folder / "config.json").read_text())["hp"] | {"hidden": 5})


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty config": (lambda f: cut(f / "config.json", 0), "does not describe a run"),
    "cut config": (lambda f: cut(f / "config.json", 40), "does not describe a run"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), "does not describe a run"),
    "config of another program": (lambda f: (f / "config.json").write_text('{"a": 1}'), "does not describe a run"),
    "no agent": (lambda f: edit(f, agent=...), "does not describe a run"),
    "unknown key": (lambda f: edit(f, colour="red"), "does not describe a run"),
    "unknown agent": (lambda f: edit(f, agent="grue"), "renamed|Did you mean 'gru'"),
    "unknown environment": (lambda f: edit(f, env="Nowhere-v0"), "renamed|Nowhere"),
    "hp is no table": (lambda f: edit(f, hp=3), "hp"),
    "unknown hp": (lambda f: edit(f, hp={"hiden": 3}), "hiden"),
    "hp of another type": (lambda f: edit(f, hp={"hidden": "wide"}), "hidden"),
    "seed is a word": (lambda f: edit(f, seed="one"), "renamed|seed is 'one'"),
    "scale is a word": (lambda f: edit(f, scale="4x"), "renamed|scale is '4x', not float"),
    "renamed": (lambda f: edit(f, name="b"), "was renamed"),
    "cut checkpoint": (lambda f: cut(f / "last.safetensors", 300), "not a readable checkpoint"),
    "checkpoint of another width": (narrower, "does not fit|differ"),
    "broken result": (lambda f: cut(f / "result.json", 20), "result.json"),
    "foreign result": (lambda f: (f / "result.json").write_text('{"status": "finished"}'), "result.json"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("how", ["train", "evaluate"])
def test_a_broken_run_folder(folder: Path, kind: str, how: str) -> None:
    spoil, message = BROKEN[kind]
    spoil(folder)
    before = (folder / "config.json").read_bytes()
    if how == "train":
        said = one_line(train.main, ["--resume", folder, "--steps", 512])
    else:
        said = one_line(evaluate.main, [folder, "--episodes", 2, "--no-bounds"])
    assert re.search(message, said), said
    assert (folder / "config.json").read_bytes() == before


def test_a_checkpoint_without_its_run_cannot_go_on(folder: Path) -> None:
    without_run(folder)
    assert "--force" in one_line(train.main, ["--resume", folder, "--steps", 512])


def test_to_go_on_and_to_begin_anew_is_too_much(folder: Path) -> None:
    assert "leave out one of them" in one_line(train.main, ["--resume", folder, "--force", "--steps", 512])


@pytest.mark.parametrize("budget", ["steps=128", "flops=1e7", "seconds=0.001"])
def test_less_than_what_is_done_changes_nothing(folder: Path, budget: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}
    assert "has 256 steps already" in one_line(train.main, ["--resume", folder, "--budget", budget])
    assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.name in before}


@pytest.mark.parametrize(
    ("words", "wrong"),
    [(["--hp.gamma", 0.5], "--hp.gamma"), (["--env", "TMaze-L10-v0"], "--env"), (["--num-envs", 4], "--num-envs")],
)
def test_what_may_not_change_on_resume_is_refused(folder: Path, words: list[object], wrong: str) -> None:
    said = one_line(train.main, ["--resume", folder, "--steps", 512, *words])
    assert f"leave out {wrong}; --budget, --device" in said


def test_what_may_change_on_resume_does(folder: Path) -> None:
    assert train.main(["--resume", str(folder), "--steps", "512", "--save-every", "128"]) == 0
    assert json.loads((folder / "config.json").read_text())["save_every"] == 128
    assert len(list(folder.glob("step-*"))) >= 2


def test_what_is_said_on_resume_counts_also_where_it_is_the_default(folder: Path) -> None:
    assert train.main(["--resume", str(folder), "--steps", "512", "--save-every", "128"]) == 0
    assert train.main(["--resume", str(folder), "--steps", "640", "--save-every", "0"]) == 0
    assert json.loads((folder / "config.json").read_text())["save_every"] == 0
    assert "leave out --agent" in one_line(train.main, ["--resume", folder, "--agent", "superposed"])


def test_a_folder_above_runs_is_not_resumed(folder: Path) -> None:
    assert f"such as {folder}" in one_line(train.main, ["--resume", folder.parents[1]])


def test_nothing_was_begun_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = one_line(train.main, ["--env", ENV, "--agent", "gru", "--steps", 512, "--logdir", tmp_path / "file"])
    assert "give --logdir another folder" in said and "--resume" not in said


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["train.py"])
    for needy, size in ((np.empty, 1 << 58), (torch.empty, 1 << 58), (torch.empty, (3 << 60, 32))):
        assert cli.guard(lambda _, f=needy, n=size: f(n)) == 1  # type: ignore[misc]
        said = capsys.readouterr().err
        assert said.startswith("error: not enough memory (") and said.count("\n") == 1
    with pytest.raises(RuntimeError, match="another"):
        cli.guard(lambda _: (_ for _ in ()).throw(RuntimeError("another")))


def test_a_file_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["program"])
    assert cli.guard(lambda _: Path("/proc/nowhere/agent.onnx").write_bytes(b"")) == 1
    assert capsys.readouterr().err == "error: /proc/nowhere/agent.onnx: No such file or directory\n"


def test_an_error_of_many_lines_is_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: list[str]) -> int:
        raise ValueError("one\n  two")

    monkeypatch.setattr("sys.argv", ["program"])
    assert cli.guard(main) == 1
    assert capsys.readouterr().err == "error: one two\n"


def test_a_run_is_left_out_where_it_does_not_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(folder), "--env", "TMaze-L10-v0", ENV, "--episodes", "2", "--table", "json"]) == 0
    out, err = capsys.readouterr()
    assert [row["env"] for row in json.loads(out) if row["agent"] == "gru"] == [ENV] and f"left out: {folder}" in err
    assert "differ" in one_line(evaluate.main, [folder, "--env", "TMaze-L10-v0", "TMaze-L20-v0", "--episodes", 2])


def test_a_missing_checkpoint_is_said_before_anyone_plays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "last.safetensors").unlink()
    said = one_line(evaluate.main, ["--agent", "gru", "random", "--episodes", 2, folder])
    assert f"no checkpoint {folder}/last.safetensors. Others in its folder: best" in said
    assert not capsys.readouterr().err


def test_a_folder_that_became_the_value_of_a_hyperparameter_is_explained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is read as one of its values" in one_line(evaluate.main, ["--hp.hidden", 8, folder])
    said = one_line(evaluate.main, [folder, "--hp.hidden", 8, folder])
    assert f"must be int, got '{folder}'" in said and not capsys.readouterr().err


def test_a_second_environment_that_there_is_not_stops_before_the_first_is_played(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = one_line(evaluate.main, [folder, "--env", ENV, "TMaz-L10-v0", "--episodes", 2])
    assert "unknown environment 'TMaz-L10-v0'" in said and not capsys.readouterr().err
    assert "they are of gru" in one_line(evaluate.main, [folder, "--agent", "lstm", "--env", ENV])


def test_named_twice_is_counted_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [folder, f"{folder}/../seed0", "--agent", "gru", "random", "random", "--env", ENV, ENV, "--episodes", 2]
    assert evaluate.main([*map(str, words), "--table", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["agent"]: row["seeds"] for row in rows} == {"gru": [0], "random": [10_000], "oracle": [10_000]}
    jobs = train.plan(train.Args(agent=("gru", "gru"), env=(ENV, ENV), seed=(1, 1), scale=(2, 2)), {})
    assert len(jobs) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint", "newest"], "best, last or a number"),
        (["--checkpoint", "inf"], "best, last or a number"),
        (["nowhere"], "no run under nowhere"),
        (["--checkpoint", 77], "best.safetensors, last.safetensors"),
        (["--hp.gamma", 0.5], "cannot change after training"),
        (["--hp.gama", 0.5], "Did you mean 'gamma'"),
        (["--hp.hidden", "wide"], "must be int"),
        (["--env", "TMaze-L10-v0"], "observations or actions differ"),
        (["--env", "Nowhere-v0"], "unknown environment"),
        (["--suite", "al"], "Did you mean 'all'"),
        (["--seed", -1], "--seed must be at least 0"),
        (["--video", "film.mp4"], "film.mp4 is no GIF. Give --video a file that ends in .gif"),
        (["--tensorboard-log", "/proc/nowhere"], "Give --tensorboard-log another folder"),
        (["--env", "CartPole-v1", "--env-kwargs", "colour=1"], "CartPole-v1 cannot be made with colour=1"),
        (["--agent", "lstm"], "none of these runs is of lstm"),
        (["--episodes", 0], "--episodes"),
        (["--episodes", -3], "--episodes"),
        (["--report", "/proc/nowhere/page.html"], "cannot write"),
        (["--report", "/"], "cannot write /: it is a folder. Name another file"),
        (["--video", "/proc/nowhere/film.gif"], "cannot write"),
    ],
)
def test_a_wrong_evaluation(folder: Path, words: list[object], message: str) -> None:
    usual = [] if {"--episodes", "--suite"} & set(words) else ["--episodes", "2"]
    assert message in one_line(evaluate.main, [folder, *words, *usual, "--no-bounds"])
