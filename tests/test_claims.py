"""The claim scripts on a small scale: the capacity counts that docs/claims.md rests on."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

CLAIMS = Path(__file__).parents[1] / "benchmarks" / "claims"


@pytest.fixture
def claim(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a claim script by its name."""
    monkeypatch.syspath_prepend(str(CLAIMS))
    yield importlib.import_module
    for name in [path.stem for path in CLAIMS.glob("*.py")]:
        sys.modules.pop(name, None)


def test_a_read_out_seen_through_the_context_makes_room_for_many_more_tasks(claim: Any) -> None:
    contexts = claim("contexts")
    flat, deep = (contexts.capacity(contexts.learn(64, 8, 0, deep=deep)[:, 0]) for deep in (False, True))
    assert 4 <= flat <= 10 and deep >= 5 * flat
    assert contexts.capacity(contexts.learn(64, 8, 0, context=False, deep=True)[:, 0]) == 1


def test_the_task_just_learned_is_answered_and_inference_needs_distinct_answers(claim: Any) -> None:
    contexts = claim("contexts")
    assert contexts.learn(64, 8, 1, deep=True)[0].tolist() == [1.0, 1.0]
    told, guessed = contexts.learn(128, 1, 1)[:24:2].T
    assert np.nanmean(guessed) < np.nanmean(told)


def test_rewiring_drops_the_smallest_and_grows_where_it_is_told(claim: Any) -> None:
    net = claim("sparse_nets").Nets(range(2), 1e-3, density=0.5)
    net.step(*net.batch(*net.task(64), 16))
    before, masks = [w.clone() for w in net.weights], [m.clone() for m in net.masks]
    gradient = net.gradients[0].abs() * (masks[0] == 0)
    norm = net.rewire(0.25, by_gradient=True)
    gone, grown = ((masks[0] - net.masks[0]) * sign > 0 for sign in (1, -1))
    for seed in range(2):
        assert net.masks[0][seed].sum() == masks[0][seed].sum() == 2048
        kept = masks[0][seed].bool() & ~gone[seed]
        assert before[0][seed][gone[seed]].abs().max() <= before[0][seed][kept].abs().max()
        assert net.weights[0][seed][grown[seed]].eq(0).all() and 0 < grown[seed].sum() <= 512
        assert gradient[seed][grown[seed]].min() >= gradient[seed][net.masks[0][seed] == 0].max()
    lost = sum((a - b).square().sum((1, 2)) for a, b in zip(before[:2], net.weights[:2], strict=True))
    assert torch.allclose(norm, torch.as_tensor(lost).sqrt()) and norm.min() > 0


def test_the_least_used_unit_is_recycled_without_a_change_of_the_answers(claim: Any) -> None:
    nets = claim("sparse_nets")
    net = nets.Nets(range(1), 1e-3, recycle=0.05)
    x, _ = net.task(32)
    net.weights[1][:, 7] = 0.0  # nobody reads unit 7 of the first layer
    net.age[0] += nets.MATURITY
    hidden = net.forward(x, net.weights)
    before, answers = net.weights[0].clone(), hidden[2]
    net.renew(hidden[:2])
    changed = (before != net.weights[0]).any(1)[0].nonzero().flatten().tolist()
    assert changed == [7] and net.age[0][0, 7] == 0
    assert np.allclose(answers, net.forward(x, net.weights)[2])


def test_a_barrier_stands_between_a_network_and_its_permutation(claim: Any) -> None:
    nets, barrier = claim("sparse_nets"), claim("barrier")
    a = nets.Nets(range(1), 3e-3)
    x, y = a.task(64)
    barrier.settle(a, x, y, 150)
    b = copy.deepcopy(a)
    order = torch.randperm(nets.HIDDEN, generator=torch.Generator().manual_seed(0))
    b.weights[0], b.weights[3], b.weights[1] = (
        a.weights[0][..., order],
        a.weights[3][..., order],
        a.weights[1][:, order],
    )
    same, other = (barrier.line(a, c, x, y)[:, 0] for c in (a, b))
    assert np.allclose(same[0], 0, atol=1e-6) and same[2] == 0
    assert np.allclose(other[1], same[1], atol=1e-5) and other[0] > 0.5


