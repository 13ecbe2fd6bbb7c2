"""The command line as users type it: train, stop, resume, evaluate; files and messages, not only codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import agents
import evaluate
import train
from experiments import cli, run
from experiments import config as configs

ROOT = Path(__file__).resolve().parent.parent
SMALL = ["--num-envs", "8", "--hp.num-steps", "16"]


def command(*words: object, cwd: Path = ROOT, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS...` and check its exit code."""
    done = subprocess.run([sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_several_runs_then_evaluate(tmp_path: Path) -> None:
    """Two seeds in worker processes, started in another folder; then one table of them."""
    out = command(
        ROOT / "train.py", "--algo", "superposed", "--env", "RecallMix-N8-D16-v0", "--seed", 0, 1,
        "-n", "1e3",
        *SMALL, "--hp.dim=16", "--workers", 2, "--logdir", "logs", cwd=tmp_path,
    ).stdout  # fmt: skip
    assert "All 2 runs finished" in out and "dim=16" in out
    folder = tmp_path / "logs" / "RecallMix-N8-D16-v0" / "superposed"
    assert {p.name for p in folder.iterdir()} == {"seed0", "seed1", "_aggregate"}
    assert list((folder / "_aggregate" / "mean").glob("events.out.tfevents.*"))
    for seed in ("seed0", "seed1"):
        assert json.loads((folder / seed / "result.json").read_text())["steps"] == 1000
        assert "finished" in (folder / seed / "log.txt").read_text()
    done = command(
        ROOT / "evaluate.py", "logs", "--agent", "superposed", "random", "--env", "Recall-N8-D0-v0",
        "--episodes", 8, "--hp.dim", 16, 64, "--table", "json", "--stochastic", "--video", "play.gif",
        cwd=tmp_path,
    )  # fmt: skip
    narrow, wide, *others = json.loads(done.stdout)
    assert [row["agent"] for row in (narrow, wide, *others)] == [
        "superposed dim=16",
        "superposed dim=64",
        "random",
        "oracle",
    ]
    assert narrow["seeds"] == [0, 1] and narrow["state_bytes"] < wide["state_bytes"]
    assert set(narrow["success"]) == {"mean", "iqm", "low", "high", "median", "worst", "episodes"}
    assert (tmp_path / "play.gif").read_bytes().startswith(b"GIF")


def test_a_failing_job_is_reported_and_the_others_finish(tmp_path: Path) -> None:
    """24 steps are three iterations of one agent, and less than one of the other."""
    done = command(
        "train.py", "--agent", "sb3-dqn", "none", "--env", "CartPole-v1", "--steps", 24, "--num_envs", 8,
        "--hp.num_steps", 8, "--hp.buffer_size", 100, "--logdir", tmp_path, code=1,
    )  # fmt: skip
    assert "1 of 2 jobs did not finish" in done.stdout and "log.txt" in done.stdout
    assert "less than one iteration" in done.stdout
    assert run.result_of(tmp_path / "CartPole-v1" / "none" / "seed0")["status"] == "finished"
    assert run.result_of(tmp_path / "CartPole-v1" / "sb3-dqn" / "seed0") is None


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stop_and_resume(tmp_path: Path, signum: int, code: int) -> None:
    """A signal saves and says how to go on; doing what it says finishes the run."""
    words = ["--env", "RecallMix-N8-D16-v0", "--steps", "1e9", "--num-envs", "64", "--hp.num-steps", "16"]
    words += ["--save-every", "5000"]
    process = subprocess.Popen(
        [sys.executable, "train.py", "--agent", "gru", *words, "--logdir", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = tmp_path / "RecallMix-N8-D16-v0" / "gru" / "seed0"
    while not list(folder.glob("step-*")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signum)
    out, err = process.communicate()
    assert process.returncode == code, out + err
    assert run.result_of(folder)["status"] == "stopped"
    advice = out.split("Continue with: python ")[1].split()[:3]
    assert advice == ["train.py", "--resume", str(folder)]
    steps = run.result_of(folder)["steps"] + 4_000
    assert main(train, *advice[1:], "--steps", steps) == 0
    assert run.result_of(folder)["steps"] == steps - steps % 64


def main(module: Any, *words: object) -> int:
    """Call a command line in this process: starting Python takes longer than what is tested."""
    code: int = module.main([str(word) for word in words])
    return code


def test_resume_without_a_folder_continues_what_the_flags_describe(tmp_path: Path) -> None:
    words = ["--agent", "none", "--env", "CartPole-v1", *SMALL, "--logdir", tmp_path]
    assert main(train, *words, "--steps", 256) == 0
    with pytest.raises(run.RunError, match="--resume"):
        main(train, *words, "--steps", 512)
    assert main(train, *words, "--steps", 512, "--resume") == 0
    assert run.result_of(tmp_path / "CartPole-v1" / "none" / "seed0")["steps"] == 512


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env", "CartPol-v1"], "CartPole-v1"),
        (["--env", "RecalMix-N8-D16-v0"], "RecallMix-N8-D16-v0"),
        (["--agent", "gruu", "--env", "CartPole-v1"], "Did you mean 'gru'"),
        (["--env", "CartPole-v1", "--hp.gama", "1"], "Did you mean 'gamma'"),
        (
            ["--env", "CartPole-v1", "--hp.gamma", "high"],
            "'gamma' of SuperposedConfig must be float, got 'high'",
        ),
        (["--env", "CartPole-v1", "--hp.gamma"], "needs a value"),
        (["--env", "CartPole-v1", "--budget", "hours=3"], "steps=NUMBER, flops=NUMBER, seconds=NUMBER"),
        (["--suite", "smok"], "Did you mean 'smoke'"),
        (["--list", "agent"], "agents, envs, suites"),
        (["--resume", "nowhere"], "does not describe a run"),
        ([], "no environment"),
    ],
)
def test_mistakes_are_answered(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(run.EXPECTED, match=message):
        main(train, *words, "--logdir", tmp_path) if words[:1] != ["--list"] else main(train, *words)
    assert not list(tmp_path.iterdir())  # nothing is left of a run that could not start


@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_unknown_flags_get_the_closest_one(script: str) -> None:
    done = command(script, "--enw", "CartPole-v1", code=2)
    assert "--env" in done.stderr


def test_an_error_is_one_line() -> None:
    done = command("train.py", "--env", "Nowhere-v0", code=1)
    assert done.stdout == "" and done.stderr.startswith("error: unknown environment 'Nowhere-v0'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to evaluate"),
        (["nowhere"], "no run under nowhere"),
        (["RUNS", "--checkpoint", "newest"], "best, last or a number"),
        (["RUNS", "--checkpoint", "77"], "best.safetensors, last.safetensors"),
        (["RUNS", "--hp.gamma", "0.5"], "cannot change after training"),
        (["RUNS", "--hp.gama", "0.5"], "Did you mean 'gamma'"),
        (["RUNS", "--agent", "lstm"], "none of these runs"),
    ],
)
def test_mistakes_in_evaluation_are_answered(tmp_path: Path, words: list[str], message: str) -> None:
    main(train, "--agent", "none", "--env", "CartPole-v1", "--steps", 64, *SMALL, "--logdir", tmp_path)
    with pytest.raises(run.EXPECTED, match=message):
        main(evaluate, *(tmp_path if word == "RUNS" else word for word in words))


def test_lists_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = {
        "agents": "superposed",
        "envs": "NoisyTMaze-M8-L1000-v0",
        "suites": "smoke",
        "hp": "controller_dropout=0.06",
    }
    for kind, expected in kinds.items():
        with pytest.raises(SystemExit) as end:
            main(train, "--list", kind)
        assert end.value.code == 0 and expected in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(evaluate, "--version")
    assert capsys.readouterr().out.startswith("palimpsest ")


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.toml"
    file.write_text('env = "CartPole-v1"\nagent = ["gru"]\nsteps = 5e4\nseed = [3, 4]\n[hp]\nhidden = 8\ngamma = 0.3\n')
    assert main(train, "--config", file, "--hp.gamma", 0.9, "--seed", 7, "--dry_run") == 0
    out = capsys.readouterr().out
    for part in (
        "hidden=8",
        "gamma=0.9",
        "seed 7",
        "budget steps=50000",
        "ent_coef=0.03",
        "CartPole-v1/gru/seed7",
    ):
        assert part in out
    assert "seed 3" not in out
    file.write_text("sed = 3\n")
    with pytest.raises(ValueError, match="Did you mean 'seed'"):
        main(train, "--config", file)


def test_a_run_can_be_repeated_from_its_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        train,
        "--agent",
        "gru",
        "--scale",
        1,
        "--env",
        "CartPole-v1",
        "--steps",
        64,
        *SMALL,
        "--logdir",
        tmp_path,
    )
    capsys.readouterr()
    again = tmp_path / "CartPole-v1" / "gru-1x" / "seed0" / "config.json"
    assert main(train, "--config", again, "--logdir", tmp_path / "again", "--dry-run") == 0
    hidden = json.loads(again.read_text())["hp"]["hidden"]
    assert f"hidden={hidden}" in capsys.readouterr().out


