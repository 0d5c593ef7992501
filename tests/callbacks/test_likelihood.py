"""Likelihoods in a real test pass: the files, their content, and what is refused before any work."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_lightning.callbacks.likelihood import LikelihoodMetrics, own_steps
from ddpm_lightning.diffusion.guidance import ClassifierFreeGuidance, unguided
from ddpm_lightning.metrics.cards import read_card
from ddpm_lightning.metrics.features.reference import choose_real_indices
from ddpm_lightning.metrics.likelihood.bound import BoundLikelihood
from ddpm_lightning.metrics.likelihood.images import LabelledImages, mean_of_images
from ddpm_lightning.metrics.likelihood.ode import ODELikelihood
from ddpm_lightning.metrics.likelihood.plan import LikelihoodPlan

PLAN = {"num_images": 6, "seed": 3, "real_seed": 5, "chunk_size": 4}
BOUND, ODE = BoundLikelihood(num_steps=4), ODELikelihood(steps=2, dequantizations=2)
Measured = tuple[Any, dict[str, Any], dict[str, np.ndarray]]


@pytest.fixture
def with_plan(tiny_run: Callable) -> Callable:
    """`with_plan(*overrides, guidance=..., **plan)`: a tiny run with the callback; its weights are no longer zero."""

    def make(*overrides: str, guidance=unguided, bound=BOUND, ode=ODE, **plan):
        options = LikelihoodPlan(**PLAN | plan, bound=bound, ode=ode)
        callback = LikelihoodMetrics(options, guidance, "mnist", {"init": 0})
        run = tiny_run(*overrides, callbacks=[callback])
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in run.module.evaluation_denoiser().network.parameters():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        return run

    return make


@pytest.fixture
def measured(with_plan: Callable, tmp_path: Path) -> Callable[..., Measured]:
    """`measured(...)`, as `with_plan`: the run, its `metrics.json`, and the arrays of `likelihood.npz`."""

    def measure(*overrides: str, **options: Any) -> Measured:
        run = with_plan(*overrides, **options)
        run.trainer.test(run.module, run.data, verbose=False)
        with np.load(tmp_path / "run" / "likelihood.npz") as file:
            arrays = {name: file[name] for name in file.files}
        return run, json.loads((tmp_path / "run" / "metrics.json").read_text()), arrays

    return measure


def test_the_files_have_every_part(measured, tmp_path):
    run, report, arrays = measured()
    values = report["values"]
    for name in ("bits_per_dim_bound", "bits_per_dim_ode"):
        mean, low, high = mean_of_images(torch.from_numpy(arrays[name]))
        assert (values[name], values[f"{name}_low"], values[f"{name}_high"]) == pytest.approx((mean, low, high))
    parts = [values[f"bits_per_dim_bound_{part}"] for part in ("prior", "steps", "decoder")]
    assert sum(parts) == pytest.approx(values["bits_per_dim_bound"])
    assert parts[1:] == pytest.approx([arrays["bound_terms"][1:].sum(), arrays["bound_terms"][0]])
    assert arrays["bound_times"].tolist() == [0.25, 0.5, 0.75, 1.0]
    split = run.data.split("test")
    assert np.array_equal(arrays["image_indices"], choose_real_indices(len(split), 6, 5))
    assert np.asarray(Image.open(tmp_path / "run" / "likelihood.png")).shape[2] == 3
    assert {"test/loss", "test/noise_mae"} <= report["diagnostics"].keys()
    assert not [name for name in report["diagnostics"] if "bits" in name]

    assert report["card"] == {
        "num_images": 6, "seed": 3, "real_seed": 5, "seeds": {"init": 0}, "labels": None, "weights": "ema",
        "split": "test", "dataset": "mnist", "real_images": split.fingerprint[:16],
        "bound": {"name": "variational bound", "kind": "upper bound", "num_steps": 4, "clip": True, "v": 0.0},
        "ode": {
            "name": "probability-flow ODE", "kind": "exact for dequantized images", "solver": "heun",
            "grid": "log_snr", "trace": "hutchinson, rademacher", "dequantization": "uniform", "steps": 2,
            "dequantizations": 2, "t_min": 0.001, "t_max": 0.98, "nfe": 8,
        },
    }  # fmt: skip
    assert read_card(report["card"]).to_dict() == report["card"]


@pytest.mark.parametrize("override", ["model.num_classes=null", "model.num_classes=10", "normalizer=standardized"])
def test_the_values_are_those_of_the_evaluated_model_for_these_images(measured, override):
    run, report, arrays = measured(override)
    module, split = run.module, run.data.split("test")
    indices = arrays["image_indices"]
    label = torch.from_numpy(split.labels_at(indices)) if override == "model.num_classes=10" else None
    x_0 = module.normalizer.to_model(torch.from_numpy(split.images_at(indices)))
    images = LabelledImages(x_0, torch.from_numpy(indices), label, module.normalizer.value_range)
    denoiser = module.evaluation_denoiser()
    assert denoiser.network is module.ema.network
    with torch.no_grad():
        bits = ODE.bits(denoiser, images, 3)
        terms = BOUND.terms(BOUND.bound(denoiser, 9), denoiser.schedule, partial(module.predict, denoiser), images, 3)
    # float32, computed together with others
    np.testing.assert_allclose(arrays["bits_per_dim_ode"], bits, rtol=1e-4)
    np.testing.assert_allclose(arrays["bits_per_dim_bound"], terms.prior + terms.steps.sum(1), rtol=1e-4)
    assert report["card"]["labels"] == (None if label is None else "own")


def test_what_is_left_out_is_absent(measured):
    _, report, arrays = measured(bound=None)
    assert set(report["values"]) == {"bits_per_dim_ode", "bits_per_dim_ode_low", "bits_per_dim_ode_high"}
    assert set(arrays) == {"image_indices", "bits_per_dim_ode"}
    assert report["card"]["bound"] is None and report["card"]["ode"] is not None


def test_self_conditioned_models_have_a_bound(measured):
    _, report, _ = measured("self_conditioning=true", ode=None)
    assert report["values"]["bits_per_dim_bound"] > 0


def test_no_global_generator_is_used(with_plan):
    run = with_plan()
    moved = []
    callback = next(c for c in run.trainer.callbacks if isinstance(c, LikelihoodMetrics))
    measure = callback.on_test_epoch_end

    def watched(trainer, module):
        before = torch.get_rng_state()
        measure(trainer, module)
        moved.append(not torch.equal(before, torch.get_rng_state()))

    callback.on_test_epoch_end = watched
    run.trainer.test(run.module, run.data, verbose=False)
    assert moved == [False]


@pytest.mark.parametrize(
    ("overrides", "options", "message"),
    [
        ([], {"num_images": 41}, r"metrics\.num_images=41, but the test split has 40 images"),
        (["model.num_classes=10"], {"guidance": ClassifierFreeGuidance}, r"guided predictions .*: set guidance=none"),
        (["self_conditioning=true"], {}, r"self-conditioning has no likelihood by an ODE.* metrics\.ode=null"),
        (["schedule=flow"], {}, r"this model has no variational bound: .* metrics\.bound=null"),
        (["schedule=linear_rates"], {"bound": BoundLikelihood(1000)}, "adds none from t = .* with metrics.bound=null"),
    ],
)
def test_what_has_no_likelihood_is_refused_before_the_pass(with_plan, tmp_path, overrides, options, message):
    run = with_plan(*overrides, **options)
    with pytest.raises(ValueError, match=message):
        run.trainer.test(run.module, run.data, verbose=False)
    assert "test/loss" not in run.trainer.callback_metrics


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (["schedule=flow"], 1000),
        (["schedule.num_steps=300"], 300),
        (["schedule=flow", "timesteps=uniform_discrete", "timesteps.num_steps=40"], 40),
        (["loss=vlb", "loss.num_steps=50", "timesteps=uniform_discrete", "timesteps.num_steps=50"], 50),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_the_models_own_steps_are_those_of_its_training(tiny_run, overrides, steps):
    assert own_steps(tiny_run(*overrides).module) == steps


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_images": 1}, r"metrics\.num_images must be at least 2, not 1"),
        ({"chunk_size": None}, r"metrics\.chunk_size must be at least 1, not null"),
        ({"bound": None, "ode": None}, "measures nothing"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LikelihoodPlan(**{**PLAN, "bound": BOUND, "ode": ODE, **options})
