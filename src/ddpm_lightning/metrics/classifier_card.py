"""The card of a classifier's accuracy: everything that it depends on, except for the classifier itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class ClassifierCard:
    """Record of how an accuracy was measured. Two compare if their cards differ only in the factor under study.

    Attributes:
        num_images: number of images that were noised and classified.
        seeds: seeds of the training, by name (init, order, noise, samples).
        weights: "ema" or "raw".
        split: split that the images are from.
        dataset: name of the data set.
        real_images: fingerprint of the split, 16 hexadecimal digits.
    """

    num_images: int
    seeds: dict[str, int]
    weights: str
    split: str
    dataset: str
    real_images: str

    measured: ClassVar[str] = "accuracies"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"task": "classifier", **asdict(self)}

    def flat(self) -> dict[str, Any]:
        """Entries that must agree for accuracies to be comparable: all but the seeds, in which replicates differ."""
        return {key: value for key, value in self.to_dict().items() if key != "seeds"}

    @classmethod
    def describes(cls, content: Mapping[str, Any]) -> bool:
        """Whether the card of a `metrics.json` is a classifier's."""
        return content.get("task") == "classifier"

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ClassifierCard":
        """The card of a `metrics.json`.

        Raises:
            TypeError: an entry is missing or unknown.
        """
        return cls(**{key: value for key, value in content.items() if key != "task"})