def test_environment_arguments(tmp_path: Path) -> None:
    assert cli.pairs(["a=1", "b=[1, 2]", "c=True", "d=word", "e="]) == {
        "a": 1, "b": [1, 2], "c": True, "d": "word", "e": "",
    }  # fmt: skip
    words = ["--agent", "none", "--steps", 64, *SMALL, "--logdir", tmp_path]
    assert main(train, *words, "--env", "CartPole-v1", "--env-kwargs", "sutton_barto_reward=true") == 0
    config = json.loads((tmp_path / "CartPole-v1" / "none" / "seed0" / "config.json").read_text())
    assert config["env_kwargs"] == {"sutton_barto_reward": True}


def test_foreign_packages_are_refused(tmp_path: Path) -> None:
    """`agents` exists on PyPI, too; what is found first would be imported."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "import experiments"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "environment of its own" in done.stderr.splitlines()[-1]


def test_less_than_what_is_done_and_foreign_worlds_are_refused(tmp_path: Path) -> None:
    words = ["--env", "RecallMix-N8-D0-v0", *SMALL, "--hp.dim", "16", "--logdir", str(tmp_path)]
    assert train.main([*words, "--steps", "512"]) == 0
    folder = tmp_path / "RecallMix-N8-D0-v0" / "superposed" / "seed0"
    with pytest.raises(run.RunError, match="has 512 steps already"):
        train.main(["--resume", str(folder), "--steps", "256"])
    with pytest.raises(ValueError, match="observations or actions differ"):
        evaluate.main([str(folder), "--env", "TMaze-L10-v0", "--episodes", "2"])


def test_an_id_brings_its_gamma_to_python() -> None:
    assert agents.make("gru", "Recall-N8-D0-v0").config.gamma == 0.5
    assert agents.make("gru", "Recall-N8-D0-v0", gamma=0.9).config.gamma == 0.9


@pytest.mark.parametrize("agent", [name for name, agent in agents.AGENTS.items() if agent.trained])
def test_the_settings_of_a_run_can_be_given_back(agent: str, tmp_path: Path) -> None:
    """A resolved config.json, with every kind of value that settings have."""
    if agent == "sb3-recurrent":
        pytest.importorskip("sb3_contrib")
    (job,) = train.plan(train.Args(agent=(agent,), env=("CartPole-v1",), budget="steps=4096"), {})
    configs.write(job, tmp_path / "config.json")
    assert train.plan(*cli.parse(train.Args, ["--config", str(tmp_path / "config.json")])) == [job]


def test_flags_win_over_a_file(tmp_path: Path) -> None:
    """--num-envs and --scale decide what the config.json of a run says; together with --hp they are one too many."""
    path = tmp_path / "config.json"
    job = {"agent": "gru", "env": "TMaze-L10-v0", "hp": {"num_envs": 64, "hidden": 64, "gamma": 0.5}}
    path.write_text(json.dumps(job))
    (plain,) = train.plan(*cli.parse(train.Args, ["--config", str(path)]))
    (changed,) = train.plan(*cli.parse(train.Args, ["--config", str(path), "--num-envs", "8", "--scale", "16"]))
    assert (plain.hp["num_envs"], plain.hp["hidden"]) == (64, 64)
    assert (changed.hp["num_envs"], changed.hp["gamma"]) == (8, 0.5) and changed.hp["hidden"] > 200
    for words in (["--scale", "4", "--hp.hidden", "8"], ["--num-envs", "4", "--hp.num-envs", "8"]):
        with pytest.raises(ValueError, match="said twice"):
            cli.parse(train.Args, ["--agent", "gru", "--env", "TMaze-L10-v0", *words])
