"""docs/add-a-world.md is true to the letter: followed in a copy of the repository, it yields a world that passes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "add-a-world.md").read_text()


def code_of(heading: str) -> str:
    """The first Python block under a heading."""
    section = PAGE.split(f"\n## {heading}", 1)[1]
    return section.split("```python\n", 1)[1].split("```", 1)[0]


def add_rows(file: Path, block: str) -> None:
    """Do to a file what a block with a name, dots and new rows says; its imports go above the first one of envs."""
    text = file.read_text()
    imports = "".join(re.findall(r"^from .*\n", block, re.M))
    name, rows = re.findall(r"^(\w+) = \(\n    \.\.\.\n(.*?)^\)", block, re.M | re.S)[0]
    lines = text.splitlines(keepends=True)
    start = next(k for k, line in enumerate(lines) if re.match(rf"{name}\b.*\($", line.rstrip()))
    if name == "_SMOKE":  # a Suite, whose ids are its first tuple
        start = next(k for k in range(start, len(lines)) if lines[k].strip() == "(")
    indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
    end = next(k for k in range(start + 1, len(lines)) if lines[k].startswith(f"{indent})"))
    lines.insert(end, rows)
    first = next(k for k, line in enumerate(lines) if line.startswith("from envs"))
    lines.insert(first, imports)
    file.write_text("".join(lines))


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    for name in ("agents", "envs", "experiments", "tests"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("test_add_a_world.py", "__pycache__")
        )
    for name in ("pyproject.toml", "train.py", "evaluate.py"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "envs" / "echo.py").write_text(code_of("1."))
    add_rows(tmp_path / "envs" / "__init__.py", code_of("2."))
    add_rows(tmp_path / "envs" / "suites.py", code_of("3."))
    section = PAGE.split("## 4.", 1)[1]
    commands = section.split("```\n", 1)[1].split("```", 1)[0].strip().splitlines()
    assert len(commands) == 3
    for command in commands:
        words = re.findall(r'"[^"]*"|\S+', command)[1:]
        done = subprocess.run(
            [sys.executable, *(word.strip('"') for word in words)],
            cwd=tmp_path, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        if "pytest" in command:
            passed = re.search(r"(\d+) passed", done.stdout)
            assert passed and int(passed[1]) > 15 and "skipped" not in done.stdout
    assert (tmp_path / "runs" / "Echo-K1-v0" / "gru" / "seed0" / "result.json").exists()
