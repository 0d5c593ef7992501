"""Finished runs without a training: made-up scores and, optionally, features that the scores are computed from."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.metrics.frechet import frechet_distance
from ddpm_lightning.metrics.kernel import kernel_distance
from ddpm_lightning.report.finished_run import FinishedRun

MakeRun = Callable[..., FinishedRun]


@pytest.fixture
def make_run(card: MetricCard) -> MakeRun:
    """make_run({"schedule": "cosine"}, seed=1, kid=0.2): a run without files, in a folder name of its own."""
    made = []

    def make(
        options: Mapping[str, str],
        seed: int,
        kid: float = 0.1,
        *,
        metrics_seed: int | None = None,
        folder: Path | None = None,
        values: Mapping[str, float] | None = None,
        diagnostics: Mapping[str, float] | None = None,
        cost: Mapping[str, float] | None = None,
        **other: Any,
    ) -> FinishedRun:
        made.append(seed)
        return FinishedRun(
            folder=folder or Path(f"run{len(made)}"),
            options=dict(options),
            seed=seed,
            values={"kid_lenet_mnist": kid} if values is None else dict(values),
            card=replace(card, seed=seed if metrics_seed is None else metrics_seed, **other),
            diagnostics=dict(diagnostics or {}),
            cost=dict(cost or {}),
        )

    return make


@pytest.fixture
def make_run_with_features(make_run: MakeRun, card: MetricCard, tmp_path: Path) -> MakeRun:
    """make_run_with_features(options, seed, shift=1.0): generated features are N(shift, I), the real ones N(0, I).

    The real images are 50 of 80, chosen by the metrics' seed unless `real_indices` is given.
    """
    pool = torch.randn(80, 4, generator=torch.Generator().manual_seed(0))

    def make(
        options: Mapping[str, str],
        seed: int,
        shift: float = 1.0,
        *,
        metrics_seed: int | None = None,
        real_indices: np.ndarray | None = None,
    ) -> FinishedRun:
        if real_indices is None:
            choice = np.random.default_rng(seed if metrics_seed is None else metrics_seed)
            real_indices = np.sort(choice.choice(80, card.num_real, replace=False))
        noise = torch.Generator().manual_seed(len(list(tmp_path.iterdir())))
        real, generated = pool[real_indices], shift + torch.randn(card.num_generated, 4, generator=noise)
        folder = tmp_path / ("-".join([*options.values(), str(seed)]))
        folder.mkdir()
        np.savez_compressed(folder / "features.npz", features=generated, real_features=real, real_indices=real_indices)
        values = {
            "kid_lenet_mnist": kernel_distance(real, generated),
            "fid_lenet_mnist": frechet_distance(real, generated),
        }
        return make_run(options, seed, folder=folder, values=values, metrics_seed=metrics_seed)

    return make
