import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from PIL import Image

import draw_schedules as figures
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.diffusion.schedules.limited import LimitedCosineSchedule
from ddpm_lightning.diffusion.schedules.linear import LinearSchedule

CONF = Path(__file__).parents[1] / "conf"
CHOICES = sorted(path.stem for path in (CONF / "schedule").glob("*.yaml"))


@pytest.fixture
def command(monkeypatch, tmp_path):
    """`command(*options)`: runs the module as a user would, writing to a folder of the test."""

    def run(*options: str | Path) -> None:
        shown = ["figures", "--conf", CONF, "--output", tmp_path / "out", *options]
        monkeypatch.setattr(sys, "argv", [str(word) for word in shown])
        figures.main()

    return run


def test_every_choice_has_a_figure(command, tmp_path, capsys):
    command()
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"schedule_{name}.png" for name in CHOICES]
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [str(file) for file in files]
    for file in files:
        assert file.stat().st_size < 150_000
        with Image.open(file) as picture:
            assert picture.width == 800


def test_the_documentation_has_a_figure_of_every_choice():
    drawn = (CONF.parent / "docs" / "figures").glob("schedule_*.png")
    assert sorted(path.stem.removeprefix("schedule_") for path in drawn) == CHOICES


@pytest.mark.parametrize("name", CHOICES)
def test_a_strip_goes_from_the_picture_to_noise(name):
    schedule, picture = instantiate(OmegaConf.load(CONF / "schedule" / f"{name}.yaml")), figures.example_picture()
    strip = figures.noised_strip(schedule, picture, torch.tensor(figures.STRIP_TIMES))
    assert strip.shape == (11, 3, 32, 32)
    assert torch.equal(strip[0], picture)
    correlations = [float(np.corrcoef(s.flatten(), picture.flatten())[0, 1]) for s in strip]
    assert correlations[0] > correlations[2] > correlations[4] > correlations[7]
    assert abs(correlations[-1]) < 0.1


def test_all_pictures_of_a_strip_have_the_same_noise():
    strip = (
        figures.noised_strip(
            CosineSchedule(), torch.full((3, 8, 8), 128, dtype=torch.uint8), torch.tensor(figures.STRIP_TIMES)
        ).double()
        - 128
    )
    unclipped = (strip[2].abs() < 120) & (strip[1].abs() < 120)
    sigma = CosineSchedule().rates(torch.tensor([0.1, 0.2])).sigma
    torch.testing.assert_close(
        strip[1][unclipped] / sigma[0], strip[2][unclipped] / sigma[1], rtol=0, atol=0.51 / sigma[0].item() * 2
    )


def lines_of(figure: Figure, panel: int) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_xydata()) for line in figure.get_axes()[panel].get_lines()}


def test_the_curves_are_those_of_the_schedule():
    schedule, rescaled = LinearSchedule(50), LinearSchedule(50, zero_terminal_snr=True)
    figure = figures.draw_schedule(schedule, figures.example_picture(), rescaled)
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    rates, snr = lines_of(figure, 0), lines_of(figure, 1)
    alpha, sigma = schedule.rates(t)
    np.testing.assert_allclose(rates["alpha"], torch.stack([t, alpha], 1))
    np.testing.assert_allclose(rates["sigma"], torch.stack([t, sigma], 1))
    np.testing.assert_allclose(snr["log SNR"], torch.stack([t, schedule.log_snr(t)], 1)[1:])
    dashed = snr["with zero_terminal_snr=true"]
    np.testing.assert_allclose(dashed[:-1], torch.stack([t, rescaled.log_snr(t)], 1)[1:-1])
    assert dashed[-1].tolist() == [1, figures.LOG_SNR_SHOWN[0]], "it ends at the lower border of the panel"
    colours = {to_hex(line.get_color()) for line in figure.get_axes()[1].get_lines()}
    assert len(colours) == 2
    assert set(lines_of(figures.draw_schedule(LimitedCosineSchedule(50), figures.example_picture()), 1)) == {"log SNR"}


def test_a_folder_without_schedules_is_an_error(command, capsys):
    with pytest.raises(SystemExit) as end:
        command("--conf", "nowhere")
    assert end.value.code == 1
    message = "there is no nowhere/schedule/*.yaml: run this in the repository, or pass its configs by --conf"
    assert message in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
def test_the_module_is_a_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["figures", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(figures.__file__, run_name="__main__")
    assert end.value.code == 0
    assert "--output" in capsys.readouterr().out
