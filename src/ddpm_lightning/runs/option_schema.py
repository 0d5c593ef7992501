"""The types of options that no class of a config's section declares: one table.

All others have the annotations of the constructor that takes them. The options of `trainer` are in the table although
Lightning annotates them, because its Trainer accepts more than this project can use, and checks ranges late.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from ddpm_lightning.runs.value_types import Where, takes_text

LONGEST_NAME = 200
"""Bytes in the name of a folder: file systems take 255, of which files in it that are being written need some."""


def is_folder_name(text: str) -> bool:
    """Whether a text can name a folder within another one; `a/b` names two."""
    parts = text.split("/")
    return "\0" not in text and all(
        part not in ("", ".", "..") and len(part.encode(errors="surrogateescape")) <= LONGEST_NAME for part in parts
    )


def _at_least(least: int, meaning: str = "") -> Any:
    return Annotated[int, Where(lambda number: number >= least, f"a whole number of at least {least}{meaning}")]


_Share = Annotated[float, Where(lambda share: 0 < share <= 1, "a fraction up to 1.0")]
_ShareOrNone = Annotated[float, Where(lambda share: 0 <= share <= 1, "a fraction from 0.0 to 1.0")]
_Norm = Annotated[float, Where(lambda norm: 0 <= norm < math.inf, "a number of at least 0")]
_Probability = Annotated[float, Where(lambda number: 0 <= number <= 1, "a probability from 0 to 1")]
_Devices = Annotated[str, Where(re.compile(r"auto|(\d+,)+\d*").fullmatch, "auto")]
_Name = Annotated[str, Where(is_folder_name, "the name of a folder (at most 200 bytes, no .. and no / in front)")]
_Limit = _at_least(-1, " (-1 for no limit)")

_OF_SAMPLE: dict[str, Any] = {
    "num": int,
    "seed": int,
    "label": int | None,
    "chunk_size": int,
    "format": str,
    "trajectory": bool,
}
SCHEMA: dict[str, Any] = {
    **_OF_SAMPLE,
    **{f"sample.{option}": kind for option, kind in _OF_SAMPLE.items()},
    **{f"seeds.{part}": int for part in ("init", "order", "noise", "samples")},
    "name": _Name | None,
    "experiment_name": _Name,
    "resume": str | None,
    "init_from": str | None,
    "init_weights": Literal["ema", "raw"] | None,
    "checkpoint": str | Mapping[str, Any],
    "paths.data_dir": str,
    "paths.cache_dir": str,
    "paths.output_dir": str,
    "compile": bool,
    "weights": str | None,
    "label_dropout": _Probability,
    "self_conditioning": bool,
    "optimize.score": str | None,
    "optimize.penalty": float,
    "model.conditioning": str | None,  # null: what the target suits, which the network is then given
    "dataset.name": str,
    "dataset.path": str,
    "dataset.image_size": int,
    "dataset.flip": bool,
    "dataset.batch_size": _at_least(1),
    "trainer.accelerator": Literal["auto", "cpu", "gpu", "cuda"],  # Apple's has no float64, as noise schedules are
    "trainer.devices": int | Sequence[int] | _Devices,
    "trainer.num_nodes": _at_least(1),
    "trainer.strategy.broadcast_buffers": bool,
    # Half and double precision of the weights fail: the noise schedules are float64, and the network is float32.
    "trainer.precision": Literal["auto", "32-true", "bf16-mixed", "16-mixed", 32, "32", "bf16", 16, "16"],
    "trainer.max_epochs": _Limit | None,
    "trainer.max_steps": _Limit,
    "trainer.gradient_clip_val": _Norm | None,
    "trainer.gradient_clip_algorithm": Literal["norm", "value"] | None,
    "trainer.accumulate_grad_batches": _at_least(1),
    "trainer.val_check_interval": _at_least(1) | _Share | None,
    "trainer.check_val_every_n_epoch": _at_least(1) | None,
    "trainer.limit_train_batches": _at_least(1) | _Share | None,
    "trainer.limit_val_batches": _at_least(0) | _ShareOrNone | None,
    "trainer.limit_test_batches": _at_least(0) | _ShareOrNone | None,
    "trainer.overfit_batches": _at_least(0) | _ShareOrNone,
    "trainer.log_every_n_steps": _at_least(0) | None,
    "trainer.num_sanity_val_steps": _at_least(-1) | None,
}
"""Option -> its type."""

TEXT_OPTIONS = tuple(option for option, kind in SCHEMA.items() if takes_text(kind))
"""Options whose value is the very word that is typed, even if it looks like a number."""

SECTION_CLASSES = {
    "dataset": "ddpm_lightning.data.datamodule.ImageDataModule",
    "metrics": "ddpm_lightning.metrics.scoring_plan.ScoringPlan",
    "callbacks.generative_metrics.plan": "ddpm_lightning.metrics.scoring_plan.ScoringPlan",
}
"""Section without a `_target_` -> the class that takes its options."""
