"""From configs to modules: what is predicted, and what is refused before any training."""

import pytest
import torch
from omegaconf import OmegaConf

from choices import CONF, choices, config_of, make
from ddpm_lightning.diffusion.conditioning import Conditioning
from ddpm_lightning.diffusion.forward_process import noise_batch
from ddpm_lightning.runs.build import build_network, warn_of_unused_variance
from ddpm_lightning.training.module import DiffusionModule

SCHEDULE_WITHOUT_SIGNAL = ("schedule=cosine", "schedule.zero_terminal_snr=true")


@pytest.mark.parametrize("loss_on", choices("loss_on"))
def test_left_alone_what_is_predicted_is_what_is_compared(tiny_run, loss_on):
    run = tiny_run(f"loss_on={loss_on}")
    assert run.config.get("predict") is None
    assert run.module.denoiser.target == run.module.objective.loss_on == make("predict", loss_on)


@pytest.mark.parametrize("predict", choices("predict"))
def test_the_network_predicts_what_predict_says(tiny_run, predict):
    module = tiny_run(f"predict={predict}", "loss_on=image").module
    assert module.objective.loss_on.name == "image"
    assert module.denoiser.target.name == predict
    assert module.evaluation_denoiser().target.name == predict


def test_the_loss_on_images_of_predicted_noise_is_in_image_space(tiny_run):
    module = tiny_run("predict=noise", "loss_on=image").module
    x_0, eps, output = torch.randn(3, 4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    at = noise_batch(module.denoiser.schedule, x_0, eps, torch.tensor([0.1, 0.4, 0.7, 0.9]))
    alpha, sigma = (rate[:, None, None, None] for rate in at.rates)
    expected = ((at.x_t - sigma * output) / alpha - x_0).square().mean((1, 2, 3))
    prediction = module.denoiser.target.invert(output, at.x_t, at.rates)
    torch.testing.assert_close(module.objective(prediction, at), expected)


def test_t_max_of_what_is_compared_is_refused_with_advice(tiny_run):
    with pytest.raises(ValueError, match=r"loss_on\.t_max=0\.9 has no effect here.*Set predict\.t_max instead"):
        tiny_run("predict=noise", "loss_on=image", "loss_on.t_max=0.9")
    assert tiny_run("loss_on=image", "loss_on.t_max=0.9").module.denoiser.t_max == 0.9
    assert tiny_run("predict=noise", "predict.t_max=0.9").module.denoiser.t_max == 0.9
    assert tiny_run("predict=noise", "loss_on=image").module.denoiser.t_max == 0.98


@pytest.mark.parametrize("experiment", ["flowers_ablation", "pets_ablation"])
def test_the_published_ablation_predicts_noise_throughout(compose_verb, experiment):
    config = compose_verb("train", f"experiment={experiment}", "loss_on=image")
    assert config.predict._target_ == OmegaConf.load(CONF / "predict" / "noise.yaml")._target_
    assert config.loss_on._target_.endswith(".Image")


class TestTimesWithoutSignal:
    @pytest.mark.parametrize("timesteps", ["stratified", "uniform_continuous"])
    def test_times_below_1_are_allowed(self, tiny_run, timesteps):
        tiny_run("predict=noise", "loss_on=image", *SCHEDULE_WITHOUT_SIGNAL, f"timesteps={timesteps}")

    @pytest.mark.parametrize("schedule", [SCHEDULE_WITHOUT_SIGNAL, ("schedule=flow",)], ids=lambda s: s[0])
    def test_an_image_from_noise_at_t_1_is_refused(self, tiny_run, schedule):
        message = r"predict=noise loss_on=image: at t = 1, .* or timesteps=stratified"
        with pytest.raises(ValueError, match=message):
            tiny_run("predict=noise", "loss_on=image", *schedule, "timesteps=uniform_discrete")

    @pytest.mark.parametrize("spaces", [("noise", "noise"), ("velocity", "image"), ("flow", "noise"), ("edm", "image")])
    def test_where_no_division_by_0_is_needed_t_1_is_allowed(self, tiny_run, spaces):
        predict, loss_on = spaces
        options = (f"predict={predict}", f"loss_on={loss_on}", *SCHEDULE_WITHOUT_SIGNAL, "timesteps=uniform_discrete")
        loss = tiny_run(*options, "trainer.limit_val_batches=0").fit().trainer.callback_metrics["train/loss"]
        assert torch.isfinite(loss)


@pytest.mark.parametrize("predict", choices("predict"))
def test_a_network_is_conditioned_as_suits_what_it_predicts(tiny_run, predict):
    assert config_of("model", "unet_small").conditioning is None
    suits = Conditioning.C_NOISE if predict == "edm" else Conditioning.TIME
    for option in (f"predict={predict}", f"loss_on={predict}"):
        assert tiny_run(option).module.denoiser.conditioning is suits
    chosen = tiny_run(f"predict={predict}", "model.conditioning=log_snr").module
    assert chosen.denoiser.conditioning is Conditioning.LOG_SNR


def test_a_network_without_that_option_keeps_its_own(compose_verb):
    config = compose_verb("train", "model=keras_unet", "predict=edm")
    network = build_network(config, make("predict", "edm"), (3, 32, 32))
    assert network.conditioning == "noise_variance"


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_a_label_dropout_that_is_no_probability_is_refused(tiny_run, probability):
    with pytest.raises(ValueError, match=rf"label_dropout must be a probability from 0 to 1, not {probability}"):
        tiny_run("model.num_classes=10", f"label_dropout={probability}")


class TestGuidance:
    def test_without_dropped_labels_it_is_refused(self, tiny_run):
        with pytest.raises(ValueError, match=r"label_dropout=0.*train with label_dropout=0\.1"):
            tiny_run("guidance=classifier_free", "model.num_classes=10", "label_dropout=0")

    def test_without_classes_it_is_refused(self, tiny_run):
        with pytest.raises(ValueError, match=r"needs a class-conditional model: train with model\.num_classes set"):
            tiny_run("guidance=classifier_free")

    def test_with_both_it_is_not(self, tiny_run):
        tiny_run("guidance=classifier_free", "model.num_classes=10", "label_dropout=1")
        tiny_run("model.num_classes=10", "label_dropout=0")


def test_a_number_of_classes_that_is_not_the_datas_is_refused(tiny_run):
    with pytest.raises(ValueError, match=r"set model\.num_classes=10, or null"):
        tiny_run("model.num_classes=7")


def test_predicted_noise_without_signal_to_start_from_is_refused(tiny_run):
    pure_noise = ("schedule.zero_terminal_snr=true", "loss_on.t_max=1")
    with pytest.raises(ValueError, match=r"says nothing about the image at t = 1.* sampler\.t_max=0\.98"):
        tiny_run(*pure_noise, "loss_on=noise")
    tiny_run(*pure_noise, "loss_on=velocity")
    tiny_run(pure_noise[0], "loss_on=noise")
    tiny_run(pure_noise[1], "loss_on=noise")
    tiny_run(*pure_noise, "loss_on=noise", "sampler.t_max=0.9")


def test_images_too_small_for_the_network_are_refused(tiny_run):
    with pytest.raises(Exception, match="images of 2x2 are too small .* use images of at least 4 pixels"):
        tiny_run("dataset.image_size=2", "model.channels=[16,16,16]")


@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_the_denoiser_that_is_judged_knows_what_was_trained(tiny_run, weights):
    module: DiffusionModule = tiny_run("model.num_classes=10", "label_dropout=0", f"weights={weights}").module
    assert module.evaluation_denoiser().knows_none is False
    assert module.evaluation_denoiser().num_classes == 10


@pytest.mark.parametrize("part", ["init", "order", "noise", "samples"])
@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused_at_once(tiny_run, part, seed):
    with pytest.raises(ValueError, match=rf"seeds\.{part} .* must be from 0 to 2\^32 - 1, not {seed}"):
        tiny_run(f"seeds.{part}={seed}")


@pytest.mark.parametrize(
    ("sampler", "warned"), [([], True), (["sampler=ddpm"], True), (["sampler=ddpm", "sampler.variance=learned"], False)]
)
def test_a_learned_variance_that_no_sample_has_is_said(tiny_run, caplog, sampler, warned):
    run = tiny_run("variance=learned_range", "loss=hybrid", "timesteps=uniform_discrete", *sampler)
    warn_of_unused_variance(run.config, run.module)
    assert ("sampler=ddpm sampler.variance=learned does" in caplog.text) == warned
