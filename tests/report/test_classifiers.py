"""Tables of classifiers, by their accuracy on noised images."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.classifier_card import ClassifierCard
from ddpm_lightning.report.build_table import build_table
from ddpm_lightning.report.collect import collect
from ddpm_lightning.report.finished_run import FinishedRun
from ddpm_lightning.report.rendering.sentences import card_line
from ddpm_lightning.report.table import Verdict
from ddpm_lightning.runs.run_folder import RunFolder

CARD = ClassifierCard(1000, {"init": 0}, "ema", "test", "mnist", "0123456789abcdef")


def classifier(schedule: str, seed: int, accuracy: float, **on_card: object) -> FinishedRun:
    measured = {"loss": 1.0, "accuracy": accuracy, "accuracy/log_snr_-3_0": accuracy, "accuracy/log_snr_0_3": accuracy}
    if schedule == "linear":  # it does not cover the easiest log SNRs
        measured["accuracy/log_snr_3_6"] = 1.0
    card = replace(CARD, seeds={"init": seed}, **on_card)
    return FinishedRun(Path(f"{schedule}-{seed}"), {"schedule": schedule}, seed, {}, card, measured, {})


RUNS = [
    classifier(schedule, seed, accuracy + seed / 1000)
    for schedule, accuracy in (("cosine", 0.6), ("linear", 0.8))
    for seed in (0, 1, 2)
]


def test_the_most_accurate_come_first():
    table = build_table(RUNS)
    assert table.metrics == ["accuracy"]
    assert [row.configuration["schedule"] for row in table.rows] == ["linear", "cosine"]
    assert table.rows[0].estimates["accuracy"].mean == pytest.approx(0.801)  # over the log SNRs that both cover
    assert [row.verdicts["accuracy"] for row in table.rows] == [Verdict.BEST, Verdict.WORSE]
    assert table.cards == [RUNS[0].card]
    assert card_line(CARD) == "1,000 noised images, test split of mnist; ema weights"


def test_a_card_survives_its_file(tmp_path):
    assert ClassifierCard.from_dict(json.loads(json.dumps(CARD.to_dict()))) == CARD
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_config({"config_version": 2, "seed": 0, "hydra": {"choices": {"schedule": "linear"}, "options": {}}})
    run.write_status("done", scores={})
    content = {"values": {}, "card": CARD.to_dict(), "diagnostics": {"test/accuracy": 0.5}, "cost": {}}
    (run.path / "metrics.json").write_text(json.dumps(content))
    (found,) = collect([tmp_path])
    assert (found.card, found.diagnostics, found.sample_seed) == (CARD, {"accuracy": 0.5}, None)


def test_classifiers_and_denoisers_are_not_compared(card: MetricCard):
    denoiser = replace(RUNS[0], card=card, values={"kid_lenet_mnist": 0.1})
    with pytest.raises(ValueError, match=r"some have accuracies and some have scores of samples .* separately"):
        build_table([*RUNS, denoiser])


@pytest.mark.parametrize(
    ("on_card", "advice"),
    [
        ({"num_images": 500}, "with the same dataset.diagnostic_size"),
        ({"dataset": "cifar10"}, "report each data set separately"),
        ({"real_images": "ab"}, "the images differ in size"),
        ({"weights": "raw"}, "evaluate all runs with the same value"),
    ],
)
def test_accuracies_on_other_images_are_not_compared(on_card, advice):
    with pytest.raises(ValueError, match=advice):
        build_table([*RUNS, classifier("edm", 0, 0.5, **on_card)])
