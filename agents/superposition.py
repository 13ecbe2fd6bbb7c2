"""The superposed layer: many key-value pairs held in one fixed-size matrix, written by the delta rule.

Keys live in a low-dimensional space that is learned; a fixed random expansion lifts them to D dimensions, where
different keys are nearly orthogonal and can lie on top of each other in the same matrix. Nothing that is trained
has a shape that depends on D, so D is free: it can be raised after training, or while training goes on.

    phi(u) = sqrt(2 / D) [cos(Om u), sin(Om u)]                 Om fixed, drawn from a seed
    r_t    = M_{t-1} phi(q_t)                                     (read before the write)
    M_t    = M_{t-1} + (b_t v_t - e_t M_{t-1} phi(k_t)) phi(k_t)^T

Sources: random features, Rahimi and Recht 2007; delta rule, Widrow and Hoff 1960, as a fast weight memory
Schlag et al. 2021 (arXiv 2102.11174); chunk-parallel form, Yang et al. 2024 (arXiv 2406.06484), here with resets.

Axes: T time, B batch, H heads, U key width, D expansion, V value width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents import kernels

CHUNK = 16  # steps solved at once: the Gram matrix costs T^2 and a chunk costs a few calls; best of 8, 16, 32 on a CPU


def check_dim(dim: int) -> None:
    """ValueError for an odd D: features come in pairs."""
    if dim < 2 or dim % 2:
        raise ValueError(f"dim must be even and at least 2, got {dim}")


class Expansion(nn.Module):
    """Fixed random Fourier features, one law per head: (..., H, U) -> (..., H, D), each of unit norm.

    The frequencies of a larger D begin with those of a smaller one (same seed), so growing D only adds features.

    Args:
        width: U, the width of the learned key.
        dim: D, features per head; even.
        scales: per head, the standard deviation of the frequencies: a number (Gaussian kernel of one width), or
            a pair (low, high) between which it is drawn log-uniformly per feature (wide skirts, sharp peak).
        seed: what the frequencies are drawn from.
    """

    omega: Tensor

    def __init__(self, width: int, dim: int, scales: Sequence[float | tuple[float, float]], seed: int = 0) -> None:
        super().__init__()
        self.width, self.scales, self.seed = width, tuple(scales), seed
        self.register_buffer("omega", torch.empty(0), persistent=False)  # (H, U, D/2), a function of (seed, dim)
        self.resize(dim)

    def resize(self, dim: int) -> None:
        """Redraw the frequencies for D = dim; those of the smaller D are kept. ValueError as in `check_dim`."""
        check_dim(dim)
        heads = []
        for head, scale in enumerate(self.scales):
            rng = np.random.default_rng((self.seed, head))
            low, high = scale if isinstance(scale, tuple) else (scale, scale)
            rows = rng.standard_normal((dim // 2, self.width + 1))  # row by row: a larger D continues the stream
            uniform = 0.5 * (1 + np.vectorize(math.erf)(rows[:, 0] / math.sqrt(2)))
            heads.append(rows[:, 1:].T * low * (high / low) ** uniform)
        self.omega = torch.as_tensor(np.stack(heads), dtype=torch.float32, device=self.omega.device)
        self.dim = dim

    def forward(self, u: Tensor) -> Tensor:
        """Expand keys.

        Args:
            u: (..., H, N, U), N keys for each head.

        Returns:
            (..., H, N, D), rows of norm 1.
        """
        return _features(u @ self.omega)


def _features(angle: Tensor) -> Tensor:
    """(..., D/2) -> (..., D), filled half by half: a `cat` would write everything twice."""
    half = angle.shape[-1]
    out = angle.new_empty(*angle.shape[:-1], 2 * half)
    torch.cos(angle, out=out[..., :half])
    torch.sin(angle, out=out[..., half:])
    return out.mul_(half**-0.5)


class SuperposedMemory(nn.Module):
    """The matrix in its two equal forms: one step, and a whole sequence at once. It has no trained parameter.

    Shapes: M (B, H, V, D). Keys and queries come in low dimension, (..., H, U), and are expanded here. Both forms are
    differentiable in everything but the frequencies.
    """

    def __init__(self, expansion: Expansion) -> None:
        super().__init__()
        self.expansion = expansion

    def step(
        self, m: Tensor, key: Tensor, query: Tensor, value: Tensor, write: Tensor, erase: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read, then write one pair.

        Args:
            m: (B, H, V, D), the matrix before this step (already zeroed where an episode starts).
            key: (B, H, U).
            query: (B, H, U).
            value: (B, H, V).
            write: (B, H), strength b in [0, 1].
            erase: (B, H), strength e in [0, 1]; e = b is the delta rule, e = 0 a plain sum.

        Returns:
            The read (B, H, V) and the new matrix (B, H, V, D).
        """
        both = _lift(torch.stack((key, query), -2), self.expansion.omega)  # (B, H, 2, D)
        found = both @ m.mT  # (B, H, 2, V): one pass over M answers both
        delta = write[..., None] * value - erase[..., None] * found[..., 0, :]  # (B, H, V)
        return found[..., 1, :], torch.addcmul(m, delta[..., :, None], both[..., 0, None, :])

    def step_(
        self, m: Tensor, key: Tensor, query: Tensor, value: Tensor, write: Tensor, erase: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`step` that changes M in place and does not touch it where the gates are zero; for acting, not training."""
        if not kernels.usable(m, key, query, value, write, erase):
            read, after = self.step(m, key, query, value, write, erase)
            return read, m.copy_(after)
        m, now = m.contiguous(), torch.stack((key, query), -2)[:, :, None]  # (B, H, 1, 2, U)
        phi = _expand(now, self.expansion.omega)
        starts = torch.zeros(m.shape[0], 1, dtype=torch.bool)
        read, _, _ = _run(m, phi, value[:, :, None], write[..., None], erase[..., None], starts)
        return read[:, :, 0], m

    def unroll(
        self, m: Tensor, keys: Tensor, queries: Tensor, values: Tensor, write: Tensor, erase: Tensor, starts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All of `step` over T steps, exactly.

        On the CPU this is one compiled loop, which keeps the matrix in the cache. Elsewhere it is a few large products
        for each chunk of steps: there the written differences u_i = b_i v_i - e_i M_{i-1} k_i solve a unit triangular
        system, (I + diag(e) tril(K K^T, -1)) U = b V - e K M_0^T, with K K^T masked to pairs of the same episode.

        Args:
            m: (B, H, V, D), the matrix before the first step.
            keys: (B, H, T, U).
            queries: (B, H, T, U).
            values: (B, H, T, V).
            write: (B, H, T).
            erase: (B, H, T).
            starts: (B, T) bool, True where a new episode begins: the matrix is empty before that step.

        Returns:
            The reads (B, H, T, V) and the matrix after the last step (B, H, V, D).
        """
        if kernels.usable(m, keys, queries, values, write, erase):
            both = torch.stack((keys, queries), -2)
            scanned: tuple[Tensor, Tensor] = _Scan.apply(m, both, values, write, erase, starts, self.expansion.omega)
            return scanned
        reads = []
        for t in range(0, keys.shape[2], CHUNK):
            span = slice(t, t + CHUNK)
            read, m = _Chunk.apply(
                m,
                torch.cat((keys[:, :, span], queries[:, :, span]), 2),
                values[:, :, span],
                write[:, :, span],
                erase[:, :, span],
                starts[:, span],
                self.expansion.omega,
            )
            reads.append(read)
        return torch.cat(reads, 2), m

    def diagnose(self, m: Tensor, keys: Tensor, values: Tensor, write: Tensor, starts: Tensor) -> dict[str, Tensor]:
        """How crowded the matrix is, from what was written since the last episode start; arguments as of `unroll`.

        Returns:
            `key_similarity`, the mean inner product of two expanded keys, 1 if all are the same; `read_error`, the
            share of the written values' energy that m (B, H, V, D), the matrix after the last step, no longer answers:
            0 if all of it. Both weighted by the gates; 0 if nothing was written.
        """
        episode = starts.cumsum(1)
        weight = write * (episode == episode[:, -1:])[:, None]  # (B, H, T)
        phi = self.expansion(keys)
        total, own = (weight[..., None] * phi).sum(2), weight.square().sum(2)  # (B, H, D), (B, H)
        pairs = weight.sum(2).square() - own  # |sum_i w_i phi_i|^2 holds all pairs, and each with itself
        lost = (values - phi @ m.mT).square().sum(-1)
        return {
            "key_similarity": (total.square().sum(-1) - own).sum() / pairs.sum().clamp(min=1e-6),
            "read_error": (weight * lost).sum() / (weight * values.square().sum(-1)).sum().clamp(min=1e-6),
        }

    @staticmethod
    def resize(m: Tensor, dim: int) -> Tensor:
        """Carry a matrix over to another D (see `Expansion.resize`); growing leaves every read as it was.

        Features are stored as [cos | sin] halves and scaled by sqrt(2 / D): the old columns are rescaled, those of
        new features are empty. Shrinking drops features, so reads become noisier samples of what they were.
        """
        old = m.shape[-1]
        halves = m.unflatten(-1, (2, old // 2))[..., : dim // 2]  # (B, H, V, 2, D/2)
        grown = halves.new_zeros(*halves.shape[:-1], dim // 2)
        grown[..., : halves.shape[-1]] = halves * math.sqrt(max(old, dim) / min(old, dim))
        return grown.flatten(-2)


def _lift(u: Tensor, omega: Tensor) -> Tensor:
    """(..., H, N, U) and (H, U, D/2) -> (..., H, N, D), differentiable; `_features` alone is not."""
    angle = u @ omega
    if torch.is_grad_enabled() and angle.requires_grad:
        return torch.cat((angle.cos(), angle.sin()), -1) * omega.shape[-1] ** -0.5
    return _features(angle)


def _expand(u: Tensor, omega: Tensor) -> Tensor:
    """(B, H, T, 2, U) -> (H, B, T, 2, D), on the CPU."""
    angle = u.transpose(0, 1).flatten(1, 3) @ omega  # (H, B T 2, D/2)
    phi = angle.new_empty(u.shape[1], u.shape[0], *u.shape[2:4], 2 * omega.shape[-1])
    kernels.run(kernels.features, [angle.flatten(0, 1)], [phi.view(-1, phi.shape[-1])])
    return phi


def _run(
    m: Tensor, phi: Tensor, values: Tensor, write: Tensor, erase: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Change m in place over T steps; see `kernels.memory_forward` for what comes back, (B, H, T, V) each."""
    read, found, delta = (values.new_empty(values.shape) for _ in range(3))
    kernels.run(kernels.memory_forward, [phi, values, write, erase, starts], [m, read, found, delta])
    return read, found, delta


class _Scan(torch.autograd.Function):
    """`SuperposedMemory.unroll` in one compiled loop; `u` (B, H, T, 2, U) holds keys and queries."""

    @staticmethod
    def forward(
        ctx: Any, m: Tensor, u: Tensor, values: Tensor, write: Tensor, erase: Tensor, starts: Tensor, omega: Tensor
    ) -> tuple[Tensor, Tensor]:
        phi, after = _expand(u, omega), m.clone(memory_format=torch.contiguous_format)
        read, found, delta = _run(after, phi, values, write, erase, starts)
        ctx.save_for_backward(phi, values, write, erase, starts, m, after, found, delta, omega)
        return read, after

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        *saved, omega = ctx.saved_tensors
        phi, values, write, erase = saved[:4]
        d_read, d_m = grads[0], grads[1].clone(memory_format=torch.contiguous_format)
        d_angle = phi.new_empty(*phi.shape[:-1], omega.shape[-1])
        d_values, d_write, d_erase = (part.new_empty(part.shape) for part in (values, write, erase))
        kernels.run(kernels.memory_backward, [*saved, d_read], [d_m, d_angle, d_values, d_write, d_erase])
        d_u = (d_angle.flatten(1, 3) @ omega.mT).view(*phi.shape[:-1], -1).transpose(0, 1)  # (B, H, T, 2, U)
        return d_m, d_u, d_values, d_write, d_erase, None, None


class _Chunk(torch.autograd.Function):
    """One chunk of `SuperposedMemory.unroll`, expansion included, with its backward pass written out.

    P = [K; Q] are the expanded keys and queries, (B, H, 2T, D). With S the mask of pairs (i, j < i) of one episode:

        G = K K^T * S     A = Q K^T * S     U = (I + diag(e) G)^-1 (b V - e K M_0^T)
        R = A U + Q M_0^T        M_T = M_0 + U^T K

    where M_0 reaches only steps of the first episode and M_T keeps only those of the last. Autograd would give the
    same numbers at two to three times the cost: it zero-fills a full gradient for every slice.
    """

    @staticmethod
    def forward(
        ctx: Any, m: Tensor, u: Tensor, values: Tensor, write: Tensor, erase: Tensor, starts: Tensor, omega: Tensor
    ) -> tuple[Tensor, Tensor]:
        steps = values.shape[2]
        episode = starts.cumsum(1)  # (B, T), 0 while the episode of M_0 goes on
        lower = (episode[:, :, None] == episode[:, None, :]).tril(-1)[:, None].to(m.dtype)  # (B, 1, T, T)
        first = (episode == 0)[:, None, :, None].to(m.dtype)  # (B, 1, T, 1)
        last = (episode == episode[:, -1:])[:, None, :, None].to(m.dtype)
        alive = first[:, :, -1:]  # (B, 1, 1, 1): M_0 outlives the chunk only without a reset
        write, erase = write[..., None], erase[..., None]  # (B, H, T, 1)

        p = _features(u @ omega)  # (B, H, 2T, D)
        keys = p[:, :, :steps]
        gram, attend = (p @ keys.mT).split(steps, 2)  # (B, H, T, T) each
        gram, attend = gram * lower, attend * lower
        found_k, found_q = (p @ m.mT).split(steps, 2)  # (B, H, T, V) each: what M_0 answers
        found_k, found_q = found_k * first, found_q * first
        system = erase * gram
        delta = torch.linalg.solve_triangular(system, write * values - erase * found_k, upper=False, unitriangular=True)
        read = torch.baddbmm(found_q.flatten(0, 1), attend.flatten(0, 1), delta.flatten(0, 1)).view_as(delta)
        after = (m * alive).flatten(0, 1).baddbmm_((delta * last).flatten(0, 1).mT, keys.flatten(0, 1))
        masks = (lower, first, last)
        ctx.save_for_backward(m, p, values, write, erase, gram, attend, found_k, system, delta, *masks, omega)
        return read, after.view_as(m)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        m, p, values, write, erase, gram, attend, found_k, system, delta, lower, first, last, omega = ctx.saved_tensors
        d_read, d_after = grads
        steps = values.shape[2]
        keys = p[:, :, :steps]

        d_delta = attend.mT @ d_read + (keys @ d_after.mT) * last
        d_known = torch.linalg.solve_triangular(
            system.mT, d_delta, upper=True, unitriangular=True
        )  # (B, H, T, V), gradient of b V - e K M_0
        outer = d_known @ delta.mT
        d_erase = -((outer * gram).sum(-1) + (d_known * found_k).sum(-1))
        d_pairs = torch.cat((-erase * outer * lower, d_read @ delta.mT * lower), 2)
        d_found = torch.cat((-erase * d_known, d_read), 2) * torch.cat((first, first), 2)  # (B, H, 2T, V)

        d_p = (d_pairs @ keys).flatten(0, 1).baddbmm_(d_found.flatten(0, 1), m.flatten(0, 1))
        d_k = (d_pairs.mT @ p).flatten(0, 1)
        d_k.baddbmm_((delta * last).flatten(0, 1), d_after.flatten(0, 1))
        d_p[:, :steps] += d_k
        d_p = d_p.view_as(p)  # (B, H, 2T, D)
        d_m = torch.baddbmm(
            (d_after * first[:, :, -1:]).flatten(0, 1), d_found.flatten(0, 1).mT, p.flatten(0, 1)
        ).view_as(m)

        half = omega.shape[-1]  # d cos = -sin, d sin = cos
        d_angle = (d_p[..., half:] * p[..., :half]).addcmul_(d_p[..., :half], p[..., half:], value=-1)
        d_values, d_write = write * d_known, (d_known * values).sum(-1)
        return d_m, d_angle @ omega.mT, d_values, d_write, d_erase, None, None
