"""Two older ways to plan in a learned map, yardsticks of the lifetime agent: endotaxis, successor representation.

Codes, drives and dead reckoning are the lifetime agent's; only the way to a target differs. Places get numbers as they
are entered; F (N, N) says how much a place has to do with another, G_j (N,) where drive j wants to go, and the
signal is E_j = F G_j, which the agent climbs:

    endotaxis   F = sum_k (gamma A)^k    A the adjacency that was learned; the signal decays with every step,
                                         summed over all paths. Relaxed: v <- G_j + gamma A v, a few sweeps a step
    successor   F = E[sum_k gamma^k 1(place after k steps)] of the walk so far, learned by TD(0)

Sources: Zhang, Rosenberg, Jing, Perona and Meister 2024 (eLife 12:RP84141); Dayan 1993 (Neural Computation 5:613-624).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from typing_extensions import override

from agents.lattice import CODE
from agents.life import EXPLORE, NO_PLAN, Body, Life, LifetimeTableConfig, Percept
from agents.lifetime import Lifetime, clear
from agents.lifetime_memory import UNKNOWN, Face, forget, recall
from agents.situations import internal, is_target, learn, same, step_of, visit
from envs.kernels import below, seed_streams, uniform
from envs.vec import as_world
from envs.world import World


@dataclass(frozen=True, kw_only=True)
class EndotaxisConfig(LifetimeTableConfig):
    """The lifetime agent with a signal that decays along all learned paths in place of distances."""

    places: int = 256
    """N, places that can be told apart; later ones are not planned over."""
    gamma: float = 0.3
    """Decay of the signal in one step; less where it would diverge: in open rooms at most 0.25, in a labyrinth 1/3."""
    sweeps: int = 16
    """Relaxations of the signal in each decision."""
    alpha: float = 0.0
    """Learning rate of the successor representation; 0: endotaxis."""
    epsilon: float = 0.0
    """Probability of a random direction while exploring."""


@dataclass(frozen=True, kw_only=True)
class SuccessorConfig(EndotaxisConfig):
    """The lifetime agent with a successor representation of its own walk in place of distances."""

    gamma: float = 0.9
    """Discount of the places to come."""
    alpha: float = 0.2
    """Learning rate of the successor representation."""
    epsilon: float = 0.2
    """Probability of a random direction while exploring: climbing the record of one's own walk repeats the walk."""


class Field(NamedTuple):
    """What a life carries: the map of the lifetime agent and a field over its places."""

    life: Life
    codes: np.ndarray  # (B, N, 4) int64, places in the order of their discovery
    known: np.ndarray  # (B, 2) int64: places known, place before, from 1
    successor: np.ndarray  # (B, N, N) float32, of the successor representation
    signal: np.ndarray  # (B, J, N) float32, of endotaxis
    streams: np.ndarray  # (B,) uint64, of random directions


class Endotaxis(Lifetime):
    """See the module."""

    config: EndotaxisConfig

    @override
    def initial_state(self, lives: int) -> Any:
        places, drives = self.config.places, self.encoder.plan.body.drives
        streams = np.zeros(lives, np.uint64)
        seed_streams(np.uint64(self.seed), streams)
        side = places if self.config.alpha > 0 else 0
        return Field(
            self._empty(lives),
            np.zeros((lives, places, CODE), np.int64),
            np.zeros((lives, 2), np.int64),
            np.zeros((lives, side, side), np.float32),
            np.zeros((lives, drives, places), np.float32),
            streams,
        )

    @override
    def _life(self, state: Any) -> Life:
        life: Life = state.life
        return life

    @override
    def _begin(self, state: Any, b: int) -> None:
        clear(state.life, b)
        for part in state[1:-1]:
            part[b] = 0

    @override
    def _choose(self, state: Any, percept: Percept, out: np.ndarray) -> None:
        c = self.config
        rates = np.array([c.gamma, c.alpha, c.epsilon, c.sweeps])
        _climb(self.face, self.encoder.plan.body, state, rates, percept, out)

    @override
    def vitals(self, state: Any) -> dict[str, float]:
        found = super().vitals(state.life)
        return {name: found[name] for name in ("contexts", "known_places", "read_error")}  # the rest is of a planner

    @override
    def memory_image(self, state: Any) -> np.ndarray:
        return super().memory_image(state.life)

    @override
    def stats(self) -> dict[str, float]:
        field = sum(part.nbytes for part in self.initial_state(1)[1:])
        stats = super().stats()
        return stats | {"state_bytes": stats["state_bytes"] + field}

    @override
    def flops(self) -> float:
        """Of a decision, at most: sweeps over all places, or a product with the successor representation."""
        body, places = self.encoder.plan.body, self.config.places
        edges = len(body.moves) * places
        per_drive = 2 * places * places if self.config.alpha > 0 else 2 * edges * self.config.sweeps
        return float(body.drives * per_drive)


def build(config: EndotaxisConfig, env: Any, seed: int = 0, device: str = "cpu") -> Endotaxis:
    """Make the agent for a world; the device is always the CPU."""
    world: World = as_world(env)
    return Endotaxis(world, config, seed)


@internal
def _number(field: Field, b: int, code: np.ndarray, new: bool) -> int:
    """The number of a place, or -1; with `new` it gets one while there are any."""
    for n in range(field.known[b, 0]):
        if same(field.codes[b, n], code):
            return n
    if not new or field.known[b, 0] == field.codes.shape[1]:
        return -1
    field.codes[b, field.known[b, 0]] = code
    field.known[b, 0] += 1
    return int(field.known[b, 0]) - 1


