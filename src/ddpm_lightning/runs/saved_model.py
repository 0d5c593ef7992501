"""What is saved of a trained model, in a checkpoint or in an export: plain values and tensors, nothing built yet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ddpm_lightning.json_files import read_json
from ddpm_lightning.runs.find_checkpoint import LAST_CHECKPOINT, find_checkpoint
from ddpm_lightning.runs.instantiate import instantiate
from ddpm_lightning.runs.stored_config import modernized
from ddpm_lightning.runs.trust import WATCHERS, Trust
from ddpm_lightning.training.checkpoint import CONFIG_KEY, IMAGES_KEY, read_checkpoint

DENOISER, CLASSIFIER, NORMALIZER = "denoiser.", "classifier.", "normalizer."
"""Prefixes of the tensors of a model; it has either a denoiser or a classifier."""
WEIGHTS = ("ema", "raw")
"""The averaged weights, and those in training."""


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A trained model as plain values and tensors.

    Attributes:
        origin: file or folder that it was read from.
        config: the run's config, as this version stores it.
        state: tensors by name: those of the denoiser after `denoiser.`, or those of the classifier after `classifier.`;
            those of the normaliser after `normalizer.`.
        weights: which weights `state` holds, "ema" or "raw".
        image_shape: (C, H, W).
        num_classes: number of classes of the images, 0 for images without labels.
        step: optimizer steps that it was trained for.
        card: how the scores of the run were computed; None if these weights were not scored.
    """

    origin: Path
    config: dict[str, Any]
    state: dict[str, Tensor]
    weights: str
    image_shape: tuple[int, int, int]
    num_classes: int
    step: int
    card: dict[str, Any] | None

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin so, by the rest of their names."""
        return {name.removeprefix(prefix): value for name, value in self.state.items() if name.startswith(prefix)}

    @property
    def network(self) -> dict[str, Tensor]:
        """The tensors of the network by their names in it."""
        return self.part(f"{CLASSIFIER if is_classifier(self.state) else DENOISER}network.")


def is_classifier(state: Iterable[str]) -> bool:
    """Whether tensors of these names are those of a classifier, not of a denoiser."""
    return any(name.startswith(CLASSIFIER) for name in state)


def check_denoiser(state: Iterable[str], origin: str | Path) -> None:
    """Raises ValueError if tensors of these names, which are stored in `origin`, are those of a classifier."""
    if is_classifier(state):
        raise ValueError(
            f"{origin} is a classifier, which draws no images: use it with guidance=classifier "
            f"guidance.classifier={origin} of a denoiser's run"
        )


def read_trained(path: str | Path, trust: tuple[str, ...] | None = (), weights: str | None = None) -> SavedModel:
    """The model of a run's folder or of a checkpoint.

    Args:
        path: a run's folder, or a checkpoint.
        trust: packages, besides this one, whose classes the run's config may name; None to build nothing of it.
        weights: "ema" or "raw"; None for those that the run is scored with.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the file is damaged, or does not hold these weights.
    """
    file = find_checkpoint(path)
    checkpoint = read_checkpoint(file)
    config = modernized(checkpoint[CONFIG_KEY], file, None if trust is None else Trust(trust), WATCHERS)
    scored = "ema" if "ema" in checkpoint and config["weights"] != "raw" else "raw"
    chosen = weights or scored
    if chosen not in WEIGHTS:
        raise ValueError(f"unknown weights {chosen!r}: choose from {', '.join(WEIGHTS)}")
    if chosen == "ema" and "ema" not in checkpoint:
        raise ValueError(f"{file} has no averaged weights, because it was trained with ema=none: use weights=raw")
    part = CLASSIFIER if is_classifier(checkpoint["state_dict"]) else DENOISER
    state = {k: v for k, v in checkpoint["state_dict"].items() if k.startswith((part, NORMALIZER))}
    if chosen == "ema":
        state |= {f"{part}network.{k}": v for k, v in checkpoint["ema"]["network"].items()}
    image_shape, num_classes = _images(checkpoint, config, trust or ())
    return SavedModel(
        origin=file,
        config=config,
        state=state,
        weights=chosen,
        image_shape=image_shape,
        num_classes=num_classes,
        step=checkpoint["global_step"],
        card=_card_beside(file) if chosen == scored else None,
    )


def _images(
    checkpoint: Mapping[str, Any], config: Mapping[str, Any], trust: tuple[str, ...]
) -> tuple[tuple[int, int, int], int]:
    """Shape and number of classes of the images."""
    if IMAGES_KEY in checkpoint:
        channels, height, width = checkpoint[IMAGES_KEY]["shape"]
        return (channels, height, width), checkpoint[IMAGES_KEY]["num_classes"]
    # Early checkpoints leave the shape to the data's config, and the classes to the model's.
    shape: tuple[int, int, int] = instantiate(config["dataset"]["source"], trust, root=".").image_shape
    return shape, config["model"].get("num_classes") or 0


def _card_beside(checkpoint: Path) -> dict[str, Any] | None:
    """The card of the run whose last checkpoint this is; None for others, whose weights were not scored."""
    folder = checkpoint.resolve().parent
    scores = folder.parent / "metrics.json"
    if Path(folder.name, checkpoint.name) != LAST_CHECKPOINT or not scores.is_file():
        return None
    card: dict[str, Any] = read_json(scores, ["card"], "evaluate the run again, or delete the file")["card"]
    return card
