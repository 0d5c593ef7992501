"""Base class of the pictures of `sample.py draw=...`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ddpm_lightning.data.normalizer import Normalizer
from ddpm_lightning.samplers.generation import SampleStream


@dataclass(frozen=True)
class Drawn:
    """A picture, and what was measured for it.

    Attributes:
        picture: (3, H, W), uint8.
        numbers: name -> value.
    """

    picture: Tensor
    numbers: dict[str, float] = field(default_factory=dict)


class ProcessPicture(ABC):
    """A picture that a model draws in place of a grid of samples."""

    name: ClassVar[str]
    """Name of its file."""

    @abstractmethod
    def draw(self, stream: SampleStream, normalizer: Normalizer) -> Drawn:
        """The picture.

        Args:
            stream: the model, the sampler, the seed, and the class if one is asked for.
            normalizer: converts between uint8 and the model's range.

        Raises:
            ValueError: an option does not fit the model.
        """


def label_of_image(stream: SampleStream, count: int) -> Tensor | None:
    """The label, (count,), with which a given image is drawn: the one asked for, or else none.

    Raises:
        ValueError: none is asked for, and the model (or its guidance) needs one.
    """
    if stream.labels_of is not None:
        return stream.labels(torch.arange(count))
    if stream.denoiser.num_classes is not None and not stream.denoiser.knows_none:
        raise ValueError("this model with its guidance needs the class of the image: set label=")
    return None
