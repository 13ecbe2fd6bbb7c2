"""Every core against itself: one step, one step in place and a whole sequence are the same function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from agents.core import Core, drop_controller, reset
from agents.cores import CORES

WIDTH = 5
# Windows shorter than the sequences, so that entries are dropped; a core that is not listed runs at its defaults.
SMALL: dict[str, dict[str, Any]] = {
    "superposed": {"dim": 32, "heads": 2, "controller": 6, "key": 4, "value": 3},
    "gru": {"hidden": 8},
    "lstm": {"hidden": 8},
    "transformer": {"width": 8, "attention_heads": 2, "layers": 2, "window": 12},
    "slots": {"slots": 7, "controller": 6, "key": 4, "value": 3},
    "none": {"hidden": 8},
}
RESETS = ("none", "some", "first", "every")


def build(name: str, **settings: Any) -> Core:
    """A small core with all parameters shaken, so that no gate or bias sits where it was initialised."""
    config, constructor, _ = CORES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        core = constructor(WIDTH, config(**(SMALL.get(name, {}) | settings)), 0)
        with torch.no_grad():
            for part in core.parameters():
                part.add_(0.3 * torch.randn_like(part))
    return core


def draw(steps: int, batch: int, seed: int = 0) -> Tensor:
    return torch.randn(steps, batch, WIDTH, generator=torch.Generator().manual_seed(seed))


def starts_of(kind: str, steps: int, batch: int) -> Tensor:
    starts = torch.zeros(steps, batch, dtype=torch.bool)
    if kind == "some":
        starts = torch.rand(steps, batch, generator=torch.Generator().manual_seed(steps)) < 0.15
    elif kind == "first":
        starts[0] = True
    elif kind == "every":
        starts[:] = True
    return starts


def begun(core: Core, batch: int) -> Any:
    """A memory that has lived for nine steps."""
    with torch.no_grad():
        none = starts_of("none", 9, batch)
        return core.unroll(draw(9, batch, seed=1), core.initial_state(batch), none).state


def step_by_step(core: Core, xs: Tensor, state: Any, starts: Tensor, in_place: bool = False) -> tuple[Tensor, Any]:
    ys, step = [], core.step_ if in_place else core.step
    for x, start in zip(xs, starts, strict=True):
        y, state = step(x, reset(state, start, in_place))
        ys.append(y.clone())  # it may be the state itself, which the next reset in place empties
    return torch.stack(ys), state


def copy(state: Any) -> Any:
    return type(state)(*(part.clone() for part in state))


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Within a share of the largest number there: rounding grows with what is summed."""
    scale = max(1.0, float(expected.detach().abs().max())) if expected.numel() else 1.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


def gradients(core: Core, xs: Tensor, ys: Tensor, state: Any) -> tuple[Tensor, ...]:
    """Of a fixed random sum over the outputs and the last state."""
    generator = torch.Generator().manual_seed(2)
    parts = [part for part in (ys, *state) if part.requires_grad]
    loss = torch.stack([(part * torch.randn(part.shape, generator=generator)).sum() for part in parts]).sum()
    wanted = (xs, *core.parameters())
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return tuple(torch.zeros_like(w) if f is None else f for f, w in zip(found, wanted, strict=True))


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("steps", [1, 15, 16, 17, 50])
@pytest.mark.parametrize("resets", RESETS)
@pytest.mark.parametrize("name", CORES)
def test_step_and_unroll_are_equal(name: str, resets: str, steps: int, batch: int) -> None:
    core = build(name)
    state, starts = begun(core, batch), starts_of(resets, steps, batch)
    xs = draw(steps, batch).requires_grad_()
    once = core.unroll(xs, state, starts)
    ys, last = step_by_step(core, xs, state, starts)
    assert once.ys.shape == (steps, batch, core.output_width)
    with torch.inference_mode():
        acted, acted_last = step_by_step(core, xs, copy(state), starts, in_place=True)
    assert_close(once.ys, ys, 2e-5)
    assert_close(acted, ys, 2e-5)
    for found, in_place, expected in zip(once.state, acted_last, last, strict=True):
        assert found.shape == expected.shape
        assert_close(found, expected, 2e-5)
        assert_close(in_place, expected, 2e-5)
    for one, other in zip(gradients(core, xs, once.ys, once.state), gradients(core, xs, ys, last), strict=True):
        assert_close(one, other, 2e-4)


DROPPING = [name for name in CORES if hasattr(CORES[name][0](), "controller_dropout")]


@pytest.mark.parametrize("name", DROPPING)
def test_a_dropped_controller_is_empty_and_what_is_stored_stays(name: str) -> None:
    core: Any = build(name)
    xs, starts = draw(30, 4), starts_of("some", 30, 4)
    dropped = starts.flip(0)
    state = begun(core, 4)
    emptied = drop_controller(state, torch.tensor([True, False, True, False]))
    assert torch.equal(emptied.z[1::2], state.z[1::2]) and not emptied.z[::2].any() and state.z.all()
    assert emptied[1] is state[1]
    once, ys = core.unroll(xs, state, starts, dropped), []
    for x, start, drop in zip(xs, starts, dropped, strict=True):
        y, state = core.step(x, drop_controller(reset(state, start), drop))
        ys.append(y)
    assert_close(once.ys, torch.stack(ys), 2e-5)
    for found, expected in zip(once.state, state, strict=True):
        assert_close(found, expected, 2e-5)
    assert not torch.allclose(once.ys, core.unroll(xs, begun(core, 4), starts).ys)


