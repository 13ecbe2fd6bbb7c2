"""What a run writes while it trains: TensorBoard events and monitor.csv, both cut back on resume."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import HParam, Image, Logger, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter

NOT_TEXT = ("stdout", "log", "json", "csv")


class TensorBoard(TensorBoardOutputFormat):
    """SB3's TensorBoard writer, able to continue: earlier events at `purge_step` or later vanish."""

    def __init__(self, folder: str, purge_step: int | None = None) -> None:
        self.writer = SummaryWriter(log_dir=folder, purge_step=purge_step)
        self._is_closed = False


class RunLogger(Logger):
    """SB3's logger, writing TensorBoard events into a run folder."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        super().__init__(str(folder), [TensorBoard(str(folder), purge_step)])
        self.latest: dict[str, float] = {}
        """The last value of each scalar that was written."""

    def dump(self, step: int = 0) -> None:
        """Write what was recorded since the last dump."""
        self.latest |= {k: float(v) for k, v in self.name_to_value.items() if np.isscalar(v) and not isinstance(v, str)}
        super().dump(step)

    def pending(self) -> dict[str, list[float]]:
        """What was recorded and not yet written, as JSON: SB3 writes `train/*` one iteration late."""
        return {
            name: [float(value), self.name_to_count[name]]
            for name, value in self.name_to_value.items()
            if np.isscalar(value) and not isinstance(value, str)
        }

    def restore(self, pending: dict[str, list[float]]) -> None:
        """Take back what `pending` returned."""
        for name, (value, count) in pending.items():
            self.record(name, value)
            self.name_to_count[name] = int(count)

    def describe(self, config: dict[str, Any], bill: str) -> None:
        """Write the bill and the hyperparameters, as text and for TensorBoard's HPARAMS page."""
        self.record("bill", bill, exclude=NOT_TEXT)
        flat = {k: v for k, v in config.items() if k not in ("hp", "env_kwargs")} | config["hp"] | config["env_kwargs"]
        rows = "\n".join(f"| {k} | {v} |" for k, v in flat.items())
        self.record("config", f"| name | value |\n|---|---|\n{rows}", exclude=NOT_TEXT)
        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in flat.items()}
        metrics = dict.fromkeys(("rollout/ep_rew_mean", "rollout/success_rate", "eval/success_rate"), 0.0)
        self.record("hparams", HParam(plain, metrics), exclude=NOT_TEXT)
        super().dump(0)

    def image(self, name: str, picture: np.ndarray) -> None:
        """Record an (H, W) array, scaled to its own range, or an (H, W, 3) uint8 picture."""
        if picture.ndim == 2:
            low, high = float(picture.min()), float(picture.max())
            picture = np.repeat((((picture - low) / (high - low or 1.0)) * 255).astype(np.uint8)[..., None], 3, axis=2)
        self.record(name, Image(picture, "HWC"), exclude=NOT_TEXT)


def say(text: str) -> None:
    """Print a line; where nobody reads any more (`| head`, a `tee` that Ctrl-C ended), training goes on."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


class Monitor:
    """monitor.csv as SB3's Monitor writes it: a line of JSON, then return, length, seconds per episode."""

    def __init__(self, path: Path, env_id: str, started: float, size: int | None = None) -> None:
        """Begin a file, or continue one by cutting it back to `size` bytes; one that has lost some begins anew."""
        if size is not None and (not path.exists() or path.stat().st_size < size):
            say(f"{path} has lost episodes since the last checkpoint: it begins anew.")
            size = None
        self._file = open(path, "wb" if size is None else "r+b")
        if size is None:
            header = json.dumps({"t_start": started, "env_id": env_id})
            self._file.write(f"#{header}\nr,l,t,is_success\n".encode())
        else:
            self._file.truncate(size)
            self._file.seek(0, 2)

    def write(self, reward: float, length: int, seconds: float, success: float) -> None:
        """Add an episode; a success of NaN means nothing and is left out."""
        share = "" if np.isnan(success) else f"{float(success):.6g}"
        self._file.write(f"{reward:.6f},{length},{seconds:.6f},{share}\n".encode())

    def flush(self) -> int:
        """Hand everything to the operating system and return the size of the file in bytes."""
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
