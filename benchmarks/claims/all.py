"""Test the claims and write docs/claims.md: `make claims`, or `python benchmarks/claims/all.py [NAME ...]` for some."""

from __future__ import annotations

import datetime
import importlib
import os
import re
import sys
from pathlib import Path

from laboratory import page

CLAIMS = (
    "contexts", "memory", "mixing", "random_data", "mazes", "rewiring", "search", "growth", "explained", "swapped",
)  # fmt: skip
DOCS = Path(__file__).parents[2] / "docs" / "claims.md"
HEAD = """# The claims, each with a test that could have failed

Written by `make claims` (two shared cores of an AMD EPYC, no GPU; on 2026-11-26 where a section says no other date).
Each section is one script in [benchmarks/claims](../benchmarks/claims), with its kill rule written into it. A claim
holds if the 95 % bootstrap interval of its margin lies above 0, fails if it lies below, and is undecided otherwise.
Seeds 100 to 119, of mazes forty lives of seed 100; brackets are intervals over these. Superposed agents trained for a
claim keep their controller (`controller_dropout` 0). Claims on streams
are of before 2026-11-28, when the later parts of a stream could repeat those of a neighbouring seed. What the claims
add up to: [idea.md](idea.md).

"""


def written(text: str) -> dict[str, str]:
    """The sections of docs/claims.md by their names."""
    parts = re.split(r"^## (\w+): ", text, flags=re.MULTILINE)
    return {name: f"## {name}: {body.rstrip()}\n" for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def main(names: list[str]) -> None:
    if unknown := sorted(set(names) - set(CLAIMS)):
        sys.exit(f"No claim named {', '.join(unknown)}. Choose from: {', '.join(CLAIMS)}.")
    sections = written(DOCS.read_text())  # what is not tested again stays as it was
    for name in names or CLAIMS:
        start = sum(os.times()[:4])  # with the processes that it starts
        section = page(name, importlib.import_module(name).run())
        spent = f"{sum(os.times()[:4]) - start:.0f} CPU seconds"
        sections[name] = f"{section}\nMeasured on {datetime.date.today()}, {spent}.\n"
        print(sections[name], flush=True)
        known = [sections[claim] for claim in CLAIMS if claim in sections]
        DOCS.write_text(HEAD + "\n".join(known))  # after each, so that an interrupted run leaves what it found


if __name__ == "__main__":
    main(sys.argv[1:])
