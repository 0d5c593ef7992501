"""Resolution of `auto`: the accelerator, the number of devices, and the fastest number format."""

from typing import Any

import torch
from omegaconf import DictConfig

from ddpm_lightning.runs.ranks import started_from_outside


def resolve_auto(config: DictConfig) -> None:
    """Replaces `auto` by what it means on this machine, so that the run's config says it.

    The accelerator is CUDA or the CPU: Apple's has no float64, which the schedules' tables are made of. The number of
    devices is left to whoever has started this process as a rank.
    """
    if config.trainer.accelerator == "auto":
        config.trainer.accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if config.trainer.devices == "auto" and not started_from_outside():
        config.trainer.devices = max(1, torch.cuda.device_count()) if _on_gpu(config.trainer.accelerator) else 1
    if config.trainer.precision == "auto":
        config.trainer.precision = fastest_precision(config.trainer.accelerator)


def fastest_precision(accelerator: str) -> str:
    """Lightning's name of the format in which this machine trains fastest without loss scaling.

    bf16 autocast where the hardware multiplies bf16 (it emulates it slowly elsewhere), else float32.
    """
    on_gpu = _on_gpu(accelerator) and torch.cuda.is_available()
    supported = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else _cpu_multiplies_bf16()
    return "bf16-mixed" if supported else "32-true"


def _on_gpu(accelerator: str) -> bool:
    return accelerator in ("auto", "gpu", "cuda")


def _cpu_multiplies_bf16() -> bool:
    # `get_capabilities` is newer than the oldest torch that is allowed.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
