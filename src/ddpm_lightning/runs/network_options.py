"""What a network is told beside its own options."""

from collections.abc import Mapping
from typing import Any

from ddpm_lightning.diffusion.target import Target
from ddpm_lightning.diffusion.variance import Variance


def network_options(
    model: Mapping[str, Any],
    target: Target,
    image_shape: tuple[int, int, int],
    self_conditioning: bool,
    variance: Variance,
) -> dict[str, Any]:
    """The options of a network that follow from the images, (C, H, W), the target and self-conditioning.

    With self-conditioning, its input has twice the channels: those of x_t and of an estimate of x_0. A learned variance
    adds as many output channels as an image has. Where `conditioning` of the section `model` is null, it is the measure
    of noise level that suits the target.
    """
    channels, *size = image_shape
    input_shape = (2 * channels if self_conditioning else channels, *size)
    options: dict[str, Any] = {"input_shape": input_shape, "out_channels": target.output_channels(channels)}
    if variance.is_learned:
        options["out_channels"] += channels
    if "conditioning" in model and model["conditioning"] is None:
        options["conditioning"] = target.conditioning
    return options
