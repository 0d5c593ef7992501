"""Tensors on disk: safetensors files that appear whole or not at all, and a hash of their content."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ddpm_lightning.atomic_files import atomic_path
from ddpm_lightning.shared_folder import share


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the sorted names and the bytes of `tensors`.

    It does not depend on the file format: the same tensors in a pickle and in a safetensors file have the same hash.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        # A view as bytes hashes the buffer in place, for any dtype.
        digest.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file atomically: a temporary file in the same folder, synced, then renamed.

    A reader sees the old file or the new one, never a part of one; the last of several writers wins.

    Raises:
        OSError: the folder cannot be created or written.
    """
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, dict(metadata))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
        share(temporary, path.parent)
