"""What a network is trained for: its module, and the choices that have no effect on it."""

import pytest

from ddpm_lightning.runs.tasks import OF_DENOISERS
from ddpm_lightning.training.classifier_module import ClassifierModule
from ddpm_lightning.training.module import DiffusionModule
from ddpm_lightning.verbs.train import train
from tiny_runs import of_classifier


@pytest.mark.parametrize(("task", "module"), [("denoising", DiffusionModule), ("classifier", ClassifierModule)])
def test_a_task_has_its_module(tiny_run, task, module):
    assert type(tiny_run(f"task={task}").module) is module


def test_the_number_of_classes_is_that_of_the_data(tiny_run):
    run = tiny_run("task=classifier")
    assert (run.data.num_classes, run.module.network.num_classes) == (10, 10)
    assert "num_classes" not in run.config.model


def test_initial_weights_follow_their_own_seed(tiny_run):
    first, other, again = (
        tiny_run("task=classifier", f"seeds.init={seed}").module.network.pool.position for seed in (1, 2, 1)
    )
    assert first.equal(again) and not first.equal(other)


def test_a_classifiers_config_has_no_option_of_a_denoiser(compose_verb):
    config = compose_verb("train", "task=classifier")
    assert [group for group in OF_DENOISERS if config.get(group)] == []
    assert not {"label_dropout", "self_conditioning"} & set(config)
    default = compose_verb("train")
    assert all(default[group] for group in OF_DENOISERS if group != "predict")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["task=classifier", "loss=mae"], "loss has no effect on a classifier: leave it out, or choose task=denoising"),
        (["task=classifier", "predict=noise"], "predict has no effect on a classifier"),
        (["task=classifier", "guidance=classifier_free"], "guidance has no effect on a classifier"),
        (["task=classifier", "metrics=default"], "metrics has no effect on a classifier"),
        (["task=classifier", "metrics/features=lenet"], "metrics has no effect on a classifier"),
        (["task=classifier", "experiment=mnist_quick"], "loss_on has no effect on a classifier"),
        (["task=classifier", "callbacks=default"], "callbacks.sample_grid draws samples, which a classifier cannot"),
        (["task=classifier", "dataset=gradients"], "dataset gradients has no labels for a classifier to learn"),
        (["task=classifier", "model=unet_small"], r"model \(.*UNet\) does not classify: choose model=adm_classifier"),
        (["metrics=accuracy"], "metrics=accuracy is for task=classifier: leave it out"),
        (["callbacks=classifier"], "callbacks.accuracy is for task=classifier: leave it out"),
        (["model=adm_classifier"], r"model \(.*ADMClassifier\) removes no noise, but classifies"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_choice_of_another_task_is_refused(compose_verb, tiny_paths, options, message):
    with pytest.raises(ValueError, match=message):
        train(compose_verb("train", *tiny_paths, *options))


def test_the_same_command_finds_its_classifier_done(compose_verb, tiny_options, tmp_path):
    words = [*of_classifier(tiny_options), "~callbacks.progress_bar", "~callbacks.summary"]
    scores = train(compose_verb("train", *words))
    assert {"test/loss", "test/accuracy"} <= scores.keys()
    before = (tmp_path / "run" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert train(compose_verb("train", *words)) == scores
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
