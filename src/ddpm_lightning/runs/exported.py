"""A model as two files without code, safetensors and JSON: written by `export.py`, opened by `ddpm_lightning.load`."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from ddpm_lightning.atomic_files import new_folder, write_json
from ddpm_lightning.metrics.features.tensor_files import content_sha256, save_tensors
from ddpm_lightning.runs.find_checkpoint import EXPORT_CONFIG, EXPORT_WEIGHTS
from ddpm_lightning.runs.saved_model import SavedModel
from ddpm_lightning.runs.stored_config import modernized
from ddpm_lightning.runs.trust import WATCHERS, Trust
from ddpm_lightning.runs.value_types import MisfitError, described, fitted

FORMAT_VERSION = 1
"""Version of the two files' content."""
TYPES: dict[str, Any] = {
    "format_version": int,
    "image_shape": tuple[int, int, int],
    "num_classes": int,
    "step": int,
    "weights": str,
    "weights_sha256": str,
    "card": dict[str, Any] | None,
    "config": dict[str, Any],
}
"""Key of `config.json` -> its type; the version comes first, because a newer one may have others."""


def write_exported(model: SavedModel, folder: str | Path) -> None:
    """Writes `model.safetensors` and `config.json` to a new folder, which appears whole or not at all.

    Raises:
        FileExistsError: the folder exists and is not empty.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "image_shape": list(model.image_shape),
        "num_classes": model.num_classes,
        "step": model.step,
        "weights": model.weights,
        "weights_sha256": content_sha256(model.state),
        "card": model.card,
        "config": {section: node for section, node in model.config.items() if section != "paths"},  # of this machine
    }
    with new_folder(folder) as temporary:
        # Copies, since safetensors refuses tensors that share memory.
        save_tensors(temporary / EXPORT_WEIGHTS, {name: t.clone() for name, t in model.state.items()}, {"format": "pt"})
        write_json(temporary / EXPORT_CONFIG, content)


def read_exported(folder: str | Path, trust: tuple[str, ...] | None = ()) -> SavedModel:
    """The model that `write_exported` wrote; runs no code of the files.

    Args:
        folder: of the two files.
        trust: packages, besides this one, whose classes the config may name; None to build nothing of it.

    Raises:
        ValueError: a file is missing, damaged, of a newer version, or does not belong to the other; or the config names
            a class that is not trusted.
    """
    folder = Path(folder)
    content = _read_config(folder)
    try:
        state = load_tensors((folder / EXPORT_WEIGHTS).read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"the exported model {folder} lacks its {EXPORT_WEIGHTS}: export it again") from error
    except SafetensorError as error:
        raise ValueError(f"{folder / EXPORT_WEIGHTS} is damaged ({error}): export the model again") from error
    if content_sha256(state) != content["weights_sha256"]:
        raise ValueError(
            f"{folder / EXPORT_WEIGHTS} is damaged, or of another model than the {EXPORT_CONFIG} beside it: export the "
            "model again"
        )
    channels, height, width = content["image_shape"]
    return SavedModel(
        origin=folder,
        config=modernized(content["config"], folder, None if trust is None else Trust(trust), WATCHERS),
        state=state,
        weights=content["weights"],
        image_shape=(channels, height, width),
        num_classes=content["num_classes"],
        step=content["step"],
        card=content["card"],
    )


def _read_config(folder: Path) -> dict[str, Any]:
    """The content of `config.json`, with all its keys."""
    file = folder / EXPORT_CONFIG
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise ValueError(f"the exported model {folder} lacks its {EXPORT_CONFIG}: export it again") from error
    except ValueError as error:  # neither JSON nor text
        raise ValueError(f"{file} is damaged ({error}): export the model again") from error
    if not isinstance(content, dict) or "format_version" not in content:
        raise ValueError(f"{file} does not describe an exported model: it has no format_version")
    for key, kind in TYPES.items():
        try:
            content[key] = fitted(content.get(key), kind)
        except MisfitError:
            there = f"{key} is not {described(kind)}" if key in content else f"it has no {key}"
            raise ValueError(f"{file} is damaged: {there}. Export the model again") from None
        if key == "format_version" and content[key] > FORMAT_VERSION:
            raise ValueError(f"{folder} was exported by a newer version of ddpm-lightning: update this one")
    return content
