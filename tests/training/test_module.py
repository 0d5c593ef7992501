"""The training step and the validation step of the module."""

import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from ddpm_lightning.data import datamodule
from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.normalizer import StandardizedNormalizer
from ddpm_lightning.diffusion.forward_process import noise_batch
from ddpm_lightning.diffusion.randomness import Purpose
from ddpm_lightning.runs.build import build_data
from ddpm_lightning.runs.restore import restore_run
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.training.draws import StepDraws
from ddpm_lightning.training.module import DiffusionModule
from ddpm_lightning.verbs.evaluate import evaluate
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train

NO_VALIDATION = "trainer.limit_val_batches=0"


class Losses(Callback):
    """Records each micro-batch, its loss and the network's inputs."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.losses: list[float] = []
        self.inputs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]] = []

    def on_train_start(self, trainer, pl_module):
        pl_module.network.register_forward_pre_hook(lambda network, inputs: self.inputs.append(inputs))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append(batch)
        self.losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)  # Lightning has divided it


def randomise(network: nn.Module, seed: int = 0) -> None:
    """Overwrites all weights at random, including those that start at zero and would make the output zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


@pytest.mark.parametrize(
    "objective",
    ["loss_on=noise", "loss_on=velocity", "loss=mae", "weighting=min_snr", "normalizer=standardized", "schedule=edm"],
)
def test_a_training_step_combines_its_public_parts(tiny_run, objective):
    recorder = Losses()
    run = tiny_run("trainer.max_steps=2", "trainer.accumulate_grad_batches=2", "optimizer.lr=0", "dataset.flip=true",
                   objective, NO_VALIDATION, callbacks=[recorder])  # fmt: skip
    module = run.module
    randomise(module.network)
    run.fit()
    schedule, target = module.denoiser.schedule, module.denoiser.target
    for place, (batch, loss) in enumerate(zip(recorder.batches, recorder.losses, strict=True)):
        step, micro_batch = divmod(place, 2)
        draws = StepDraws(run.config.seeds.noise, step, micro_batch, batch.slots)
        x_0 = batch.images.float() / 127.5 - 1
        if "standardized" in objective:
            train = run.data.split("train").images_at(range(len(run.data.split("train"))))
            x_0 = (batch.images.float() - float(train.mean())) / float(train.std())
        mirrored = draws.uniform(Purpose.FLIP) < 0.5
        x_0 = torch.stack([image.flip(-1) if flip else image for image, flip in zip(x_0, mirrored, strict=True)])
        uniform, offset = draws.uniform(Purpose.TIME), draws.shared_uniform(Purpose.SHARED_TIME)
        t = module.timesteps(schedule, uniform, offset, batch.slots, 4)
        eps = draws.normal(Purpose.NOISE, (1, 28, 28))
        with torch.no_grad():
            batch_at_t = noise_batch(schedule, x_0, eps, t)
            prediction = module.denoiser(batch_at_t.x_t, t)
            error = target(prediction.x_0 - x_0, prediction.eps - eps, batch_at_t.rates)
        per_sample = (error.abs() if "mae" in objective else error**2).flatten(1).mean(1)
        if "min_snr" in objective:
            snr = schedule.log_snr(t).exp()
            per_sample = per_sample * snr.clamp(max=5) / snr
        assert loss == pytest.approx(float(per_sample.mean()), rel=1e-5)
    assert len(set(recorder.losses)) == 4


def test_times_are_spread_over_the_batches_of_all_ranks(tiny_run, monkeypatch):
    """One of two ranks, with its half of a global batch of 40."""
    recorder = Losses()
    run = tiny_run("trainer.max_steps=1", "dataset.batch_size=40", NO_VALIDATION, callbacks=[recorder])
    monkeypatch.setattr(type(run.trainer), "world_size", 2)
    run.fit()
    module, slots = run.module, recorder.batches[0].slots
    draws = StepDraws(run.config.seeds.noise, 0, 0, slots)
    uniform, offset = draws.uniform(Purpose.TIME), draws.shared_uniform(Purpose.SHARED_TIME)
    expected = module.timesteps(module.denoiser.schedule, uniform, offset, slots, 40)
    given = recorder.inputs[0][1]
    assert torch.equal(given, module.denoiser.conditioning.noise_level(module.denoiser.schedule, expected))


def test_a_rank_without_a_share_of_the_validation_measures_nothing(tiny_run):
    module = tiny_run().module
    module.denoiser.network.forward = module.ema.network.forward = None  # not called
    before = {name: value.clone() for name, value in module.diagnostics.state_dict().items()}
    nothing = torch.zeros(0, dtype=torch.int64)
    module.validation_step(Batch(torch.zeros(0, 1, 28, 28, dtype=torch.uint8), nothing, nothing), 0)
    assert all(torch.equal(value, before[name]) for name, value in module.diagnostics.state_dict().items())


