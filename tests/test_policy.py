"""The network around a core: every kind of observation and action, normalisation, spaces as JSON."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents import space_json
from agents.config import GRUConfig, SuperposedConfig
from agents.cores import CORES
from agents.encoder import Encoder, leaves, to_tensors
from agents.policy import Categoricals, Policy

T, B = 3, 4

SPACES: dict[str, gym.Space[Any]] = {
    "vector": spaces.Box(-1, 1, (5,), np.float32),
    "unbounded": spaces.Box(-np.inf, np.inf, (5,), np.float64),
    "matrix": spaces.Box(-3, 3, (2, 3), np.float32),
    "number": spaces.Box(0, 10, (), np.float32),
    "integers": spaces.Box(-5, 5, (3,), np.int64),
    "symbols": spaces.Box(0, 10, (7, 7, 3), np.uint8),
    "pixels": spaces.Box(0, 255, (40, 48, 3), np.uint8),
    "pixels, channels first": spaces.Box(0, 255, (3, 40, 48), np.uint8),
    "frames": spaces.Box(0, 255, (4, 36, 36), np.uint8),
    "grey": spaces.Box(0, 255, (40, 48), np.uint8),
    "small pixels": spaces.Box(0, 255, (8, 8, 1), np.uint8),
    "discrete": spaces.Discrete(4),
    "discrete from 3": spaces.Discrete(4, start=3),
    "multi-discrete": spaces.MultiDiscrete([2, 5, 3]),
    "multi-discrete with starts": spaces.MultiDiscrete([2, 5], start=[1, 7]),
    "multi-discrete in rows": spaces.MultiDiscrete(np.array([[2, 5], [3, 4]])),
    "multi-binary": spaces.MultiBinary(6),
    "dict": spaces.Dict({"image": spaces.Box(0, 10, (3, 3, 3), np.uint8), "direction": spaces.Discrete(4)}),
    "tuple": spaces.Tuple((spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3))),
    "nested": spaces.Dict(
        {
            "a": spaces.Dict({"b": spaces.Discrete(3), "c": spaces.Box(-2, 2, (2,), np.float32)}),
            "d": spaces.Tuple((spaces.MultiBinary(2), spaces.Dict({"e": spaces.Discrete(2, start=-1)}))),
        }
    ),
}


def stack(space: gym.Space[Any], samples: list[Any]) -> Any:
    """A batch of samples, structured as the space."""
    if isinstance(space, spaces.Dict):
        return {name: stack(part, [s[name] for s in samples]) for name, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(stack(part, [s[i] for s in samples]) for i, part in enumerate(space.spaces))
    return np.stack([np.asarray(s) for s in samples])


def sampled(space: gym.Space[Any], keys: list[str]) -> dict[str, Tensor]:
    """Random observations as tensors (T, B, ...)."""
    space.seed(0)
    flat = to_tensors(stack(space, [space.sample() for _ in range(T * B)]), keys)
    return {key: part.unflatten(0, (T, B)) for key, part in flat.items()}


def only_part(encoder: Encoder) -> Any:
    (part,) = encoder.parts.children()
    return part


def policy_for(
    space: gym.Space[Any], action_space: gym.Space[Any] | None = None, core: str = "gru", normalize: bool = True
) -> Policy:
    actions = spaces.Discrete(3) if action_space is None else action_space
    return Policy(space, actions, core, GRUConfig(normalize_obs=normalize))


# -- observations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SPACES)
def test_every_kind_of_observation(kind: str) -> None:
    policy = policy_for(SPACES[kind])
    obs = sampled(SPACES[kind], policy.encoder.keys)
    policy.encoder.update(obs)
    starts = torch.zeros(T, B, dtype=torch.bool)
    out = policy.unroll(obs, policy.core.initial_state(B), starts)
    state = policy.core.initial_state(B)
    for t in range(T):
        dist, values, state = policy.step({key: part[t] for key, part in obs.items()}, state, starts[t])
        torch.testing.assert_close(values, out.values[t], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(dist.log_probs[0], out.dist.log_probs[0][t], rtol=1e-4, atol=1e-5)
    (out.values.sum() + out.dist.log_probs[0][..., 0].sum()).backward()
    trained = [part for part in policy.encoder.parameters() if part.numel()]
    assert all(part.grad is not None and torch.isfinite(part.grad).all() for part in trained)


@pytest.mark.parametrize("kind", SPACES)
def test_different_observations_have_different_codes(kind: str) -> None:
    policy = policy_for(SPACES[kind], normalize=False)
    obs = sampled(SPACES[kind], policy.encoder.keys)
    codes = policy.encoder(obs).detach().flatten(0, 1)
    flat = np.concatenate([part.reshape(T * B, -1).double().numpy() for part in obs.values()], 1)
    for i in range(T * B):
        for j in range(i):
            assert torch.equal(codes[i], codes[j]) == bool((flat[i] == flat[j]).all())


@pytest.mark.parametrize(
    "space", [spaces.Text(5), spaces.Sequence(spaces.Discrete(2)), spaces.Dict({"text": spaces.Text(5)})]
)
def test_other_observations_are_refused(space: gym.Space[Any]) -> None:
    with pytest.raises(ValueError, match=r"observation space .* is not supported: use Box, Discrete"):
        policy_for(space)


def test_leaves_name_their_paths() -> None:
    assert list(leaves(SPACES["nested"])) == ["a/b", "a/c", "d/0", "d/1/e"]
    assert list(leaves(SPACES["vector"])) == [""]


def test_a_name_may_have_a_slash() -> None:
    inner = spaces.Dict({"b": spaces.Discrete(2), "~1": spaces.Discrete(2)})
    space = spaces.Dict({"a/b": spaces.Box(-1, 1, (2,), np.float32), "a": inner})
    keys = list(leaves(space))
    assert sorted(keys) == ["a/b", "a/~01", "a~1b"]
    found = to_tensors({"a/b": np.ones((4, 2)), "a": {"b": np.zeros(4), "~1": np.full(4, 2)}}, keys)
    assert [found[key].flatten()[0] for key in ("a/b", "a/~01", "a~1b")] == [0, 2, 1]


def test_pixels_are_seen_alike_however_they_lie() -> None:
    """Channels are the smallest axis of (H, W, C) or (C, H, W), as for SB3; (H, W) is grey."""
    grey = np.random.default_rng(0).integers(0, 256, (T, B, 40, 48), np.uint8)
    codes = []
    for lie in (lambda x: x, lambda x: x[..., None], lambda x: x[:, :, None]):
        torch.manual_seed(0)
        pixels = lie(grey)
        codes.append(Encoder(spaces.Box(0, 255, pixels.shape[2:], np.uint8), 8)({"": torch.as_tensor(pixels)}))
    torch.testing.assert_close(codes[0], codes[1])
    torch.testing.assert_close(codes[0], codes[2])
    for name in ("pixels", "pixels, channels first", "frames", "grey"):
        assert any(isinstance(part, nn.Conv2d) for part in Encoder(SPACES[name], 8).modules()), name
    for shape, high in (((3, 40, 40), 15), ((40, 3, 40), 255), ((40, 40), 15), ((35, 48), 255)):
        part = Encoder(spaces.Box(0, high, shape, np.uint8), 8)
        assert not any(isinstance(inside, nn.Conv2d) for inside in part.modules()), shape


def test_one_hot_of_a_discrete_space_counts_from_its_start() -> None:
    part = only_part(Encoder(SPACES["discrete from 3"], 8))
    assert torch.equal(part(torch.tensor([3, 4, 5, 6])), torch.eye(4))


def test_one_hot_of_a_multi_discrete_space_counts_from_its_starts() -> None:
    part = only_part(Encoder(SPACES["multi-discrete with starts"], 8))
    found = part(torch.tensor([[1, 7], [2, 11]]))
    assert torch.equal(found, torch.tensor([[1.0, 0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 1]]))


def test_values_and_states_of_the_policy_start_fresh_where_an_episode_does() -> None:
    policy = policy_for(SPACES["vector"])
    obs = sampled(SPACES["vector"], [""])
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[1, 2] = True
    whole = policy.unroll(obs, policy.core.initial_state(B), starts)
    fresh = policy.step({"": obs[""][1]}, policy.core.initial_state(B), starts[0])[1]
    torch.testing.assert_close(whole.values[1, 2], fresh[2])
    assert not torch.isclose(whole.values[1, 1], fresh[1])


# -- normalisation ------------------------------------------------------------------------------------------------


def test_running_moments_are_those_of_all_data() -> None:
    encoder = Encoder(SPACES["unbounded"], 8)
    rng = np.random.default_rng(0)
    data = rng.normal([0, 5, -100, 1e3, 0], [1, 2, 30, 1e-2, 1e-3], (600, 5))
    for piece in np.split(data, [10, 11, 250]):
        encoder.update({"": torch.as_tensor(piece)[:, None]})  # (T, 1, 5)
    part = only_part(encoder)
    moments = part.moments
    np.testing.assert_allclose(moments.mean, data.mean(0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(moments.var, data.var(0), rtol=2e-2)
    assert float(moments.count) == 600
    normalised = part(torch.as_tensor(data))
    assert abs(float(normalised[:, :3].mean())) < 0.02 and abs(float(normalised[:, :3].std()) - 1) < 0.02
    assert float(part(torch.full((1, 5), 1e9)).max()) == 10  # clipped


@pytest.mark.parametrize("kind", ["vector", "multi-binary"])
def test_bounded_observations_are_left_alone(kind: str) -> None:
    encoder = Encoder(SPACES[kind], 8)
    obs = sampled(SPACES[kind], encoder.keys)
    before = encoder(obs)
    encoder.update({key: part * 0 for key, part in obs.items()})
    assert torch.equal(encoder(obs), before)
    assert not list(encoder.buffers())


@pytest.mark.parametrize("kind", SPACES)
def test_normalisation_can_be_turned_off(kind: str) -> None:
    encoder = Encoder(SPACES[kind], 8, normalize=False)
    obs = sampled(SPACES[kind], encoder.keys)
    before = encoder(obs)
    encoder.update(obs)
    assert torch.equal(encoder(obs), before)


# -- actions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.Discrete(3, start=5),
        spaces.MultiDiscrete([2, 4]),
        spaces.MultiDiscrete([2, 4], start=[1, 9]),
        spaces.MultiDiscrete(np.array([[2, 3], [2, 2]])),
    ],
    ids=str,
)
def test_actions_are_in_their_space(space: Any) -> None:
    policy = policy_for(SPACES["vector"], space)
    dist = Categoricals(torch.zeros(500, sum(policy.sizes)), policy.sizes)
    actions = policy.to_env(dist.sample(torch.Generator().manual_seed(0)))
    assert actions.shape == (500, *space.shape)
    assert all(space.contains(np.asarray(a, space.dtype)) for a in actions)
    seen = {tuple(np.ravel(a)) for a in actions.tolist()}
    assert len(seen) == np.prod(policy.sizes)  # all of them are drawn


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (2,), np.float32), spaces.MultiBinary(3)], ids=str)
def test_other_actions_are_refused(space: gym.Space[Any]) -> None:
    with pytest.raises(ValueError, match=r"action space .* is not supported: use Discrete or MultiDiscrete"):
        policy_for(SPACES["vector"], space)


def test_categoricals_are_torchs() -> None:
    logits, sizes = torch.randn(7, 6, generator=torch.Generator().manual_seed(0)), [2, 4]
    mine = Categoricals(logits, sizes)
    theirs = [torch.distributions.Categorical(logits=part) for part in logits.split(sizes, -1)]
    actions = torch.stack([torch.arange(7) % 2, torch.arange(7) % 4], -1)
    expected = sum(d.log_prob(actions[:, i]) for i, d in enumerate(theirs))
    torch.testing.assert_close(mine.log_prob(actions), expected)
    torch.testing.assert_close(mine.entropy(), sum(d.entropy() for d in theirs))
    assert torch.equal(mine.sample(None), torch.stack([d.logits.argmax(-1) for d in theirs], -1))


def test_actions_are_drawn_by_their_probability() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    drawn = Categoricals(logits.expand(20_000, 3), [3]).sample(torch.Generator().manual_seed(0))
    share = torch.bincount(drawn[:, 0], minlength=3) / 20_000
    torch.testing.assert_close(share, logits.softmax(0), rtol=0, atol=0.015)


@pytest.mark.parametrize("name", CORES)
def test_the_first_policy_is_nearly_uniform(name: str) -> None:
    policy = Policy(SPACES["vector"], spaces.Discrete(4), name, CORES[name][0]())
    obs = sampled(SPACES["vector"], [""])
    out = policy.unroll(obs, policy.core.initial_state(B), torch.zeros(T, B, dtype=torch.bool))
    torch.testing.assert_close(out.dist.entropy(), torch.full((T, B), float(np.log(4))), rtol=0.02, atol=0)


def test_fixed_features_follow_the_seed() -> None:
    settings = (SPACES["vector"], spaces.Discrete(2), "superposed", SuperposedConfig(dim=16))
    first, same, other = (dict(Policy(*settings, seed).named_buffers()) for seed in (1, 1, 2))
    (key,) = [name for name in first if name.endswith("omega")]
    assert torch.equal(first[key], same[key]) and not torch.equal(first[key], other[key])


# -- spaces as JSON -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SPACES)
def test_spaces_survive_json(kind: str) -> None:
    space = SPACES[kind]
    found = space_json.load(json.loads(json.dumps(space_json.dump(space))))
    assert found == space
    assert found.dtype == space.dtype and found.shape == space.shape


def test_box_with_different_bounds_survives_json() -> None:
    space = spaces.Box(np.array([-np.inf, 0.1, -3e38], np.float32), np.array([1, np.inf, 3e38], np.float32))
    assert space_json.load(json.loads(json.dumps(space_json.dump(space)))) == space


def test_other_spaces_have_no_json() -> None:
    with pytest.raises(ValueError, match="cannot be saved"):
        space_json.dump(spaces.Text(3))


def test_frozen_codes_are_the_same_and_nothing_of_them_stays() -> None:
    space = SPACES["symbols"]
    encoder = Encoder(space, 8)
    obs = sampled(space, encoder.keys)
    encoder.update(obs)
    before = encoder(obs)
    with pytest.raises(KeyError), encoder.frozen():
        torch.testing.assert_close(encoder(obs), before)
        with torch.no_grad():
            only_part(encoder).table.mul_(2.0)
        torch.testing.assert_close(encoder(obs), before)  # computed once, so parameters must not change inside
        raise KeyError
    assert not torch.allclose(encoder(obs), before)


def test_actions_of_another_kind_do_not_fit() -> None:
    policy = policy_for(SPACES["vector"], spaces.MultiDiscrete([3, 4], start=[1, 0]))
    assert policy.fits(SPACES["vector"], spaces.MultiDiscrete([3, 4], dtype=np.int32, start=[1, 0]))
    others = [
        spaces.MultiDiscrete([3, 4]),
        spaces.MultiDiscrete(np.array([[3, 4]]), start=np.array([[1, 0]])),
        spaces.MultiBinary(2),
    ]
    assert not any(policy.fits(SPACES["vector"], other) for other in others)
    assert not policy_for(SPACES["vector"], spaces.Discrete(3)).fits(SPACES["vector"], spaces.MultiBinary(3))
