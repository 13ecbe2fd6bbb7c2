"""Test every claim and write docs/claims.md: `make claims`, or `python benchmarks/claims/all.py`."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

from laboratory import page

CLAIMS = ("contexts", "memory", "mixing", "random_data")
DOCS = Path(__file__).parents[2] / "docs" / "claims.md"
HEAD = """# The claims, each with a test that could have failed

Written by `make claims` (2026-11-22, 2 shared cores). Each section is one script in
[benchmarks/claims](../benchmarks/claims), with its kill rule written into it. A claim holds if the 95 % bootstrap
interval of its margin lies above 0, fails if it lies below, and is undecided otherwise. Seeds 100 to 119; brackets are
intervals over seeds. What the claims add up to: [idea.md](idea.md).

"""


def main() -> None:
    sections = []
    for name in CLAIMS:
        start = time.process_time()
        sections.append(page(name, importlib.import_module(name).run()))
        print(f"{sections[-1]}\n({name}: {time.process_time() - start:.0f} CPU seconds)\n", flush=True)
        DOCS.write_text(HEAD + "\n".join(sections))  # after each, so that an interrupted run leaves what it found


if __name__ == "__main__":
    main()
