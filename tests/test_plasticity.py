"""Staying able to learn: the pull to the initial parameters, and units that begin anew."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents import saving
from agents.config import GRUConfig
from agents.plasticity import MATURITY, Recycler
from agents.ppo import MemoryPPO

ENV = "ShuffledTMaze-K0-M1-Max10-v0"
SMALL: dict[str, Any] = {"num_envs": 8, "num_steps": 16, "hidden": 8, "gamma": 0.5}


def moved(model: MemoryPPO) -> float:
    start = MemoryPPO("gru", ENV, model.config, model.seed).policy
    with torch.no_grad():
        pairs = zip(model.policy.parameters(), start.parameters(), strict=True)
        return sum(float((a - b).square().sum()) for a, b in pairs)


def test_l2_init_pulls_back_to_where_it_began() -> None:
    free, held = (MemoryPPO("gru", ENV, GRUConfig(**SMALL, l2_init=pull)).learn(1024) for pull in (0.0, 1.0))
    assert 0 < moved(held) < 0.1 * moved(free)
    policy = held.policy
    with torch.no_grad():
        policy.get_parameter("vf.2.bias").add_(2.0)
    before = moved(held)
    assert policy.pulled(torch.tensor(5.0)).item() == pytest.approx(5 + before, rel=1e-4)


def test_the_least_useful_mature_units_begin_anew() -> None:
    torch.manual_seed(0)
    first, last = torch.nn.Linear(5, 6), torch.nn.Linear(6, 2)
    head = torch.nn.Sequential(first, torch.nn.Tanh(), last)
    recycler, adam, rng = Recycler(head), torch.optim.Adam(head.parameters()), torch.Generator().manual_seed(0)
    with torch.no_grad():
        last.weight[:, 3] = 1e-6  # nothing comes of this one
    for _ in range(MATURITY):
        adam.zero_grad()
        head(torch.randn(8, 5)).square().mean().backward()
        adam.step()
        with torch.no_grad():
            last.weight[:, 3] = 1e-6
        recycler.recycle(0.2, adam, rng)
    before = [part.detach().clone() for part in head.parameters()]
    assert float(recycler.debt) == 0 and (recycler.age == MATURITY).all()
    recycler.recycle(0.2, adam, rng)  # six are mature now: 1.2 are due
    into, bias, out, _ = (part.detach() for part in head.parameters())
    others = [0, 1, 2, 4, 5]
    assert not torch.equal(into[3], before[0][3]) and float(bias[3]) == 0 and (out[:, 3] == 0).all()
    assert torch.equal(into[others], before[0][others]) and torch.equal(out[:, others], before[2][:, others])
    assert float(recycler.age[3]) == 0 and float(recycler.debt) == pytest.approx(0.2)
    assert (adam.state[first.weight]["exp_avg"][3] == 0).all()


@pytest.mark.parametrize("settings", [{"l2_init": 0.01}, {"recycle": 0.05}], ids=str)
def test_a_resume_is_bit_for_bit(settings: dict[str, Any]) -> None:
    def make() -> MemoryPPO:
        return MemoryPPO("gru", ENV, GRUConfig(**SMALL, **settings), seed=1)

    whole, again = make(), make()
    whole.learn(8 * 16 * 10)
    saving.restore(again, *saving.snapshot(whole))
    for model in (whole, again):
        model.learn(8 * 16 * 10, reset_num_timesteps=False)
    state = whole.policy.state_dict()
    assert all(torch.equal(part, state[name]) for name, part in again.policy.state_dict().items())
    if "recycle" in settings:
        assert (state["plasticity.heads.0.age"] < whole.updates * 16).any()  # some did begin anew
