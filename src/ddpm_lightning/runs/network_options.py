"""What a network is told beside its own options."""

from collections.abc import Mapping
from typing import Any

from ddpm_lightning.diffusion.target import Target


def network_options(model: Mapping[str, Any], target: Target, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """The options of a network that follow from the images, (C, H, W), and from what it predicts.

    Where `conditioning` of the section `model` is null, it is the measure of noise level that suits the target.
    """
    options: dict[str, Any] = {"input_shape": image_shape, "out_channels": target.output_channels(image_shape[0])}
    if "conditioning" in model and model["conditioning"] is None:
        options["conditioning"] = target.conditioning
    return options
