"""Lists of jobs: planned, shared, killed, begun again; nothing is lost, nothing is trained twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import train
from agents import checkpoint
from experiments import config as configs
from experiments import grid, plan, run
from experiments.aggregate import scalars
from experiments.config import RunConfig, resolve

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ("--agent", "gru", "none", "--env", "RecallMix-N8-D16-v0", "--seed", "0", "1", "--steps", "4096")
SIZES = ("--num-envs", "8", "--hp.num-steps", "16", "--hp.hidden", "8", "--save-every", "512")


def jobs(tmp_path: Path, seeds: int = 2) -> list[RunConfig]:
    """The same jobs as FLAGS and SIZES describe."""
    base = RunConfig(
        agent="gru",
        env="RecallMix-N8-D16-v0",
        budget="steps=4096",
        hp={"num_envs": 8, "num_steps": 16, "hidden": 8},
        logdir=str(tmp_path),
        save_every=512,
    )
    return [resolve(replace(base, agent=agent, seed=seed)) for agent in ("gru", "none") for seed in range(seeds)]


def wait_for(condition: Callable[[], Any], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def starts(config: RunConfig) -> int:
    """How often a run was begun or continued."""
    return len(json.loads((config.folder / "provenance.json").read_text()))


def last(config: RunConfig) -> dict[str, torch.Tensor]:
    return checkpoint.load(config.folder / "last.safetensors")[0]


# -- the plan ------------------------------------------------------------


def test_shards_are_disjoint_and_complete() -> None:
    parts = [plan.shard(list(range(10)), f"{k}/3") for k in (1, 2, 3)]
    assert parts == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert plan.shard([1, 2], "") == [1, 2]


def test_a_part_of_one_job_is_a_list(tmp_path: Path) -> None:
    words = ["--env", "RecallMix-N8-D16-v0", *SIZES, "--seed", "0", "1", "--steps", "512", "--logdir", str(tmp_path)]
    for _ in range(2):
        assert train.main(["--agent", "gru", *words, "--shard", "1/2", "--workers", "1"]) == 0
    (begun,) = tmp_path.glob("**/provenance.json")
    assert begun.parent.name == "seed0" and len(json.loads(begun.read_text())) == 1


def test_what_cannot_begin_replaces_nothing(tmp_path: Path) -> None:
    config = replace(jobs(tmp_path, 1)[0], budget="steps=256")
    grid.run_jobs([config], 1)
    before = (config.folder / "last.safetensors").read_bytes()
    with pytest.raises(ValueError, match="steps=4 is less than one iteration"):
        grid.run_jobs([config, replace(config, seed=1, budget="steps=4")], 1, force=True)
    assert (config.folder / "last.safetensors").read_bytes() == before


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "1/0", "1/2/3"])
def test_wrong_shards_are_explained(part: str) -> None:
    with pytest.raises(ValueError, match=r"--shard takes K/N.*3/16"):
        plan.shard([1], part)


def test_a_fingerprint_is_of_what_is_trained(tmp_path: Path) -> None:
    job = jobs(tmp_path)[0]
    for same in ({"budget": "steps=8192"}, {"logdir": "elsewhere"}, {"num_threads": 2}):
        assert configs.fingerprint(replace(job, **same)) == configs.fingerprint(job)
    for other in ({"seed": 7}, {"hp": job.hp | {"gamma": 0.1}}, {"env": "Recall-N8-D0-v0"}):
        assert configs.fingerprint(replace(job, **other)) != configs.fingerprint(job)


def test_the_plan_says_what_is_done_and_what_it_costs(tmp_path: Path) -> None:
    done, new, *_ = jobs(tmp_path)
    run.train(done)
    longer = replace(done, budget="steps=8192")
    lines = plan.table([done, new, longer]).splitlines()
    assert "finished" in lines[1] and "new" in lines[2] and "at 4.1k" in lines[3]
    assert all(configs.fingerprint(job) in line for job, line in zip((done, new), lines[1:3], strict=True))
    assert lines[-1].startswith("3 jobs, ") and "s of one worker" in lines[-1]
    with run.lock(new.folder.parent):
        assert not run.claimed(new.folder)


def test_failures_are_collected(tmp_path: Path) -> None:
    fine, crashed, *_ = jobs(tmp_path)
    outcomes = [grid.Outcome(fine, 0, "fine"), grid.Outcome(crashed, -11, "bang")]
    assert grid.exit_code(outcomes) == 1 and grid.exit_code(outcomes[:1]) == 0 == grid.exit_code([])
    report = grid.failures(outcomes)
    assert "1 of 2 jobs" in report and "seed1" in report and "bang" in report and "log.txt" in report


# -- restarts ------------------------------------------------------------


def test_a_budget_that_does_not_fit_names_the_job(tmp_path: Path) -> None:
    fits, tiny = jobs(tmp_path)[0], replace(jobs(tmp_path)[-1], budget="flops=10")
    with pytest.raises(
        ValueError, match=r"none on RecallMix-N8-D16-v0: the budget flops=10 is less than one iteration"
    ):
        plan.table([fits, tiny])


def test_seconds_are_estimated_from_runs_that_are_alike(tmp_path: Path) -> None:
    done, new, *_ = jobs(tmp_path)
    wide = resolve(replace(new, scale=4.0, hp={"num_envs": 8, "num_steps": 16}))
    flops, seconds = plan.estimate([new], usual=1e3)
    assert seconds == flops / 1e3  # nothing is known yet
    result = run.train(done)
    assert plan.estimate([new], usual=1e3) == pytest.approx((result.flops, result.seconds))
    rate = {"flops": 5.0 * result.flops, "seconds": result.seconds}  # a wide one was five times as fast
    other = replace(wide, seed=9).folder
    other.mkdir(parents=True)
    (other / "result.json").write_text(json.dumps(json.loads((done.folder / "result.json").read_text()) | rate))
    flops, seconds = plan.estimate([wide], usual=1e3)
    assert flops / seconds == pytest.approx(rate["flops"] / rate["seconds"])


def test_a_sum_of_seconds_says_what_it_leaves_out(tmp_path: Path) -> None:
    done, *_, other = jobs(tmp_path)
    run.train(done)
    assert plan.table([done]).endswith("s of one worker")
    for name, text in (("broken", "{"), ("foreign", '{"flops": 3}'), ("list", "[]")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "result.json").write_text(text)
    assert plan.table([done, other]).endswith("s of one worker without the 1 whose speed no past run tells")


def test_what_is_finished_is_skipped_and_what_is_claimed_is_waited_for(tmp_path: Path) -> None:
    done, half, held, _ = jobs(tmp_path)
    run.train(done)
    run.train(replace(half, budget="steps=1024"))
    held.folder.mkdir(parents=True)
    claim = run.lock(held.folder)
    claim.__enter__()
    begun = list[bool]()

    def let_go() -> None:
        while (run.result_of(half.folder) or {}).get("steps") != 4096:
            time.sleep(0.05)
        begun.append((held.folder / "log.txt").exists())
        claim.__exit__(None, None, None)

    threading.Thread(target=let_go).start()
    outcomes = grid.run_jobs([done, half, held], workers=3, resume=True)
    assert begun == [False]
    assert [o.exit_code for o in outcomes] == [0, 0, 0] and outcomes[0].message == "finished before"
    assert [starts(job) for job in (done, half, held)] == [1, 2, 1]
    with pytest.raises(run.RunError, match="--resume"):  # another budget is not the same command
        grid.run_jobs([replace(done, budget="steps=8192")], workers=1)
    assert grid.run_jobs([done, held], workers=1)[1].message == "finished before"  # the same one is


def test_a_worker_that_a_signal_ends_before_it_listens_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it still imports, Ctrl-C ends it in whatever way Python likes."""

    def send_signal(self: subprocess.Popen[bytes], signum: int) -> None:
        os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(subprocess.Popen, "send_signal", send_signal)
    threading.Timer(0.5, signal.raise_signal, (signal.SIGINT,)).start()
    outcomes = grid.run_jobs(jobs(tmp_path)[:2], workers=1)
    assert [o.exit_code for o in outcomes] == [130, 130]


