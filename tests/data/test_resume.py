"""A real Trainer, stopped and resumed, shows the model the same batches as one that was never stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ddpm_lightning.data import datamodule
from ddpm_lightning.data.batch import Batch
from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.data.sources.source import ImageSource
from ddpm_lightning.data.split import OfficialSplit

EPOCHS = {"max_epochs": 3}
STEPS = {"max_epochs": -1, "max_steps": 20}


class Recorder(LightningModule):
    """Records the images of each training batch; its weight depends on their order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, ...]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.seen.append(tuple(batch.images[:, 0, 0, 0].tolist()))
        return (self.weight - batch.images.float().mean()).square()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Only there so that Lightning validates."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveOnce(Callback):
    """Saves in one hook, when a number of batches has been seen."""

    def __init__(self, hook: str, batches: int, path: Path) -> None:
        self._batches, self._path = batches, path
        setattr(self, hook, self._save)

    def _save(self, trainer: Trainer, module: Recorder, *_: Any) -> None:
        if len(module.seen) == self._batches:
            trainer.save_checkpoint(self._path)


@pytest.fixture
def fit(
    counting_source: Callable[..., ImageSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Recorder]:
    monkeypatch.setattr(datamodule, "EVAL_BATCH_SIZE", 1)

    def run(
        save: SaveOnce | None = None,
        resume: Path | None = None,
        workers: int = 0,
        **options: Any,
    ) -> Recorder:
        module = Recorder()
        data = ImageDataModule(  # 8 batches per epoch, and 3 images left over
            counting_source(train=43, test=7),
            OfficialSplit(),
            batch_size=5,
            num_workers=workers,
            seed=0,
            cache_dir=str(tmp_path),
        )
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[save] if save else None,
            **options,
        )
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        return module

    return run


def assert_resumes_exactly(
    fit: Callable[..., Recorder], path: Path, hook: str, batches: int, workers: int = 0, **options: Any
) -> None:
    whole = fit(SaveOnce(hook, batches, path), **options)
    assert path.exists(), "the hook that saves was not reached"
    resumed = fit(resume=path, workers=workers, **options)
    assert len(whole.seen) > batches
    assert resumed.seen == whole.seen[batches:]
    assert torch.equal(resumed.weight, whole.weight)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("limit", [EPOCHS, STEPS], ids=["max_epochs", "max_steps"])
class TestResume:
    @pytest.mark.parametrize(
        ("hook", "batches"),
        [
            ("on_train_batch_end", 1),
            ("on_train_batch_end", 3),
            ("on_train_batch_end", 7),
            ("on_train_batch_end", 8),
            ("on_train_batch_end", 13),
            ("on_train_batch_end", 16),
            ("on_train_epoch_end", 8),
            ("on_train_epoch_end", 16),
            ("on_validation_end", 8),
            ("on_validation_end", 16),
        ],
    )
    def test_at_any_moment(self, fit: Any, tmp_path: Path, limit: dict[str, int], hook: str, batches: int) -> None:
        assert_resumes_exactly(fit, tmp_path / "c.ckpt", hook, batches, **limit)

    @pytest.mark.parametrize(("hook", "batches"), [("on_train_batch_end", 3), ("on_train_epoch_end", 8)])
    def test_with_workers(self, fit: Any, tmp_path: Path, limit: dict[str, int], hook: str, batches: int) -> None:
        assert_resumes_exactly(fit, tmp_path / "c.ckpt", hook, batches, workers=2, **limit)

    @pytest.mark.parametrize(
        ("hook", "batches"), [("on_train_batch_end", 6), ("on_train_batch_end", 8), ("on_train_epoch_end", 8)]
    )
    def test_with_accumulation(self, fit: Any, tmp_path: Path, limit: dict[str, int], hook: str, batches: int) -> None:
        steps = {"max_steps": 10} if "max_steps" in limit else {}
        assert_resumes_exactly(fit, tmp_path / "c.ckpt", hook, batches, **(limit | steps), accumulate_grad_batches=2)

    @pytest.mark.parametrize(
        ("hook", "batches"), [("on_train_batch_end", 7), ("on_train_batch_end", 10), ("on_validation_end", 10)]
    )
    def test_with_shortened_epochs(
        self, fit: Any, tmp_path: Path, limit: dict[str, int], hook: str, batches: int
    ) -> None:
        assert_resumes_exactly(fit, tmp_path / "c.ckpt", hook, batches, **limit, limit_train_batches=5)

    def test_in_a_validation_within_the_epoch(self, fit: Any, tmp_path: Path, limit: dict[str, int]) -> None:
        assert_resumes_exactly(fit, tmp_path / "c.ckpt", "on_validation_end", 12, **limit, val_check_interval=4)


@pytest.mark.filterwarnings("ignore")
def test_an_epoch_shows_no_image_twice(fit: Any) -> None:
    seen = fit(**EPOCHS).seen
    epochs = [[image for batch in seen[start : start + 8] for image in batch] for start in (0, 8, 16)]
    assert [len(set(epoch)) for epoch in epochs] == [40, 40, 40]
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.filterwarnings("ignore")
def test_shortened_epochs_go_on_through_the_data(fit: Any) -> None:
    assert fit(max_epochs=4, limit_train_batches=5).seen == fit(**EPOCHS).seen[:20]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("option", "batches"), [(2, 2), (0.25, 2), (1, 1)])
def test_overfitting_repeats_the_same_batches(fit: Any, option: int | float, batches: int) -> None:
    first = fit(**EPOCHS).seen[:batches]
    assert fit(max_epochs=3, overfit_batches=option).seen == first * 3


def test_a_resume_raises_no_warning_about_the_loader(
    fit: Any, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    fit(SaveOnce("on_train_batch_end", 3, tmp_path / "c.ckpt"), max_epochs=1)
    fit(resume=tmp_path / "c.ckpt", max_epochs=1)
    assert not [warning for warning in recwarn if "not resumable" in str(warning.message)]