@pytest.mark.parametrize(("dropout", "knows"), [(0.0, False), (0.1, True)])
def test_only_label_dropout_teaches_predictions_without_a_label(tiny_run, dropout, knows):
    module = tiny_run("model.num_classes=10", f"label_dropout={dropout}").module
    assert (module.denoiser.knows_none, module.evaluation_denoiser().knows_none) == (knows, knows)


def test_the_network_computes_in_channels_last(tiny_run):
    weights = [p for p in tiny_run().module.network.parameters() if p.ndim == 4 and min(p.shape[1:3]) > 1]
    assert weights and all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def first_inputs(tiny_run: Callable, *overrides: str) -> list[torch.Tensor]:
    recorder = Losses()
    tiny_run("trainer.max_steps=1", "dataset.batch_size=40", NO_VALIDATION, *overrides, callbacks=[recorder]).fit()
    return recorder.inputs[0]


def test_images_are_mirrored_only_when_asked(tiny_run):
    plain, flipped = (first_inputs(tiny_run, f"dataset.flip={flip}")[0] for flip in ("false", "true"))
    change = flipped - plain
    mirrored = StepDraws(0, 0, 0, torch.arange(40)).uniform(Purpose.FLIP) < 0.5
    assert torch.equal(change.flatten(1).any(1), mirrored)
    # A mirrored image minus itself is antisymmetric.
    torch.testing.assert_close(change.flip(-1), -change)
    assert not torch.allclose(change.flip(-2), -change, atol=1e-3)


def test_logged_losses_are_those_of_all_ranks(tiny_run, monkeypatch):
    """The mean in training, where each rank has its own; in validation the maximum, because all have the same."""
    run = tiny_run("trainer.max_steps=1", "trainer.val_check_interval=1")

    def reduce(value, group=None, reduce_op=None):
        return torch.full_like(value, {"mean": 7, "max": 8}[reduce_op]) if value.is_floating_point() else value

    monkeypatch.setattr(run.trainer.strategy, "reduce", reduce)
    monkeypatch.setattr(type(run.trainer._accelerator_connector), "is_distributed", True)
    run.fit()
    logged = run.trainer.callback_metrics
    assert logged["train/loss"] == 7
    validated = [value for name, value in logged.items() if name.startswith("val/")]
    assert len(validated) > 3 and all(value == 8 for value in validated)


@pytest.mark.parametrize(("dropout", "withheld"), [(0.0, [0]), (1.0, [40]), (0.5, range(10, 31))])
def test_labels_are_withheld_as_often_as_asked(tiny_run, dropout, withheld):
    recorder = Losses()
    tiny_run("trainer.max_steps=1", "dataset.batch_size=40", "model.num_classes=10", f"label_dropout={dropout}",
             NO_VALIDATION, callbacks=[recorder]).fit()  # fmt: skip
    label = recorder.inputs[0][2]
    assert int((label == 10).sum()) in withheld  # 10 means "no label"
    kept = label != 10
    assert torch.equal(label[kept], recorder.batches[0].labels[kept])


def test_the_validated_bound_has_each_of_its_steps(tiny_run):
    """Times between the steps would belong to none."""
    run = tiny_run("loss=vlb", "timesteps=uniform_discrete", "schedule.num_steps=4", "dataset.diagnostic_size=20")
    times: list[torch.Tensor] = []
    network = run.module.evaluation_denoiser().network
    network.register_forward_pre_hook(lambda _, given: times.append(given[1]))
    run.trainer.validate(run.module, run.data, verbose=False)
    of_the_loss = torch.cat(times[::2])  # the errors in buckets are measured at other times
    assert len(of_the_loss) == 20
    assert min(torch.bincount((4 * of_the_loss).round().long()).tolist()[1:]) >= 4
    assert torch.equal((4 * of_the_loss).round() / 4, of_the_loss)


def test_half_of_the_batches_are_trained_with_an_estimate(tiny_run):
    recorder = Losses()
    run = tiny_run("trainer.max_steps=10", "self_conditioning=true", NO_VALIDATION, callbacks=[recorder])
    randomise(run.module.network)
    run.fit()
    estimated, inputs = 0, iter(recorder.inputs)
    for step in range(10):
        x, noise_level, _ = next(inputs)
        x_t, estimate = x.chunk(2, dim=1)
        assert estimate.abs().max() == 0
        if StepDraws(0, step, 0, torch.arange(4)).happens(Purpose.SELF_CONDITIONING, 0.5):
            x, again, _ = next(inputs)  # of the same images, with what the first call predicted
            assert torch.equal(again, noise_level)
            assert torch.equal(x.chunk(2, dim=1)[0], x_t)
            estimate = x.chunk(2, dim=1)[1]
            assert not estimate.requires_grad
            assert 0 < estimate.abs().max() <= 1
            estimated += 1
    assert next(inputs, None) is None
    assert 2 <= estimated <= 8


