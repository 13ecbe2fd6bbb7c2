"""Suites: data that names what exists."""

import gymnasium
import pytest

import envs
import evaluate
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


def test_suites_cannot_be_changed() -> None:
    assert len({*SUITES.values()}) == len(SUITES)  # what has a hash is immutable all through
    with pytest.raises(TypeError):
        SUITES["mine"] = SUITES["smoke"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        SUITES["smoke"].episodes = 1  # type: ignore[misc]


def test_every_suite_of_the_plan_is_there() -> None:
    assert set(SUITES) == {
        "recall", "horizon", "rewrite", "labyrinth", "keydoor", "routes", "atlas", "treasure", "detour",
        "minigrid-memory", "minigrid-explore", "shuffled", "smoke", "all",
    }  # fmt: skip


def test_smoke_has_a_world_of_each_family() -> None:
    worlds = {type(envs.make(env_id).unwrapped) for env_id in SUITES["smoke"].env_ids}
    assert {family.world for family in envs.FAMILIES} <= worlds


@pytest.mark.parametrize("suite", [s for s in SUITES.values() if s.metrics and s.name not in ("all", "smoke")])
def test_the_worlds_of_a_suite_tell_what_its_scores_need(suite: envs.suites.Suite) -> None:
    for name in suite.metrics:
        worlds = [envs.make(env_id) for env_id in suite.env_ids]
        assert all(set(world.trace()) >= set(SCORES[name].needs) for world in worlds)


def test_scores_follow_the_kind_of_world() -> None:
    assert metrics("DarkKeyDoor-9-v0") == ("doors",)  # not in any suite, but of their kind
    assert metrics("Recall-N8-D0-v0") == metrics("CartPole-v1") == ()


def test_a_suite_is_played_as_the_pages_say(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--suite", "routes", "--agent", "wall-follower", "--lives", "1", "--env-kwargs", "size=7", "trials=2"]
    assert evaluate.main(words) == 0
    out = capsys.readouterr().out
    for env_id in SUITES["routes"].env_ids:  # one table each, on its side: floor and ceiling beside the agent
        table = out.split(f"{env_id}\n", 1)[1].strip().split("\n\n")[0]
        head, *lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
        assert head == ["", "wall-follower", "random", "oracle"]
        assert {"success", "return", "spl_1", "spl_2", "spl_later", "regret", "worst 10 %"} <= {
            line[0] for line in lines
        }
    assert "Worst 10 %: mean success of the worst tenth of all episodes." in out


def test_references_are_printed_with_their_sources() -> None:
    text = references(SUITES["labyrinth"].references)
    assert text.count("eLife 10:e66175") == len(SUITES["labyrinth"].references) > 3
    assert references(()) == ""
