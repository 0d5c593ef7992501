"""Controlled experiments on denoising diffusion models with PyTorch Lightning and Hydra.

In a notebook:

    import ddpm_lightning

    model = ddpm_lightning.load("outputs/mnist_quick/NAME")
    images = model.sample(64)  # uint8, (64, C, H, W)

What is imported from here needs torch, but neither Lightning nor Hydra.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddpm_lightning.diffusion.guidance import ClassifierFreeGuidance
    from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
    from ddpm_lightning.diffusion.schedules.edm import EDMSchedule
    from ddpm_lightning.diffusion.schedules.flow import FlowSchedule
    from ddpm_lightning.diffusion.schedules.limited import LimitedCosineSchedule, LimitedLinearSchedule
    from ddpm_lightning.diffusion.schedules.linear import LinearSchedule
    from ddpm_lightning.diffusion.schedules.quadratic import QuadraticSchedule
    from ddpm_lightning.diffusion.schedules.sigmoid import SigmoidSchedule
    from ddpm_lightning.diffusion.target import EDM, Flow, Image, Noise, Velocity
    from ddpm_lightning.runs.load import Model, load
    from ddpm_lightning.samplers.ddim import DDIM
    from ddpm_lightning.samplers.ddpm import DDPM
    from ddpm_lightning.samplers.grid import KarrasGrid, LogSNRGrid, QuadraticGrid, UniformGrid
    from ddpm_lightning.samplers.heun import Heun
    from ddpm_lightning.samplers.strided_ddpm import StridedDDPM

__version__ = "0.1.0"

_MODULES = {
    "runs.load": ("Model", "load"),
    "samplers.ddim": ("DDIM",),
    "samplers.ddpm": ("DDPM",),
    "samplers.heun": ("Heun",),
    "samplers.strided_ddpm": ("StridedDDPM",),
    "samplers.grid": ("KarrasGrid", "LogSNRGrid", "QuadraticGrid", "UniformGrid"),
    "diffusion.guidance": ("ClassifierFreeGuidance",),
    "diffusion.target": ("EDM", "Flow", "Image", "Noise", "Velocity"),
    "diffusion.schedules.cosine": ("CosineSchedule",),
    "diffusion.schedules.edm": ("EDMSchedule",),
    "diffusion.schedules.flow": ("FlowSchedule",),
    "diffusion.schedules.limited": ("LimitedCosineSchedule", "LimitedLinearSchedule"),
    "diffusion.schedules.linear": ("LinearSchedule",),
    "diffusion.schedules.quadratic": ("QuadraticSchedule",),
    "diffusion.schedules.sigmoid": ("SigmoidSchedule",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [  # the names of _HOMES, for type checkers
    "DDIM",
    "DDPM",
    "EDM",
    "ClassifierFreeGuidance",
    "CosineSchedule",
    "EDMSchedule",
    "Flow",
    "FlowSchedule",
    "Heun",
    "Image",
    "KarrasGrid",
    "LimitedCosineSchedule",
    "LimitedLinearSchedule",
    "LinearSchedule",
    "LogSNRGrid",
    "Model",
    "Noise",
    "QuadraticGrid",
    "QuadraticSchedule",
    "SigmoidSchedule",
    "StridedDDPM",
    "UniformGrid",
    "Velocity",
    "load",
]


def __dir__() -> list[str]:
    """All names, also of what is not imported yet, for completion in a notebook."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Imports on first use: the command line answers `--help` without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
