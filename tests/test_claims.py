"""The claim scripts on a small scale: the capacity counts that docs/claims.md rests on."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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


def test_pages_are_taken_apart_by_name(claim: Any) -> None:
    sections = claim("all").written("# Head\n\n## one: holds\n\nbody\n\n## two: fails\n\nmore\n")
    assert sections == {"one": "## one: holds\n\nbody\n", "two": "## two: fails\n\nmore\n"}
    with pytest.raises(SystemExit, match="No claim named nonsense"):
        claim("all").main(["nonsense"])
