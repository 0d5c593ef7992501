"""Scores of samples in a real run: the files, their content, and no effect on anything else."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException

from choices import choices
from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.features.extractor import extract_features
from ddpm_lightning.metrics.features.lenet import LeNetFeatures, shared_lenet_features
from ddpm_lightning.metrics.features.reference import choose_real_indices
from ddpm_lightning.metrics.frechet import frechet_distance
from ddpm_lightning.metrics.kernel import kernel_distance, kernel_distance_subsets
from ddpm_lightning.metrics.precision_recall import precision_recall
from ddpm_lightning.runs.drawing import sample_stream
from ddpm_lightning.samplers.generation import chunk_indices

METRICS = (
    "callbacks=generative_metrics",
    "metrics.chunk_size=5",
    "metrics.seed=3",
    "metrics.real_seed=5",
    "sampler.eta=1.0",
)


def give_random_weights(network: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


@pytest.fixture
def tested(run_with):
    """A run that was tested with raw and averaged weights that differ; `tested(*overrides)`."""

    def make(*overrides: str):
        run = run_with(*METRICS, *overrides)
        give_random_weights(run.module.network, 1)
        give_random_weights(run.module.ema.network, 2)
        run.trainer.test(run.module, run.data, verbose=False)
        return run

    return make


def load(folder: Path, name: str) -> np.ndarray:
    with np.load(folder / f"{name}.npz") as file:
        return file[file.files[0]]


def test_the_callback_scores_by_the_options_of_metrics(run_with):
    run = run_with(*METRICS, "metrics.every_n_epochs=3", "metrics.kid_subset_size=7")
    plan = dict(vars(run.trainer.callbacks[0].plan))
    assert plan.pop("features") is shared_lenet_features(dataset="mnist")
    assert plan == {option: value for option, value in run.config.metrics.items() if option != "features"}


def images_of(run, weights: str) -> np.ndarray:
    callback = run.trainer.callbacks[0]
    run.module.weights = weights
    stream = sample_stream(run.module, callback.sampler, callback.guidance, seed=3, chunk_size=5)
    chunks = chunk_indices(16, stream.chunk_size, 0, 1)
    return torch.cat([run.module.normalizer.to_uint8(stream.draw(indices)) for indices in chunks]).numpy()


@pytest.mark.parametrize(("choice", "weights"), [("null", "ema"), ("ema", "ema"), ("raw", "raw")])
def test_samples_are_drawn_with_the_chosen_weights(tested, tmp_path, choice, weights):
    run = tested(f"weights={choice}")
    images = load(tmp_path / "run", "samples")
    assert images.shape == (16, 1, 28, 28) and images.dtype == np.uint8
    assert np.array_equal(images, images_of(run, weights))
    assert not np.array_equal(images, images_of(run, "raw" if weights == "ema" else "ema"))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["card"]["weights"] == weights


def test_scores_are_those_of_the_files_and_the_card_is_complete(tested, tmp_path):
    run = tested()
    folder = tmp_path / "run"
    report = json.loads((folder / "metrics.json").read_text())
    extractor = LeNetFeatures("mnist")
    features = torch.from_numpy(load(folder, "features"))
    torch.testing.assert_close(features, extract_features(extractor, load(folder, "samples")))
    test_split = run.data.split("test")
    real = extract_features(extractor, test_split.images_at(choose_real_indices(len(test_split), 16, 5)))
    mean, deviation = kernel_distance_subsets(real, features, subsets=4, subset_size=8, seed=5)
    precision, recall = precision_recall(real, features)
    expected = {
        "kid_lenet_mnist": kernel_distance(real, features),
        "fid_lenet_mnist": frechet_distance(real, features),
        "precision_lenet_mnist": precision,
        "recall_lenet_mnist": recall,
        "kid_lenet_mnist_subsets_mean": mean,
        "kid_lenet_mnist_subsets_std": deviation,
    }
    assert report["values"] == pytest.approx(expected, rel=1e-6)
    assert report["card"] == {
        "features": "lenet_mnist", "features_sha256": extractor.sha256, "resize": extractor.resize,
        "num_generated": 16, "num_real": 16, "seed": 3, "real_seed": 5,
        "seeds": dict.fromkeys(("init", "order", "noise", "samples"), 0),
        "labels": None, "nfe": 2, "guidance": {"name": "none"}, "weights": "ema", "split": "test", "dataset": "mnist",
        "sampler": {
            "name": "ddim", "steps": 2, "grid": {"name": "uniform"}, "t_max": 0.98, "clip": True, "eta": 1.0,
        },
        "real_images": test_split.fingerprint[:16],
    }  # fmt: skip
    assert set(report["card"]) == {field.name for field in dataclasses.fields(MetricCard)}


def test_the_features_file_has_everything_for_error_bars(tested, tmp_path):
    run = tested()
    with np.load(tmp_path / "run" / "features.npz") as file:
        arrays = {name: file[name] for name in file.files}
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        "features": ((16, 128), np.float32),
        "real_features": ((16, 128), np.float32),
        "real_indices": ((16,), np.int64),
    }
    assert len(set(arrays["real_indices"])) == 16
    images = run.data.split("test").images_at(arrays["real_indices"])
    expected = extract_features(LeNetFeatures("mnist"), images)
    torch.testing.assert_close(torch.from_numpy(arrays["real_features"]), expected)
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["values"]
    kid = kernel_distance(torch.from_numpy(arrays["real_features"]), torch.from_numpy(arrays["features"]))
    assert scores["kid_lenet_mnist"] == pytest.approx(kid, rel=1e-6)


def test_the_modules_values_are_written_with_the_scores(tested, tmp_path):
    run = tested()
    diagnostics = json.loads((tmp_path / "run" / "metrics.json").read_text())["diagnostics"]
    assert {"test/loss", "test/noise_mae", "test/image_mae"} <= diagnostics.keys()
    assert diagnostics["test/loss"] == pytest.approx(float(run.trainer.callback_metrics["test/loss"]))
    assert not [name for name in diagnostics if "lenet_mnist" in name]


def test_training_scores_the_validation_split_every_n_epochs(run_with, tmp_path):
    run = run_with(*METRICS, "metrics.every_n_epochs=2", "trainer.limit_train_batches=1", "trainer.max_steps=3")
    splits = []
    callback = run.trainer.callbacks[0]
    score = callback._score
    callback._score = lambda *a: splits.append((run.trainer.current_epoch, a[-1])) or score(*a)
    run.fit()
    assert splits == [(1, "val")]
    scores = {f"val/{score}_lenet_mnist" for score in ("kid", "fid", "precision", "recall")}
    assert scores <= run.trainer.callback_metrics.keys()
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_sampling_and_scoring_use_no_global_generator(run_with):
    run = run_with(*METRICS)
    callback = run.trainer.callbacks[0]
    moved = []
    score_at_end = callback.on_test_epoch_end

    def watched(trainer, module):
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
        score_at_end(trainer, module)
        moved.append(not torch.equal(torch_state, torch.get_rng_state()))
        moved.append(not np.array_equal(numpy_state, np.random.get_state()[1]))

    callback.on_test_epoch_end = watched
    run.trainer.test(run.module, run.data, verbose=False)
    assert moved == [False, False]


def never_trains(run) -> bool:
    return run.trainer.global_step == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.image_size=32", r"need images \(1, 28, 28\), not \(1, 32, 32\)"),
        ("metrics.num_real=41", r"cannot choose 41 real images out of 40: lower metrics\.num_real"),
    ],
)
def test_impossible_scores_are_refused_before_training(run_with, override, message):
    run = run_with(*METRICS, override)
    with pytest.raises(ValueError, match=message):
        run.fit()
    assert never_trains(run)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sampler.steps=0", r"sampler\.steps must be at least 1, not 0"),
        ("sampler.t_max=0", r"sampler\.t_max must lie in"),
        ("sampler.t_max=1 schedule.zero_terminal_snr=true", r"predicted noise says nothing about the image at t = 1"),
        ("grid=log_snr sampler.steps=5 sampler.t_max=0.001", r"grid=log_snr does not have 5 different times"),
    ],
)
def test_impossible_sampling_is_refused_with_the_module(run_with, override, message):
    with pytest.raises(ValueError, match=message):
        run_with(*METRICS, *override.split())


def labels_drawn(run) -> list[int]:
    """The labels given to the network while a test draws samples with one step, in order."""
    seen = []
    callback = run.trainer.callbacks[0]
    generate = callback._generate

    def spied(trainer, module, data, split):
        network = module.evaluation_denoiser().network
        hook = network.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs[2].tolist()))
        images = generate(trainer, module, data, split)
        hook.remove()
        return images

    callback._generate = spied
    run.trainer.test(run.module, run.data, verbose=False)
    return seen


CLASSES = (*METRICS, "model.num_classes=10", "sampler.steps=1", "sampler.eta=0", "metrics.num_samples=30")


def test_classes_are_drawn_equally_often(run_with, tmp_path):
    assert labels_drawn(run_with(*CLASSES)) == [i % 10 for i in range(30)]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["card"]["labels"] == "uniform"


def test_classes_are_drawn_in_the_proportions_of_the_split(run_with, tmp_path, monkeypatch):
    run = run_with(*CLASSES, "metrics.labels=as_in_data")
    split = run.data.split("test")
    labels = np.where(np.arange(len(split)) < len(split) // 2, 7, np.arange(len(split)) % 4)
    monkeypatch.setattr(type(split), "labels_at", lambda self, indices: labels[np.asarray(indices)])
    expected = 30 * np.bincount(labels, minlength=10) / len(split)
    drawn = np.bincount(labels_drawn(run), minlength=10)
    assert abs(drawn - expected).max() <= 2
    assert drawn.sum() == 30 and not drawn[[4, 5, 6, 8, 9]].any()
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["card"]["labels"] == "as_in_data"


def test_unknown_frequencies_of_classes_are_refused(run_with):
    with pytest.raises(InstantiationException, match=r"unknown metrics\.labels 'rare': choose from uniform"):
        run_with(*METRICS, "metrics.labels=rare")


def test_a_model_without_classes_has_no_labels_on_its_card(run_with, tmp_path):
    run = run_with(*METRICS, "metrics.labels=as_in_data")
    run.trainer.test(run.module, run.data, verbose=False)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["card"]["labels"] is None


@pytest.mark.parametrize("sampler", choices("sampler"))
@pytest.mark.parametrize("guidance", choices("guidance"))
def test_the_card_has_every_option_of_the_choices(run_with, words_of_guidance, tmp_path, sampler, guidance):
    words = [*words_of_guidance(guidance), "seed=4", "seeds.order=5"]
    run = run_with("callbacks=generative_metrics", f"sampler={sampler}", "sampler.steps=2", "grid=karras", *words)
    run.trainer.test(run.module, run.data, verbose=False)
    card = json.loads((tmp_path / "run" / "metrics.json").read_text())["card"]
    options = {**run.config.sampler, "t_max": 0.98}
    assert card["sampler"].items() >= {k: v for k, v in options.items() if k not in ("_target_", "grid")}.items()
    assert card["sampler"]["grid"] == {"name": "karras", "rho": 7.0}
    described = {k: v for k, v in run.config.guidance.items() if k[0] != "_"}
    if guidance == "classifier":  # on the card by its weights, not by the path of its run
        path, named = described.pop("classifier"), card["guidance"].pop("classifier")
        assert len(named) == 16 and named not in path
    assert card["guidance"] == {"name": guidance, **described}
    assert card["nfe"] == {"heun": 3}.get(sampler, 2) * (2 if guidance == "classifier_free" else 1)
    assert card["seeds"] == {"init": 4, "order": 5, "noise": 4, "samples": 4} and card["seed"] == 4
