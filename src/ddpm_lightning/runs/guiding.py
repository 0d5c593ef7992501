"""Guidance by the classifier of another run."""

from functools import lru_cache
from pathlib import Path

import torch

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.diffusion.classifier import Classifier, TrainedOn
from ddpm_lightning.diffusion.classifier_guidance import ClassifierGuidance
from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.metrics.features.tensor_files import content_sha256
from ddpm_lightning.runs.find_checkpoint import find_checkpoint
from ddpm_lightning.runs.home_folder import at_home
from ddpm_lightning.runs.instantiate import instantiate
from ddpm_lightning.runs.load import fill
from ddpm_lightning.runs.saved_model import CLASSIFIER, NORMALIZER, is_classifier, read_trained
from ddpm_lightning.runs.trust import packages_of_process


def classifier_guidance(
    denoiser: DenoiserLike,
    classifier: str | None = None,
    scale: float = 1.0,
    level_min: float = 0.0,
    level_max: float | None = None,
) -> ClassifierGuidance:
    """Guides by a trained classifier, with the weights that its run is scored with.

    Args:
        denoiser: see `ClassifierGuidance`, as for `scale`, `level_min` and `level_max`.
        classifier: folder of a run with `task=classifier`, or its checkpoint.
        scale: factor of the gradient.
        level_min: lowest noise level that is guided.
        level_max: highest; None for no limit.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it is damaged, or not a classifier's; or the classifier and the denoiser do not fit each other.
    """
    if classifier is None:
        raise ValueError(
            "guidance=classifier needs a classifier: set guidance.classifier=RUN, a run of python train.py "
            "task=classifier with the model's data set and schedule"
        )
    try:
        file = find_checkpoint(at_home(classifier))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"guidance.classifier={classifier}: {error}") from error
    trained = _read(file, file.stat().st_mtime_ns, packages_of_process())
    return ClassifierGuidance(denoiser, trained, scale, level_min=level_min, level_max=level_max)


_being_read: set[Path] = set()
"""Checkpoints whose config is just being built: none may name itself."""


@lru_cache(maxsize=2)
def _read(file: Path, changed: int, trust: tuple[str, ...]) -> Classifier:
    """The classifier in a checkpoint that was last changed at this time; read once for all callbacks of a run."""
    if file in _being_read:
        raise ValueError(f"guidance.classifier={file} is refused: its config names the checkpoint itself")
    _being_read.add(file)
    try:
        with torch.inference_mode(False):  # or its weights could never have a gradient
            return _built(file, trust)
    finally:
        _being_read.remove(file)


def _built(file: Path, trust: tuple[str, ...]) -> Classifier:
    saved = read_trained(file, trust)
    if not is_classifier(saved.state):
        raise ValueError(
            f"guidance.classifier={file} is a denoiser: name a run of python train.py task=classifier with the "
            "model's data set and schedule"
        )
    config, shape = saved.config, saved.image_shape
    with torch.random.fork_rng(devices=[]):  # initial weights are random, and replaced below
        network = instantiate(config["model"], trust, input_shape=shape, num_classes=saved.num_classes)
    normalizer: Normalizer = instantiate(config["normalizer"], trust, channels=shape[0])
    fill(normalizer, saved.part(NORMALIZER), saved.origin)
    classifier = Classifier(
        network.to(memory_format=torch.channels_last),
        instantiate(config["schedule"], trust),
        TrainedOn(shape, normalizer.value_range),
        content_sha256(saved.network)[:16],
    )
    fill(classifier, saved.part(CLASSIFIER), saved.origin)
    return classifier.eval().requires_grad_(False)
