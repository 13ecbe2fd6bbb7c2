"""Suites: which environments, how many episodes, and the published scores to stand beside. Immutable data."""

from __future__ import annotations

from typing import NamedTuple


class Reference(NamedTuple):
    """A published score; `env_id` is the nearest environment here, `note` says what differs."""

    env_id: str
    agent: str
    success: float
    source: str
    note: str


class Suite(NamedTuple):
    """A list of environments that belong together."""

    name: str
    about: str
    env_ids: tuple[str, ...]
    tags: tuple[str, ...]
    episodes: int
    """Per environment, to evaluate with."""
    references: tuple[Reference, ...] = ()


_RECALL = Suite(
    "recall",
    "How many arbitrary pairs are kept across a noisy corridor. Train on RecallMix.",
    tuple(f"Recall-N{n}-D16-v0" for n in (8, 16, 32, 64, 128)),
    ("capacity", "content"),
    256,
)
_HORIZON = Suite(
    "horizon",
    "How long eight cue bits survive distractors that look like cues. Train on NoisyTMaze-M8-Max50.",
    tuple(f"NoisyTMaze-M8-L{length}-v0" for length in (100, 1_000, 10_000, 100_000, 1_000_000)),
    ("retention", "noise"),
    16,
    (
        Reference("NoisyTMaze-M8-L1000-v0", "online RL, transformer", 1.0, "Ni et al. 2023, arXiv 2307.03864",
                  "one bit, no noise, longest corridor solved 1,500 steps"),
        Reference("NoisyTMaze-M8-L10000-v0", "AMAGO", 1.0, "Grigsby et al. 2024, arXiv 2310.09971",
                  "one bit, no noise, with an exploration hint, longest corridor solved 10,000 steps"),
        Reference("NoisyTMaze-M8-L1000000-v0", "ELMUR", 1.0, "Cherepanov et al. 2025, arXiv 2510.07151",
                  "one bit, no noise, imitation of an expert, longest corridor solved 1,000,000 steps"),
    ),
)  # fmt: skip
_REWRITE = Suite(
    "rewrite",
    "Whether the newest cue replaces all the older ones.",
    tuple(f"EndlessTMaze-{kind}-L{n}-C10-v0" for kind in ("Fixed", "Uniform") for n in (10, 50, 100)),
    ("rewriting",),
    128,
    (
        Reference("EndlessTMaze-Uniform-L10-C10-v0", "ALER", 0.82,
                  "Shchendrigin et al. 2026, arXiv 2601.15086",
                  "the least of its 16 configurations of length and number of corridors"),
    ),
)  # fmt: skip
_MINIGRID_MEMORY = Suite(
    "minigrid-memory",
    "MiniGrid's memory task: match at the end of a hallway what was seen at its beginning.",
    tuple(f"MiniGrid-Memory{size}-v0" for size in ("S7", "S9", "S11", "S13", "S17Random")),
    ("retention", "exploration", "vision"),
    256,
)
_SMOKE = Suite(
    "smoke",
    "One small environment of each family: does everything run?",
    (
        "RecallMix-N8-D16-v0",
        "TMaze-L10-v0",
        "NoisyTMaze-M4-Max10-v0",
        "EndlessTMaze-Uniform-L10-C10-v0",
        "MiniGrid-MemoryS7-v0",
    ),
    ("smoke",),
    16,
)
_FULL = (_RECALL, _HORIZON, _REWRITE, _MINIGRID_MEMORY)
_ALL = Suite(
    "all",
    "Every suite but smoke.",
    tuple(env_id for suite in _FULL for env_id in suite.env_ids),
    tuple(sorted({tag for suite in _FULL for tag in suite.tags})),
    64,
    tuple(reference for suite in _FULL for reference in suite.references),
)

SUITES: dict[str, Suite] = {suite.name: suite for suite in (*_FULL, _SMOKE, _ALL)}