def test_an_event_is_the_same_on_every_rank_and_as_frequent_as_asked():
    slots = [torch.arange(4), torch.arange(4, 8)]
    happens = [[StepDraws(0, n, 0, s).happens(Purpose.SELF_CONDITIONING, 0.3) for n in range(1000)] for s in slots]
    assert happens[0] == happens[1]
    assert 250 < sum(happens[0]) < 350


def test_validation_gives_the_network_an_estimate(tiny_run):
    """As sampling does; a first call makes it."""
    recorder = Losses()
    run = tiny_run("trainer.max_steps=1", "self_conditioning=true")
    run.module.evaluation_denoiser().network.register_forward_pre_hook(lambda _, given: recorder.inputs.append(given))
    randomise(run.module.evaluation_denoiser().network)
    run.trainer.validate(run.module, run.data, verbose=False)
    estimated = [bool(x.chunk(2, dim=1)[1].any()) for x, _, _ in recorder.inputs]
    assert estimated == [False, True] * (len(estimated) // 2)


def test_a_model_without_classes_is_given_no_label(tiny_run):
    assert first_inputs(tiny_run)[2] is None


def test_dropout_in_the_network_is_a_function_of_the_seed(tiny_run):
    def losses(seed: int) -> list[float]:
        recorder = Losses()
        torch.rand(7)
        run = tiny_run("model.dropout=0.5", f"seed={seed}", NO_VALIDATION, callbacks=[recorder])
        randomise(run.module.network)
        run.fit()
        return recorder.losses

    assert losses(0) == losses(0) != losses(1)


def weights_after(run) -> list[torch.Tensor]:
    module = run.fit()
    return [*module.network.parameters(), *module.ema.network.parameters()]


def test_pictures_and_scores_do_not_affect_training(tiny_run):
    from ddpm_lightning.runs.build import build_callbacks

    noisy = ("trainer.max_steps=25", "model.dropout=0.1")
    alone = weights_after(tiny_run(*noisy, "trainer.limit_val_batches=0"))
    observed = tiny_run(
        *noisy,
        "metrics.every_n_epochs=1",
        "sampler.eta=1.0",
        "~callbacks.progress_bar",
        "~callbacks.learning_rate",
        "trainer.num_sanity_val_steps=1",
    )
    observed.trainer.callbacks.extend(build_callbacks(observed.config))
    watched = weights_after(observed)
    assert "val/fid_lenet_mnist" in observed.trainer.callback_metrics
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))


def validate(run) -> dict[str, float]:
    (values,) = run.trainer.validate(run.module, run.data, verbose=False)
    return values


def test_validation_ignores_epoch_batch_size_and_seed(tiny_run, monkeypatch):
    monkeypatch.setattr(datamodule, "EVAL_BATCH_SIZE", 8)
    first = tiny_run()
    randomise(first.module.ema.network)
    values = validate(first)
    assert validate(first) == values
    monkeypatch.setattr(datamodule, "EVAL_BATCH_SIZE", 3)
    other = tiny_run("seed=5")
    randomise(other.module.ema.network)
    assert validate(other) == pytest.approx(values, rel=1e-4, nan_ok=True)
    assert {"val/loss", "val/noise_mae", "val/image_mae", "val/noise_mae/log_snr_0_3"} <= values.keys()


def test_validation_and_test_use_the_average(tiny_run):
    """The average and the raw weights are made to differ: only the former may matter."""
    run = tiny_run()
    randomise(run.module.network, seed=1)
    randomise(run.module.ema.network, seed=2)
    values = validate(run)
    randomise(run.module.network, seed=3)
    assert validate(run) == values
    randomise(run.module.ema.network, seed=4)
    assert validate(run)["val/loss"] != values["val/loss"]
    (tested,) = run.trainer.test(run.module, run.data, verbose=False)
    randomise(run.module.network, seed=5)
    assert run.trainer.test(run.module, run.data, verbose=False) == [tested]


def test_without_an_average_the_raw_weights_are_validated(tiny_run):
    run = tiny_run("ema=none")
    randomise(run.module.network, seed=1)
    values = validate(run)
    randomise(run.module.network, seed=2)
    assert validate(run)["val/loss"] != values["val/loss"]


