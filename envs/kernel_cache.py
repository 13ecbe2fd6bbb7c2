"""Where compiled kernels are kept: a folder named after the sources of all kernels, so that none goes stale.

numba compares a cached kernel with the file that defines it, not with the files of the kernels that it calls. A file
that has no kernel, only constants and types that kernels are compiled with, says `@internal` in a comment.
`envs` imports this first, because a kernel takes its folder when it is defined.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numba


def folder() -> Path:
    """The folder for the sources as they are now. `make clean` removes it, and those of earlier sources."""
    here = Path(__file__).resolve().parent
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted([*here.glob("*.py"), *here.parent.glob("agents/*.py")]):
        text = source.read_bytes()
        if b"njit" in text or b"@internal" in text:
            digest.update(text)
    return here / "__pycache__" / f"kernels-{digest.hexdigest()[:12]}"


if "NUMBA_CACHE_DIR" not in os.environ:  # numba's own variable goes first
    vars(numba.config)["CACHE_DIR"] = str(folder())
