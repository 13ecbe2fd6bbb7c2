"""Maze reflexes: where each of them must succeed, where it must fail, and how near the optimum it comes."""

import numpy as np
import pytest

import agents
from agents.maze_reflexes import GreedyMap, KnownMap, Tremaux, WallFollower
from envs.maze import Maze
from envs.maze_view import EMPTY, FLOOR, GOAL, GREEN_GOAL, GREY_WALL, PAD
from envs.treasure import Treasure

SEED = 100


def play(name: str, world: Maze) -> tuple[np.ndarray, np.ndarray]:
    """Play one life in every environment; SPL and whether the goal was reached, (B, trials) each."""
    agent, obs = agents.make(name, world), world.reset(SEED)
    spl, reached = (np.full((world.num_envs, world.trials), np.nan) for _ in range(2))
    state, starts = None, np.ones(world.num_envs, bool)
    while np.isnan(spl).any():
        actions, state = agent.predict(obs, state, starts)
        out = world.step(actions)
        obs, starts, trace = out.obs, out.terminated | out.truncated, world.trace()
        for i in np.flatnonzero(trace["over"] & np.isnan(spl[np.arange(world.num_envs), trace["trial"]])).tolist():
            reached[i, trace["trial"][i]] = trace["reached"][i]
            spl[i, trace["trial"][i]] = trace["reached"][i] * trace["optimum"][i] / trace["steps"][i]
    return spl, reached


def test_a_hand_on_the_wall_reaches_every_goal_of_a_perfect_maze_only() -> None:
    _, perfect = play("wall-follower", Maze(32, 51, trials=2, opened=0.0))
    _, braided = play("wall-follower", Maze(32, 51, trials=2))
    assert perfect.mean() == 1.0
    assert braided.mean() < 0.4


@pytest.mark.parametrize("generator", ["kruskal", "depth-first"])
def test_depth_first_search_reaches_every_goal_and_learns_nothing(generator: str) -> None:
    spl, reached = play("tremaux", Maze(48, 21, generator=generator))
    assert reached.all()
    assert abs(spl[:, 0].mean() - spl[:, 1:].mean()) < 0.15
    assert 0.1 < spl.mean() < 0.55


def test_a_map_pays_in_later_trials() -> None:
    spl, reached = play("greedy-map", Maze(48, 21))
    assert reached.all()
    assert 0.5 < spl[:, 0].mean() < 0.8 < 0.93 < spl[:, 2:].mean() <= 1.0


def test_who_knows_the_maze_searches_better_and_knows_the_goal_afterwards() -> None:
    spl, reached = play("known-map", Maze(16, 11, trials=2))
    assert reached.all() and (spl[:, 1] == 1.0).all() and spl[:, 0].mean() < 0.95
    known, greedy = (play(name, Maze(12, 41, trials=1))[0].mean() for name in ("known-map", "greedy-map"))
    assert greedy + 0.02 < known < 0.7


def test_who_knows_the_maze_does_not_know_the_goal() -> None:
    """Until the goal is in view the way does not depend on where it is."""
    worlds = Maze(1, 21), Maze(1, 21)
    views = [world.reset(SEED) for world in worlds]
    moved = worlds[1].state()
    goal, cells = moved["ints"][2, 0], moved["memory"][0]
    elsewhere = PAD * (worlds[1].width + 1) + worlds[1].width + 1  # the first room
    cells[goal], cells[elsewhere], moved["ints"][2, 0] = EMPTY, GREEN_GOAL, elsewhere
    views[1] = worlds[1].load_state(moved)
    players, states = [KnownMap(world) for world in worlds], [KnownMap(world).initial_state() for world in worlds]
    steps = 0
    while True:
        actions = [player.predict(view, state)[0] for player, view, state in zip(players, views, states, strict=True)]
        if any(found.any() for _, found in states):
            break
        np.testing.assert_array_equal(actions[0], actions[1])
        views = [world.step(action).obs for world, action in zip(worlds, actions, strict=True)]
        steps += 1
    assert goal != elsewhere and steps > 10


def test_reflexes_are_ordered() -> None:
    names = ("random", "wall-follower", "tremaux", "greedy-map", "oracle")
    scores = [float(play(name, Maze(48, 21, trials=3))[0].mean()) for name in names]
    assert scores == sorted(scores) and scores[-1] == 1.0


def test_actions_depend_on_the_environment_only() -> None:
    for name in ("wall-follower", "tremaux", "greedy-map", "known-map"):
        spl, _ = play(name, Maze(7, 11))
        alone, _ = play(name, Maze(1, 11))
        np.testing.assert_array_equal(spl[:1], alone)


def test_a_map_that_leads_nowhere_is_drawn_anew() -> None:
    """All cells known and no goal among them, though one is there: as after a change of maze."""
    world = Maze(1, 11)
    agent, obs = GreedyMap(world), world.reset(0)
    known = np.where(world.state()["memory"] & 15 == GOAL, EMPTY, world.state()["memory"]).astype(np.uint8)
    _, (drawn,) = agent.predict(obs, (known,), np.zeros(1, bool))
    seen = np.count_nonzero(drawn)
    assert 0 < seen < 40
    for _ in range(400):
        actions, _ = agent.predict(obs, (drawn,))
        obs = world.step(actions).obs
        if world.trace()["over"][0]:
            break
    assert world.trace()["reached"][0]


def test_memory_is_emptied_with_a_new_life() -> None:
    world = Maze(2, 11)
    for kind in (WallFollower, Tremaux, GreedyMap, KnownMap):
        agent, obs = kind(world), world.reset(0)
        fresh = [part.copy() for part in agent.predict(obs)[1]]
        dirty = tuple(np.full_like(part, 1) for part in agent.initial_state())
        _, state = agent.predict(obs, dirty, np.ones(2, bool))
        for a, b in zip(fresh, state, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_map_is_what_was_seen() -> None:
    world = Maze(8, 11)
    agent, obs = GreedyMap(world), world.reset(0)
    actions, state = agent.predict(obs)
    for _ in range(30):
        obs = world.step(actions).obs
        if world.trace()["over"].any():
            break
        actions, state = agent.predict(obs, state)
    truth, known = world.state()["memory"], state[0]
    assert ((known == truth) | (known == 0)).all() and (known != 0).sum() > 8 * 40
    inside = known.reshape(8, world.width, -1)[:, PAD:-PAD, PAD:-PAD]
    assert (known[known != 0] != GREY_WALL).any() and inside.any(axis=(1, 2)).all()


def test_an_object_stays_on_the_map_while_it_is_stood_on() -> None:
    world = Treasure(8, 9)
    agent, obs, starts = GreedyMap(world), world.reset(0), np.ones(8, np.bool_)
    state, stood = None, 0
    for _ in range(150):
        actions, state = agent.predict(obs, state, starts)
        here = world.state()["memory"][np.arange(8), world.position]
        on = here & 15 == FLOOR
        np.testing.assert_array_equal(state[0][np.arange(8), world.position][on], here[on])
        stood += int(on.sum())
        out = world.step(actions)
        obs, starts = out.obs, out.terminated | out.truncated
    assert stood > 20


def test_worlds_without_a_maze_are_refused() -> None:
    with pytest.raises(ValueError, match="tremaux does not play Recall"):
        agents.make("tremaux", "Recall-N8-D0-v0")
    assert WallFollower.fits(Maze(1, 11))