def test_rewiring_reports_every_contestant_and_a_margin(claim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rewiring = claim("rewiring")
    monkeypatch.setattr(rewiring, "UPDATES", 30)
    report = rewiring.run(range(1), tasks=6, steps=10)
    assert report.margin.shape == (1,) and len(report.table) == 1 + 2 * 13
    assert all(way in report.reading for way in rewiring.SETTINGS)


def test_the_value_asked_for_is_the_one_whose_marks_multiply_to_one(claim: Any) -> None:
    lab = claim("recall_controllers")
    x, bits = lab.Recall(range(2)).episodes(3)
    symbols, values, marks = x[..., : lab.WIDTH], x[..., lab.WIDTH : lab.WIDTH + lab.BITS], x[..., -5:-2].prod(-1)
    shown = 2 * lab.SYMBOLS
    assert x[..., -2].eq(torch.tensor([0.0] * shown + [1.0] * lab.SYMBOLS)).all() and values[:, :, shown:].eq(0).all()
    for seed, episode, asked in np.ndindex(2, 3, lab.SYMBOLS):
        same = (symbols[seed, episode, :shown] == symbols[seed, episode, shown + asked]).all(-1)
        answers = values[seed, episode, :shown][same & (marks[seed, episode, :shown] > 0)]
        assert (answers == bits[seed, episode, asked]).all(-1).any()


def test_a_subspace_is_turned_without_stretching(claim: Any) -> None:
    lab = claim("recall_controllers")
    task = lab.Recall(range(2))
    space = lab.Subspace(task, turned=True)
    z = task.draw(3, 20)
    moved = space.lift(z) - task.start[:, None]
    assert torch.allclose(moved.norm(dim=-1), z.norm(dim=-1), rtol=1e-4)
    assert torch.allclose(space.lower(moved[:, 0], 20), z[:, 0], atol=1e-4)


def test_dimensions_double_until_all_are_trained(claim: Any) -> None:
    search = claim("search")
    number = search.NUMBER
    assert [search.dimension(16, 0.0, p) for p in (0, 0.5, 0.99)] == [16] * 3
    sizes = [search.dimension(16, 0.5, p / 100) for p in range(100)]
    assert sorted(set(sizes)) == [16, 32, 64, 128, 256, 512, number] and sizes == sorted(sizes)
    assert sizes[49] == 512 and sizes[50] == number


def test_search_learns_and_charges_for_the_projection(claim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    search = claim("search")
    budget = 3 * search.FORWARD * 200
    plain, few = (search.contest("backprop", range(2), budget, start=start)[:, -1] for start in (0, 16))
    assert plain.min() > 0.65 > few.max()
    calls = list[int]()
    monkeypatch.setattr(search.Recall, "loss", counted(search.Recall.loss, calls))
    for start in (0, search.NUMBER):
        search.contest("backprop", range(1), budget / 4, start=start)
    assert calls.count(1) == 50 + int(np.ceil(50 / (1 + 4 * search.NUMBER**2 / (3 * search.FORWARD))))


def counted(loss: Any, calls: list[int]) -> Any:
    """The loss, which notes how many controllers of a seed each call is for."""

    def noted(task: Any, theta: torch.Tensor, *batch: torch.Tensor) -> torch.Tensor:
        calls.append(theta.shape[1])
        return loss(task, theta, *batch)

    return noted


def test_cma_es_finds_a_point_of_its_subspace(claim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cma")
    search = claim("search")
    goal = search.Subspace(search.Recall(range(1)), turned=True).lift(torch.full((1, 8), 0.5))
    monkeypatch.setattr(search.Recall, "loss", lambda task, theta, *batch: (theta - goal).norm(dim=-1))
    monkeypatch.setattr(search.Recall, "score", lambda task, theta: (theta - goal).norm(dim=-1).numpy())
    found = search.contest("CMA-ES", range(1), 3 * search.FORWARD * 400, start=8, sigma=0.3)
    assert found[0, -1] < 0.1 < found[0, 0]


def test_search_reports_a_margin_against_the_better_rival(claim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    search = claim("search")
    if importlib.util.find_spec("cma") is None:  # only this contestant needs it
        monkeypatch.delitem(search.SETTINGS, "CMA-ES")
    monkeypatch.setattr(search, "MARKS", 5)
    report = search.run(range(1), 3 * search.FORWARD * 60)
    assert report.margin.shape == (1,) and [row[0] for row in report.table[1:]] == list(search.SETTINGS)


def test_growing_agents_are_charged_by_the_size_that_they_have(claim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    growth = claim("growth")
    monkeypatch.setattr(growth, "FLOPS", 4e9)
    monkeypatch.setitem(
        growth.RUNS, "wider", ("gru-growing", {"hidden": 16, "widest": 32, "plateau": 1, "better": 2.0})
    )
    for name, agent, sizes in (("wider", "gru", (16, 32)), ("superposed, D growing from 64", "superposed", (64, 128))):
        found = growth.train(name, 0)
        assert [part[1] for part in found.parts] == [growth.cost(agent, size) for size in sizes]
        spent = sum(steps * price for steps, price in found.parts)
        assert growth.FLOPS <= spent <= growth.FLOPS + 64 * found.parts[-1][1]
        assert np.abs(found.curve).max() <= 1


def test_growing_loses_to_the_best_fixed_size(claim: Any) -> None:
    lost = claim("growth").lost
    assert np.allclose(lost(np.array([[0.5, 0.2, 0.4], [0.5, 0.3, 0.6]])), [0.2, -0.2])
    assert np.allclose(lost(np.array([[0.2, 0.5, 0.4]])), 0.2)


def test_pages_are_taken_apart_by_name(claim: Any) -> None:
    sections = claim("all").written("# Head\n\n## one: holds\n\nbody\n\n## two: fails\n\nmore\n")
    assert sections == {"one": "## one: holds\n\nbody\n", "two": "## two: fails\n\nmore\n"}
    with pytest.raises(SystemExit, match="No claim named nonsense"):
        claim("all").main(["nonsense"])


def test_the_lives_of_a_graft_differ_in_their_cues_alone(claim: Any) -> None:
    lives = claim("lives")
    for world, cued in ((lives.recall, lives.PAIRS), (lives.tmaze, 1)):
        life = world(3)
        changed = (life.own != life.other).any(-1)  # (T, B)
        assert changed[:cued].all() and not changed[cued:].any()
        assert (life.right != life.wrong).all()
        signs = [past[:cued].sort(0).values for past in (life.own, life.same)]
        assert torch.equal(*signs)  # the same cues, in any order


def test_a_graft_moves_what_the_matrix_alone_holds(claim: Any) -> None:
    """An agent that is trained for a moment holds its cues in the matrix; whatever is grafted, each answer is one."""
    explained, lives = claim("explained"), claim("lives")
    model = lives.trained("RecallMix-N8-D16-v0", 0, 40_000)
    nothing, matrix, controller, both, same = explained.graft(model, lives.recall(1))
    assert matrix[0] > 0.6 and nothing[1] > 0.6 and same[1] > 0.6
    assert controller[0] < 0.5 and both[0] > 0.6


def test_a_probe_finds_a_linear_code_and_nothing_in_shuffled_labels(claim: Any) -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (600,), generator=rng)
    x = torch.eye(3)[labels] @ torch.randn(3, 20, generator=rng) + 0.1 * torch.randn(600, 20, generator=rng)
    right, shuffled = claim("explained").probe(x, labels, torch.arange(600) < 300, rng)
    assert right > 0.95 and 0.2 < shuffled < 0.5


def test_the_map_is_found_again_and_the_gate_keeps_it(claim: Any) -> None:
    mazes = claim("mazes")
    told, inferred, one_map = (
        (mazes.live("lifetime-table", {"contexts": how}, lives=4, seed=0) < mazes.GOOD).mean()
        for how in ("oracle", "inferred", "none")
    )
    assert told == 1.0
    assert inferred > one_map + 0.2


def test_without_the_gate_what_is_seen_is_written_over_the_map_that_it_contradicts(claim: Any) -> None:
    mazes = claim("mazes")
    gated, open_gate = (
        (mazes.live("lifetime-table", {"gated": gated}, lives=8, seed=0) < mazes.GOOD).mean() for gated in (True, False)
    )
    assert gated > open_gate


def test_two_tasks_are_walked_through_side_by_side(claim: Any) -> None:
    """What is called right succeeds everywhere; tasks of the same senses show the same and agree in no action."""
    twins, tasks = claim("twins"), (117, 155)
    obs, starts, right, turns = twins.walks(tasks, 3)
    assert torch.equal(*obs) and (right[0] != right[1]).all() and starts[0].all() and turns.any()
    for world, actions in zip(twins.mazes(tasks, twins.BATCH), right.numpy(), strict=True):
        world.reset(3)
        success = np.array([world.step(taken).success for taken in actions])
        assert np.nanmin(success) == 1.0
    seen, _, apart, _ = twins.walks((6, 7), 3)
    assert not torch.equal(*seen) and (apart[0] != apart[1]).any()


def test_the_context_alone_decides_between_tasks_of_the_same_senses(
    claim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped, twins = claim("swapped"), claim("twins")
    monkeypatch.setattr(twins, "SHARE", 12288)
    right, other, late, never = swapped.swap((117, 155), 3, 0)
    assert right[1] > 0.75 and other[0] > 0.75  # trained for a moment; what ignores the context has at most half
    assert max(right[0], other[1]) < 0.15 and max(*late, *never) < 0.75
    monkeypatch.setattr(twins, "SHARE", 4096)
    plain = swapped.swap((6, 7), 0, 0)
    assert (plain == plain[0]).all()  # without contexts there is nothing to swap


class Walker:
    """Walks to the junction of the room and turns up if its matrix is above 0, else down; knows no cue."""

    class State(NamedTuple):
        z: torch.Tensor  # (B, 1), steps
        m: torch.Tensor  # (B, 1)

    def __init__(self) -> None:
        self.policy = self.encoder = self.core = self
        self.keys = ("image", "direction", "prev_action")

    def initial_state(self, batch: int) -> State:
        return self.State(torch.zeros(batch, 1), torch.ones(batch, 1))

    def step(self, obs: Any, state: State, starts: torch.Tensor) -> tuple[Any, None, State]:
        z = state.z * ~starts[:, None]
        turn = torch.where(state.m > 0, 0, 1)
        self.actions = torch.where(z == 6, turn, 2)[:, 0]  # forward six times, turn, forward
        return self, None, self.State(z + 1, state.m)

    def sample(self, rng: torch.Generator) -> torch.Tensor:
        return self.actions

    def to_env(self, actions: torch.Tensor) -> np.ndarray:
        return actions.numpy()


def test_a_life_in_the_room_goes_on_with_what_it_is_given(claim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = claim("rooms")
    monkeypatch.setattr(rooms, "LIVES", 8)
    held, signs, ends = rooms.play(Walker(), 1)
    up = signs[:, 1]
    assert 0 < up.sum() < 8 and held.z.eq(4).all()  # the corridor is four steps from the cue
    np.testing.assert_array_equal(ends, np.where(up, 1, -1))
    down = held._replace(m=-held.m)
    np.testing.assert_array_equal(rooms.play(Walker(), 1, down)[2], -ends)
    some = torch.arange(8) < 5
    mixed = rooms.play(Walker(), 1, rooms.merge(some, down, held))[2]
    np.testing.assert_array_equal(mixed, np.where(some, -ends, ends))
