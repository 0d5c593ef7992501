"""Figures of the noise schedules for the documentation: `python docs/draw_schedules.py`."""

import argparse
from pathlib import Path

import torch
from hydra.utils import instantiate
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor

from ddpm_lightning.atomic_files import atomic_path
from ddpm_lightning.diffusion.schedule import Schedule
from ddpm_lightning.process_pictures.forward_strips import noised_strip

STRIP_TIMES = [i / 10 for i in range(11)]
LOG_SNR_SHOWN = (-21.0, 12.0)
"""The same range in every figure, so that they are comparable."""
DPI = 100


def example_picture(size: int = 32) -> Tensor:
    """A synthetic picture of sun, hill and sky, (3, size, size), uint8, with smooth gradients, edges and colours."""
    down, right = torch.meshgrid(*[(torch.arange(size) + 0.5) / size] * 2, indexing="ij")
    sky = torch.stack([0.25 + 0.5 * down, 0.45 + 0.35 * down, 0.9 - 0.2 * down])
    sun = (right - 0.68).square() + (down - 0.3).square() < 0.16**2
    hill = down > 0.6 + 0.25 * (right - 0.3).abs()
    picture = torch.where(sun, torch.tensor([1.0, 0.85, 0.2])[:, None, None], sky)
    picture = torch.where(hill, torch.stack([0.1 + 0.2 * right, 0.3 + 0.3 * right, 0.15 + 0 * right]), picture)
    return (255 * picture).round().to(torch.uint8)


def draw_schedule(schedule: Schedule, picture: Tensor, rescaled: Schedule | None = None) -> Figure:
    """A figure of alpha, sigma and log SNR against t, above the strip of the noised picture, (3, H, W), uint8.

    The log SNR of `rescaled`, the same schedule with zero terminal SNR, is drawn dashed.
    """
    figure = Figure(figsize=(8, 3.7), layout="constrained")  # not from pyplot, which may need a display
    curves, strip = figure.subfigures(2, 1, height_ratios=[2.7, 1], squeeze=False)[:, 0]
    rates_axes, snr_axes = curves.subplots(1, 2)
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    alpha, sigma = schedule.rates(t)
    rates_axes.plot(t.numpy(), alpha.numpy(), label="alpha")
    rates_axes.plot(t.numpy(), sigma.numpy(), label="sigma")
    finite = t[1:]
    # Minus infinity at t = 1 is drawn at the lower border: a line that stopped earlier would seem to end higher.
    snr_axes.plot(finite.numpy(), schedule.log_snr(finite).clamp(min=LOG_SNR_SHOWN[0]).numpy(), label="log SNR")
    if rescaled is not None:
        log_snr = rescaled.log_snr(finite).clamp(min=LOG_SNR_SHOWN[0])
        snr_axes.plot(finite.numpy(), log_snr.numpy(), "--", label="with zero_terminal_snr=true")
    snr_axes.set_ylim(*LOG_SNR_SHOWN)
    for axes in (rates_axes, snr_axes):
        axes.set_xlabel("t")
        axes.set_xlim(-0.02, 1.02)  # shows the ends of the lines
        axes.grid(linewidth=0.4, alpha=0.5)
        axes.legend(fontsize=8)
    pictures: list[Axes] = list(strip.subplots(1, len(STRIP_TIMES)))
    noised_pictures = noised_strip(schedule, picture, torch.tensor(STRIP_TIMES))
    for axes, time, noised in zip(pictures, STRIP_TIMES, noised_pictures, strict=True):
        axes.imshow(noised.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(f"t = {time:g}", fontsize=8)
        axes.axis("off")
    return figure


def write_figures(conf: Path, folder: Path) -> list[Path]:
    """Writes `schedule_<name>.png` for every choice in conf/schedule; returns the files in the order of their names.

    Args:
        conf: the folder of the configs.
        folder: where to write; created if absent.

    Raises:
        ValueError: `conf` has no schedules.
    """
    choices = sorted((conf / "schedule").glob("*.yaml"))
    if not choices:
        raise ValueError(
            f"there is no {conf / 'schedule'}/*.yaml: run this in the repository, or pass its configs by --conf"
        )
    written = []
    for choice in choices:
        figure = _figure_of(choice)
        figure.suptitle(f"schedule={choice.stem}", fontsize=10)
        picture = folder / f"schedule_{choice.stem}.png"
        with atomic_path(picture) as temporary:
            figure.savefig(temporary, dpi=DPI)
        written.append(picture)
    return written


def _figure_of(choice: Path) -> Figure:
    config = OmegaConf.load(choice)
    rescaled = instantiate(config, zero_terminal_snr=True) if "zero_terminal_snr" in config else None
    return draw_schedule(instantiate(config), example_picture(), rescaled)


def main() -> None:
    """Runs the command line: one figure for each choice in conf/schedule."""
    parser = argparse.ArgumentParser(description="Draw every noise schedule in conf/schedule.")
    parser.add_argument("--output", type=Path, default=Path("docs/figures"), help="folder for the figures")
    parser.add_argument("--conf", type=Path, default=Path("conf"), help="folder of the configs")
    arguments = parser.parse_args()
    try:
        written = write_figures(arguments.conf, arguments.output)
    except ValueError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