@pytest.mark.parametrize("name", CORES)
def test_unroll_may_be_cut_anywhere(name: str) -> None:
    core, xs, starts = build(name), draw(40, 3), starts_of("some", 40, 3)
    whole = core.unroll(xs, core.initial_state(3), starts)
    state = core.initial_state(3)
    parts: list[Tensor] = []
    for piece, start in zip(xs.split([7, 32, 1]), starts.split([7, 32, 1]), strict=True):
        out = core.unroll(piece, state, start)
        state, parts = out.state, [*parts, out.ys]
    assert_close(torch.cat(parts), whole.ys, 2e-5)
    for found, expected in zip(state, whole.state, strict=True):
        assert_close(found, expected, 2e-5)


@pytest.mark.parametrize("name", CORES)
def test_rows_of_a_batch_do_not_meet(name: str) -> None:
    core, xs, starts = build(name), draw(20, 4), starts_of("some", 20, 4)
    state = begun(core, 4)
    together = core.unroll(xs, state, starts).ys
    for i in range(4):
        one = slice(i, i + 1)
        alone = core.unroll(xs[:, one], type(state)(*(part[one] for part in state)), starts[:, one]).ys
        assert_close(together[:, one], alone, 2e-5)


@pytest.mark.parametrize("name", CORES)
def test_a_reset_is_a_new_life(name: str) -> None:
    core, xs = build(name), draw(24, 2)
    starts = torch.zeros(24, 2, dtype=torch.bool)
    starts[10] = True
    after = core.unroll(xs, begun(core, 2), starts)
    fresh = core.unroll(xs[10:], core.initial_state(2), starts[10:])
    assert_close(after.ys[10:], fresh.ys, 2e-5)
    for found, expected in zip(after.state, fresh.state, strict=True):
        assert_close(found, expected, 2e-5)


@pytest.mark.parametrize("name", CORES)
def test_the_past_is_remembered_except_by_none(name: str) -> None:
    core, xs = build(name), draw(6, 2)
    other = xs.clone()
    other[0] += 1
    starts = starts_of("none", 6, 2)
    first, second = (core.unroll(x, core.initial_state(2), starts).ys[-1] for x in (xs, other))
    assert (float((first - second).detach().abs().max()) < 1e-6) == (name == "none")


@pytest.mark.parametrize("name", CORES)
def test_the_future_is_not_seen(name: str) -> None:
    core, xs = build(name), draw(20, 2)
    other = xs.clone()
    other[12:] += 1
    starts = starts_of("some", 20, 2)
    first, second = (core.unroll(x, begun(core, 2), starts).ys[:12] for x in (xs, other))
    assert_close(first, second, 1e-6)


@pytest.mark.parametrize("name", CORES)
def test_the_empty_memory_is_zero_and_functions_leave_their_state_alone(name: str) -> None:
    core, xs = build(name), draw(3, 2)
    assert all(part.shape[0] == 2 and not part.any() for part in core.initial_state(2))
    state = begun(core, 2)
    before = copy(state)
    core.step(xs[0], state)
    core.unroll(xs, state, starts_of("first", 3, 2))
    reset(state, torch.tensor([True, False]))
    for found, expected in zip(state, before, strict=True):
        assert torch.equal(found, expected)


def test_reset_touches_only_the_rows_that_start() -> None:
    state = begun(build("superposed"), 3)
    found = reset(state, torch.tensor([False, True, False]))
    for part, before in zip(found, state, strict=True):
        assert not part[1].any()
        assert torch.equal(part[::2], before[::2])
    assert reset(state, torch.zeros(3, dtype=torch.bool)) is state


@pytest.mark.parametrize("name", CORES)
def test_same_seed_same_fixed_features(name: str) -> None:
    first, second = build(name), build(name)
    for one, other in zip(
        (*first.parameters(), *first.buffers()), (*second.parameters(), *second.buffers()), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", CORES)
def test_info_is_scalars_and_the_write_gate_is_differentiable(name: str) -> None:
    core = build(name)
    info = core.unroll(draw(6, 2), core.initial_state(2), starts_of("none", 6, 2)).info
    assert all(part.dim() == 0 for part in info.values())
    assert ("write_gate" in info) == (name in ("superposed", "slots"))
    if "write_gate" in info:
        assert 0 <= info["write_gate"].item() <= 1
        info["write_gate"].backward()
        assert any(part.grad is not None and part.grad.any() for part in core.parameters())


def test_heads_of_attention_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 7 must be a multiple of attention_heads 2"):
        build("transformer", width=7)


@pytest.mark.parametrize("detached", [False, True])
def test_addresses_train_what_they_are_read_from_unless_detached(detached: bool) -> None:
    core, plain = build("superposed", detach_addresses=detached), build("superposed")
    xs, starts = draw(9, 3).requires_grad_(), torch.zeros(9, 3, dtype=torch.bool)
    reads, expected = (part.unroll(xs, part.initial_state(3), starts).ys[..., 6:] for part in (core, plain))
    assert torch.equal(reads, expected) and reads.any()
    reads.square().sum().backward()
    project, cell = (core.get_parameter(name).grad for name in ("project.weight", "cell.weight_ih"))
    assert project is not None and project.any()
    assert all((grad is None or not grad.any()) == detached for grad in (xs.grad, cell))
