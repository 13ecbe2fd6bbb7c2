"""The lifetime agent: its keys, its two memories, its planner, and what it does in small worlds."""

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

import agents
import envs
from agents import lifetime, lifetime_memory
from agents.codes import empty_percept
from agents.lattice import Lattice, features, read, write
from agents.life import NO_PLAN, LifetimeConfig
from agents.situations import suppose
from agents.superposition import SuperposedMemory
from envs.world import row as row_of
from experiments import labyrinth_scores
from experiments.budget import bill

WIDTHS = (4, 4, 4, 4, 2, 1, 1, 4, 4, 4)


def expanded(lattice: Lattice, codes: np.ndarray) -> np.ndarray:
    out = np.empty((len(codes), lattice.dim), np.float32)
    for code, phi in zip(codes, out, strict=True):
        features(code, lattice.turns, lattice.wave(), phi)
    return out


def rows(count: int, seed: int = 0) -> np.ndarray:
    limits = [1 << width for width in WIDTHS]
    return np.random.default_rng(seed).integers(0, limits, (count, len(limits)))


def codes(count: int, x: int = -8) -> np.ndarray:
    return np.array([(x + i % 16, i // 16, 0, 0) for i in range(count)])


def play(agent: Any, world: envs.World, steps: int, seed: int = 100) -> tuple[dict[str, np.ndarray], Any]:
    """Traces stacked over time, and the state at the end."""
    obs, state, starts, traces = world.reset(seed), None, np.ones(world.num_envs, np.bool_), []
    for _ in range(steps):
        actions, state = agent.predict(obs, state, starts)
        out = world.step(actions)
        obs, starts = out.obs, out.terminated | out.truncated
        traces.append({name: np.array(part) for name, part in world.trace().items()} | {"reward": out.reward.copy()})
    return {name: np.stack([trace[name] for trace in traces]) for name in traces[0]}, state


# ---------------------------------------------------------------------------------------------------- keys and memory


def test_lattice_features_are_the_expansion_of_the_superposed_layer() -> None:
    lattice = Lattice(64, seed=3)
    some = np.array([(1, -2, 0, 5), (0, 0, 0, 0), (100, 7, 1, 0)])
    same = lattice(torch.as_tensor(some[None], dtype=torch.float32))[0]
    np.testing.assert_allclose(expanded(lattice, some), same.numpy(), atol=1e-4)


def test_a_larger_lattice_begins_with_the_smaller_one() -> None:
    np.testing.assert_array_equal(Lattice(64).turns, Lattice(256).turns[:, :32])


def test_keys_of_different_codes_are_nearly_orthogonal_everywhere_on_the_lattice() -> None:
    dim = 4096
    far = np.random.default_rng(0).integers(-100, 100, (60, 4))
    close = np.array([(x, y, f, c) for x in (0, 1) for y in (0, 1) for f in (0, 1) for c in (0, 1)])
    for some in (np.unique(far, axis=0), close):
        phi = expanded(Lattice(dim), some)
        gram = phi @ phi.T
        np.testing.assert_allclose(np.diag(gram), 1.0, rtol=1e-5)
        assert np.abs(gram - np.eye(len(some))).max() < 6 / np.sqrt(dim)


def test_the_compiled_delta_rule_is_that_of_the_superposed_memory() -> None:
    lattice, width = Lattice(32, seed=1), 5
    memory, matrix = SuperposedMemory(lattice), np.zeros((32, width), np.float32)
    m = torch.zeros(1, 1, width, 32)
    gate = torch.ones(1, 1)
    for step, code in enumerate(codes(6)):
        value = np.random.default_rng(step).standard_normal(width).astype(np.float32)
        phi, found = expanded(lattice, code[None])[0], np.empty(width, np.float32)
        read(matrix, phi, found)
        u = torch.as_tensor(code, dtype=torch.float32)[None, None]
        answer, m = memory.step(m, u, u, torch.as_tensor(value)[None, None], gate, gate)
        np.testing.assert_allclose(found, answer[0, 0].numpy(), atol=1e-4)
        write(matrix, phi, value - found)
    np.testing.assert_allclose(matrix.T, m[0, 0].numpy(), atol=1e-4)


@pytest.mark.parametrize("kind", ["superposed", "table"])
def test_memory_returns_what_was_recorded_and_knows_what_was_not(kind: str) -> None:
    if kind == "table":
        face, memory = lifetime_memory.table(WIDTHS, 1 << 16, 2)
    else:
        face, memory = lifetime_memory.superposed(WIDTHS, (20,), 1024, 1, 2, 0.3, 0.25, seed=0)
    for _ in range(2):
        for code, row in zip(codes(128), rows(128), strict=True):
            lifetime_memory.record(face, memory, 1, code, row)
    found = np.zeros(len(WIDTHS), np.int64)
    for code, row in zip(codes(128), rows(128), strict=True):
        assert lifetime_memory.recall(face, memory, 1, code, found)
        np.testing.assert_array_equal(found, row)
        assert not lifetime_memory.recall(face, memory, 0, code, found), "lives are separate"
    assert not any(lifetime_memory.recall(face, memory, 1, code, found) for code in codes(128, x=100))
    lifetime_memory.forget(memory, 1)
    assert not lifetime_memory.recall(face, memory, 1, codes(1)[0], found)


def test_a_bit_of_parity_over_the_whole_row_mends_what_noise_gets_wrong() -> None:
    wrong = []
    for guards in ((20,), (20, sum(WIDTHS))):
        face, memory = lifetime_memory.superposed(WIDTHS, guards, 1024, 1, 1, 0.6, 0.25, seed=0)
        for _ in range(4):
            for code, row in zip(codes(160), rows(160), strict=True):
                lifetime_memory.record(face, memory, 0, code, row)
        rng, clean, found, bad = np.random.default_rng(1), memory.matrix[0].copy(), np.zeros(len(WIDTHS), np.int64), 0
        for _ in range(5):
            memory.matrix[0] = clean + rng.normal(0, 0.33, clean.shape)
            for code, row in zip(codes(160), rows(160), strict=True):
                assert lifetime_memory.recall(face, memory, 0, code, found)
                bad += bool((found != row).any())
        wrong.append(bad)
    assert wrong[0] >= 10 and wrong[1] <= wrong[0] / 4, wrong


def test_rows_that_say_the_same_leave_no_ghost() -> None:
    face, memory = lifetime_memory.superposed(WIDTHS, (20,), 512, 1, 1, 0.3, 0.25, seed=0)
    row = rows(1)[0]
    for code in codes(128):
        lifetime_memory.record(face, memory, 0, code, row)
    found = np.zeros(len(WIDTHS), np.int64)
    ghosts = [lifetime_memory.recall(face, memory, 0, code, found) for code in codes(200, x=100)]
    assert sum(ghosts) <= 4


def test_tiles_keep_regions_apart() -> None:
    face, memory = lifetime_memory.superposed(WIDTHS, (20,), 1024, 4, 1, 0.3, 0.25, seed=0)
    lifetime_memory.record(face, memory, 0, np.array([0, 0, 0, 0]), rows(1)[0])
    used = np.abs(memory.matrix[0]).sum(1).reshape(4, 256).sum(1) > 0
    assert used.sum() == 1


def test_a_full_table_drops_what_was_used_longest_ago() -> None:
    slots = lifetime_memory.WAYS
    face, memory = lifetime_memory.table(WIDTHS, slots * 20, 1)
    assert memory.bytes == slots * 20
    for code, row in zip(codes(slots + 1), rows(slots + 1), strict=True):
        lifetime_memory.record(face, memory, 0, code, row)
    found = np.zeros(len(WIDTHS), np.int64)
    known = [lifetime_memory.recall(face, memory, 0, code, found) for code in codes(slots + 1)]
    assert known == [False] + [True] * slots


# ---------------------------------------------------------------------------------------------------- small worlds


@pytest.mark.parametrize("name", ["lifetime", "lifetime-table"])
def test_the_dark_room_is_searched_as_well_as_by_the_best_searcher(name: str) -> None:
    def doors(agent: str) -> np.ndarray:
        world = envs.make("DarkKeyDoor-4-Relayout200-v0", 4, life=600)
        return np.asarray(play(agents.make(agent, world), world, 600)[0]["door"].sum(0))

    assert doors(name).sum() >= 0.97 * doors("searcher").sum()


@pytest.mark.parametrize("variant", ["Bout", "Local-Bout", "Drift-Bout", "Noisy-Bout"])
def test_a_small_labyrinth_is_searched_once_and_water_is_fetched_straight_from_home(variant: str) -> None:
    world = envs.make(f"Labyrinth-{variant}-v0", 3, depth=4, life=700)
    traces, state = play(agents.make("lifetime", world), world, 690)
    lives = [
        labyrinth_scores.life(traces["node"][:, i], traces["reward"][:, i], traces["port"][0, i]) for i in range(3)
    ]
    for life in lives:
        found = labyrinth_scores.measures(life)
        assert found["ends_all"] <= 10, "eight ends"
        assert found["late"] == 1.0 and found["home_direct"] == 1.0
        assert found["R45"] <= 2
    assert state.memory.work[:, 0].max() < 60 * 690, "reads a decision are bounded"


def test_a_maze_is_learned_in_one_trial() -> None:
    world = envs.make("BraidedMaze-11-v0", 4, pose=True, trials=3)
    traces, _ = play(agents.make("lifetime", world), world, 300)
    over = np.flatnonzero(traces["over"][:, 0])[:3]
    assert traces["reached"][over, 0].all()
    assert (traces["optimum"][over, 0] / traces["steps"][over, 0])[1:].mean() > 0.6


def _taken(cells: dict[tuple[int, int], tuple[int, int, int, int]], goal: tuple[int, int], **settings: Any) -> int:
    """The direction taken at (0, 0), facing right, where of cells is known what lies right, down, left and up."""
    world = envs.make("BraidedMaze-11-v0", 1, pose=True)
    agent = agents.make("lifetime-table", world, **settings)
    assert isinstance(agent, lifetime.Lifetime)
    state, percept = agent.initial_state(1), empty_percept(1, len(cells), 4, 2)
    percept.learned[0], percept.heading[0], percept.wishes[0] = len(cells), 0, (1, 0)
    for n, (cell, steps) in enumerate(cells.items()):
        percept.codes[0, n, :2], percept.steps[0, n], percept.marks[0, n] = cell, steps, (-1, cell == goal)
    out = np.empty(1, np.int64)
    for _ in range(20):
        lifetime._decide(agent.face, agent.encoder.plan.body, state, agent.budget, percept, out)
    return int(out[0])


def test_a_goal_behind_is_turned_to_even_where_walking_on_and_back_counts_the_same() -> None:
    row = {(x, 0): (1, 0, 1, 0) for x in range(-4, 5)}
    assert _taken(row, (-4, 0)) == 2


def test_a_way_across_unknown_ground_goes_around_walls_that_were_seen() -> None:
    below = {(x, 1): (1, 0, 1, 0) for x in range(1, 4)}
    known = below | {(0, 1): (1, 0, 0, 1), (4, 1): (0, 0, 1, 1), (0, 0): (-1, 1, 0, 0), (4, 0): (0, 1, 0, 0)}
    assert _taken(known, (4, 0), optimism=1.0, across=False) == 0, "as the crow flies, through the wall"
    assert _taken(known, (4, 0), optimism=1.0, across=True) == 1


@njit
def _supposed(
    face: Any, body: Any, life: Any, budget: Any, code: np.ndarray, row: np.ndarray
) -> int:  # the planner's functions can be called from compiled code only
    return int(suppose(face, body, life, 0, budget, code, row))


@pytest.mark.parametrize(("across", "least"), [(True, 6), (False, 1)])
def test_across_unknown_ground_no_goal_is_nearer_than_in_a_straight_line(across: bool, least: int) -> None:
    agent = agents.make("lifetime-table", envs.make("BraidedMaze-11-v0", 1, pose=True), across=across)
    assert isinstance(agent, lifetime.Lifetime)
    state, body = agent.initial_state(1), agent.encoder.plan.body
    state.goal[0, 1] = 9, 0, 0, 0, 1
    here, row = np.array([3, 0, 0, 0]), np.ones(len(agent.face.widths), np.int64)
    lifetime_memory.record(agent.face, state.memory, 0, here, row)
    _supposed(agent.face, body, state, agent.budget, here, row)
    assert row[-2:].tolist() == [least, least], "the goal is six steps away, the memory says one"


def test_a_search_is_drawn_to_what_lies_across_the_middle_from_its_start() -> None:
    row = {(x, 0): (1, 0, 1, 0) for x in range(1, 5)} | {(0, 0): (1, 0, 0, -1)}
    nowhere = (-1, -1)
    assert _taken(row, nowhere, pull=0.0) == 3, "up, where nearest"
    assert _taken(row, nowhere, pull=0.5) == 0, "right, towards the middle (5, 5)"
    assert _taken(row, nowhere) == 0, "the default of a maze that tells the pose"


def test_without_a_pose_nothing_draws_a_search() -> None:
    worlds = [envs.make("BraidedMaze-11-v0", 1, pose=pose) for pose in (True, False)]
    told, untold = (agents.make("lifetime-table", world) for world in worlds)
    assert isinstance(told, lifetime.Lifetime) and isinstance(untold, lifetime.Lifetime)
    assert told.budget.pull > 0 and untold.budget.pull == 0


def test_without_pose_every_trial_of_a_maze_is_new_and_still_succeeds() -> None:
    world = envs.make("BraidedMaze-11-v0", 2, trials=2)
    agent = agents.make("lifetime-table", world)
    traces, state = play(agent, world, 250)
    assert (traces["reached"].sum(0) >= 2).all()
    assert (state.senses[:, 3] >= 1).all(), "the trial is part of where a place is"


@pytest.mark.parametrize("contexts", ["inferred", "oracle", "none", "told"])
def test_atlas_is_played_with_and_without_contexts(contexts: str) -> None:
    world = envs.make("Atlas-K2-v0", 2, trials=4, visits=2, size=7)
    traces, state = play(agents.make("lifetime-table", world, contexts=contexts), world, 300)
    assert (traces["reached"].sum(0) >= 8).all()
    assert state.memory.matrix.size == 0


def test_when_all_contexts_are_taken_they_are_written_over_in_turn() -> None:
    world = envs.make("Atlas-K6-v0", 2, trials=40, visits=4, size=7)
    agent = agents.make("lifetime-table", world, most_contexts=2)
    assert isinstance(agent, lifetime.Lifetime)
    _, state = play(agent, world, 1500)
    now, opened = state.senses[:, 4], state.senses[:, 5]
    assert opened.max() > 2 and agent.encoder.contexts(state) <= 2 and (now < 2).all()


# ---------------------------------------------------------------------------------------------------- as an agent


def test_a_life_does_not_depend_on_its_batch_and_starts_again_when_told() -> None:
    alone, together = (envs.make("Labyrinth-Depth4-v0", n, life=10_000) for n in (1, 3))
    one, _ = play(agents.make("lifetime", alone), alone, 200)
    three, state = play(agents.make("lifetime", together), together, 200)
    np.testing.assert_array_equal(one["node"][:, 0], three["node"][:, 0])
    agent = agents.make("lifetime", together)
    before = state.memory.matrix.copy()
    agent.predict(together.reset(100), state, np.array([True, False, False]))
    assert state.tally[0, 0] == 1 and state.tally[1, 0] > 200
    assert np.abs(state.memory.matrix[0]).sum() < np.abs(before[0]).sum()


def test_cost_is_within_its_budget_and_flat() -> None:
    world = envs.make("Labyrinth-v0", 2)
    agent = agents.make("lifetime", world)
    most = bill(agent).flops_per_step
    play(agent, world, 300)
    once = bill(agent).flops_per_step
    play(agent, world, 300)
    assert 0 < once == bill(agent).flops_per_step < most, "the same lives again cost the same"
    assert bill(agent).flops_per_step <= 5e6
    assert bill(agent).state_bytes <= 200 * 1024
    assert bill(agent).trained_parameters == 0


@pytest.mark.parametrize("name", ["endotaxis", "successor"])
def test_older_planners_find_water_in_a_small_labyrinth(name: str) -> None:
    world = envs.make("Labyrinth-Bout-v0", 2, depth=4, life=700)
    agent = agents.make(name, world)
    traces, _ = play(agent, world, 690)
    assert (traces["reward"].sum(0) >= 1).all()
    assert bill(agent).flops_per_step > 0


def test_vitals_and_picture_of_a_life() -> None:
    for name in ("lifetime", "lifetime-table", "endotaxis", "successor"):
        world = envs.make("Labyrinth-v0", 2, depth=4, prev_reward=True)
        agent = agents.make(name, world)
        _, state = play(agent, world, 60)
        vitals = agent.vitals(state)
        assert vitals["known_places"] >= (15 if name.startswith("lifetime") else 5) and vitals["contexts"] == 1
        assert 0 <= vitals["read_error"] < 0.3
        assert ("reads" in vitals) == name.startswith("lifetime")  # a zero would say that nothing is read
        assert agent.memory_image(state).dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "hp"),
    [("lifetime", {"ball": 0}), ("lifetime", {"queue": 0}), ("lifetime", {"backups": -1}),
     ("lifetime-table", {"most_contexts": 0}), ("endotaxis", {"places": 0}), ("endotaxis", {"sweeps": -1}),
     ("successor", {"epsilon": 2.0})],
)  # fmt: skip
def test_settings_that_compiled_code_could_not_bear_are_refused(name: str, hp: dict[str, Any]) -> None:
    ((setting, value),) = hp.items()
    with pytest.raises(ValueError, match=f"'{setting}' must be .*, got {value}"):
        agents.make(name, "Labyrinth-v0", **hp)


def test_words_are_of_those_there_are() -> None:
    with pytest.raises(ValueError, match="'memory' must be one of superposed, table, got 'tabel'"):
        agents.make("lifetime", "Labyrinth-v0", memory="tabel")


@pytest.mark.parametrize("name", ["lifetime", "endotaxis"])
def test_more_lives_than_the_agent_was_made_for_are_refused(name: str) -> None:
    many = envs.make("Labyrinth-v0", 16)
    with pytest.raises(ValueError, match="a world of 1 lives, got 16: pass the world itself"):
        agents.make(name, "Labyrinth-v0").predict(many.reset(0))


WORLDS = [
    "Labyrinth-Depth4-v0",
    "Labyrinth-Local-Bout-v0",
    "DarkKeyDoor-4-Relayout200-v0",
    "BraidedMaze-11-v0",
    "Atlas-S11-K2-v0",
]


def acted(agent: Any, world: envs.World, lives: slice, state: Any = None, single: bool = False) -> np.ndarray:
    """Actions of some lives over time, (T, B)."""
    obs, actions, taken = world.reset(5), np.zeros(world.num_envs, np.int64), []
    for _ in range(60):
        given = {k: v[lives] for k, v in obs.items()} if isinstance(obs, dict) else obs[lives]
        action, state = agent.predict(row_of(given, 0) if single else given, state)
        assert np.shape(action) == (() if single else (len(actions[lives]),))
        actions[lives] = action
        taken.append(actions[lives].copy())
        obs = world.step(actions).obs
    return np.array(taken)


@pytest.mark.parametrize("name", ["lifetime-table", "successor"])
@pytest.mark.parametrize("env_id", WORLDS)
def test_a_batch_may_be_one_observation_or_part_of_the_world(name: str, env_id: str) -> None:
    world, alone = envs.make(env_id, 3), envs.make(env_id, 1)
    all_of_them = acted(agents.make(name, world), world, slice(3))
    np.testing.assert_array_equal(acted(agents.make(name, world), world, slice(2))[:, 0], all_of_them[:, 0])
    one = acted(agents.make(name, alone), alone, slice(1), single=True)
    np.testing.assert_array_equal(one[:, 0], all_of_them[:, 0])


@pytest.mark.parametrize("name", ["lifetime-table", "endotaxis"])
@pytest.mark.parametrize("env_id", WORLDS)
def test_an_initial_state_is_an_empty_life(name: str, env_id: str) -> None:
    world = envs.make(env_id, 2)
    given, none = agents.make(name, world), agents.make(name, world)
    actions = acted(given, world, slice(2), given.initial_state(2))
    np.testing.assert_array_equal(actions, acted(none, world, slice(2)))
    assert given.stats() == none.stats()


@pytest.mark.parametrize("name", ["lifetime", "endotaxis"])
def test_a_state_of_other_lives_or_settings_is_refused(name: str) -> None:
    world = envs.make("Labyrinth-Depth4-v0", 4)
    agent, other = agents.make(name, world), agents.make(name, world, queue=7)
    for state, lives in ((agent.initial_state(2), 2), (other.initial_state(4), 4)):
        with pytest.raises(ValueError, match=f"one of {lives} lives, .* 4 are observed: begin with state=None"):
            agent.predict(world.reset(0), state)


def test_an_observation_of_another_world_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an observation has the shape \(4,\)"):
        agents.make("lifetime", "DarkKeyDoor-4-v0").predict(np.zeros((1, 5), np.float32))


def test_the_signal_of_endotaxis_does_not_diverge_in_an_open_room() -> None:
    world = envs.make("DarkKeyDoor-8-v0", 2, life=1_000)
    usual, lower = agents.make("endotaxis", world), agents.make("endotaxis", world, gamma=0.25)
    (doors, state), (doors_lower, _) = (play(agent, world, 600) for agent in (usual, lower))
    assert np.abs(state.signal).max() < 100
    np.testing.assert_array_equal(doors["door"], doors_lower["door"])


def test_an_agent_that_cannot_place_itself_plans_nothing() -> None:
    world = envs.make("Labyrinth-Depth4-v0", 2)
    agent = lifetime.build(LifetimeConfig(tolerance=-1.0), world)  # no guard is as near as that: nothing is known
    _, state = play(agent, world, 50)
    assert agent.vitals(state)["unplanned"] == 1 and (state.drive == NO_PLAN).all()
    with pytest.raises(ValueError, match="'tolerance' must be at least 0, got -1"):
        agents.make("lifetime", world, tolerance=-1.0)


def test_gamma_of_a_training_is_not_that_of_a_life() -> None:
    assert agents.make("endotaxis", "Labyrinth-Depth4-v0").config.gamma == 0.3


def test_what_was_forgotten_is_not_known() -> None:
    world = envs.make("DarkKeyDoor-4-Relayout200-v0", 4, life=1_200)
    agent = agents.make("lifetime-table", world)
    _, state = play(agent, world, 1_190)
    assert agent.vitals(state)["known_places"] <= 32  # of 16 cells, with and without the key


def test_faults_are_named() -> None:
    with pytest.raises(ValueError, match="no codes for Recall, only for Labyrinth"):
        agents.make("lifetime", "Recall-N8-D16-v0")
    with pytest.raises(ValueError, match="at least 160 bytes, got 10"):
        agents.make("lifetime-table", "Labyrinth-v0", bytes=10)
    with pytest.raises(ValueError, match=r"--hp\.ball must be at least 4 here, a place and its neighbours, got 3"):
        agents.make("lifetime", "Labyrinth-v0", ball=3)
    with pytest.raises(ValueError, match="multiple of 2 here"):
        agents.make("lifetime", "Labyrinth-v0", dim=7)
