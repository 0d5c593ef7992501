"""`sample.py draw=...`: every picture of conf/draw, from a checkpoint alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ddpm_lightning.verbs.forward_strip import write_strip
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train

CONF = Path(__file__).parents[2] / "conf"
CHOICES = sorted(path.stem for path in (CONF / "draw").glob("*.yaml"))


@pytest.fixture
def command(compose_verb: Callable, tiny_options: list[str], tmp_path: Path) -> Callable:
    """`command(*words)`: the sample verb's config for a tiny run, with an image and a mask in the test's folder."""
    train(compose_verb("train", *tiny_options, "callbacks=minimal", "logger=none", "trainer.max_steps=1"))
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(tmp_path / "image.png")
    Image.fromarray(np.repeat(np.array([0, 255], np.uint8), 14)[:, None].repeat(28, 1)).save(tmp_path / "mask.png")
    common = ["trainer.accelerator=cpu", f"checkpoint={tmp_path / 'run'}", "sampler.steps=3"]
    return lambda *words: compose_verb("sample", *common, *words, folder=tmp_path / "drawn")


@pytest.mark.parametrize("choice", CHOICES)
def test_every_picture_is_a_file_and_in_tensorboard(
    command: Callable, choice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = (CONF / "draw" / f"{choice}.yaml").read_text()
    words = [f"draw.{name}={tmp_path / name}.png" for name in ("image", "mask") if f"{name}: ???" in needed]
    folder = sample(command(f"draw={choice}", *words))
    with Image.open(folder / f"{choice}.png") as picture:
        assert min(picture.size) > 50
    events = EventAccumulator(str(folder)).Reload()
    assert events.Tags()["images"] == [choice]
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"{choice}.png" in last
    assert not (folder / "samples.png").exists()


def test_what_is_measured_is_printed_and_kept(
    command: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sample(command("draw=round_trip", f"draw.image={tmp_path / 'image.png'}"))
    assert "; mean error " in capsys.readouterr().out.splitlines()[-1]
    assert (folder / "round_trip.json").is_file()


@pytest.mark.parametrize("option", ["num=4", "format=npz", "trajectory=true", "chunk_size=10"])
def test_options_of_samples_are_refused(command: Callable, option: str) -> None:
    name = option.partition("=")[0]
    with pytest.raises(ValueError, match=f"{name} is an option of samples, which draw=... replaces"):
        sample(command("draw=interpolation", option))


def test_the_forward_strip_needs_no_model(
    command: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"image": str(tmp_path / "image.png"), "schedules": "cosine,flow", "out": str(tmp_path / "strip")}
    write_strip({**options, "frames": "3", "size": "16"})
    assert capsys.readouterr().out == f"Open {tmp_path}/strip/forward_strip.png\n"
    assert EventAccumulator(str(tmp_path / "strip")).Reload().Tags()["images"] == ["forward_strip"]
    for wrong, message in (({"frames": "1"}, "frames must be a whole number of at least 2, not 1"),
                           ({"schedules": "sine"}, "unknown schedule 'sine': choose from cosine, ")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            write_strip(options | wrong)
