"""Tables of runs with made-up scores, and with samples and logs written as a training writes them."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.report.finished_run import FinishedRun
from ddpm_lightning.report.table import Effect, Estimate, Row, Table, Verdict

METRICS = ["kid_lenet", "fid_lenet", "noise_mae", "image_mae"]
SCALES = {
    "kid_lenet": 0.4, "fid_lenet": 30.0, "precision_lenet": 0.5, "recall_lenet": 0.3, "noise_mae": 0.1, "image_mae": 0.2
}  # fmt: skip
MakeTable = Callable[..., Table]


@pytest.fixture(scope="session")
def make_table(card: MetricCard, tmp_path_factory: pytest.TempPathFactory) -> MakeTable:
    """`make_table({"schedule": ["cosine", "linear"]}, seeds=(0, 1), logs=True)`: one row for each combination."""

    card = replace(card, features="lenet", num_generated=1000, num_real=1000)

    def make(
        choices: dict[str, list[str]],
        seeds: tuple[int, ...] = (0, 1, 2),
        metrics: list[str] = METRICS,
        logs: bool = False,
    ) -> Table:
        root = tmp_path_factory.mktemp("sweep")
        rng = np.random.default_rng(0)
        rows = []
        for place, combination in enumerate(itertools.product(*choices.values())):
            configuration = dict(zip(choices, combination, strict=True))
            runs = [_run(root / f"{place}-{seed}", configuration, card, seed, place, logs) for seed in seeds]
            estimates = {name: _estimate(rng, SCALES[name] * (1 + 0.3 * place), seeds) for name in metrics}
            verdict = Verdict.TIE if place < 2 else Verdict.WORSE
            cost = {"parameters": 1.5e6, "train_images_per_second": 812.0 + place, "wall_seconds": 4000.0 + place}
            rows.append(Row(configuration, runs, estimates, dict.fromkeys(metrics, verdict), cost))
        effects = [
            Effect(metric, factor, options[0], choice, 0.1 * SCALES[metric], 0.0, 0.2 * SCALES[metric], len(seeds), 8)
            for metric in metrics
            for factor, options in choices.items()
            for choice in options[1:]
        ]
        return Table(list(choices), metrics, rows, effects, [card], [])

    return make


def _estimate(rng: np.random.Generator, centre: float, seeds: tuple[int, ...]) -> Estimate:
    values = centre * (1 + 0.05 * rng.standard_normal(len(seeds)))
    mean, deviation = float(values.mean()), float(values.std(ddof=1)) if len(seeds) > 1 else float("nan")
    return Estimate(
        dict(zip(seeds, values.tolist(), strict=True)),
        mean,
        deviation,
        mean - 1.5 * deviation,
        mean + 1.5 * deviation,
        "seeds and samples",
    )


def _run(
    folder: Path, configuration: dict[str, str], card: MetricCard, seed: int, place: int, logs: bool
) -> FinishedRun:
    folder.mkdir()
    columns = np.arange(28)
    # A stripe whose place identifies the sample and whose brightness identifies the run.
    images = np.zeros((20, 1, 28, 28), np.uint8)
    for index in range(len(images)):
        images[index, 0, :, columns[index : index + 4]] = 100 + 10 * place + seed
    np.savez_compressed(folder / "samples.npz", images=images)
    if logs:
        write_events(folder, place, seed)
    return FinishedRun(folder, configuration, seed, {}, card, {}, {})


def write_events(folder: Path, place: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for step in range(0, 2000, 5):
            loss = (1 + 0.2 * place) * (0.05 + np.exp(-step / 200)) * np.exp(0.1 * rng.standard_normal())
            writer.add_scalar("train/loss", loss, step)
            if step % 200 == 195:
                writer.add_scalar("val/loss", loss, step)
                writer.add_scalar("val/kid_lenet", 5 * loss, step)


@pytest.fixture(scope="session")
def eight(make_table: MakeTable) -> Table:
    """Eight configurations of three factors, three seeds each, with logs."""
    return make_table(
        {"schedule": ["cosine", "linear"], "loss_on": ["noise", "velocity"], "sampler.steps": ["10", "100"]}, logs=True
    )