def test_jobs_that_a_signal_left_out_are_not_done(tmp_path: Path) -> None:
    """Both wait for another process when Ctrl-C comes."""
    held = jobs(tmp_path)[:2]
    with contextlib.ExitStack() as stack:
        for job in held:
            job.folder.mkdir(parents=True)
            stack.enter_context(run.lock(job.folder))
        threading.Timer(0.5, signal.raise_signal, (signal.SIGINT,)).start()
        outcomes = grid.run_jobs(held, workers=2)
    assert [(o.exit_code, o.message) for o in outcomes] == [(130, "not begun")] * 2
    assert grid.exit_code(outcomes) == 130
    assert grid.failures(outcomes) == "2 of 2 jobs did not finish:\n  2 had not begun"


def test_five_kills_change_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "train.py", *FLAGS, *SIZES, "--workers", "2", "--logdir", str(tmp_path / "killed")]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)

    def saved() -> int:
        return len(list(tmp_path.glob("killed/**/step-*")))

    def kill_workers() -> None:
        for job in jobs(tmp_path / "killed"):
            if run.claimed(job.folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(run.holder(job.folder).split()[1]), signal.SIGKILL)

    for _ in range(5):
        before, process = saved(), start()
        while saved() <= before and process.poll() is None:
            time.sleep(0.02)
        kill_workers()  # they cannot save; nor can those that are begun in their place
        process.kill()
        process.wait()
        kill_workers()
    assert start().wait(timeout=300) == 0
    for whole, killed in zip(jobs(tmp_path / "whole"), jobs(tmp_path / "killed"), strict=True):
        run.train(whole)
        expected, found = last(whole), last(killed)
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True, msg=name)
        results = [run.result_of(job.folder) for job in (whole, killed)]
        assert all(r is not None and (r["steps"], r["flops"]) == (4096, results[0]["flops"]) for r in results)
        episodes = [(job.folder / "monitor.csv").read_text().splitlines()[2:] for job in (whole, killed)]
        assert [line.split(",")[:2] for line in episodes[0]] == [line.split(",")[:2] for line in episodes[1]]
        curves = [scalars(job.folder)["rollout/ep_rew_mean"] for job in (whole, killed)]
        np.testing.assert_array_equal(curves[0], curves[1])


