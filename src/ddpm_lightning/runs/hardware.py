"""What `auto` means on a machine: the device, and the number format in which it is fast."""

from typing import Any

import torch
from omegaconf import DictConfig


def resolve_auto(config: DictConfig) -> None:
    """Replaces `auto` by what it means on this machine, so that the run's config says it.

    The accelerator is CUDA or the CPU: Apple's has no float64, which the schedules' tables are made of.
    """
    if config.trainer.accelerator == "auto":
        config.trainer.accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if config.trainer.precision == "auto":
        config.trainer.precision = fastest_precision(config.trainer.accelerator)


def fastest_precision(accelerator: str) -> str:
    """Lightning's name of the format in which this machine trains fastest without loss scaling.

    bf16 autocast where the hardware multiplies bf16 (it emulates it slowly elsewhere), else float32.
    """
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    supported = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else _cpu_multiplies_bf16()
    return "bf16-mixed" if supported else "32-true"


def _cpu_multiplies_bf16() -> bool:
    # `get_capabilities` is newer than the oldest torch that is allowed.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
