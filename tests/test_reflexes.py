"""Agents that need no training: which worlds they play, how well, and through which door."""

import json

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

import agents
import envs
import evaluate
import train
from agents.reflexes import valid_actions
from envs.grid_world import GridWorld
from envs.maze_view import WALL
from envs.oracle import has_oracle
from envs.vec import WorldVecEnv
from envs.world import row
from experiments import bounds
from experiments.compare import Settings, play

FAMILY_IDS = [family.ids()[0] for family in envs.FAMILIES]
MINIGRID = "MiniGrid-DoorKey-5x5-v0"


def actions_of(name: str, env_id: str, batch: int, steps: int = 60) -> np.ndarray:
    """What a reflex does in the first steps, (steps, B)."""
    world = envs.make(env_id, batch)
    agent = agents.make(name, world, seed=3)
    obs, state, starts = world.reset(5), None, np.ones(batch, bool)
    taken = []
    for _ in range(steps):
        actions, state = agent.predict(obs, state, starts)
        taken.append(actions.copy())
        out = world.step(actions)
        obs, starts = out.obs, out.terminated | out.truncated
    return np.array(taken)


@pytest.mark.parametrize("env_id", [*FAMILY_IDS, MINIGRID])
def test_random_plays_everywhere_and_so_does_the_oracle_of_every_family(env_id: str) -> None:
    world = envs.make(env_id, 2)
    fits = {name for name, forms in agents.REFLEXES.items() if any(form.fits(world) for form in forms)}
    assert "random" in fits and ("oracle" in fits) == has_oracle(world) == (env_id != MINIGRID)
    for name in fits:
        batch = 4 if name == "oracle" else 3
        taken = actions_of(name, env_id, batch)
        assert isinstance(world.action_space, gymnasium.spaces.Discrete)
        assert taken.shape == (60, batch) and taken.min() >= 0 and taken.max() < world.action_space.n
        if env_id != MINIGRID:  # environment i and its agent depend on (seed, i) only
            np.testing.assert_array_equal(actions_of(name, env_id, 2), taken[:, :2])


@pytest.mark.parametrize("env_id", ["TMaze-L10-v0", "DarkKeyDoor-8-v0", "BraidedMaze-11-v0", "Labyrinth-Depth4-v0"])
def test_random_lies_below_the_oracle(env_id: str) -> None:
    settings = Settings(episodes=8, env_kwargs={"life": 400} if "Lab" in env_id or "Dark" in env_id else {})
    floor, ceiling = (play(name, env_id, settings, {}).episodes for name in ("random", "oracle"))
    assert floor.mean_success < 0.7 and ceiling.mean_success > 0.95


def test_random_takes_valid_actions_only() -> None:
    world = envs.make("Labyrinth-Depth4-v0", 16)
    agent = agents.make("random", world)
    obs = world.reset(0)
    for _ in range(200):
        valid = valid_actions(world)
        actions, _ = agent.predict(obs)
        assert valid[np.arange(16), actions].all()
        obs = world.step(actions).obs
    assert not valid_actions(world).all()


def test_keep_moving_never_takes_a_move_back() -> None:
    taken = actions_of("never-reverse", "DarkKeyDoor-8-v0", 8)
    assert ((taken[1:] - taken[:-1]) % 4 != 2).all() and set(np.unique(taken)) == {0, 1, 2, 3}


def test_keep_walking_turns_about_in_dead_ends_only() -> None:
    world = envs.make("BraidedMaze-11-v0", 8)
    assert isinstance(world, GridWorld)
    agent = agents.make("never-reverse", world)
    obs, state, starts, before, turned = world.reset(0), None, np.ones(8, bool), np.full((8, 2), -1), 0
    for _ in range(300):
        actions, state = agent.predict(obs, state, starts)
        at, kinds = world.places(world.position), [world.cells(i) & 15 for i in range(8)]
        out = world.step(actions)
        now, moved = world.places(world.position), actions == 2
        assert isinstance(out.obs, dict)
        over = (np.asarray(out.obs["new_trial"]) > 0) | out.terminated | out.truncated
        for i in np.flatnonzero(moved & ~over & (now == before).all(1)).tolist():
            (x, y), walls = at[i], kinds[i]
            exits = sum(int(walls[y + j, x + k] != WALL) for j, k in ((0, 1), (0, -1), (1, 0), (-1, 0)))
            assert exits == 1, f"turned about at {at[i]}, which has {exits} ways out"
            turned += 1
        before[moved], before[over] = at[moved], -1
        obs, starts = out.obs, out.terminated | out.truncated
    assert turned > 10


