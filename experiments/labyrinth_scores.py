"""What a life in the labyrinth amounts to: the measures of the mouse paper, as pure functions of the node sequence.

A life is the list of its node arrivals (home included, 2^depth - 1), with a flag for those that were rewarded and
the end node of the port. Steps are counted in node arrivals from the first entrance on, home not counted, as the
mice's are; a step that led nowhere (an invalid action) is left out.

Source of the definitions: Rosenberg, Zhang, Perona and Meister 2021, eLife 10:e66175, but for E, which is read off
its curve instead of a fit, and for R45, S45 and the late share, which are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

CONTROLS = (94, 95, 73)
"""End nodes of the mouse's maze that lie to each other and to the entrance as its port, 116, does."""
MOUSE_PORT = 116
NAN = float("nan")
_NONE = np.zeros(0, np.int64)


class Life(NamedTuple):
    """A life as arrays over its arrivals, the first of them home before the first step."""

    path: np.ndarray
    """(N,) nodes, 2^depth - 1 for home; no two neighbours alike."""
    rewarded: np.ndarray
    """(N,) bool."""
    port: int

    @property
    def depth(self) -> int:
        """Depth of the maze, whose ends have depth binary digits when counted from 1."""
        return (self.port + 1).bit_length()

    @property
    def home(self) -> int:
        """The number of home."""
        return (1 << self.depth) - 1

    @property
    def ends(self) -> np.ndarray:
        """(N,) bool: whether the arrival is at an end node."""
        return (self.path >= self.home // 2) & (self.path < self.home)


class WaterRuns(NamedTuple):
    """The first arrival at the port in each bout that reaches it; arrays over those bouts."""

    length: np.ndarray
    """Moves from node 0."""
    rewards: np.ndarray
    """Rewards before."""
    steps: np.ndarray
    """Node arrivals before, in the whole life."""


def life(node: np.ndarray, reward: np.ndarray, port: int = MOUSE_PORT) -> Life:
    """Make a life of the nodes after each step (T,), the rewards of the steps (T,), and the port.

    Raises:
        ValueError: if two nodes that follow each other are not neighbours, with their numbers.
    """
    home = (1 << int(port + 1).bit_length()) - 1  # the port is an end node
    path = np.concatenate([[home], np.asarray(node, np.int64)])
    moved = np.append(True, path[1:] != path[:-1])
    rewarded = np.append(False, np.asarray(reward) > 0)[moved]
    path = path[moved]
    code = np.where(path == home, 0, path + 1)  # a node's parent has half its code; home is the parent of node 0
    low, high = np.minimum(code[1:], code[:-1]), np.maximum(code[1:], code[:-1])
    jumps = np.flatnonzero(low != high // 2)
    if jumps.size:
        a, b = path[jumps[0]], path[jumps[0] + 1]
        raise ValueError(f"nodes {a} and {b} follow each other but are not neighbours in a maze with home {home}.")
    return Life(path, rewarded, int(port))


@cache
def distances(depth: int, target: int) -> np.ndarray:
    """Return the number of moves from every node, and last from home, to `target`, (2^depth,) int64."""
    codes = [*range(1, 1 << depth), 0]  # as in `life`
    lineage = [(target + 1) % (1 << depth)]
    while lineage[-1]:
        lineage.append(lineage[-1] // 2)
    table = []
    for code in codes:
        up = 0
        while code not in lineage:
            code, up = code // 2, up + 1
        table.append(up + lineage.index(code))
    return np.array(table)


def direct_paths(life: Life, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where `target` is reached, as indices into the path, and how many moves came straight to it.

    A direct path is the longest run of moves of one bout that all lessen the distance to its target.
    """
    distance = distances(life.depth, target)[life.path]
    nearer = np.append(False, (distance[1:] < distance[:-1]) & (life.path[:-1] != life.home))
    index = np.arange(len(nearer))
    length = index - np.maximum.accumulate(np.where(nearer, 0, index))
    arrivals = np.flatnonzero(life.path == target)
    return arrivals, length[arrivals]


def home_runs(life: Life) -> np.ndarray:
    """Return the length of every home run: the moves at the end of a bout that all lead up the tree, (bouts,)."""
    return direct_paths(life, life.home)[1][1:]


def explores(life: Life) -> np.ndarray:
    """Return which moves are neither on a direct path to home nor, if the port ever gave water, to it, (N,) bool.

    Entry k is about the move from arrival k to arrival k + 1.
    """
    change = np.zeros(len(life.path) + 1, np.int64)
    for target in (life.home, life.port)[: 1 + life.rewarded.any()]:
        arrivals, length = direct_paths(life, target)
        np.add.at(change, arrivals - length, 1)
        np.add.at(change, arrivals, -1)
    return np.cumsum(change)[:-1] == 0


def distinct_ends(visits: np.ndarray, widths: Iterable[int]) -> np.ndarray:
    """Return the mean number of distinct values in windows of so many visits, moved on by a quarter of that.

    visits (V,), each width at most V; one number a width.
    """
    before = np.full(len(visits), -1)  # the last visit to the same end
    order = np.argsort(visits, kind="stable")
    same = visits[order][1:] == visits[order][:-1]
    before[order[1:][same]] = order[:-1][same]
    means = []
    for width in widths:
        stride = max(1, width // 4)
        windows = np.lib.stride_tricks.sliding_window_view(before, width)[::stride]
        first = np.arange(0, len(visits) - width + 1, stride)
        means.append((windows < first[:, None]).sum() / len(first))
    return np.array(means)


def explorer_efficiency(life: Life) -> float:
    """Return E: half of the ends by the visits of exploration in which so many are seen; NaN if they never are.

    That number of visits is interpolated linearly between even widths of `distinct_ends`.
    """
    visits = life.path[life.ends & explores(life)]
    half, most = (life.home + 1) // 4, len(visits) // 2 * 2
    coarse = np.append(np.arange(half, most, 16), most)
    enough = np.flatnonzero(distinct_ends(visits, coarse) >= half) if most >= half else _NONE
    if not len(enough):
        return NAN
    last = coarse[enough[0]]
    widths = np.arange(max(2, last - 16), last + 1, 2)
    seen = distinct_ends(visits, widths)
    k = int(np.argmax(seen >= half))
    around = slice(max(0, k - 1), k + 1)
    return float(half / np.interp(half, seen[around], widths[around]))


def visits_from_birth(life: Life, share: float) -> float:
    """Return how many end-node visits from birth on it takes to see a share of the ends; NaN if that never happens."""
    count = int(share * (life.home + 1) / 2)
    visits = life.path[life.ends]
    _, first = np.unique(visits, return_index=True)
    return float(np.sort(first)[count - 1] + 1) if len(first) >= count else NAN


def water_runs(life: Life) -> WaterRuns:
    """Return the first arrival at the port of every bout that reaches it."""
    bout = np.cumsum(life.path == life.home)  # 1 in the first
    entrance = np.flatnonzero(life.path == life.home) + 1
    arrivals = np.flatnonzero(life.path == life.port)
    arrivals = arrivals[np.unique(bout[arrivals], return_index=True)[1]]
    rewards = np.cumsum(life.rewarded)[arrivals] - life.rewarded[arrivals]
    return WaterRuns(arrivals - entrance[bout[arrivals] - 1], rewards, arrivals - bout[arrivals])


def first_arrival(life: Life) -> float:
    """Return the steps before the first arrival at the port; NaN without one."""
    return _first(water_runs(life).steps)


def first_perfect(life: Life) -> float:
    """Return the rewards before the first perfect run (direct from node 0) that follows a reward; NaN without one."""
    runs = water_runs(life)
    return _first(runs.rewards[(runs.length == life.depth - 1) & (runs.rewards > 0)])


def steady(life: Life) -> np.ndarray:
    """Return the numbers of the runs that open a window of five of which four are perfect."""
    perfect = water_runs(life).length == life.depth - 1
    return (
        np.flatnonzero(np.lib.stride_tricks.sliding_window_view(perfect, 5).sum(1) >= 4) if len(perfect) > 4 else _NONE
    )


def rewards_to_steady(life: Life) -> float:
    """Return R45: the rewards before the first run of `steady`; NaN without one."""
    return _first(water_runs(life).rewards[steady(life)])


def steps_to_steady(life: Life) -> float:
    """Return S45: the steps before the first run of `steady`; NaN without one."""
    return _first(water_runs(life).steps[steady(life)])


def late_perfect(life: Life) -> float:
    """Return the share of perfect runs in the last quarter of the runs; 0 of none."""
    perfect = water_runs(life).length == life.depth - 1
    return float(perfect[-max(1, len(perfect) // 4) :].mean()) if len(perfect) else 0.0


def long_paths(life: Life, *targets: int) -> float:
    """Return the number of direct paths of as many moves as the maze is deep, or more, to these nodes: the mean.

    NaN without any.
    """
    counts = [(direct_paths(life, target)[1] >= life.depth).sum() for target in targets]
    return float(np.mean(counts)) if counts else NAN


def first_home_run(life: Life) -> float:
    """Return whether the home run of the first bout that went beyond node 0 starts at an end node, or NaN."""
    homes = np.flatnonzero(life.path == life.home)
    runs = home_runs(life)[np.diff(homes) > 2]
    return float(runs[0] == life.depth) if len(runs) else NAN


def controls(life: Life) -> tuple[int, ...]:
    """Return the end nodes that lie to this port as the mice's controls to theirs; none in another depth.

    The tree automorphism that takes the mice's port to this one flips every level alike: an exclusive or.
    """
    return (
        tuple(63 + ((node - 63) ^ (MOUSE_PORT - 63) ^ (life.port - 63)) for node in CONTROLS) if life.depth == 7 else ()
    )


def _first(values: np.ndarray) -> float:
    return float(values[0]) if len(values) else NAN


class Measure(NamedTuple):
    """A number that sums up a life."""

    about: str
    of: Callable[[Life], float]
    lower_is_better: bool = False


MEASURES: dict[str, Measure] = {
    "E": Measure("explorer's efficiency", explorer_efficiency),
    "ends_half": Measure("end-node visits to half of the ends", lambda x: visits_from_birth(x, 0.5), True),
    "ends_all": Measure("end-node visits to all ends", lambda x: visits_from_birth(x, 1.0), True),
    "first_arrival": Measure("steps before the first arrival at the port", first_arrival, True),
    "first_perfect": Measure("rewards before the first perfect run", first_perfect, True),
    "R45": Measure("rewards before 4 of 5 runs are perfect", rewards_to_steady, True),
    "S45": Measure("steps before 4 of 5 runs are perfect", steps_to_steady, True),
    "late": Measure("share of perfect runs in the last quarter of them", late_perfect),
    "long_port": Measure("long direct paths to the port", lambda x: long_paths(x, x.port)),
    "long_control": Measure("long direct paths to control nodes", lambda x: long_paths(x, *controls(x)), True),
    "home_direct": Measure("first home run starts at an end", first_home_run),
    "drinks": Measure("rewards in the life", lambda x: float(x.rewarded.sum())),
}


def measures(life: Life) -> dict[str, float]:
    """Return every measure of a life; NaN where what it is about never happened."""
    return {name: measure.of(life) for name, measure in MEASURES.items()}
