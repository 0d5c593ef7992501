"""Guidance by the classifier of another run: found, checked, loaded, and used by every verb."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import ddpm_lightning
from ddpm_lightning.diffusion.schedules.cosine import CosineSchedule
from ddpm_lightning.metrics.features.tensor_files import content_sha256
from ddpm_lightning.runs.guiding import classifier_guidance
from ddpm_lightning.runs.restore import restore_run
from ddpm_lightning.runs.stored_values import RefusedError
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.verbs.evaluate import evaluate
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train
from diffusion.test_classifier_guidance import MixtureDenoiser
from tiny_runs import of_classifier

QUIET = ("callbacks=[checkpointing,generative_metrics]", "logger=none")


@pytest.fixture
def train_tiny(compose_verb, tiny_options, tmp_path, monkeypatch):
    """`train_tiny(name, *options)`: a run in a folder of this name, relative to the working directory."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *options: str, task: str = "denoising") -> Path:
        own = of_classifier(tiny_options) if task == "classifier" else [*tiny_options, *QUIET]
        quiet = ["callbacks=[checkpointing,accuracy]", "logger=none"] if task == "classifier" else []
        train(compose_verb("train", *own, *quiet, *options, folder=tmp_path / name))
        return Path(name)

    return run


@pytest.fixture
def classifier(train_tiny) -> Path:
    return train_tiny("classifier", "ema.decay=0.5", "optimizer.lr=0.05", task="classifier")


def card_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())["card"]


def test_the_classifier_is_the_one_of_the_run(classifier):
    """With the averaged weights, and on the card by their hash."""
    checkpoint = read_checkpoint(classifier / "checkpoints/last.ckpt")
    state, before = torch.get_rng_state(), CosineSchedule()
    guided = classifier_guidance(MixtureDenoiser(before), str(classifier), scale=3.0)
    assert torch.equal(torch.get_rng_state(), state)
    averaged = checkpoint["ema"]["network"]
    assert all(torch.equal(value, averaged[name]) for name, value in guided.classifier.network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in guided.classifier.parameters())
    assert (guided.scale, guided.num_classes, guided.classifier.trained_on) == (3.0, 10, ((1, 28, 28), (-1.0, 1.0)))
    assert guided.describe()["classifier"] == content_sha256(averaged)[:16]
    file = str(classifier / "checkpoints/last.ckpt")
    assert classifier_guidance(MixtureDenoiser(before), file).classifier is guided.classifier  # read once


def test_a_model_without_classes_is_trained_sampled_and_scored_by_class(
    classifier, train_tiny, compose_verb, tiny_paths, tmp_path
):
    run = train_tiny("run", "guidance=classifier", f"guidance.classifier={classifier}", "guidance.scale=2")
    card = card_of(run)
    assert card["guidance"] | {"classifier": None} == {
        "name": "classifier", "scale": 2, "level_min": 0.0, "level_max": None, "classifier": None
    }  # fmt: skip
    assert len(card["guidance"]["classifier"]) == 16
    assert (card["labels"], card["nfe"]) == ("uniform", 2)
    options = [*tiny_paths, f"checkpoint={run}"]
    folder = sample(compose_verb("sample", *options, "num=4", "format=npz", "label=7", folder=tmp_path / "s"))
    with np.load(folder / "samples.npz") as file:
        assert file["labels"].tolist() == [7] * 4
    with pytest.raises(ValueError, match="label=10 does not exist: this model has the classes 0 to 9"):
        sample(compose_verb("sample", *options, "label=10", folder=tmp_path / "l"))
    images = ddpm_lightning.load(run).sample(4, label=7)
    with np.load(folder / "samples.npz") as file:
        assert np.array_equal(images.numpy(), file["images"])
    evaluate(compose_verb("evaluate", *options, "guidance=none", folder=tmp_path / "e"))
    assert card_of(tmp_path / "e")["guidance"] == {"name": "none"}
    (run.parent / classifier / "checkpoints/last.ckpt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"guidance.classifier=classifier: classifier is not the folder of a run"
    ):
        sample(compose_verb("sample", *options, folder=tmp_path / "m"))


