"""A trained superposed agent as one compiled loop: the same actions in a fraction of the time, for 10^6 steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numba import njit

from agents.cores import SuperposedCore
from agents.ppo import MemoryPPO


class CompiledActor:
    """Greedy `predict` of a superposed MemoryPPO with one head, on observations in a Box within [-1, 1].

    The state is kept here, for one batch. ValueError for other agents.
    """

    def __init__(self, model: MemoryPPO, batch: int) -> None:
        policy, core = model.policy, model.policy.core
        if not isinstance(core, SuperposedCore) or core.heads != 1 or len(policy.sizes) != 1 or policy.contexts:
            raise ValueError("CompiledActor takes superposed agents with one head, one discrete action and no contexts")
        if not isinstance(model.observation_space, spaces.Box) or any(part.moments for part in policy.encoder.parts):
            raise ValueError("CompiledActor takes observations in a Box within [-1, 1]")
        linear, cell, omega = policy.encoder.linear, core.cell, core.memory.expansion.omega
        layers = (linear, core.project, policy.pi[0], policy.pi[2])
        parts = [part for layer in layers for part in (layer.weight, layer.bias)]
        parts += [cell.weight_ih, cell.bias_ih, cell.weight_hh, cell.bias_hh, omega[0]]
        self.weights = tuple(np.ascontiguousarray(_array(part)) for part in parts)
        self.policy, self.key = policy, core.config.key
        self.z, self.m = (_array(part).copy() for part in core.initial_state(batch))
        self.actions = np.zeros((batch, 1), np.int64)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, Any]:
        """As `MemoryPPO.predict`; without a state everything is forgotten."""
        starts = np.zeros(len(self.z), bool) if episode_start is None else np.asarray(episode_start)
        forget = starts | (state is None)
        self.z[forget], self.m[forget] = 0, 0
        _act(self.weights, self.key, observation, self.z, self.m[:, 0], self.actions[:, 0])
        return (self.actions + self.policy.action_start)[:, 0], (self.z, self.m)


def _array(part: Any) -> np.ndarray:
    out: np.ndarray = part.detach().cpu().numpy()
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@njit(cache=True, nogil=True, fastmath=True)
def _features(u: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """phi: (U,) of any length and (U, D/2) -> (D,), of norm 1."""
    angle = (u / np.sqrt(np.mean(u * u) + np.float32(1e-4))) @ omega
    return np.concatenate((np.cos(angle), np.sin(angle))) / np.sqrt(np.float32(len(angle)))


@njit(cache=True, nogil=True, fastmath=True)
def _act(weights: Any, width: int, observation: np.ndarray, z: np.ndarray, m: np.ndarray, actions: np.ndarray) -> None:
    """`SuperposedCore.step` between the encoder and the policy head; changes z (B, d), m (B, V, D), actions (B,).

    Where the write gate is 0, which is nearly everywhere in a corridor, the key is not even expanded.
    """
    enc_w, enc_b, pro_w, pro_b, hid_w, hid_b, out_w, out_b, ih_w, ih_b, hh_w, hh_b, omega = weights
    d, v = z.shape[1], m.shape[1]
    for b in range(len(z)):
        x = np.tanh(enc_w @ observation[b] + enc_b)
        gx, gz = ih_w @ x + ih_b, hh_w @ z[b] + hh_b  # reset | update | new
        r, u = _sigmoid(gx[:d] + gz[:d]), _sigmoid(gx[d : 2 * d] + gz[d : 2 * d])
        z[b] = (1 - u) * np.tanh(gx[2 * d :] + r * gz[2 * d :]) + u * z[b]
        h = np.concatenate((z[b], x))
        part = pro_w @ h + pro_b  # key | query | value | output gate | write gate
        query = _features(part[width : 2 * width], omega)
        read = m[b] @ query * 2 * _sigmoid(part[2 * width + v : 2 * width + 2 * v])
        gate = 1.2 * _sigmoid(part[-1:])[0] - 0.1
        if gate > 0:
            key = _features(part[:width], omega)
            delta = min(gate, 1.0) * (np.tanh(part[2 * width : 2 * width + v]) - m[b] @ key)
            for i in range(v):
                m[b, i] += np.float32(delta[i]) * key
        hidden = np.tanh(hid_w @ np.concatenate((x, z[b], read.astype(np.float32))) + hid_b)
        actions[b] = np.argmax(out_w @ hidden + out_b)