@internal
def _survey(face: Face, body: Body, field: Field, b: int, goal: np.ndarray, next_: np.ndarray) -> None:
    """Fill goal (J, N) and next_ (N, A): number of the neighbour, -1 for none, -2 for never tried."""
    row = np.empty(face.widths.shape[0], np.int64)
    for n in range(field.known[b, 0]):
        next_[n] = -1
        goal[:, n] = 0.0
        if recall(face, field.life.memory, b, field.codes[b, n], row) == UNKNOWN:
            continue
        for j in range(body.drives):
            goal[j, n] = is_target(body, field.life, b, row, j)
        for a in range(next_.shape[1]):
            step = step_of(face, body, row, a)
            if step == 0:
                continue
            next_[n, a] = _number(field, b, field.codes[b, n] + step * body.moves[a], False) if step < 1 << 20 else -2
            if next_[n, a] < 0:
                next_[n, a], goal[0, n] = -2, 1.0


@internal
def _limit(next_: np.ndarray) -> float:
    """The largest gamma under which no signal can diverge, next_ (N, A).

    That is 1 / the largest eigenvalue, which is at most the largest sqrt(d_i d_j) of two neighbours with d_i and d_j
    neighbours each (Berman and Zhang 2001): 1/3 in a labyrinth, 0.35 in a maze, 1/4 in an open room.
    """
    degree, most = (next_ >= 0).sum(1), 1.0
    for n in range(next_.shape[0]):
        for a in range(next_.shape[1]):
            if next_[n, a] >= 0:
                most = max(most, float(degree[n] * degree[next_[n, a]]))
    return most**-0.5


@internal
def _relax(signal: np.ndarray, goal: np.ndarray, next_: np.ndarray, gamma: float, count: int, sweeps: int) -> None:
    """Let the signal of every drive spread, v <- G + gamma A v; signal and goal (J, N)."""
    for j in range(signal.shape[0]):
        for _ in range(sweeps):
            for n in range(count):
                total = goal[j, n]
                for a in range(next_.shape[1]):
                    if next_[n, a] >= 0:
                        total += gamma * signal[j, next_[n, a]]
                signal[j, n] = total


@internal
def _choose(signal: np.ndarray, next_: np.ndarray, drive: int) -> int:
    """The neighbour with the strongest signal (N,), a direction never tried before all others when exploring; or -1."""
    choice, most = -1, 0.0
    for a in range(next_.shape[0]):
        if next_[a] == -2 and drive == EXPLORE:
            return a
        if next_[a] >= 0 and signal[next_[a]] > most:
            choice, most = a, signal[next_[a]]
    return choice


@njit(cache=True, nogil=True)
def _climb(face: Face, body: Body, field: Field, rates: np.ndarray, percept: Percept, out: np.ndarray) -> None:
    gamma, alpha, epsilon, sweeps = rates[0], rates[1], rates[2], int(rates[3])
    life, places = field.life, field.codes.shape[1]
    goal, next_ = np.zeros((body.drives, places), np.float32), np.empty((places, body.group.shape[0]), np.int64)
    for b in range(out.shape[0]):
        out[b] = -1
        life.tally[b, 0] += 1
        if percept.renew[b]:
            forget(life.memory, b)
            life.tally[b, 2] = 0
            life.goal[b, :, CODE], field.known[b], field.signal[b], field.successor[b] = 0, 0, 0.0, 0.0
        if percept.wishes[b, 0] < 0:
            continue
        life.place[b] = percept.place[b]
        learn(face, body, life, b, percept)
        life.ends[b] = 0
        if percept.visited[b]:
            visit(face, body, life, b)
        here = _number(field, b, life.place[b], True)
        if here < 0:
            continue
        _survey(face, body, field, b, goal, next_)
        count = field.known[b, 0]
        if alpha > 0:
            _predict(field, b, here, gamma, alpha)
            for j in range(body.drives):
                for n in range(count):
                    field.signal[b, j, n] = (field.successor[b, n, :count] * goal[j, :count]).sum()
        else:
            _relax(field.signal[b], goal, next_, min(gamma, _limit(next_[:count])), count, sweeps)
        out[b] = _pursue(body, field, b, epsilon, percept.wishes[b], goal[:, :count], next_[here], here)


@internal
def _pursue(
    body: Body, field: Field, b: int, epsilon: float, wishes: np.ndarray, goal: np.ndarray, next_: np.ndarray, here: int
) -> int:
    """The direction that the first wish with a signal leads in; A to stay, -1 for none."""
    for j in wishes:
        if j < 0:
            break
        choice = next_.shape[0] if j != EXPLORE and goal[j, here] > 0 else _choose(field.signal[b, j], next_, j)
        if j == EXPLORE and uniform(field.streams, b) < epsilon:
            other = below(field.streams, b, next_.shape[0])
            choice = other if next_[other] >= 0 else choice
        if choice >= 0:
            field.life.drive[b] = j
            return choice
        if j == EXPLORE and body.rounds > 0 and not goal[0].any():
            field.life.round[b] = field.life.round[b] % body.rounds + 1
    field.life.drive[b] = NO_PLAN
    return -1


@internal
def _predict(field: Field, b: int, here: int, gamma: float, alpha: float) -> None:
    """One step of TD(0) for the place before: M[s] += alpha (1_s + gamma M[s'] - M[s])."""
    before = field.known[b, 1] - 1
    field.known[b, 1] = here + 1
    if before < 0 or before == here:
        return
    error = gamma * field.successor[b, here] - field.successor[b, before]
    error[before] += 1.0
    field.successor[b, before] += np.float32(alpha) * error
