"""Suites: data that names what exists."""

import gymnasium
import pytest

import envs
from envs.suites import SUITES, metrics
from experiments.scores import SCORES
from experiments.tables import references


def test_suites_name_environments_and_scores_that_exist() -> None:
    import minigrid  # noqa: F401 - registers its ids

    for name, suite in SUITES.items():
        assert suite.name == name and suite.env_ids and suite.episodes > 0 and suite.tags and suite.about
        assert {reference.env_id for reference in suite.references} <= set(suite.env_ids)
        assert set(suite.metrics) <= set(SCORES)
        assert all(reference.source and reference.note for reference in suite.references)
        for env_id in suite.env_ids:
            assert env_id in envs.ids() or env_id in gymnasium.registry


def test_every_suite_of_the_plan_is_there() -> None:
    assert set(SUITES) == {
        "recall", "horizon", "rewrite", "labyrinth", "keydoor", "routes", "atlas", "treasure", "detour",
        "minigrid-memory", "minigrid-explore", "smoke", "all",
    }  # fmt: skip


def test_smoke_has_a_world_of_each_family() -> None:
    worlds = {type(envs.make(env_id).unwrapped) for env_id in SUITES["smoke"].env_ids}
    assert {family.world for family in envs.FAMILIES} <= worlds


@pytest.mark.parametrize("suite", [suite for suite in SUITES.values() if suite.metrics and suite.name != "all"])
def test_the_worlds_of_a_suite_tell_what_its_scores_need(suite: envs.suites.Suite) -> None:
    for name in suite.metrics:
        worlds = [envs.make(env_id) for env_id in suite.env_ids]
        assert any(set(world.trace()) >= set(SCORES[name].needs) for world in worlds)


def test_scores_follow_the_kind_of_world() -> None:
    assert metrics("DarkKeyDoor-9-v0") == ("doors",)  # not in any suite, but of their kind
    assert metrics("Recall-N8-D0-v0") == metrics("CartPole-v1") == ()


def test_references_are_printed_with_their_sources() -> None:
    text = references(SUITES["labyrinth"].references)
    assert text.count("eLife 10:e66175") == len(SUITES["labyrinth"].references) > 3
    assert references(()) == ""
