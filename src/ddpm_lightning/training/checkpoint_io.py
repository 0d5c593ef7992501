"""Lightning's plugin for checkpoints."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH

from ddpm_lightning.atomic_files import atomic_path
from ddpm_lightning.training.checkpoint import read_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint I/O: writes to a temporary file in the same folder, syncs and renames; reads without running code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any = None) -> None:
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self,
        path: _PATH,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        return read_checkpoint(path)