def test_guidance_changes_the_samples_and_its_scale_can_be_changed(classifier, train_tiny):
    model = ddpm_lightning.load(train_tiny("run"))
    guidance = partial(classifier_guidance, classifier=str(classifier))
    drawn = [model.sample(3, guidance=partial(guidance, scale=scale)) for scale in (0.0, 50.0)]
    assert torch.equal(drawn[0], model.sample(3)) and not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "guidance=classifier needs a classifier: set guidance.classifier=RUN"),
        (["guidance.classifier=nowhere"], "guidance.classifier=nowhere: there is no checkpoint or run folder nowhere"),
        (["guidance.classifier=classifier", "schedule=linear"], "another schedule than this model: CosineSchedule"),
        (["guidance.classifier=classifier", "schedule.offset=0.1"], "another schedule than this model: CosineSchedule"),
        (["guidance.classifier=classifier", "dataset.image_size=32"], "images of 1x28x28, .* on images of 1x32x32"),
        (
            ["guidance.classifier=classifier", "normalizer=standardized"],
            "pixels from -1 to 1, .* that are standardised",
        ),
        (
            ["guidance.classifier=classifier", "guidance.scale=-1"],
            "guidance.scale must be a finite number of at least 0",
        ),
    ],
)
def test_a_classifier_that_does_not_fit_is_refused_before_the_training(classifier, tiny_run, options, message):
    with pytest.raises(Exception, match=message):
        tiny_run("guidance=classifier", *options)


def test_a_denoiser_is_no_classifier_and_a_classifier_draws_nothing(classifier, train_tiny, compose_verb, tiny_run):
    run = train_tiny("run")
    with pytest.raises(Exception, match=r"guidance.classifier=.*run/checkpoints/last.ckpt is a denoiser: name a run"):
        tiny_run("guidance=classifier", f"guidance.classifier={run}")
    for open_it in (
        lambda: restore_run(compose_verb("sample", f"checkpoint={classifier}"), ("grid", "sampler", "guidance")),
        lambda: ddpm_lightning.load(classifier),
    ):
        with pytest.raises(ValueError, match=r"classifier.* is a classifier, which draws no images: use it with"):
            open_it()


def test_a_path_out_of_a_strangers_file_may_not_lead_outside(
    classifier, train_tiny, compose_verb, tiny_paths, tmp_path
):
    """Unless the user types it."""
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    classifier.rename(elsewhere)
    run = train_tiny("run", "guidance=classifier", f"guidance.classifier={elsewhere}")
    with pytest.raises(RefusedError, match=rf"type it again: guidance.classifier={elsewhere}"):
        sample(compose_verb("sample", *tiny_paths, f"checkpoint={run}", folder=tmp_path / "s"))
    typed = [*tiny_paths, f"checkpoint={run}", f"guidance.classifier={elsewhere}", "num=2"]
    assert (sample(compose_verb("sample", *typed, folder=tmp_path / "t")) / "samples.png").is_file()


def test_a_training_of_a_classifier_starts_from_anothers_weights(classifier, train_tiny, tiny_run):
    from ddpm_lightning.runs.initial_weights import load_initial_weights

    run = tiny_run("task=classifier", f"init_from={classifier}", "seed=1")
    load_initial_weights(run.module, run.config)
    averaged = read_checkpoint(classifier / "checkpoints/last.ckpt")["ema"]["network"]
    assert all(torch.equal(value, averaged[name]) for name, value in run.module.network.state_dict().items())
    denoiser = tiny_run("task=classifier", f"init_from={train_tiny('run')}")
    with pytest.raises(
        ValueError, match=r"not those of this network: model._target_=.*UNet there, .*ADMClassifier here"
    ):
        load_initial_weights(denoiser.module, denoiser.config)
