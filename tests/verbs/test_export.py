"""`python export.py RUN out=DIR`: its folders, its last line and its error messages."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline

import ddpm_lightning
from ddpm_lightning.verbs.export import OPTIONS
from ddpm_lightning.verbs.train import train

RUN = Path(__file__).parents[1] / "fixtures" / "version_1" / "run"
Exported = Callable[..., str]


@pytest.fixture
def exported(shell_here: Callable) -> Exported:
    """`exported(*words)`: the one line that the command prints."""

    def run(*words: object) -> str:
        result = shell_here("export.py", *map(str, words))
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.count("\n") == 1
        return result.stdout.rstrip("\n")

    return run


@pytest.fixture
def refused(shell_here: Callable) -> Exported:
    """`refused(*words)`: the one line of the error."""

    def run(*words: object) -> str:
        result = shell_here("export.py", *map(str, words))
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("export.py: ") and result.stderr.count("\n") == 1
        return result.stderr.rstrip("\n")

    return run


@pytest.mark.parametrize(
    "path", [RUN, f"checkpoint={RUN}", RUN / "checkpoints" / "last.ckpt"], ids=["folder", "option", "file"]
)
def test_the_last_line_is_how_to_open_it(path: object, exported: Exported, tmp_path: Path) -> None:
    out = tmp_path / "a" / "model"
    line = exported(path, f"out={out}")
    assert line.startswith(f"{out} has model.safetensors (ema weights after 4 steps) and config.json")
    code = re.search(r"ddpm_lightning\.load\(.*\)$", line)
    model = eval(code.group(), {"ddpm_lightning": ddpm_lightning})
    assert torch.equal(model.sample(2), ddpm_lightning.load(RUN).sample(2))
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]
    assert list(out.parent.iterdir()) == [out]


def test_weights_can_be_chosen(exported: Exported, tmp_path: Path) -> None:
    assert "(raw weights" in exported(RUN, f"out={tmp_path / 'model'}", "weights=raw")
    assert not torch.equal(ddpm_lightning.load(tmp_path / "model").sample(2), ddpm_lightning.load(RUN).sample(2))


def test_trust_is_repeated_in_the_last_line(exported: Exported, tmp_path: Path) -> None:
    assert exported(RUN, f"out={tmp_path / 'model'}", "trust=a,b").endswith(", trust=['a', 'b'])")


def test_a_pipeline_is_opened_as_the_last_line_says(
    exported: Exported, compose_verb: Callable, tiny_options: list[str], tmp_path: Path
) -> None:
    train(compose_verb("train", *tiny_options, "model=unet_diffusers", "callbacks=[checkpointing]", "logger=none"))
    line = exported(tmp_path / "run", f"out={tmp_path / 'pipeline'}", "format=diffusers")
    assert line == (
        f'{tmp_path / "pipeline"} is a pipeline: diffusers.DiffusionPipeline.from_pretrained("{tmp_path / "pipeline"}")'
        "(num_inference_steps=2, use_clipped_model_output=True)"
    )
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "pipeline")
    drawn = pipeline(3, num_inference_steps=2, use_clipped_model_output=True, output_type="np").images
    assert drawn.shape == (3, 28, 28, 1)


def test_every_error_is_one_line_and_leaves_nothing(refused: Exported, tmp_path: Path) -> None:
    out = f"out={tmp_path / 'model'}"
    assert "name a run or a checkpoint, as in checkpoint=outputs/RUN" in refused(out)
    assert f"name one run or checkpoint at a time, not {RUN} and x" in refused(RUN, "checkpoint=x", out)
    assert "say which folder to write, as in out=my_model" in refused(RUN)
    assert "unknown format 'onnx': choose from safetensors, diffusers" in refused(RUN, out, "format=onnx")
    assert "unknown weights 'best': choose from ema, raw" in refused(RUN, out, "weights=best")
    assert "unknown option 'fromat'; " in refused(RUN, out, "fromat=diffusers")
    assert "there is no checkpoint or run folder nowhere" in refused("checkpoint=nowhere", out)
    assert "is not the folder of a run" in refused(tmp_path, out)
    assert "is damaged or not a checkpoint" in refused(RUN / "config.yaml", out)
    assert "UNet is not diffusers' UNet2DModel" in refused(RUN, out, "format=diffusers")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_left_alone(refused: Exported, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a")
    assert f"the folder {tmp_path} is not empty" in refused(RUN, f"out={tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_run_without_average_has_raw_weights_alone(
    exported: Exported, refused: Exported, compose_verb: Callable, tiny_options: list[str], tmp_path: Path
) -> None:
    train(compose_verb("train", *tiny_options, "ema=none", "callbacks=[checkpointing]", "logger=none"))
    assert "trained with ema=none: use weights=raw" in refused(tmp_path / "run", f"out={tmp_path / 'a'}", "weights=ema")
    assert "(raw weights after 3 steps)" in exported(tmp_path / "run", f"out={tmp_path / 'a'}")


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), ([], 2)])
def test_help(shell_here: Callable, words: list[str], code: int) -> None:
    result = shell_here("export.py", *words)
    assert (result.returncode, result.stderr) == (code, "")
    assert result.stdout.startswith("python export.py RUN out=DIR")
    assert all(f"{option}=" in result.stdout for option in OPTIONS)
