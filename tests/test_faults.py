"""What goes wrong in long runs: kills, full disks, broken files, NaN. Nothing finished is lost."""

from __future__ import annotations

import fcntl
import json
import logging
import pickle
import signal
import subprocess
import sys
import threading
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import save as to_bytes

import agents
from agents import checkpoint
from experiments import grid, run, tuning
from experiments.config import RunConfig, resolve

ROOT = Path(__file__).resolve().parent.parent


def small(tmp_path: Path, **changes: Any) -> RunConfig:
    config = RunConfig(
        agent="gru",
        env="RecallMix-N8-D16-v0",
        budget="steps=1024",
        hp={"num_envs": 8, "num_steps": 16},
        logdir=str(tmp_path),
        save_every=128,
    )
    return replace(config, **changes)


def start(config: RunConfig, patch: str = "pass") -> subprocess.Popen[bytes]:
    """Run a job in a process of its own, after `patch`, a line of Python."""
    job = Path(config.logdir) / "job.json"
    resume = (config.folder / "config.json").exists()
    job.write_text(json.dumps({"config": asdict(config), "resume": resume, "force": False}))
    code = f"import sys; from experiments import run; {patch}; sys.exit(run.main())"
    with open(job) as file:
        return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=file, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The last checkpoint of a run that nothing happened to."""
    config = small(tmp_path_factory.mktemp("whole"), save_every=0)
    run.train(config)
    return checkpoint.load(config.folder / "last.safetensors")[0]


def assert_continues(config: RunConfig, expected: dict[str, torch.Tensor]) -> None:
    """Every file with a checkpoint's name is whole; the run goes on to its end as if nothing had been."""
    found = sorted(config.folder.glob("*.safetensors"))
    assert found
    for path in found:
        checkpoint.load(path)
    result = run.train(config, resume=True)
    assert result.status == "finished" and result.steps == 1024
    tensors, _ = checkpoint.load(config.folder / "last.safetensors")
    for name, tensor in expected.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=0, equal_nan=True, msg=name)


def killed_after(checkpoints: int) -> str:
    """A patch: the process dies between two iterations, after so many numbered checkpoints."""
    return (
        "from experiments.callback import RunCallback as C; import os; real = C.at_boundary; C.at_boundary = lambda s: "
        f"(len(list(s.folder.glob('step-*'))) >= {checkpoints} and os.kill(os.getpid(), 9), real(s))"
    )


def test_kill_during_training(tmp_path: Path, expected: dict[str, torch.Tensor]) -> None:
    config = small(tmp_path)
    assert start(config, killed_after(3)).wait() == -signal.SIGKILL
    assert_continues(config, expected)


def test_a_run_that_was_extended_and_killed_is_not_finished(tmp_path: Path) -> None:
    config = small(tmp_path)
    run.train(replace(config, budget="steps=512"))
    assert start(config, killed_after(6)).wait() == -signal.SIGKILL
    assert not run.done(resolve(config)) and run.result_of(config.folder) is None
    again = run.train(config, resume=True)
    assert (again.status, again.steps) == ("finished", 1024)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_kill_during_a_checkpoint_write(tmp_path: Path, moment: str, expected: dict[str, torch.Tensor]) -> None:
    config = small(tmp_path)
    # provenance.json and the first pairs of checkpoints are written, then the system goes down in mid-write
    count = f"calls = []; import os; real = os.{moment}; "
    count += f"os.{moment} = lambda *a: (calls.append(1), len(calls) > 8 and os.kill(os.getpid(), 9), real(*a))[2]"
    process = start(config, count)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert list(config.folder.glob(".*.tmp"))  # the unfinished one, under another name
    assert_continues(config, expected)


def test_full_disk(tmp_path: Path) -> None:
    config = small(tmp_path)
    run.train(replace(config, budget="steps=256"))
    before = (config.folder / "last.safetensors").read_bytes()
    # Whatever is written to /dev/full fails as on a full disk.
    (config.folder / ".last.safetensors.tmp").symlink_to("/dev/full")
    with pytest.raises(checkpoint.CheckpointError, match=r"No space left.*intact.*--resume") as error:
        run.train(config, resume=True)
    assert str(config.folder / "last.safetensors") in str(error.value)
    assert (config.folder / "last.safetensors").read_bytes() == before
    assert run.result_of(config.folder)["status"] == "failed"
    assert run.train(config, resume=True).steps == 1024  # the disk has room again


def test_full_disk_when_a_run_goes_on(tmp_path: Path) -> None:
    config = small(tmp_path, budget="steps=256")
    run.train(config)
    before = (config.folder / "config.json").read_bytes()
    (config.folder / ".config.json.tmp").symlink_to("/dev/full")
    with pytest.raises((run.RunError, checkpoint.CheckpointError), match="No space left"):
        run.train(replace(config, budget="steps=1024"), resume=True)
    assert (config.folder / "config.json").read_bytes() == before


def test_full_disk_for_the_logs(tmp_path: Path) -> None:
    config = small(tmp_path, budget="steps=256")
    config.folder.mkdir(parents=True)
    (config.folder / "monitor.csv").symlink_to("/dev/full")
    clear = run.clear
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "clear", lambda folder: None)
        with pytest.raises(run.RunError, match=r"cannot write into.*No space left.*--resume"):
            run.train(config)
    clear(config.folder)


