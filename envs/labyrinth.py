"""Labyrinth: one unbroken life of a mouse in a binary tree of corridors, with a water port at one of its ends."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit

from envs import labyrinth_view
from envs.kernels import below, first_invalid, word
from envs.world import KernelWorld

ARRIVALS_PER_SECOND, REARM_SECONDS = 1.283, 90  # of the ten thirsty mice; of the port
REARM = math.ceil(ARRIVALS_PER_SECOND * REARM_SECONDS)  # 116 arrivals
STEM, LEFT, RIGHT, END, HOME = range(5)  # where a mouse stands: in one of a junction's three ways, or at an end
BACK = 2  # the one action that is valid everywhere
TRACKS, PORTS = ("id", "local", "noisy"), ("free", "bout", "unrewarded")

_DEPTH, _TRACK, _PORT_KIND, _LIFE, _FLIP, _DRIFT, _PORT_NODE = range(7)  # params; probabilities in units of 2^-16
_TIME, _NODE, _LEVEL, _ENTRY, _PORT, _DRUNK, _WAS_HOME, _RUN, _RUNS, _PERFECT, _REWARDS, _TO_NODE, _TO_PORT = range(13)
_BYTE = np.uint64(8)


class Labyrinth(KernelWorld):
    """A complete binary tree of corridors, lived in for one long life.

    Description
        2^depth - 1 nodes: junctions 0 .. 2^(depth-1) - 2 and as many end nodes and one more; node j has the
        children 2j + 1 and 2j + 2. Home, number 2^depth - 1, hangs on node 0. One step walks to the next node
        (an arrival). Depth 7 is the maze of the mice, 15 x 15 cells. A water port is at one end node, drawn
        anew for each life. A life begins at home and lasts `life` arrivals.
    Observation
        Box(-1, 1, (F,), float32): the place, by `track`; then, always, what a mouse feels in the dark: where
        it stands (from the stem / from the left branch / from the right branch of a junction, at an end, at
        home; one-hot), the length of the corridor just walked as a share of the longest, and whether water came.
        The place is: for `id` the node, one-hot, home last (2^depth numbers); for `noisy` the bits of
        (node + 1) mod 2^depth as -1/+1, high bit first, each flipped with probability `flip` at each step; for
        `local` nothing.
        With `drift` the path integrator errs: at each arrival, with this probability each and independently,
        the branch is reported as one of the other two, and the length as one of the maze's other lengths. Ends
        and home are never mistaken.
    Action
        Discrete(3): 0 left, 1 right, 2 back. From the stem of a T, left and right are the branches; from a
        branch, the other branch lies straight on, and the stem to its left or right, so that the remaining
        action takes it. At an end and at home only back is valid (`action_masks()`); any other action leaves
        the mouse where it is, and counts as a step.
    Reward
        +1 on arrival at the port, if at least 90 s = 116 arrivals (1.283 a second) have passed since the last
        reward and, with port "bout", home was visited since. With port "unrewarded" nothing ever comes.
    Termination
        Never; truncation at `life` arrivals.
    Memory demand
        Exploration of 64 ends without repetition, a route found once, the way home, and when to return.
    Oracle
        Knows the maze and not the port: depth-first search, then a patrol of all ends, and a direct way in from
        home whenever the port is armed (`envs.labyrinth_oracle`). Success is the share of perfect runs (the
        direct way in, depth - 1 moves from node 0) among the bouts that reach the port in the last quarter of
        the life, 0 without one: oracle 1.0, random .01. Return says little: camping at the port gives as much, and a
        little more.
    Registered ids
        `Labyrinth-v0`, `Labyrinth-Depth{depth}-v0` (id track, free port);
        `Labyrinth-[Local-|Drift-|Noisy-][Bout-|Unrewarded-]v0` in all combinations. Drift is the local track with
        drift 0.03, Noisy has flip 0.1 and drift 0.03.
    Reference
        Rosenberg, Zhang, Perona and Meister 2021, eLife 10:e66175. Pace and life are those of the ten rewarded
        mice (mean 15,170 node arrivals in a night).
    """

    action_names = ("left", "right", "back")

    def __init__(
        self,
        num_envs: int = 1,
        depth: int = 7,
        track: str = "id",
        port: str = "free",
        life: int = 15_170,
        flip: float = 0.1,
        drift: float = 0.0,
        port_node: int | None = None,
    ) -> None:
        if not 3 <= depth <= 8 or life < 1:
            raise ValueError(f"a labyrinth needs a depth of 3..8 and life >= 1, got depth={depth}, life={life}.")
        if track not in TRACKS or port not in PORTS:
            raise ValueError(f"track must be of {TRACKS} and port of {PORTS}, got track={track!r}, port={port!r}.")
        if not (0 <= flip <= 1 and 0 <= drift <= 1):
            raise ValueError(f"flip and drift are probabilities, got flip={flip}, drift={drift}.")
        first_end = (1 << depth - 1) - 1
        if port_node is not None and not first_end <= port_node <= 2 * first_end:
            raise ValueError(f"port_node must be an end node, {first_end}..{2 * first_end}, got {port_node}.")
        self.depth, self.track, self.port_kind, self.life = depth, track, port, life
        place = {"id": [f"node{n}" for n in range(1 << depth)], "local": []}
        bits = [f"bit{b}" for b in reversed(range(depth))]
        pose = ("from stem", "from left", "from right", "end", "home", "corridor", "reward")
        self.feature_names = (*place.get(track, bits), *pose)
        chances = (round(p * 2**16) for p in (flip, drift))
        params = (depth, TRACKS.index(track), PORTS.index(port), life, *chances, -1 if port_node is None else port_node)
        super().__init__(num_envs, (_reset, _step), params, ints=13, memory=2)

    @property
    def home(self) -> int:
        """The number of home."""
        return (1 << self.depth) - 1

    @property
    def time(self) -> np.ndarray:
        """(B,) steps since the beginning of this life."""
        return self._ints[_TIME]

    @property
    def node(self) -> np.ndarray:
        """(B,) where the mouse is."""
        return self._ints[_NODE]

    @property
    def entry(self) -> np.ndarray:
        """(B,) how it stands there: STEM, LEFT, RIGHT, END or HOME."""
        return self._ints[_ENTRY]

    @property
    def port(self) -> np.ndarray:
        """(B,) the end node with the water port."""
        return self._ints[_PORT]

    @property
    def rewards(self) -> np.ndarray:
        """(B,) rewards in this life."""
        return self._ints[_REWARDS]

    @property
    def since_reward(self) -> np.ndarray:
        """(B,) steps since the last reward; REARM or more at birth."""
        return self._ints[_TIME] - self._ints[_DRUNK]

    def action_masks(self) -> np.ndarray:
        """Return which actions move the mouse, (B, 3) bool."""
        masks = np.ones((self.num_envs, 3), np.bool_)
        masks[:, :BACK] = self.entry[:, None] < END
        return masks

    def trace(self) -> dict[str, np.ndarray]:
        """Return the node where the last step ended, the reward it brought and the port of that life, (B,) each."""
        parts = {"node": self._ints[_TO_NODE], "reward": self._scalars[0], "port": self._ints[_TO_PORT]}
        return {name: part.copy() for name, part in parts.items()}

    def render(self, i: int = 0) -> np.ndarray:
        """Draw the maze of environment i from above, with the port and the last 16 nodes, as (H, W, 3) uint8."""
        return labyrinth_view.draw(self.depth, self.recent(i), int(self.port[i]), *self.ansi(i).splitlines())

    def ansi(self, i: int = 0) -> str:
        """Describe environment i in two lines."""
        node, entry, rewards = (int(self._ints[part, i]) for part in (_NODE, _ENTRY, _REWARDS))
        stands = ("from the stem", "from the left", "from the right", "an end", "home")[entry]
        where = "home" if entry == HOME else f"node {node}, {stands}"
        action, reward = self.last(i)
        return (
            f"Labyrinth {self.track}, port {self.port_kind} at {self.port[i]}: {where}\n"
            f"arrival {self.time[i]:,} of {self.life:,}, last action {action}, reward {reward:+.0f}, {rewards} rewards"
        )

    def spot(self, i: int) -> tuple[float, float]:
        """Return where the mouse of environment i is in its picture, in pixels (x, y)."""
        return labyrinth_view.spot(self.depth, int(self.node[i]))

    def recent(self, i: int = 0) -> list[int]:
        """Return the last 16 nodes of environment i, the present one last."""
        new, old = (int(part) for part in self._memory[i])
        return [(old << 64 | new) >> 8 * back & 0xFF for back in reversed(range(16))]


class Tree(NamedTuple):
    """What is fixed about the nodes of a depth, home last; (2^depth,) each."""

    level: np.ndarray
    """Corridors from node 0; -1 for home."""
    side: np.ndarray
    """LEFT or RIGHT: which branch of its junction leads here; STEM for node 0 and home."""
    code: np.ndarray
    """1 for node 0, twice the junction's and perhaps one more for its branches: the first code is home's, 0."""


@cache
def tree(depth: int) -> Tree:
    """Return the tables of the maze of this depth."""
    code = np.append(np.arange(1, 1 << depth), 0)
    level = np.array([int(c).bit_length() - 1 for c in code])
    parent, node = code // 2 - 1, code - 1
    side = np.where((level - 1 + parent + node) % 2 == 0, RIGHT, LEFT)
    return Tree(level, np.where(code < 2, STEM, side), code)


def way_to(depth: int, node: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the way out of each node that leads to its target, STEM, LEFT or RIGHT, (B,); STEM where it is there."""
    level, side, code = tree(depth)
    gap = np.maximum(level[target] - level[node], 1)
    step = code[target] >> (gap - 1)  # the target, or the one of its ancestors that is one below the level of node
    below = (step >> 1 == code[node]) & (level[target] > level[node])
    return np.where(below, side[step - 1], STEM)


