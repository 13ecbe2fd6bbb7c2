"""The page of the labyrinth and the log of a life, as users ask for them."""

from pathlib import Path

import pytest

import evaluate

pytest.importorskip("matplotlib")


def test_page_shows_agents_beside_mice_and_walks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, log = tmp_path / "labyrinth.html", tmp_path / "lives"
    flags = ["--agent", "lifetime-table", "--suite", "labyrinth", "--lives", "2", "--seed", "100", "--no-bounds"]
    argv = [*flags, "--env-kwargs", "life=600", "--report", str(page), "--tensorboard-log", str(log)]
    assert evaluate.main(argv) == 0
    text = page.read_text()
    for name in ("19 mice", "lifetime-table, Labyrinth-v0", "random, Labyrinth-v0", "four-bias", "oracle"):
        assert name in text
    assert ", never in " in text, "nobody is steady after 600 steps of a random walk"
    assert 'src="http' not in text and "<link" not in text and "<script" not in text, "self-contained"
    assert {file.name for file in (tmp_path / "labyrinth_files").iterdir()} == {
        f"{name}.{kind}" for name in ("run-length", "new-ends") for kind in ("png", "csv")
    }
    assert list(log.glob("*/lifetime-table/events.out.*"))
    assert "| late" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    flags = ["--agent", "random", "--suite", "labyrinth", "--lives", "1", "--no-bounds", "--env-kwargs", "life=20"]
    with pytest.raises(ValueError, match="cannot write"):
        evaluate.main([*flags, "--report", str(tmp_path / "file" / "page.html")])
