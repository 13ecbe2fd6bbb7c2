"""The scripts behind the published figures: what they rely on, not what they print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import main
import numpy as np
import pytest
import results
import results_page
from compiled import CompiledActor

import agents
import envs
from experiments import plan, run
from experiments.config import RunConfig, resolve


def test_a_compiled_actor_chooses_as_predict_does() -> None:
    world = envs.make("NoisyTMaze-M4-L6-v0", 5)
    model = agents.make("superposed", world, num_envs=5, dim=32)
    actor = CompiledActor(model, 5)
    obs, starts = world.reset(0), np.ones(5, np.bool_)
    state, compiled = None, None
    for _ in range(40):
        actions, state = model.predict(obs, state, starts, deterministic=True)
        same, compiled = actor.predict(obs, compiled, starts)
        assert (actions == same).all()
        assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(state, compiled, strict=True))
        out = world.step(actions)
        obs, starts = out.obs, out.terminated | out.truncated


def test_a_compiled_actor_is_for_superposed_agents() -> None:
    with pytest.raises(ValueError, match="takes superposed agents"):
        CompiledActor(agents.make("gru", "NoisyTMaze-M4-L6-v0", num_envs=5), 5)
    with pytest.raises(ValueError, match="in a Box within"):
        CompiledActor(agents.make("superposed", "CartPole-v1", num_envs=5), 5)


@pytest.mark.parametrize("name", results.EXPERIMENTS)
def test_experiments_resolve(name: str, tmp_path: Path) -> None:
    experiment = results.EXPERIMENTS[name]
    contenders = results.wanted(experiment, [], [16.0])  # the other sizes differ by a width
    jobs = results.jobs_of(experiment, contenders, [100, 101], str(tmp_path))
    assert len(jobs) == 2 * len(contenders) > 0
    assert len({job.folder for job in jobs}) == len(jobs)
    for env_id in (experiment.env, *experiment.tests):
        envs.make(env_id, 1).close()
    assert all(agents.get(name) for name in experiment.ready)


def finished(folder: Path, score: list[float], agent: str, trained_on: str = "E") -> dict[str, Any]:
    """One row of a comparison."""
    costs = dict.fromkeys(
        ("trained_parameters", "state_bytes", "flops_per_step", "steps", "flops", "cpu_seconds"), 1000.0
    )
    iqm, low, high = score
    return {"agent": agent, "env": "E", "trained_on": trained_on, "seeds": [100, 101], **costs,
            "success": {"iqm": iqm, "low": low, "high": high}}  # fmt: skip


def test_the_page_has_a_section_for_each_experiment_and_every_verdict(tmp_path: Path) -> None:
    rows = [
        finished(tmp_path, [0.1, 0.1, 0.1], "random", ""),
        finished(tmp_path, [0.8, 0.7, 0.9], "superposed"),
        finished(tmp_path, [0.5, 0.4, 0.6], "gru-1x"),
        finished(tmp_path, [0.8, 0.85, 0.95], "lstm-1x"),
        finished(tmp_path, [0.95, 0.94, 0.96], "slots-1x"),
    ]
    assert "| gru-1x | 2 | 1k | 1kB |" in results_page.table(rows, ["E"], "success")
    told = results_page.verdicts(rows, ["E"], "success")
    assert "* E: ahead of gru-1x; not told apart from lstm-1x; behind slots-1x." in told and "random" not in told
    assert "Ten seeds were planned" in results_page.few(rows)
    missing = ["gru-4x", "gru-64x", "lstm-4x", "lstm-64x", "sb3-ppo-1x", "gru-growing"]
    assert results_page.not_run(missing) == "Not run: gru, lstm at 4x 64x; sb3-ppo at 1x; gru-growing."
    page = tmp_path / "results.md"
    for name, text in (("a", "old"), ("b", "kept"), ("equal-c", told), ("a", "new")):
        results_page.refresh(page, name, f"## {name}\n\n{text}")
    assert page.read_text().startswith("# Results")
    assert "| [equal-c](#equal-c) | E | 1 of 3 | lstm-1x | slots-1x |\n\n## a" in page.read_text()
    assert page.read_text().endswith(f"## a\n\nnew\n\n## b\n\nkept\n\n## equal-c\n\n{told}\n")


def test_greedy_and_sampled_play_are_columns_of_one_table(tmp_path: Path) -> None:
    untrained = resolve(RunConfig(agent="none", env="TMaze-L3-v0", budget="steps=512", logdir=str(tmp_path)))
    run.train(untrained)
    experiment = results.Experiment("", "TMaze-L3-v0", (), ("TMaze-L3-v0",), episodes=64, sampled=True)
    found = {
        (entry.row["agent"], entry.row["env"]): entry.episodes.success
        for entry in results.play(experiment, [untrained], None, 1)
    }
    assert experiment.columns() == ["TMaze-L3-v0", "TMaze-L3-v0, sampled"]
    assert set(found) == {(who, env) for who in ("random", "oracle", "none") for env in experiment.columns()}
    greedy, sampled = (found["none", env] for env in experiment.columns())
    assert not np.array_equal(greedy, sampled)


def test_the_plan_can_be_done_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["equal-rewrite", "--logdir", str(tmp_path), "--page", str(tmp_path / "page.md"), "--workers", "1"]
    part = ["--agents", "gru", "none", "--scales", "1", "--seeds", "100"]
    assert results.main([*flags, *part, "--dry-run"]) == 0
    assert "2 runs,    2 left:  800GFLOP" in capsys.readouterr().out
    with pytest.MonkeyPatch.context() as patch:  # budgets of FLOPs and of seconds are known without counting any step
        patch.delattr(plan, "_bill")
        assert results.main(["timed-rewrite", *flags[1:], *part, "--dry-run"]) == 0
        assert results.main([*flags, *part, "--dry-run"]) == 0
    assert "2 runs,    2 left:  800GFLOP" in capsys.readouterr().out
    assert results.main(["recall", *flags[1:], "--no-train"]) == 0
    assert "nothing is finished" in capsys.readouterr().out and not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="Did you mean 'equal-recall'"):
        results.main(["equal-recal"])
    with pytest.raises(ValueError, match="Did you mean 'gru'"):
        results.main(["--agents", "gruu"])


def test_the_main_job_is_five_agents_at_one_budget(tmp_path: Path) -> None:
    jobs = main.plan("flops=1e9", [0], str(tmp_path))
    assert len(jobs) == 5 and len({job.budget for job in jobs}) == 1
