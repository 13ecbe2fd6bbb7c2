"""Masks, heads of their own and replay: each does what it says, nothing where it is off, and is on the bill."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import envs
from agents import accounting, checkpoint, saving
from agents.config import GRUConfig, PPOConfig, SuperposedConfig
from agents.context_forms import KEPT, Mask
from agents.ppo import MemoryPPO
from agents.replay import SHARE, Replay
from envs.stream import Stream

ENV = "ShuffledTMaze-K0-M1-Max10-v0"
SMALL: dict[str, Any] = {"num_envs": 8, "num_steps": 32, "gamma": 0.5}
TOLD: dict[str, Any] = {"contexts": 2, "context_from": "told"}
CONFIGS: dict[str, type[PPOConfig]] = {"gru": GRUConfig, "superposed": SuperposedConfig}


def stream(share: int = 64) -> Stream:
    ids = [f"ShuffledTMaze-K{k}-M1-Max10-v0" for k in (0, 1)]
    return Stream({env_id: envs.make(env_id, 8) for env_id in ids}, 2, share)


def make(core: str, world: Any = None, **settings: Any) -> MemoryPPO:
    return MemoryPPO(core, world or stream(), CONFIGS[core](**SMALL, **settings), seed=3)


def learn(model: MemoryPPO, rollouts: int) -> MemoryPPO:
    return model.learn(8 * 32 * rollouts, reset_num_timesteps=model.num_timesteps == 0)


def weights(model: MemoryPPO) -> dict[str, Tensor]:
    return {name: part.clone() for name, part in model.policy.state_dict().items()}


@pytest.mark.parametrize("core", CONFIGS)
def test_under_masks_no_weight_is_trained_and_the_other_task_is_left_alone(core: str) -> None:
    model = make(core, **TOLD, context_form="mask")
    start = weights(model)
    learn(model, 2)
    first = weights(model)
    assert all(name.split(".")[-2] == "scores" for name, _ in model.policy.named_parameters())
    assert all(torch.equal(start[name], part) for name, part in first.items() if name.endswith("original"))
    assert not torch.equal(start["pi.0.parametrizations.weight.0.scores.0"],
                           first["pi.0.parametrizations.weight.0.scores.0"])  # fmt: skip
    learn(model, 2)  # the other task is on
    assert int(model.policy.contexts.present) == 1  # type: ignore[union-attr]
    second = weights(model)
    scores = [name for name in first if ".scores." in name]
    changed = {name[-1] for name in scores if not torch.equal(first[name], second[name])}
    assert changed == {"1"} and {name[-1] for name in scores} == {"0", "1"}


def test_a_mask_keeps_the_highest_scores_and_lets_the_gradient_through() -> None:
    layer = nn.Linear(10, 4, bias=False).requires_grad_(False)
    mask = Mask(layer.weight, 3)
    parametrize.register_parametrization(layer, "weight", mask)
    mask.enter(2, torch.zeros(0))
    scores, plain = mask.scores[2], layer.get_parameter("parametrizations.weight.original")
    seen = layer.weight != 0
    assert seen.sum() == KEPT * 40 and scores[seen].min() > scores[~seen].max()
    torch.testing.assert_close(layer.weight[seen], plain[seen])
    x = torch.randn(5, 10)
    layer(x).sum().backward()
    torch.testing.assert_close(scores.grad, plain * x.sum(0))
    assert mask.scores[0].grad is None


def test_heads_are_apart_and_the_body_is_shared() -> None:
    model = learn(make("gru", **TOLD, context_form="heads"), 2)
    first = weights(model)
    learn(model, 2)
    second = weights(model)
    same = {name for name, part in first.items() if torch.equal(part, second[name])}
    parts = {name for name, _ in model.policy.named_parameters()}
    assert parts & same == {name for name in parts if ".each.0." in name}


@pytest.mark.parametrize(("form", "share"), [("mask", 1 / 32), ("heads", 1.0), ("flip", 1.0)])
def test_bits_kept_by_hand(form: Any, share: float) -> None:
    model = make("gru", **TOLD, context_form=form)
    size = sum(part.numel() for part in model.policy.parameters())
    assert accounting.kept_bits(model) == 32 * size * share == 32 * share * model.stats()["trained_parameters"]


def test_units_cannot_be_recycled_in_other_forms() -> None:
    with pytest.raises(ValueError, match="context_form flip, not heads"):
        make("gru", **TOLD, context_form="heads", recycle=0.1)


def test_a_core_that_grows_cannot_be_replayed() -> None:
    with pytest.raises(ValueError, match="leave out replay"):
        make("superposed", replay=4, grow=(512,)).stats()


# -- replay ---------------------------------------------------------------------------------------------------------


def numbered(first: int, batch: int) -> Any:
    """A rollout of one step whose columns are numbered."""
    column = torch.arange(first, first + batch, dtype=torch.float32)[None]
    return SimpleNamespace(
        obs={"": column[..., None]},
        starts=column > -1,
        dropped=None,
        logits=column[..., None],
        values=column,
        state=(column[0],),
    )


def test_every_column_of_the_past_is_kept_with_the_same_chance() -> None:
    rng, counts, times = torch.Generator().manual_seed(0), torch.zeros(40), 600
    for _ in range(times):
        like = numbered(0, 8)
        kept = Replay(10, like, like.state)
        for first in range(0, 40, 8):
            kept.add(numbered(first, 8), rng)
        found = kept.columns["values"][0]
        assert kept.seen == 40 and len(found.unique()) == 10
        assert torch.equal(kept.columns["obs."][0, :, 0], found) and torch.equal(kept.states["state.0"], found)
        counts[found.long()] += 1
    spread = (counts - times / 4).abs().max() / (times * 0.25 * 0.75) ** 0.5
    assert spread < 4  # standard deviations, of 40


def test_rehearsal_holds_the_policy_to_what_it_was() -> None:
    model = learn(make("gru", replay=8), 1)
    assert model.replay is not None and model.replay.seen == 8
    away = []
    for strength in (0.0, 1.0):
        policy, rng = copy.deepcopy(model.policy), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for part in policy.pi.parameters():
                part.add_(0.3 * torch.randn(part.shape, generator=rng))
        adam = torch.optim.Adam(policy.parameters(), 1e-2)
        for _ in range(40):
            adam.zero_grad()
            loss = model.replay.loss(policy, 32, 0.5, rng)
            (strength * loss).backward()  # type: ignore[union-attr]
            adam.step()
        with torch.no_grad():
            away.append(float(model.replay.loss(policy, 64, 0.5, rng)))
    assert away[1] < 0.1 * away[0]


def test_replay_resumes_bit_for_bit_also_from_a_file(tmp_path: Path) -> None:
    whole, again = (make("superposed", replay=5) for _ in range(2))
    learn(whole, 4)
    checkpoint.save(tmp_path / "a.safetensors", *saving.snapshot(whole))
    saving.restore(again, *checkpoint.load(tmp_path / "a.safetensors"))
    learn(whole, 4), learn(again, 4)
    assert whole.replay is not None and again.replay is not None and whole.replay.seen == 64
    mine, its = (weights(model) | model.replay.state() for model in (whole, again))  # type: ignore[union-attr]
    assert all(torch.equal(part, its[name]) for name, part in mine.items())


def test_replay_is_on_the_bill() -> None:
    plain, kept = (make("gru", replay=n) for n in (0, 16))
    without, with_ = (model.stats() for model in (plain, kept))
    step = 4 * (5 + 3 + 1) + 1  # bytes of what was seen, all actions, the value; and whether an episode began
    bytes_ = 16 * (32 * step + 4 * 64) + 8 * 32 * 4 * 3  # and the states; a rollout now has all actions, too
    assert with_["buffer_bytes"] - without["buffer_bytes"] == bytes_
    dearer = with_["flops_per_training_step"] - without["flops_per_training_step"]
    updates = without["flops_per_training_step"] - without["flops_per_step"]
    assert dearer == pytest.approx(SHARE * updates, rel=0.05)
    learn(kept, 3)
    assert accounting.kept_bits(kept) == 32 * kept.stats()["trained_parameters"] + 8 * 16 * (32 * step + 4 * 64)


def test_off_nothing_is_kept_and_nothing_drawn() -> None:
    model = learn(make("gru"), 2)
    assert model.replay is None and model.rollout.logits.numel() == 0
    told = learn(make("gru", **TOLD), 2)
    assert replace(told.config, contexts=0, context_from="inferred") == model.config
    assert torch.equal(told.generator.get_state(), model.generator.get_state())
