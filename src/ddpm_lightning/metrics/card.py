"""The metric card: everything a score depends on beside the samples themselves."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

NOT_RECORDED = "not recorded"
"""Stands for what the cards of earlier versions do not have: their scores compare among themselves."""


@dataclass(frozen=True)
class MetricCard:
    """How a score was made. Two scores may be compared when their cards differ only in what is being studied.

    Attributes:
        features: name of the extractor.
        features_sha256: hash of the extractor's weights.
        resize: what the extractor does to an image first, in words.
        num_generated: number of generated images.
        num_real: number of real images.
        seed: of the samples.
        real_seed: of the choice of real images and of the KID subsets.
        seeds: those of the training, by name (init, order, noise, samples).
        labels: how often each class was drawn, "uniform" or "as_in_data"; None without classes.
        sampler: its name and every option of it and of its time grid, with t_max as it was.
        guidance: its name ("none" without) and every option.
        nfe: network evaluations per sample, guidance included.
        weights: "ema" or "raw".
        split: part of the data set that the real images are from.
        dataset: name of the data set.
        real_images: fingerprint of the split, which depends on image size, rows and the images themselves: 16
            hexadecimal digits. Which images of it were chosen, `real_seed` and `num_real` say.
    """

    features: str
    features_sha256: str
    resize: str
    num_generated: int
    num_real: int
    seed: int
    real_seed: int
    seeds: dict[str, int]
    labels: str | None
    sampler: dict[str, Any]
    guidance: dict[str, Any]
    nfe: int
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

    def flat(self) -> dict[str, Any]:
        """Name -> value on one level, "sampler.grid.rho" -> 7.0: what has to agree for scores to be comparable.

        Without the seeds, in which runs of one configuration differ.
        """
        return dict(
            _flat({key: value for key, value in self.to_dict().items() if key not in ("seed", "real_seed", "seeds")})
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "MetricCard":
        """A card as it stands in `metrics.json`, an earlier version's too.

        Raises:
            TypeError, KeyError: something is missing, or there is more than a card has.
        """
        content = {"real_images": NOT_RECORDED, **content}
        if isinstance(content["sampler"], str):
            content = _from_version_1(content)
        return cls(**content)


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, tuple(value) if isinstance(value, list) else value


def _from_version_1(content: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had fields for DDIM, evenly spaced in t, and for classifier-free guidance alone."""
    content = dict(content)
    sampler: dict[str, Any] = {"name": content.pop("sampler"), "grid": {"name": "uniform"}}
    sampler |= {option: content.pop(option) for option in ("steps", "t_max", "clip")}
    eta, scale = content.pop("eta"), content.pop("guidance_scale")
    if eta is not None:
        sampler["eta"] = eta
    guidance = {"name": "none"} if scale is None else {"name": "classifier_free", "scale": scale}
    evaluations = sampler["steps"] * (1 if scale is None else 2)
    content["real_seed"] = content["seed"]
    return {**content, "seeds": {}, "labels": None, "sampler": sampler, "guidance": guidance, "nfe": evaluations}
