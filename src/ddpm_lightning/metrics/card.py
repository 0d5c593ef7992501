"""The metric card: everything a score depends on beside the samples themselves."""

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class MetricCard:
    """How a score was made. Two scores may be compared when their cards differ only in what is being studied.

    Attributes:
        features: name of the extractor.
        features_sha256: hash of the extractor's weights.
        resize: what the extractor does to an image first, in words.
        num_generated: number of generated images.
        num_real: number of real images.
        seed: the seed of the samples, of the choice of real images and of the KID subsets.
        sampler: name of the sampler.
        steps: number of its steps.
        eta: share of fresh noise per step (Song et al. 2021); None for a sampler without it.
        t_max: first node of the time grid, in (0, 1].
        clip: whether the predicted image was clipped at every step.
        guidance_scale: of classifier-free guidance; None without it.
        weights: "ema" or "raw".
        split: part of the data set that the real images are from.
        dataset: name of the data set.
        real_images: fingerprint of the split, which depends on image size, rows and the images themselves: 16
            hexadecimal digits. Which images of it were chosen, `seed` and `num_real` say.
    """

    features: str
    features_sha256: str
    resize: str
    num_generated: int
    num_real: int
    seed: int
    sampler: str
    steps: int
    eta: float | None
    t_max: float
    clip: bool
    guidance_scale: float | None
    weights: str
    split: str
    dataset: str
    real_images: str

    def __post_init__(self) -> None:
        if self.weights not in ("ema", "raw"):
            raise ValueError(f"unknown weights {self.weights!r}: choose from ema, raw")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def differences(self, other: "MetricCard") -> dict[str, tuple[Any, Any]]:
        """Field name -> (own value, other's value), for the fields that differ."""
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