def action_to(entry: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Return the action, (B,), that leaves by `way` the nodes that were entered by `entry`."""
    return np.where(entry >= END, BACK, (way - entry - 1) % 3)


@njit(cache=True, nogil=True)
def _begin(i: int, params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray) -> None:
    depth = params[_DEPTH]
    ints[:_TO_NODE, i] = 0
    ints[_NODE, i] = (1 << depth) - 1
    ints[_LEVEL, i] = -1
    ints[_ENTRY, i] = HOME
    # One flip a level is a tree automorphism: drawn at random it takes the port to a random end node.
    port = (1 << (depth - 1)) - 1 + below(rng, i, 1 << (depth - 1))
    ints[_PORT, i] = port if params[_PORT_NODE] < 0 else params[_PORT_NODE]
    ints[_DRUNK, i] = -REARM
    ints[_WAS_HOME, i] = 1
    ints[_RUN, i] = -1
    for half in range(2):
        memory[i, half] = np.uint64(ints[_NODE, i]) * np.uint64(0x0101010101010101)


@njit(cache=True, nogil=True, inline="always")
def _walk(i: int, action: int, depth: int, ints: np.ndarray) -> int:
    """Go to the next node and return log2 of the length of the corridor, or -1 where the action is invalid.

    The ways of a junction lie clockwise in the order stem, left, right: left is the next of them.
    """
    node, level, entry = ints[_NODE, i], ints[_LEVEL, i], ints[_ENTRY, i]
    if entry >= END and action != BACK:
        return -1
    if entry == HOME:
        ints[_NODE, i], ints[_LEVEL, i], ints[_ENTRY, i] = 0, 0, STEM
        return (depth - 1) >> 1
    way = STEM if entry == END else (entry + 1 + action) % 3
    if way == STEM and node == 0:
        ints[_NODE, i], ints[_LEVEL, i], ints[_ENTRY, i] = (1 << depth) - 1, -1, HOME
        return (depth - 1) >> 1
    if way == STEM:
        parent = (node - 1) >> 1
        ints[_NODE, i], ints[_LEVEL, i] = parent, level - 1
        ints[_ENTRY, i] = LEFT if (level - 1 + parent + node) & 1 else RIGHT
        return (depth - 1 - level) >> 1
    odd = (level + node) & 1  # the right branch is the child c with level + node + c even
    ints[_NODE, i] = 2 * node + (1 + odd if way == LEFT else 2 - odd)
    ints[_LEVEL, i] = level + 1
    ints[_ENTRY, i] = END if level + 2 == depth else STEM
    return (depth - 2 - level) >> 1


@njit(cache=True, nogil=True, inline="always")
def _drink(i: int, params: np.ndarray, ints: np.ndarray) -> float:
    """Return the reward of arriving here, and keep the account of bouts: a run is perfect if it is direct."""
    ints[_RUN, i] += 1
    if ints[_ENTRY, i] == HOME:
        ints[_RUN, i] = -1
        ints[_WAS_HOME, i] = 1
    if ints[_NODE, i] != ints[_PORT, i]:
        return 0.0
    if ints[_RUN, i] >= 0:
        late = 4 * ints[_TIME, i] > 3 * params[_LIFE]
        ints[_RUNS, i] += late
        ints[_PERFECT, i] += late and ints[_RUN, i] == params[_DEPTH] - 1
        ints[_RUN, i] = -2 * params[_LIFE]  # only the first arrival of a bout counts
    armed = ints[_TIME, i] - ints[_DRUNK, i] >= REARM
    if not armed or params[_PORT_KIND] == 2 or (params[_PORT_KIND] == 1 and not ints[_WAS_HOME, i]):
        return 0.0
    ints[_DRUNK, i] = ints[_TIME, i]
    ints[_WAS_HOME, i] = 0
    ints[_REWARDS, i] += 1
    return 1.0


@njit(cache=True, nogil=True, inline="always")
def _happens(chance: int, rng: np.ndarray, i: int) -> bool:
    """Draw an event of probability chance / 2^16; costs nothing where it is 0."""
    return chance > 0 and int(word(rng, i) >> np.uint64(48)) < chance


@njit(cache=True, nogil=True)
def _observe(
    i: int, params: np.ndarray, ints: np.ndarray, rng: np.ndarray, length: int, reward: float, row: np.ndarray
) -> None:
    depth, entry, drift = params[_DEPTH], ints[_ENTRY, i], params[_DRIFT]
    row[:] = 0.0
    if params[_TRACK] == 0:
        row[ints[_NODE, i]] = 1.0
    elif params[_TRACK] == 2:
        noise = np.uint64(0)
        for bit in range(depth):
            noise = noise >> np.uint64(16) if bit & 3 else word(rng, i)  # a word is enough for four bits
            flipped = np.int64(noise & np.uint64(0xFFFF)) < params[_FLIP]
            shown = ((ints[_NODE, i] + 1) >> (depth - 1 - bit)) & 1
            row[bit] = 1.0 if shown != flipped else -1.0
    pose = row.shape[0] - 7
    lengths = ((depth - 1) >> 1) + 1  # there are corridors of 1, 2, 4 .. 2^(lengths - 1) cells
    if length >= 0 and entry < END and _happens(drift, rng, i):
        entry = (entry + 1 + below(rng, i, 2)) % 3
    if length >= 0 and _happens(drift, rng, i):
        length = (length + 1 + below(rng, i, lengths - 1)) % lengths
    row[pose + entry] = 1.0
    row[pose + 5] = (1 << length) / (1 << (lengths - 1)) if length >= 0 else 0.0
    row[pose + 6] = reward


@njit(cache=True, nogil=True)
def _reset(params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray, obs: np.ndarray) -> None:
    for i in range(obs.shape[0]):
        _begin(i, params, ints, memory, rng)
        ints[_TO_NODE, i], ints[_TO_PORT, i] = ints[_NODE, i], ints[_PORT, i]
        _observe(i, params, ints, rng, -1, 0.0, obs[i])


@njit(cache=True, nogil=True)
def _step(
    actions: np.ndarray, params: np.ndarray, ints: np.ndarray, memory: np.ndarray, rng: np.ndarray,
    obs: np.ndarray, final: np.ndarray, scalars: np.ndarray, flags: np.ndarray,
) -> int:  # fmt: skip
    bad = first_invalid(actions, 3)
    if bad >= 0:
        return bad
    for i in range(actions.shape[0]):
        length = _walk(i, actions[i], params[_DEPTH], ints)
        ints[_TIME, i] += 1
        reward = 0.0
        if length >= 0:
            memory[i, 1] = memory[i, 1] << _BYTE | memory[i, 0] >> np.uint64(56)
            memory[i, 0] = memory[i, 0] << _BYTE | np.uint64(ints[_NODE, i])
            reward = _drink(i, params, ints)
        ints[_TO_NODE, i], ints[_TO_PORT, i] = ints[_NODE, i], ints[_PORT, i]
        scalars[0, i] = reward
        scalars[1, i] = np.nan
        flags[1, i] = ended = ints[_TIME, i] == params[_LIFE]
        if ended:
            if params[_PORT_KIND] != 2:
                scalars[1, i] = ints[_PERFECT, i] / max(1, ints[_RUNS, i])
            _observe(i, params, ints, rng, length, reward, final[i])
            _begin(i, params, ints, memory, rng)
            length, reward = -1, 0.0
        _observe(i, params, ints, rng, length, reward, obs[i])
    return -1
