"""Trainings with `timesteps=importance`: what is recorded, weighted, kept and left alone."""

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor

from ddpm_lightning.callbacks.checkpointing import Checkpointing
from ddpm_lightning.diffusion.randomness import Purpose
from ddpm_lightning.training.checkpoint import read_checkpoint
from ddpm_lightning.training.draws import StepDraws

IMPORTANCE = ("timesteps=importance", "timesteps.num_steps=5", "timesteps.history=2", "timesteps.uniform_share=0.1")
NO_VALIDATION = "trainer.limit_val_batches=0"


class Recorder(Callback):
    """The steps and losses that a history is given, the probabilities before, and the loss of each micro-batch."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Tensor, Tensor]] = []
        self.probabilities: list[Tensor] = []
        self.losses: list[float] = []

    def on_train_start(self, trainer, pl_module):
        memory, record = pl_module.timestep_memory, pl_module.timestep_memory.record

        def keep(step: Tensor, loss: Tensor) -> None:
            self.recorded.append((step.clone(), loss.clone()))
            self.probabilities.append(pl_module.timesteps.probabilities())
            record(step, loss)

        memory.record = keep

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)  # Lightning has divided it


@pytest.mark.parametrize("stratified", [True, False])
def test_losses_are_recorded_as_they_are_and_trained_with_their_weights(tiny_run, stratified):
    recorder = Recorder()
    run = tiny_run(*IMPORTANCE, f"timesteps.stratified={stratified}", "trainer.max_steps=8", NO_VALIDATION,
                   "trainer.accumulate_grad_batches=2", callbacks=[recorder])  # fmt: skip
    run.fit()
    kept: list[list[float]] = [[] for _ in range(5)]
    warm = 0
    for place, ((steps, losses), loss) in enumerate(zip(recorder.recorded, recorder.losses, strict=True)):
        p = torch.full((5,), 0.2)
        if is_warm := all(len(row) == 2 for row in kept):
            root = torch.tensor(kept).square().mean(1).sqrt()
            p = 0.9 * root / root.sum() + 0.1 / 5
        draws = StepDraws(run.config.seeds.noise, place // 2, place % 2, torch.arange(4))
        uniform = draws.uniform(Purpose.TIME)
        if stratified:
            uniform = (draws.shared_uniform(Purpose.SHARED_TIME) + torch.arange(4) / 4) % 1
        assert steps.tolist() == [int((u >= p.cumsum(0)).sum()) for u in uniform]
        assert loss == pytest.approx(float((losses / (5 * p[steps])).mean()), rel=1e-5)
        for step, value in zip(steps.tolist(), losses.tolist(), strict=True):
            kept[step] = [*kept[step], value][-2:]
        warm += is_warm
    assert warm > 5


def test_what_is_recorded_is_the_loss_of_each_sample(tiny_run):
    """Of the same samples at the same times, and with equally likely nodes."""
    ours, theirs = Recorder(), []
    words = ("trainer.max_steps=1", "weighting=min_snr", NO_VALIDATION)
    tiny_run(*IMPORTANCE, *words, callbacks=[ours]).fit()
    run = tiny_run("timesteps=uniform_discrete", "timesteps.num_steps=5", "timesteps.stratified=true", *words)
    objective = run.module.loss
    run.module.loss = lambda *given: theirs.append(objective(*given)) or theirs[-1]
    run.fit()
    torch.testing.assert_close(ours.recorded[0][1].float(), theirs[0].detach())


def test_a_checkpoint_holds_the_history_and_only_of_this_choice(tiny_run, tmp_path):
    def state(*words: str) -> dict[str, Tensor]:
        tiny_run(*words, "trainer.max_steps=6", NO_VALIDATION, callbacks=[Checkpointing(1)]).fit()
        return read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]

    learnt = {name: value for name, value in state(*IMPORTANCE).items() if name.startswith("timestep_memory")}
    assert learnt.keys() == {"timestep_memory.losses", "timestep_memory.counts"}
    assert learnt["timestep_memory.counts"].sum() == 6 * 4
    assert (learnt["timestep_memory.losses"] > 0).all()
    assert not [name for name in state("timesteps=uniform_discrete") if "timestep" in name]


@pytest.mark.parametrize("loss", ["loss=mse", "loss=vlb"])
def test_validation_does_not_depend_on_the_history(tiny_run, loss):
    run = tiny_run(*IMPORTANCE, loss, *(["loss.num_steps=5"] if loss == "loss=vlb" else []))

    def validate() -> dict[str, float]:
        (values,) = run.trainer.validate(run.module, run.data, verbose=False)
        return values

    before = validate()
    assert before["val/loss"] > 0
    assert run.module.timestep_memory.counts.sum() == 0
    for _ in range(2):
        run.module.timesteps.record(torch.arange(1, 6) / 5, torch.tensor([9.0, 3.0, 1.0, 0.1, 0.0]))
    assert run.module.timesteps.weights(torch.tensor([1 / 5])) < 0.5
    assert validate() == before
    assert run.module.timestep_memory.counts.sum() == 10


def test_the_losses_of_all_ranks_are_recorded_in_the_order_of_slots(tiny_run, monkeypatch):
    """Whatever the order of ranks: here rank 1 comes first."""
    module = tiny_run(*IMPORTANCE).module
    t = torch.tensor([5, 4, 1, 1, 1, 2]) / 5
    losses, slots = torch.arange(6.0), torch.arange(6)
    rows = torch.stack([slots.double(), t.double(), losses.double()], 1)
    monkeypatch.setattr(module, "all_gather", lambda own: torch.stack([rows[3:], own]))
    module._record_losses(slots[:3], t[:3], losses[:3])
    assert module.timestep_memory.counts.tolist() == [3, 1, 0, 1, 1]
    assert sorted(module.timestep_memory.losses[0].tolist()) == [3.0, 4.0]  # the latest two of slots 2, 3 and 4


def test_only_a_distribution_that_learns_asks_other_ranks(tiny_run, monkeypatch):
    run = tiny_run("trainer.max_steps=1", NO_VALIDATION)
    monkeypatch.setattr(run.module, "all_gather", None)
    run.fit()
    assert run.module.timestep_memory is None
