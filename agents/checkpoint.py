"""Checkpoints: tensors and JSON in one safetensors file, replaced atomically, read without running any code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

FORMAT = "palimpsest-1"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message names the file and what to do."""


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: whoever reads it, at any moment, finds the old or the new file, whole.

    The temporary file stands in the same folder, because a rename is only atomic within one file system, and
    both the file and the folder are synced, because a rename may otherwise reach the disk before the bytes.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save(path: Path, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
    """Write a checkpoint atomically; CheckpointError if it cannot be, and then the previous file is untouched."""
    # A copy of each tensor: safetensors refuses views that share memory, which snapshots may hold.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = to_bytes(copies, metadata={"format": FORMAT, "meta": json.dumps(meta)})
    try:
        write_atomic(path, data)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror or error}. Earlier checkpoints in {path.parent} are intact; "
            f"make room, then continue with: python train.py --resume {path.parent}"
        ) from error


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a checkpoint: (tensors, meta). CheckpointError for a missing, truncated, hostile or foreign file."""
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}. {_others(path)}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path} is a safetensors file, but not a checkpoint of this program "
                    f"(format {header.get('format')!r}, expected {FORMAT!r}). {_others(path)}"
                )
            # Cloned, so that nothing keeps a memory map of a file that is about to be replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
            meta = json.loads(header["meta"])
    except (SafetensorError, OSError, ValueError, KeyError, MemoryError, OverflowError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            f"{path} is not a readable checkpoint: truncated, damaged or another kind of file ({reason}). "
            f"{_others(path)}"
        ) from error
    if not isinstance(meta, dict):
        raise CheckpointError(f"{path} is not a readable checkpoint: its description is not a table. {_others(path)}")
    return tensors, meta


def _others(path: Path) -> str:
    """Say which other checkpoints the folder offers."""
    others = sorted(p.name for p in path.parent.glob("*.safetensors") if p != path)
    if not others:
        return "Its folder holds no other checkpoint: train again, with --force."
    return f"Others in its folder: {', '.join(others)} (evaluate.py --checkpoint best|last|STEP)."