def hostile() -> dict[str, bytes]:
    """Files that are not checkpoints, by name."""

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (sys.exit, ("code in a checkpoint was run",))

    good = to_bytes({"a": torch.zeros(100)}, metadata={"format": checkpoint.FORMAT, "meta": "{}"})
    return {
        "empty": b"",
        "truncated": good[:-10],
        "cut in the header": good[:20],
        "random": np.random.default_rng(0).bytes(4096),
        "huge header": (2**62).to_bytes(8, "little") + b"{}",
        "pickle": pickle.dumps(Bomb()),
        "foreign": to_bytes({"a": torch.zeros(3)}),
        "meta is no JSON": to_bytes({"a": torch.zeros(3)}, metadata={"format": checkpoint.FORMAT, "meta": "{"}),
        "meta is no table": to_bytes({"a": torch.zeros(3)}, metadata={"format": checkpoint.FORMAT, "meta": "3"}),
        "no meta": to_bytes({"a": torch.zeros(3)}, metadata={"format": checkpoint.FORMAT}),
    }


@pytest.mark.parametrize("kind", hostile())
def test_hostile_checkpoints_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(hostile()[kind])
    with pytest.raises(checkpoint.CheckpointError, match=r"last\.safetensors .*--force"):
        checkpoint.load(path)
    with pytest.raises(checkpoint.CheckpointError):
        agents.ppo.MemoryPPO.load(path)


def test_zip_and_torch_files_are_refused(tmp_path: Path) -> None:
    archive, saved = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.pkl", pickle.dumps({}))
    torch.save({"a": torch.zeros(3)}, saved)
    for path in (archive, saved):
        with pytest.raises(checkpoint.CheckpointError, match=path.name):
            checkpoint.load(path)


def test_a_broken_last_names_the_others(tmp_path: Path) -> None:
    config = small(tmp_path, budget="steps=256")
    run.train(config)
    last = config.folder / "last.safetensors"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(checkpoint.CheckpointError, match=r"best\.safetensors, step-000000000128"):
        run.train(replace(config, budget="steps=512"), resume=True)


class Sick(gymnasium.Env[Any, Any]):
    """Sends NaN from its 50th step on."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, **kwargs: Any) -> None:
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        value = np.nan if self.steps >= 50 else 0.0
        return np.array([0.0, value, 0.0], np.float32), 0.0, self.steps % 10 == 0, False, {}


def test_nan_observations_end_the_run_before_they_are_learnt(tmp_path: Path) -> None:
    gymnasium.register("Sick-v0", Sick, disable_env_checker=True)
    try:
        config = small(tmp_path, env="Sick-v0")
        with pytest.raises(ValueError, match=r"environment 0 is not finite at step \d+"):
            run.train(config)
    finally:
        del gymnasium.registry["Sick-v0"]
    assert run.result_of(config.folder)["status"] == "failed"
    tensors, _ = checkpoint.load(config.folder / "last.safetensors")
    policy = [part for name, part in tensors.items() if name.startswith("policy.")]
    assert all(torch.isfinite(part).all() for part in policy if part.is_floating_point())


def test_what_was_lost_of_the_record_begins_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small(tmp_path)
    run.train(replace(config, budget="steps=512"))
    record = config.folder / "monitor.csv"
    record.write_bytes(record.read_bytes()[:40])
    (config.folder / "provenance.json").write_text("")
    with pytest.raises(ValueError, match=r"provenance\.json does not say where the run comes from .*: delete it"):
        run.train(config, resume=True)
    (config.folder / "provenance.json").unlink()
    assert run.train(config, resume=True).status == "finished"
    assert "has lost episodes" in capsys.readouterr().out
    assert record.read_bytes().startswith(b"#{") and b"\0" not in record.read_bytes()


def test_a_run_goes_on_where_nobody_reads_what_it_says(tmp_path: Path) -> None:
    words = ["--agent", "gru", "--env", "RecallMix-N8-D16-v0", "--steps", "4096", "--hp.num-steps", "16"]
    command = [sys.executable, "train.py", *words, "--num-envs", "8", "--logdir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141 and not said
    assert run.result_of(tmp_path / "RecallMix-N8-D16-v0" / "gru" / "seed0")["status"] == "finished"


def test_who_looks_whether_a_run_is_claimed_does_not_keep_it(tmp_path: Path) -> None:
    with open(tmp_path / ".lock", "w") as looks:
        fcntl.flock(looks, fcntl.LOCK_EX)
        threading.Timer(0.1, lambda: fcntl.flock(looks, fcntl.LOCK_UN)).start()
        with run.lock(tmp_path):
            assert run.claimed(tmp_path)


def test_a_trial_that_fails_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(logging.getLogger("optuna"), "propagate", True)
    monkeypatch.setattr(grid, "run_jobs", lambda jobs, *_, **__: [grid.Outcome(jobs[0], 1, "error: out of disk")])
    words = ["--agent", "gru", "--env", "RecallMix-N8-D16-v0", "--seed", "0", "--trials", "1", "--logdir"]
    with pytest.raises(run.RunError, match="out of disk"):
        tuning.main([*words, str(tmp_path)])
    assert not caplog.records
