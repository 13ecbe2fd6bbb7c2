"""The scripts behind the published figures: what they rely on, not what they print."""

from __future__ import annotations

from pathlib import Path

import main
import numpy as np
import pytest
import results
from compiled import CompiledActor

import agents
import envs


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


@pytest.mark.parametrize(
    "name", ["recall", "horizon", "horizon-million", "rewrite", "memory", "memory-rivals", "memory-s17"]
)
def test_experiments_resolve(name: str, tmp_path: Path) -> None:
    experiment = results.EXPERIMENTS[name]
    jobs = results.plan(experiment, [100, 101], str(tmp_path))
    assert len(jobs) == 2 * len(experiment.agents)
    assert len({job.folder for job in jobs}) == len(jobs)
    for env_id in (experiment.env, *experiment.tests):
        envs.make(env_id, 1).close()


def test_the_main_job_is_five_agents_at_one_budget(tmp_path: Path) -> None:
    jobs = main.plan("flops=1e9", [0], str(tmp_path))
    assert len(jobs) == 5 and len({job.budget for job in jobs}) == 1
