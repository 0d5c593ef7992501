"""Guidance by the gradient of a classifier of noised images."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddpm_lightning.diffusion.classifier import Classifier
from ddpm_lightning.diffusion.denoiser import DenoiserLike
from ddpm_lightning.diffusion.guidance import IntervalGuidance
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.diffusion.target import Prediction, ValueRange

TIMES_COMPARED = 101
"""Number of times, evenly spaced in [0, 1], at which two schedules have to agree."""


@dataclass(eq=False)
class ClassifierGuidance(IntervalGuidance):
    """Shifts the prediction along the gradient of log p(y | x_t) (Dhariwal & Nichol 2021, eq. 14 and algorithm 2).

    eps - scale sigma grad log p(y | x_t), and the x_0 that belongs to it. With the true p(y | x_t) and scale 1, the
    prediction of an unconditional denoiser becomes the conditional one. The gradient is computed in float32.

    Args:
        denoiser: of the same schedule and images; without classes, or with those of the classifier.
        classifier: estimates p(y | x_t).
        scale: s of the paper, at least 0; p(y | x_t)^s is what guides.
        level_min: see `IntervalGuidance`; outside the interval the prediction is the denoiser's own.
        level_max: see `IntervalGuidance`.

    Raises:
        ValueError: an option is out of range, or the classifier has another schedule or other classes.
    """

    classifier: Classifier
    scale: float = 1.0
    name = "classifier"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.scale < math.inf:
            raise ValueError(f"guidance.scale must be a finite number of at least 0, not {self.scale}")
        own = self.denoiser.num_classes
        if own not in (None, self.classifier.num_classes):
            raise ValueError(
                f"guidance.classifier knows {self.classifier.num_classes} classes, and this model {own}: train a "
                "classifier on the model's data set"
            )
        _check_same_schedule(self.schedule, self.classifier.schedule)

    @property
    def num_classes(self) -> int:
        """K of the classifier, since it can guide a model without classes too."""
        return self.classifier.num_classes

    @property
    def knows_none(self) -> bool:
        """False, because a sample is guided towards its label."""
        return False

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "classifier": self.classifier.weights_hash}

    def check_images(self, image_shape: tuple[int, int, int], value_range: ValueRange) -> None:
        """Raises ValueError unless the classifier was trained on such images: (C, H, W), normalised to this range."""
        if self.classifier.trained_on is None:
            return
        shape, own_range = self.classifier.trained_on
        if shape != image_shape:
            theirs, ours = ("x".join(map(str, part)) for part in (shape, image_shape))
            raise ValueError(
                f"guidance.classifier was trained on images of {theirs}, and this model on images of {ours}: train a "
                "classifier on the model's images"
            )
        if not _same_range(own_range, value_range):
            theirs, ours = _described(own_range), _described(value_range)
            raise ValueError(
                f"guidance.classifier was trained on pixels {theirs}, and this model on pixels {ours}: train a "
                "classifier with the model's normalizer, on its data set"
            )

    def __call__(
        self, x_t: Tensor, t: Tensor, label: Tensor | None = None, estimate: Tensor | None = None
    ) -> Prediction:
        """x_t, estimate: (B, C, H, W); t, label: (B,). Raises ValueError without labels."""
        if label is None:
            raise ValueError("classifier guidance needs a label per sample")
        prediction = self.denoiser(x_t, t, None if self.denoiser.num_classes is None else label, estimate)
        rates = self.schedule.rates(t)
        # Where no signal is left, x_t says nothing about the class; label K is "no label".
        guides = self.guides_at(t) & (rates.alpha > 0) & (label < self.num_classes)
        if self.has_limits and not guides.any():  # `any` waits for the device
            return prediction
        alpha, sigma = rates.broadcast_to(x_t)
        shift = self.scale * sigma * self._gradient(x_t, t, label)
        where = guides[:, None, None, None]
        return prediction._replace(
            x_0=torch.where(where, prediction.x_0 + sigma / alpha * shift, prediction.x_0),
            eps=torch.where(where, prediction.eps - shift, prediction.eps),
        )

    def _gradient(self, x_t: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """The gradient of log p(label | x_t) with respect to x_t, of each sample, shaped as x_t."""
        device = x_t.device
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
            # Clones, because a backward pass cannot use tensors that were made in inference mode.
            x, t, label = x_t.detach().clone().requires_grad_(), t.clone(), label.clone()
            log_p = self.classifier.to(device)(x, t).log_softmax(1)
            of_label = log_p.gather(1, label.clamp(max=self.num_classes - 1)[:, None])
            (gradient,) = torch.autograd.grad(of_label.sum(), x)  # of the sum, as samples do not affect each other
        return gradient


def check_images(denoiser: DenoiserLike, image_shape: tuple[int, int, int], value_range: ValueRange) -> None:
    """Raises ValueError if a denoiser is guided by a classifier of other images; see `ClassifierGuidance`."""
    if isinstance(denoiser, ClassifierGuidance):
        denoiser.check_images(image_shape, value_range)


def _check_same_schedule(model: Schedule, classifier: Schedule) -> None:
    times = torch.linspace(0, 1, TIMES_COMPARED, dtype=torch.float64)
    ours, theirs = (torch.stack(schedule.rates(times.to(schedule.device))).cpu() for schedule in (model, classifier))
    differs = ~torch.isclose(ours, theirs, rtol=1e-5, atol=1e-6).all(0)
    if differs.any():
        worst = int((ours - theirs).abs().sum(0).argmax())
        described = [
            f"{type(schedule).__name__} with alpha {rates[0, worst]:.4g} and sigma {rates[1, worst]:.4g}"
            for schedule, rates in ((classifier, theirs), (model, ours))
        ]
        raise ValueError(
            f"guidance.classifier was trained on another schedule than this model: {described[0]} at t = "
            f"{times[worst]:.2f}, and here {described[1]}. Train a classifier with the model's schedule"
        )


def _same_range(theirs: ValueRange, ours: ValueRange) -> bool:
    """Whether two normalisers are the same, which are affine; one that has seen no images (NaN) may become the same."""
    for one, other in zip(theirs, ours, strict=True):
        if isinstance(one, Tensor) != isinstance(other, Tensor):
            return False
        first, second = (torch.as_tensor(limit).double().cpu() for limit in (one, other))
        if not (second.isnan().any() or torch.allclose(first, second, rtol=1e-3)):
            return False
    return True


def _described(value_range: ValueRange) -> str:
    low, high = (torch.as_tensor(limit).flatten()[0].item() for limit in value_range)
    return "that are standardised" if math.isnan(low) else f"from {low:.3g} to {high:.3g}"