def test_a_reflex_says_where_it_can_play() -> None:
    with pytest.raises(ValueError, match="never-reverse does not play Recall; reflexes that do: random, oracle"):
        agents.make("never-reverse", "Recall-N8-D0-v0")


def test_stable_baselines_evaluates_reflexes() -> None:
    world = envs.make("Recall-N8-D0-v0", 4)
    mean, _ = evaluate_policy(agents.make("oracle", world), WorldVecEnv(world), n_eval_episodes=8)
    assert mean == 8.0


def test_a_reflex_takes_what_its_world_shows() -> None:
    one, four = envs.make("DarkKeyDoor-4-v0", 1), envs.make("DarkKeyDoor-4-v0", 4)
    actions, _ = agents.make("never-reverse", one).predict(row(one.reset(0), 0))
    assert actions.shape == ()
    agent, obs = agents.make("never-reverse", four), four.reset(0)
    with pytest.raises(ValueError, match="a world of 4 environments, got observations of 3 and a state of 4"):
        agent.predict(np.asarray(obs)[:3])
    with pytest.raises(ValueError, match="observations of 4 and a state of 1: pass the world itself"):
        agent.predict(obs, agents.make("never-reverse", one).initial_state())


def test_the_door_takes_reflexes_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--agent", "never-reverse", "--env", "DarkKeyDoor-8-v0", "--env-kwargs", "life=500", "--lives", "4"]
    assert evaluate.main([*words, "--table", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["agent"] for row in rows] == ["never-reverse", "random", "oracle"]
    assert rows[0]["doors_1"]["episodes"] == 4 and rows[2]["doors_1"]["mean"] > rows[0]["doors_1"]["mean"]
    for words, message in (
        (["--agent", "gru", "--env", "TMaze-L10-v0"], "gru has to be trained: python train.py --agent gru"),
        (["--agent", "randm", "--env", "TMaze-L10-v0"], "Did you mean 'random'"),
        (["--agent", "random"], "nothing to evaluate"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate.main(words)
    with pytest.raises(ValueError, match=r"random needs no training: python evaluate\.py --agent random"):
        train.main(["--agent", "random", "--env", "TMaze-L10-v0"])


def test_floor_and_ceiling_are_played_once(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(episodes=5, seed=77)
    first = bounds.bounds("Recall-N8-D0-v0", settings)
    assert capsys.readouterr().err.split() == ["random", "on", "Recall-N8-D0-v0", "oracle", "on", "Recall-N8-D0-v0"]
    again = bounds.bounds("Recall-N8-D0-v0", settings)
    assert not capsys.readouterr().err
    for a, b in zip(first, again, strict=True):
        assert a.row == b.row
        np.testing.assert_array_equal(a.episodes.success, b.episodes.success)
    assert [entry.row["agent"] for entry in bounds.bounds("Recall-N8-D0-v0", settings, but=("random",))] == ["oracle"]


def test_where_no_oracle_is_known_success_says_what_the_ceiling_is() -> None:
    floor, ceiling = bounds.bounds(MINIGRID, Settings(episodes=2))
    assert ceiling.row["agent"] == "optimum (by definition)" and ceiling.episodes.mean_success == 1.0
    assert floor.row["agent"] == "random"
    assert [entry.row["agent"] for entry in bounds.bounds("CartPole-v1", Settings(episodes=2))] == ["random"]


def test_a_world_that_an_agent_does_not_play_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--agent", "wall-follower", "--lives", "1", "--no-bounds", "--table", "json", "--env"]
    assert evaluate.main([*words, "TMaze-L10-v0", "BraidedMaze-11-v0"]) == 0
    out, err = capsys.readouterr()
    assert [row["env"] for row in json.loads(out)] == ["BraidedMaze-11-v0"] and "left out: wall-follower" in err
    with pytest.raises(ValueError, match="reflexes that do: random, oracle"):
        evaluate.main([*words, "TMaze-L10-v0"])