def test_the_requested_weights_are_evaluated(tiny_run):
    raw: DiffusionModule = tiny_run("weights=raw").module
    assert raw.evaluation_denoiser().network is raw.network
    for choice in ("null", "ema"):
        module: DiffusionModule = tiny_run(f"weights={choice}").module
        assert module.evaluation_denoiser().network is module.ema.network
    with pytest.raises(ValueError, match="unknown weights 'best': this model has ema, raw"):
        tiny_run("weights=best")


def test_with_raw_weights_the_average_does_not_matter(tiny_run):
    run = tiny_run("weights=raw")
    randomise(run.module.network, seed=1)
    values = validate(run)
    randomise(run.module.ema.network, seed=2)
    assert validate(run) == values


def test_an_average_that_does_not_exist_is_an_error(tiny_run):
    with pytest.raises(ValueError, match="unknown weights 'ema': this model has raw"):
        tiny_run("ema=none", "weights=ema")


def test_noise_levels_out_of_range_are_not_logged(tiny_run):
    """The textbook's unscaled 200 betas end at a log SNR of -1.9, within a bucket."""
    run = tiny_run("schedule=linear", "schedule.num_steps=200", "schedule.scale_betas=false",
                   "dataset.diagnostic_size=20")  # fmt: skip
    randomise(run.module.ema.network)
    buckets = {name: value for name, value in validate(run).items() if "log_snr" in name}
    reached = ["log_snr_0_3", "log_snr_3_6", "log_snr_6_9"]
    assert buckets.keys() == {f"val/{name}/{bucket}" for name in ("noise_mae", "image_mae") for bucket in reached}
    assert np.isfinite(list(buckets.values())).all()


class TestStandardizedRun:
    """A run whose checkpoint is used with a different data set of the same size."""

    @pytest.fixture
    def trained(self, compose_verb, tiny_options, tiny_environment, tmp_path) -> RunFolder:
        train(compose_verb("train", *tiny_options, "normalizer=standardized", "callbacks=minimal", "logger=none"))
        return RunFolder(tmp_path / "run")

    @pytest.fixture
    def negatives(self, tiny_data, tmp_path) -> str:
        """The option for a data folder in which black and white are swapped."""
        root = shutil.copytree(tiny_data, tmp_path / "negatives")
        for path in root.glob("*/raw/*-images-*"):
            header, pixels = path.read_bytes()[:16], np.fromfile(path, np.uint8, offset=16)
            path.write_bytes(header + (255 - pixels).tobytes())
        return f"paths.data_dir={root}"

    def test_its_checkpoint_holds_the_training_statistics(self, trained, tiny_run):
        state = torch.load(trained.last_checkpoint, weights_only=True)["state_dict"]
        split = tiny_run().data.split("train")
        images = split.images_at(range(len(split)))
        assert state["normalizer.mean"].shape == (1, 1, 1)
        assert state["normalizer.mean"].item() == pytest.approx(images.mean(), rel=1e-6)
        assert state["normalizer.std"].item() == pytest.approx(images.std(), rel=1e-6)

    def test_a_resumed_run_does_not_read_the_training_split(self, trained, compose_verb, monkeypatch):
        monkeypatch.setattr(StandardizedNormalizer, "fit", lambda self, images: pytest.fail("the images were read"))
        train(compose_verb("train", f"resume={trained.path}", "trainer.max_steps=5"))
        assert read_checkpoint(trained.last_checkpoint)["global_step"] == 5

    def test_evaluation_and_sampling_use_them(self, trained, compose_verb, tiny_paths, negatives, tmp_path):
        stored = read_checkpoint(trained.last_checkpoint)["state_dict"]["normalizer.mean"]
        options = [*tiny_paths, "trainer.accelerator=cpu", f"checkpoint={trained.path}"]
        command = compose_verb("evaluate", *options, negatives)
        restored = restore_run(command, ("sampler", "grid", "guidance", "metrics"))
        others = build_data(restored.config).split("train").images_at(range(40))
        assert others.mean() > 128 > stored  # other data indeed
        assert torch.equal(restored.module.normalizer.mean, stored)
        samples = []
        for name, paths in {"old": [], "new": [negatives]}.items():
            folders = tmp_path / f"evaluated-{name}", tmp_path / f"sampled-{name}"
            evaluate(compose_verb("evaluate", *options, *paths, folder=folders[0]))
            sample(compose_verb("sample", *options, *paths, "num=16", "format=npz", folder=folders[1]))
            for folder in folders:
                with np.load(folder / "samples.npz") as file:
                    samples.append(file["images"])
        assert all(np.array_equal(samples[0], others) for others in samples[1:])
        # Samples of an untrained network reach both ends of the range; [-1, 1] would be only its darker half.
        assert (samples[0].min(), samples[0].max()) == (0, 255)


def test_the_symmetric_range_is_not_in_a_checkpoint(tiny_run):
    assert not [name for name in tiny_run().module.state_dict() if "normalizer" in name]
