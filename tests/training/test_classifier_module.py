"""The training step and the validation of a classifier, against their definitions."""

import pytest
import torch
from lightning.pytorch import Callback
from torch.nn import functional as F

from ddpm_lightning.diffusion.forward_process import noise_batch
from ddpm_lightning.diffusion.randomness import Purpose, keyed_normal
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.training.diagnostics import LOG_SNR_EDGES, bucket_names, fixed_log_snr
from ddpm_lightning.training.draws import StepDraws

CLASSIFIER = "task=classifier"


class Losses(Callback):
    def __init__(self):
        self.batches, self.losses = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append(batch)
        self.losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)


@pytest.mark.parametrize("option", ["schedule=cosine", "schedule=edm", "normalizer=standardized"])
def test_a_training_step_is_the_cross_entropy_of_its_public_parts(tiny_run, option):
    recorder = Losses()
    run = tiny_run(CLASSIFIER, option, "trainer.max_steps=2", "trainer.accumulate_grad_batches=2", "optimizer.lr=0",
                   "dataset.flip=true", "trainer.limit_val_batches=0", callbacks=[recorder])  # fmt: skip
    module = run.fit()
    for place, (batch, loss) in enumerate(zip(recorder.batches, recorder.losses, strict=True)):
        draws = StepDraws(run.config.seeds.noise, *divmod(place, 2), batch.slots)
        x_0 = module.normalizer.to_model(batch.images)
        x_0 = torch.where((draws.uniform(Purpose.FLIP) < 0.5)[:, None, None, None], x_0.flip(-1), x_0)
        uniform, offset = draws.uniform(Purpose.TIME), draws.shared_uniform(Purpose.SHARED_TIME)
        t = module.timesteps(module.schedule, uniform, offset, batch.slots, 4)
        x_t = noise_batch(module.schedule, x_0, draws.normal(Purpose.NOISE, (1, 28, 28)), t).x_t
        scale = module.schedule.rates(t).input_scale()[:, None, None, None]
        with torch.no_grad():
            log_p = module.network(scale * x_t, t).log_softmax(1)
        assert loss == pytest.approx(-float(log_p[torch.arange(4), batch.labels].mean()), rel=1e-5)
    assert len(set(recorder.losses)) == 4


def test_the_accuracy_of_each_bucket_is_the_share_of_correct_labels(tiny_run):
    run = tiny_run(CLASSIFIER, "trainer.max_steps=10", "dataset.diagnostic_size=20", "ema.decay=0.5")
    module = run.fit()
    logged = run.trainer.validate(module, run.data, verbose=False)[0]
    (batch,) = run.data.val_dataloader()
    log_snr = fixed_log_snr(batch.slots)
    t = module.schedule.time_of_log_snr(log_snr)
    eps = keyed_normal(0, Purpose.VALIDATION_NOISE, batch.slots, (1, 28, 28))
    x_t = noise_batch(module.schedule, module.normalizer.to_model(batch.images), eps, t).x_t
    with torch.no_grad():
        correct = (module.ema.network(x_t, t).argmax(1) == batch.labels).double()
    edges = zip(bucket_names(), LOG_SNR_EDGES, LOG_SNR_EDGES[1:], strict=False)
    expected = {name: float(correct[(log_snr >= low) & (log_snr < high)].mean()) for name, low, high in edges}
    assert {name: logged[f"val/accuracy/{name}"] for name in expected} == pytest.approx(expected)
    assert logged["val/accuracy"] == pytest.approx(float(correct.mean()))
    assert 0 < logged["val/accuracy"] < 1
    assert {name for name in logged if name.startswith("val/")} == module.logged_values("val")


def test_the_validated_loss_is_that_of_the_average(tiny_run):
    run = tiny_run(CLASSIFIER, "trainer.max_steps=3", "ema.decay=0.5", "dataset.diagnostic_size=8")
    module = run.fit()
    (batch,) = run.data.val_dataloader()
    eps = keyed_normal(0, Purpose.VALIDATION_NOISE, batch.slots, (1, 28, 28))
    noised = noise_batch(module.schedule, module.normalizer.to_model(batch.images), eps, torch.full((8,), 0.3))
    losses = {}
    for weights, network in (("ema", module.ema.network), ("raw", module.network)):
        module.weights = weights
        with torch.no_grad():
            losses[weights] = module.validation_loss(noised, batch.labels)
            expected = F.cross_entropy(network(noised.x_t, noised.t), batch.labels, reduction="none")
        torch.testing.assert_close(losses[weights], expected)
    assert not torch.allclose(losses["ema"], losses["raw"])


def test_it_learns_to_classify(tiny_run):
    """Four images again and again, hardly noised."""
    recorder = Losses()
    tiny_run(CLASSIFIER, "trainer.max_steps=60", "trainer.overfit_batches=1", "optimizer.lr=0.01",
             "timesteps=log_normal", "trainer.limit_val_batches=0", callbacks=[recorder]).fit()  # fmt: skip
    first, last = (sum(recorder.losses[part]) / 5 for part in (slice(5), slice(-5, None)))
    assert last < 0.5 * first


def test_a_checkpoint_holds_what_a_guidance_needs(tiny_run, tmp_path):
    run = tiny_run(CLASSIFIER, "trainer.max_steps=1")
    run.fit()
    run.trainer.save_checkpoint(tmp_path / "x.ckpt")
    checkpoint = read_checkpoint(tmp_path / "x.ckpt")
    prefixes = {name.partition(".")[0] for name in checkpoint["state_dict"]}
    assert prefixes == {"classifier"}
    assert checkpoint["ddpm_lightning_images"] == {"shape": [1, 28, 28], "num_classes": 10}
    assert checkpoint["ema"]["network"].keys() == run.module.network.state_dict().keys()
