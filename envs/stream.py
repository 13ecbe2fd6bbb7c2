"""Stream: one task after another behind one interface, without a label and without a sign of where one ends."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from envs.world import Obs, Transition, World, copy_obs, fresh_seed, write_row
from envs.wrapper import Wrapper


class Stream(Wrapper):
    """A world that becomes another task after every `share` steps, `repeats` times through all of them.

    Episodes under way are cut then (`truncated`), and the next observation is of the new task. The last task stays
    as long as one likes. `task` is the number of the present one: for yardsticks, not for agents.

    Args:
        worlds: the tasks by name in their order, as many environments each, of the same spaces.
        repeats: passes through all tasks.
        share: steps of the batch in each task.
    """

    def __init__(self, worlds: Mapping[str, World], repeats: int = 1, share: int = 1) -> None:
        check(worlds)
        if share < 1 or repeats < 1:
            raise ValueError(f"a stream needs share >= 1 and repeats >= 1, got share={share}, repeats={repeats}.")
        self.worlds, self.share, self.segments = list(worlds.values()), share, len(worlds) * repeats
        super().__init__(self.worlds[0])
        self.resumable = all(world.resumable for world in self.worlds)
        self._time, self._seed, self._seeded = 0, 0, False

    @property
    def segment(self) -> int:
        """How many tasks were left behind."""
        return min(self._time // self.share, self.segments - 1)

    @property
    def task(self) -> int:
        """The number of the present task."""
        return self.segment % len(self.worlds)

    def reset(self, seed: int | None = None) -> Obs:
        """Begin the stream anew; without a seed with other episodes, which follow from the last seed."""
        if seed is None:
            seed = self._apart(self.segments) if self._seeded else int(fresh_seed(None)) >> 33
        self._seed, self._seeded = seed, True
        self._go_to(0)
        return self.world.reset(self._seed)

    def step(self, actions: np.ndarray) -> Transition:
        """Take one action in every environment of the present task."""
        before, out = self.segment, self.world.step(actions)
        self._go_to(self._time + 1)
        if self.segment == before:
            return out
        final, ended = copy_obs(out.obs), out.terminated | out.truncated
        reward, success = out.reward.copy(), out.success.copy()  # the same task may follow: its reset overwrites them
        for i in np.flatnonzero(ended).tolist():
            last = (
                {k: part[i] for k, part in out.final_obs.items()}
                if isinstance(out.final_obs, dict)
                else out.final_obs[i]
            )
            write_row(final, i, last)
        obs = self.world.reset(self._apart(self.segment))
        return Transition(obs, reward, out.terminated, ~out.terminated, final, success)

    def state(self) -> dict[str, np.ndarray]:
        """Return the time, and the state of the present task: the others will begin anew."""
        return {"stream": np.array([self._time, self._seed])} | self.world.state()

    def load_state(self, state: dict[str, np.ndarray]) -> Obs:
        """Continue from `state()`; ValueError for a state of no stream."""
        if "stream" not in state:
            raise ValueError("this state is of a single world, not of a stream.")
        time, self._seed = (int(x) for x in state["stream"])
        self._seeded = True
        self._go_to(time)
        return self.world.load_state({name: part for name, part in state.items() if name != "stream"})

    def close(self) -> None:
        """Close all tasks."""
        for world in self.worlds:
            world.close()

    def _apart(self, number: int) -> int:
        """Return a seed for a part of the stream: its episodes are not those of the next seed."""
        return int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])

    def _go_to(self, time: int) -> None:
        self._time = time
        self.world = self.worlds[self.task]


def check(worlds: Mapping[str, World]) -> None:
    """Raise a ValueError that names two worlds whose spaces, or numbers of environments, differ."""
    for (one, a), (other, b) in combinations(worlds.items(), 2):
        for name in ("observation_space", "action_space", "num_envs"):
            mine, its = getattr(a, name), getattr(b, name)
            if mine != its:
                raise ValueError(
                    "the tasks of a stream must have the same spaces and as many environments, but the "
                    f"{name.replace('_', ' ')} of {one} is {mine} and that of {other} is {its}."
                )