def test_a_grid_that_comes_second_waits(tmp_path: Path) -> None:
    """Another process begins a run while the worker of this grid is still importing."""
    (job,) = jobs(tmp_path)[:1]
    worker = grid.Worker(job)
    with run.lock(job.folder):
        configs.write(job, job.folder / "config.json")
        wait_for(lambda: worker.outcome() is not None)
    outcome = worker.outcome()
    assert outcome is not None and outcome.exit_code == run.CLAIMED


def test_a_folder_that_cannot_be_used_fails_alone(tmp_path: Path) -> None:
    first, second, third = jobs(tmp_path, 3)[:3]
    second.folder.parent.mkdir(parents=True)
    second.folder.write_text("a file where a folder should be")
    outcomes = grid.run_jobs([first, second, third], workers=1)
    assert [o.exit_code for o in outcomes] == [0, 1, 0]
    assert "error: " in outcomes[1].message and "1 of 3 jobs did not finish" in grid.failures(outcomes)


def test_force_empties_nothing_while_another_process_trains(tmp_path: Path) -> None:
    finished, held = jobs(tmp_path)[:2]
    run.train(finished)
    held.folder.mkdir(parents=True)
    with run.lock(held.folder), pytest.raises(run.ClaimedError):
        grid.check([finished, held], force=True)
    assert run.done(finished)


def test_workers_do_not_outlive_their_grid(tmp_path: Path) -> None:
    first, second = (replace(job, budget="steps=1e9") for job in jobs(tmp_path)[:2])
    words = [str(w) for w in ("--agent", "gru", *FLAGS[3:], *SIZES, "--steps", "1e9", "--logdir", tmp_path)]
    process = subprocess.Popen([sys.executable, "train.py", *words], cwd=ROOT, stdout=subprocess.DEVNULL)
    wait_for(lambda: all(list(job.folder.glob("step-*")) for job in (first, second)))
    assert run.claimed(first.folder) and str(os.getpid()) not in run.holder(first.folder)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not run.claimed(first.folder) and not run.claimed(second.folder))
    assert run.result_of(first.folder)["status"] == "stopped" == run.result_of(second.folder)["status"]
