"""What this machine can do: the meaning of `auto`, and whether a run can work here."""

import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path
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


def check_hardware(config: DictConfig) -> None:
    """Raises ValueError if this machine does not have the GPUs, the number format or the compiler that a run asks for.

    Args:
        config: of the run, without `auto`. How many GPUs there are is for `ranks_to_start`.
    """
    trainer = config.trainer
    if _on_gpu(trainer.accelerator) and torch.cuda.device_count() == 0:
        raise ValueError(
            f"trainer.accelerator={trainer.accelerator} needs a GPU, and {_why_no_gpu()}. To train on the CPU, set "
            "trainer=cpu, or trainer=ddp_cpu for several processes"
        )
    if not _on_gpu(trainer.accelerator) and str(trainer.precision) in ("16-mixed", "16"):
        raise ValueError(f"trainer.precision={trainer.precision} needs a GPU: on the CPU, choose 32-true or bf16-mixed")
    if config.get("compile") and (missing := missing_to_compile(trainer.accelerator)):
        raise ValueError(f"compile=true needs {missing}. Install it, or set compile=false")


def missing_to_compile(accelerator: str) -> str | None:
    """What torch.compile needs and this machine does not have; None if there is nothing."""
    on_gpu = _on_gpu(accelerator) and torch.cuda.is_available()
    if on_gpu and find_spec("triton") is None:
        return "Triton (pip install triton)"
    variable, names = ("CC", ("cc", "gcc", "clang")) if on_gpu else ("CXX", ("g++", "clang++", "cl"))
    if not any(map(shutil.which, [os.environ[variable]] if variable in os.environ else names)):
        return f"a C++ compiler, such as g++ (the variable {variable} may name it)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "Python's header files (python3-dev, or another Python)"
    return None


def _why_no_gpu() -> str:
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return f"PyTorch {torch.__version__} is a version for CPUs only"
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return f"PyTorch finds none with CUDA_VISIBLE_DEVICES={visible!r}"
    return "PyTorch finds none on this machine (`nvidia-smi` shows those that the driver knows)"


def _on_gpu(accelerator: str) -> bool:
    return accelerator in ("auto", "gpu", "cuda")


def _cpu_multiplies_bf16() -> bool:
    # `get_capabilities` is newer than the oldest torch that is allowed.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
