"""Test the claims and write docs/claims.md: `make claims`, or `python benchmarks/claims/all.py [NAME ...]` for some."""

from __future__ import annotations

import importlib
import re
import sys
import time
from pathlib import Path

from laboratory import page

CLAIMS = (
    "contexts", "memory", "mixing", "random_data", "mazes", "rewiring", "search", "growth", "explained",
)  # fmt: skip
DOCS = Path(__file__).parents[2] / "docs" / "claims.md"
HEAD = """# The claims, each with a test that could have failed

Written by `make claims` (2026-11-22; contexts, mazes, rewiring, search, growth, explained 2026-11-26; two shared cores
of an AMD EPYC, no GPU). Each section is one script in [benchmarks/claims](../benchmarks/claims), with its kill rule
written into it. A claim holds if the 95 % bootstrap interval of its margin lies above 0, fails if it lies below, and is
undecided otherwise. Seeds 100 to 119, of mazes forty lives of seed 100; brackets are intervals over these. What
the claims add up to: [idea.md](idea.md).

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
        start = time.process_time()
        sections[name] = page(name, importlib.import_module(name).run())
        print(f"{sections[name]}\n({name}: {time.process_time() - start:.0f} CPU seconds)\n", flush=True)
        known = [sections[claim] for claim in CLAIMS if claim in sections]
        DOCS.write_text(HEAD + "\n".join(known))  # after each, so that an interrupted run leaves what it found


if __name__ == "__main__":
    main(sys.argv[1:])
