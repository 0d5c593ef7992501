"""What this machine does not have, or what does not fit together, is refused before any data are read."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ddpm_lightning.runs import hardware

VERSION_1_RUN = Path(__file__).parents[1] / "fixtures" / "version_1" / "run"


@pytest.fixture
def refused(
    shell_here: Callable, tiny_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """`refused(script, *words, **environment)`: the one sentence of a command that was refused and left nothing."""

    def read(*_: object) -> None:
        raise AssertionError("data were read")

    monkeypatch.setattr("ddpm_lightning.data.datamodule.cached_images", read)

    def run(script: str, *words: str, **environment: str) -> str:
        options = tiny_options if script == "train.py" else []
        places = [f"paths.output_dir={tmp_path}/outputs", f"hydra.sweep.dir={tmp_path}/sweep"]
        result = shell_here(script, *options, *places, *words, **environment)
        assert result.returncode == 1, result.stdout
        (sentence,) = result.stderr.splitlines()
        assert [path for path in tmp_path.rglob("*") if path.name != "outputs"] == []
        return sentence

    return run


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["trainer.accelerator=gpu", "trainer.devices=7"],
            "trainer.accelerator=gpu needs a GPU, and PyTorch finds",
        ),
        (["trainer.accelerator=cuda"], "trainer.accelerator=cuda needs a GPU"),
        (["trainer=ddp", "trainer.accelerator=gpu"], "set trainer=cpu, or trainer=ddp_cpu"),
        (["trainer.accelerator=mps"], "trainer.accelerator must be auto, cpu, gpu or cuda, not mps"),
        (["trainer.accelerator=tpu"], "trainer.accelerator must be auto, cpu, gpu or cuda, not tpu"),
        (["trainer.devices=2", "dataset.batch_size=65"], "must be a multiple of the 2 processes: set it to 66"),
        (["trainer=ddp_cpu", "trainer.devices=8"], "dataset.batch_size=4 is that of all devices together"),
        (["trainer.strategy=unknown"], "unknown trainer.strategy 'unknown': trainer=ddp and trainer=ddp_cpu bring one"),
        (["trainer.strategy=fsdp"], "trainer cannot be made with these options: The strategy `fsdp` requires a GPU"),
        (["trainer.precision=16-mixed"], "trainer.precision=16-mixed needs a GPU: on the CPU, choose 32-true or bf16"),
        (
            ["callbacks.checkpointing.monitor=val/kid"],
            "monitor=val/kid names a value that this run does",
        ),
        (["optimize.score=kid"], "it logs cost/network_evaluations, cost/parameters, "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_training_that_cannot_work_here_is_refused(refused: Callable, words: list[str], message: str) -> None:
    assert message in refused("train.py", *words)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("script", ["evaluate.py", "sample.py"])
def test_so_are_the_verbs_that_take_a_checkpoint(refused: Callable, tiny_paths: list[str], script: str) -> None:
    words = [*tiny_paths, f"checkpoint={VERSION_1_RUN}"]
    assert "trainer.accelerator=gpu needs a GPU" in refused(script, *words, "trainer.accelerator=gpu")
    half = refused(script, *words, "trainer.accelerator=cpu", "trainer.precision=16-mixed")
    assert "trainer.precision=16-mixed needs a GPU" in half


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("visible", ["99", "", "abc"])
def test_a_variable_that_hides_the_gpus_is_named(refused: Callable, visible: str) -> None:
    printed = refused("train.py", "trainer.accelerator=gpu", CUDA_VISIBLE_DEVICES=visible)
    assert f"PyTorch finds none with CUDA_VISIBLE_DEVICES={visible!r}" in printed


def test_a_torch_without_cuda_is_named(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert f"PyTorch {torch.__version__} is a version for CPUs only" in refused("train.py", "trainer.accelerator=gpu")


def test_more_gpus_than_there_are_are_refused(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.fabric.accelerators.cuda.num_cuda_devices", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    printed = refused("train.py", "trainer.accelerator=gpu", "trainer.devices=4")
    assert "trainer.devices=4 is not possible: You requested gpu: [0, 1, 2, 3] But your machine only" in printed


def test_a_package_that_is_not_installed_is_named(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert refused("train.py", "logger=wandb").endswith("logger=wandb needs: pip install 'ddpm-lightning[wandb]'")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    printed = refused("train.py", "model=unet_diffusers")
    assert printed.endswith("model=unet_diffusers needs: pip install 'ddpm-lightning[diffusers]'")


class TestCompiling:
    def test_a_compiler_is_needed(self, refused: Callable) -> None:
        printed = refused("train.py", "compile=true", CXX="/no/compiler", CC="/no/compiler")
        assert "compile=true needs a C++ compiler, such as g++ (the variable C" in printed

    def test_so_are_pythons_headers(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "c").touch(mode=0o755)
        for variable in ("CC", "CXX"):
            monkeypatch.setenv(variable, str(tmp_path / "c"))
        monkeypatch.setattr(hardware.sysconfig, "get_path", lambda name: str(tmp_path))
        assert "Python's header files" in (hardware.missing_to_compile("cpu") or "")
        (tmp_path / "Python.h").touch()
        assert hardware.missing_to_compile("cpu") is None

    def test_a_gpu_needs_triton(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setitem(sys.modules, "triton", None)
        assert hardware.missing_to_compile("cuda") == "Triton (pip install triton)"
        assert "Triton" not in (hardware.missing_to_compile("cpu") or "")


def test_a_refused_command_leaves_what_was_there(shell_here: Callable, tiny_options: list[str], tmp_path: Path) -> None:
    other = tmp_path / "outputs" / "default" / "other"
    other.mkdir(parents=True)
    shell_here("train.py", *tiny_options, f"paths.output_dir={tmp_path}/outputs", "trainer.accelerator=mps")
    assert os.listdir(other.parent) == ["other"]
