"""The metric card: everything a score depends on, except for the samples themselves."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

NOT_RECORDED = "not recorded"
"""Value of entries that cards of earlier versions lack: scores with such cards compare with one another."""

_ADDED_OPTIONS = {"classifier_free": {"rescale": 0.0, "level_min": 0.0, "level_max": None}}
"""Name of a guidance -> options that cards of earlier versions lack, with the values that they had."""


@dataclass(frozen=True)
class MetricCard:
    """Record of how a score was made. Two scores compare if their cards differ only in the factor under study.

    Attributes:
        features: name of the extractor.
        features_sha256: hash of the extractor's weights.
        resize: human-readable description of how the extractor resizes images.
        num_generated: number of generated images.
        num_real: number of real images.
        seed: seed of the samples.
        real_seed: seed of the choice of real images and of the KID subsets.
        seeds: seeds of the training, by name (init, order, noise, samples).
        labels: how often each class was drawn, "uniform" or "as_in_data"; None without classes.
        sampler: name and every option of the sampler and of its time grid; t_max is the time where sampling started.
        guidance: name ("none" without guidance) and every option.
        nfe: network evaluations per sample, guidance included.
        weights: "ema" or "raw".
        split: split that the real images are from.
        dataset: name of the data set.
        real_images: fingerprint of the split, 16 hexadecimal digits; it depends on image size, rows and the images
            themselves. `real_seed` and `num_real` determine the images chosen from the split.

    Raises:
        ValueError: `weights` is neither "ema" nor "raw".
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

    measured: ClassVar[str] = "scores of samples"

    def __post_init__(self) -> None:
        if self.weights not in ("ema", "raw"):
            raise ValueError(f"unknown weights {self.weights!r}: choose from ema, raw")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def flat(self) -> dict[str, Any]:
        """Entries that must agree for scores to be comparable, on one level: "sampler.grid.rho" -> 7.0.

        Seeds are left out, because runs of one configuration differ in them.
        """
        return comparable_entries(self.to_dict())

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "MetricCard":
        """The card of a `metrics.json`, also of one that an earlier version wrote.

        Raises:
            TypeError, KeyError: an entry is missing or unknown.
        """
        content = {"real_images": NOT_RECORDED, **content}
        if isinstance(content["sampler"], str):
            content = _from_version_1(content)
        return cls(**content | {"guidance": _with_added(content["guidance"])})


def comparable_entries(card: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a card but its seeds, on one level."""
    return dict(_flat({key: value for key, value in card.items() if key not in ("seed", "real_seed", "seeds")}))


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, tuple(value) if isinstance(value, list) else value


def _with_added(guidance: Mapping[str, Any]) -> dict[str, Any]:
    """A guidance, and the one that it wraps, with the options that it had no name for."""
    wrapped = {"of": _with_added(guidance["of"])} if "of" in guidance else {}
    return _ADDED_OPTIONS.get(guidance.get("name", ""), {}) | dict(guidance) | wrapped


def _from_version_1(content: dict[str, Any]) -> dict[str, Any]:
    """Content of a card of version 1, which had fields for DDIM and classifier-free guidance only, in today's form."""
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
