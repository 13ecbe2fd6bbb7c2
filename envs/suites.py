"""Suites: which environments, how many episodes, which scores, and what was published. Immutable data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from envs import family_of


class Reference(NamedTuple):
    """A published score; `env_id` is the nearest environment here, `note` says what differs."""

    env_id: str
    agent: str
    value: float
    source: str
    note: str
    metric: str = "success"


class Suite(NamedTuple):
    """A list of environments that belong together."""

    name: str
    about: str
    env_ids: tuple[str, ...]
    tags: tuple[str, ...]
    episodes: int
    """Per environment, to evaluate with."""
    metrics: tuple[str, ...] = ()
    """Names in experiments.scores.SCORES, beside success and return."""
    references: tuple[Reference, ...] = ()
    train_on: tuple[str, ...] = ()
    """What `train.py --suite` trains on; empty for the environments themselves."""


_RECALL = Suite(
    "recall",
    "How many arbitrary pairs are kept across a noisy corridor. Train on RecallMix.",
    tuple(f"Recall-N{n}-D16-v0" for n in (8, 16, 32, 64, 128)),
    ("capacity", "content"),
    256,
    train_on=("RecallMix-N64-D16-v0",),
)
_HORIZON = Suite(
    "horizon",
    "How long eight cue bits survive distractors that look like cues. Train on NoisyTMaze-M8-Max50.",
    tuple(f"NoisyTMaze-M8-L{length}-v0" for length in (100, 1_000, 10_000, 100_000, 1_000_000)),
    ("retention", "noise"),
    16,
    references=(
        Reference("NoisyTMaze-M8-L1000-v0", "online RL, transformer", 1.0, "Ni et al. 2023, arXiv 2307.03864",
                  "one bit, no noise, longest corridor solved 1,500 steps"),
        Reference("NoisyTMaze-M8-L10000-v0", "AMAGO", 1.0, "Grigsby et al. 2024, arXiv 2310.09971",
                  "one bit, no noise, with an exploration hint, longest corridor solved 10,000 steps"),
        Reference("NoisyTMaze-M8-L1000000-v0", "ELMUR", 1.0, "Cherepanov et al. 2025, arXiv 2510.07151",
                  "one bit, no noise, imitation of an expert, longest corridor solved 1,000,000 steps"),
    ),
    train_on=("NoisyTMaze-M8-Max50-v0",),
)  # fmt: skip
_REWRITE = Suite(
    "rewrite",
    "Whether the newest cue replaces all the older ones.",
    tuple(f"EndlessTMaze-{kind}-L{n}-C10-v0" for kind in ("Fixed", "Uniform") for n in (10, 50, 100)),
    ("rewriting",),
    128,
    references=(
        Reference("EndlessTMaze-Uniform-L10-C10-v0", "ALER", 0.82,
                  "Shchendrigin et al. 2026, arXiv 2601.15086",
                  "the least of its 16 configurations of length and number of corridors"),
    ),
    train_on=("EndlessTMaze-Uniform-L50-C10-v0",),
)  # fmt: skip
_SHUFFLED = Suite(
    "shuffled",
    "Tasks that contradict each other, one after the other: train.py --stream shuffled.",
    tuple(f"ShuffledTMaze-K{task}-M1-Max10-v0" for task in range(6, 10)),
    ("continual",),
    128,
)
_MICE = "Rosenberg et al. 2021, eLife 10:e66175"
_LABYRINTH = Suite(
    "labyrinth",
    "The maze of the mice, one unbroken life: search, a route learned at once, the way home.",
    ("Labyrinth-v0", "Labyrinth-Bout-v0", "Labyrinth-Local-v0", "Labyrinth-Drift-v0", "Labyrinth-Noisy-v0"),
    ("exploration", "navigation", "lifetime"),
    100,
    ("labyrinth",),
    (
        Reference("Labyrinth-v0", "19 mice", 0.393, _MICE, "read off their sequences; range 0.32-0.50", "E"),
        Reference("Labyrinth-v0", "10 rewarded mice", 27, _MICE, "median; range 5-42", "R45"),
        Reference("Labyrinth-v0", "10 rewarded mice", 0.73, _MICE, "mean; median 0.81", "late"),
        Reference("Labyrinth-v0", "10 rewarded mice", 224, _MICE, "median", "first_arrival"),
        Reference("Labyrinth-v0", "19 mice", 0.74, _MICE, "14 of 19", "home_direct"),
    ),
)  # fmt: skip
_FROZEN = "trained on 8,000,000 calls, then frozen; after a change of the layout"
_KEYDOOR = Suite(
    "keydoor",
    "Learn where key and door are inside a life, and forget it when they move.",
    ("DarkKeyDoor-8-v0", *(f"DarkKeyDoor-{size}-Relayout500-v0" for size in (8, 16, 32))),
    ("exploration", "rewriting", "lifetime"),
    64,
    ("doors",),
    (
        Reference("DarkKeyDoor-8-Relayout500-v0", "RSM-O", 9.4, "RSM, 2026 [S]", _FROZEN, "doors_later"),
        Reference("DarkKeyDoor-8-Relayout500-v0", "GRU", 1.6, "RSM, 2026 [S]", _FROZEN, "doors_later"),
        Reference("DarkKeyDoor-8-Relayout500-v0", "transformer", 1.1, "RSM, 2026 [S]",
                  f"the best of 0.4 to 1.1; {_FROZEN}", "doors_later"),
        Reference("DarkKeyDoor-8-v0", "RSM-O", 29.8, "RSM, 2026 [S]", "first layout", "doors_1"),
        Reference("DarkKeyDoor-8-v0", "GRU", 30.3, "RSM, 2026 [S]", "first layout", "doors_1"),
        Reference("DarkKeyDoor-8-v0", "transformer", 28.2, "RSM, 2026 [S]", "first layout", "doors_1"),
    ),
)  # fmt: skip
_ROUTES = Suite(
    "routes",
    "Shortest ways to a goal met before, in mazes whose walls are islands.",
    tuple(f"BraidedMaze-{size}-v0" for size in (11, 21, 51, 101)),
    ("exploration", "navigation", "vision", "lifetime"),
    64,
    ("spl",),
)
_ATLAS = Suite(
    "atlas",
    "Many mazes that look alike, visited again without a label: is each one kept and recognised?",
    tuple(f"Atlas-K{mazes}-v0" for mazes in (4, 20)),
    ("capacity", "navigation", "rewriting", "vision", "lifetime"),
    16,
    ("retention",),
)
_DETOUR = Suite(
    "detour",
    "One maze, and then a change without notice: how soon is the new way the habit?",
    tuple(f"Detour-{change}-{size}-v0" for change in ("Open", "Close", "Goal", "Latent") for size in (11, 21)),
    ("navigation", "rewriting", "vision", "lifetime"),
    64,
    ("recovery",),
)
_MEMORY_MAZE = "README of github.com/jurgisp/memory-maze (Pasukonis et al. 2022, arXiv 2210.13383)"
_OTHER_TASK = "in three dimensions, seen through a camera, moved in continuously: another task"
_TREASURE = Suite(
    "treasure",
    "Fetch coloured things by name: where is what was seen on the way to something else?",
    tuple(f"Treasure-{size}-v0" for size in (9, 11, 13, 15)),
    ("navigation", "content", "vision", "lifetime"),
    64,
    references=tuple(
        Reference(f"Treasure-{size}-v0", agent, value, _MEMORY_MAZE, _OTHER_TASK, "return")
        for size, human, most in ((9, 26.4, 34.8), (11, 44.3, 58.0), (13, 55.5, 74.5), (15, 67.7, 87.7))
        for agent, value in (("humans", human), ("mean maximum", most))
    ),
)
_MINIGRID_MEMORY = Suite(
    "minigrid-memory",
    "MiniGrid's memory task: match at the end of a hallway what was seen at its beginning.",
    tuple(f"MiniGrid-Memory{size}-v0" for size in ("S7", "S9", "S11", "S13", "S17Random")),
    ("retention", "exploration", "vision"),
    256,
    references=(
        Reference(
            "MiniGrid-MemoryS13-v0", "Gated DeltaNet", 0.94, "secondary source [S]", "10,000,000 steps, the best"
        ),
        Reference("MiniGrid-MemoryS13-v0", "LSTM", 0.50, "secondary source [S]", "10,000,000 steps"),
        Reference("MiniGrid-MemoryS13-v0", "GRU", 0.46, "secondary source [S]", "10,000,000 steps"),
    ),
)
_BARREN = ("MiniGrid-MultiRoom-N4-S5-v0", "MiniGrid-LockedRoom-v0", "MiniGrid-ObstructedMaze-2Dlh-v0")
_MINIGRID_EXPLORE = Suite(
    "minigrid-explore",
    "MiniGrid where reward is rare: rooms behind doors, keys, boxes.",
    ("MiniGrid-DoorKey-8x8-v0", "MiniGrid-KeyCorridorS3R3-v0", *_BARREN),
    ("exploration", "vision"),
    128,
    references=tuple(
        Reference(env_id, "SB3 PPO", 0.0, "secondary source [S]", "10,000,000 steps") for env_id in _BARREN
    ),
)
_FULL = (
    _RECALL,
    _HORIZON,
    _REWRITE,
    _SHUFFLED,
    _LABYRINTH,
    _KEYDOOR,
    _ROUTES,
    _ATLAS,
    _DETOUR,
    _TREASURE,
    _MINIGRID_MEMORY,
    _MINIGRID_EXPLORE,
)
_SMOKE = Suite(
    "smoke",
    "One small environment of each family: does everything run?",
    (
        "RecallMix-N8-D16-v0",
        "TMaze-L10-v0",
        "NoisyTMaze-M4-Max10-v0",
        "EndlessTMaze-Uniform-L10-C10-v0",
        "ShuffledTMaze-K1-M1-Max10-v0",
        "Labyrinth-Depth4-v0",
        "DarkKeyDoor-8-Relayout500-v0",
        "BraidedMaze-11-v0",
        "Atlas-S11-K2-v0",
        "Detour-Close-11-v0",
        "Treasure-9-v0",
        "MiniGrid-MemoryS7-v0",
    ),
    ("smoke",),
    16,
    tuple(dict.fromkeys(metric for suite in _FULL for metric in suite.metrics)),
)
_ALL = Suite(
    "all",
    "Every suite but smoke.",
    tuple(env_id for suite in _FULL for env_id in suite.env_ids),
    tuple(sorted({tag for suite in _FULL for tag in suite.tags})),
    64,
    _SMOKE.metrics,
    tuple(reference for suite in _FULL for reference in suite.references),
    tuple(env_id for suite in _FULL for env_id in suite.train_on or suite.env_ids),
)

SUITES: Mapping[str, Suite] = MappingProxyType({suite.name: suite for suite in (*_FULL, _SMOKE, _ALL)})


def metrics(env_id: str) -> tuple[str, ...]:
    """Return the scores to compute in an environment: those of the suites that have its kind of world."""
    kind = _kind(env_id)
    return tuple(dict.fromkeys(m for suite in _FULL if kind in map(_kind, suite.env_ids) for m in suite.metrics))


def _kind(env_id: str) -> object:
    """The world of an id of this package; of any other id, the id."""
    try:
        return family_of(env_id)[0].world
    except ValueError:
        return env_id
