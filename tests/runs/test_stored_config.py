"""Configs as earlier versions stored them, read as this version would have stored them."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.diffusion.variance import FixedVariance
from ddpm_lightning.runs import stored_config
from ddpm_lightning.runs.build import build_callbacks, build_loggers, build_module
from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.stored_config import CONFIG_VERSION, RENAMED, modernized
from ddpm_lightning.runs.tasks import Denoising
from ddpm_lightning.samplers.ddpm import DDPM
from ddpm_lightning.samplers.grid import UniformGrid
from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint
from ddpm_lightning.verbs.evaluate import evaluate
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train

REPOSITORY = Path(__file__).parents[2]
CORE = "ddpm_lightning.diffusion"
DDIM = {"_target_": "ddpm_lightning.samplers.ddim.DDIM", "steps": 5, "eta": 0.5, "t_max": None, "clip": False}
BETAS = {"num_steps": 200, "zero_terminal_snr": False}
SCHEDULES = {
    "schedule.LinearSchedule": {**BETAS, "beta_start": 1e-4, "beta_end": 0.02, "scale_betas": True},
    "schedule.CosineSchedule": {**BETAS, "offset": 0.008, "max_beta": 0.999},
    "quadratic_schedule.QuadraticSchedule": {**BETAS, "beta_start": 1e-4, "beta_end": 0.02, "scale_betas": True},
    "sigmoid_schedule.SigmoidSchedule": {**BETAS, "start": -3.0, "end": 3.0, "tau": 1.0, "max_beta": 0.999},
    "rate_schedules.CosineRates": {"num_steps": 200, "min_signal_rate": 0.02, "max_signal_rate": 0.95},
    "rate_schedules.LinearRates": {"num_steps": 200, "min_signal_rate": 0.02, "max_signal_rate": 0.95},
}


def earlier(**parts: Any) -> dict[str, Any]:
    """A config of the earlier version, whose other parts do not matter."""
    config = {
        **{part: {} for part in ("metrics", "callbacks", "trainer")},
        "seed": 7,
        "dataset": {"name": "mnist", "source": {}, "split": {}, "batch_size": 4, "num_workers": 0, "flip": False},
        "schedule": {"_target_": f"{CORE}.schedule.CosineSchedule", "num_steps": 200},
        "timesteps": {"_target_": f"{CORE}.timesteps.Stratified"},
        "sampler": DDIM,
    }
    return {**config, **parts}


def test_every_renamed_class_exists_and_its_old_name_does_not():
    for old, new in RENAMED.items():
        assert callable(get_object(new))
        module, _, name = old.rpartition(".")
        if module.startswith("ddpm_lightning."):  # Lightning still has those that ours have replaced
            with suppress(ModuleNotFoundError):
                assert not hasattr(import_module(module), name)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_by_its_earlier_name_is_made(name):
    stored = earlier(schedule={"_target_": f"{CORE}.{name}", **SCHEDULES[name]})
    schedule = instantiate(modernized(stored, "run")["schedule"])
    assert schedule.t_min == pytest.approx(1 / 200)
    log_snr = schedule.log_snr(torch.linspace(0.1, 1, 10))
    assert (log_snr.diff() <= 0).all() and log_snr[-1] < log_snr[0]


@pytest.mark.parametrize(("name", "t_max"), [("Noise", 0.98), ("Image", 1.0), ("Velocity", 0.999), ("Noise", 1.0)])
def test_a_target_keeps_its_t_max(name, t_max):
    stored = earlier(loss_on={"_target_": f"{CORE}.parameterization.{name}", "t_max": t_max})
    target = instantiate(modernized(stored, "run")["loss_on"])
    assert (target.name, target.t_max) == (name.lower(), t_max)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Stratified", [0.005 + 0.995 * u for u in (0.5, 0.75, 0.0, 0.25)]),  # one offset of 0.5 and steps of 1/4
        ("UniformContinuous", [0.005 + 0.995 * u for u in (0.1, 0.2, 0.3, 0.999)]),
        ("UniformDiscrete", [21 / 200, 41 / 200, 61 / 200, 1.0]),
    ],
)
def test_timesteps_draw_the_times_that_they_drew(name, expected):
    config = modernized(earlier(timesteps={"_target_": f"{CORE}.timesteps.{name}"}), "run")
    timesteps, schedule = instantiate(config["timesteps"]), instantiate(config["schedule"])
    uniform = torch.tensor([0.1001, 0.2001, 0.3001, 0.999])
    t = timesteps(schedule, uniform, torch.tensor(0.5), torch.arange(4), 4)
    torch.testing.assert_close(t, torch.tensor(expected), rtol=0, atol=2e-4)


def test_the_sampler_has_the_only_grid_there_was_everywhere():
    callbacks = {"sample_grid": {"sampler": DDIM, "num_samples": 4}, "nan_guard": {"every": 1}, "progress_bar": None}
    config = modernized(earlier(callbacks=callbacks), "run")
    for part in (config, config["callbacks"]["sample_grid"]):
        sampler = instantiate(part["sampler"])
        assert (sampler.steps, sampler.eta, sampler.t_max, sampler.clip) == (5, 0.5, None, False)
        assert sampler.grid == UniformGrid()
    assert instantiate(config["grid"]) == UniformGrid()
    assert config["callbacks"]["nan_guard"] == {"every": 1}


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_the_variance_of_ddpm_has_another_name(mix):
    stored = {"_target_": "ddpm_lightning.samplers.ddpm.DDPM", "steps": 9, "variance_mix": mix, "t_max": 1.0}
    sampler = instantiate(modernized(earlier(sampler=stored), "run")["sampler"])
    assert sampler == DDPM(steps=9, variance={0.0: "small", 1.0: "large"}.get(mix, mix), t_max=1.0)


def test_an_earlier_model_has_what_it_had_no_option_for():
    model = {"_target_": "ddpm_lightning.networks.unet.UNet"}
    config = modernized(earlier(model=model), "run")
    assert (config["self_conditioning"], instantiate(config["variance"])) == (False, FixedVariance(0.0))
    assert isinstance(instantiate(config["task"]), Denoising)
    assert modernized(earlier(model=model, self_conditioning=True), "run")["self_conditioning"] is True


def test_a_classifier_gets_no_option_of_a_denoiser():
    config = {"config_version": 2, "model": {}, "task": {"_target_": "ddpm_lightning.runs.tasks.Classification"}}
    assert modernized(config, "run") == config


def test_all_four_seeds_were_the_one_there_was():
    assert modernized(earlier(), "run")["seeds"] == {"init": 7, "order": 7, "noise": 7, "samples": 7}


def test_a_resumed_run_scores_as_it_did():
    """One seed chose the real images and drew the samples, and the callback's own options hold."""
    scoring = {
        "_target_": "a.Callback",
        "extractor": {"dataset": "mnist"},
        "seed": 3,
        "num_real": 5,
        "dataset": "mnist",
    }
    scoring |= {"sampler": dict(DDIM), "guidance": {}, "cache_dir": "cache"}
    metrics = {"seed": 3, "num_real": 9, "features": {"dataset": "mnist"}, "weights": None}
    config = modernized(earlier(metrics=metrics, callbacks={"generative_metrics": scoring}), "run", trust=None)
    assert config["metrics"]["real_seed"] == 3
    assert config["callbacks"]["generative_metrics"] == {
        "_target_": "a.Callback",
        "plan": {**config["metrics"], "num_real": 5},
        "sampler": config["sampler"],
        "guidance": {},
        "dataset": "mnist",
        "seeds": config["seeds"],
        "cache_dir": "cache",
    }


def test_images_without_end_are_the_held_out_ones():
    source = {"_target_": "ddpm_lightning.data.gradients.EndlessGradientsSource", "epoch_size": 8, "held_out": 4}
    source |= {"channels": 3, "height": 4, "width": 4, "seed": 1}
    config = modernized(earlier(dataset=earlier()["dataset"] | {"source": source}), "run")
    assert instantiate(config["dataset"]["source"], root=".").official_splits()["test"].tolist() == [0, 1, 2, 3]


def targets(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from targets(value)


EXPERIMENTS = sorted(REPOSITORY.glob("experiments/*/config*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_configs_of_published_runs_load_and_build(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = RunConfig.of(DictConfig(modernized(OmegaConf.to_container(OmegaConf.load(path)), path)))
    colour = config.options.dataset.name == "flowers"
    size = config.options.dataset.image_size
    module = build_module(config.options, (3 if colour else 1, size, size), 0)
    assert module.network.num_classes is None
    assert len(build_callbacks(config.options)) > 5
    assert len(build_loggers(config.options, tmp_path)) == 1
    for node in targets(config.stored):
        assert callable(get_object(node["_target_"]))


def test_there_are_published_runs_of_several_versions():
    assert len(EXPERIMENTS) >= 5


@pytest.mark.parametrize("overrides", [[], ["grid=karras", "sampler=heun", "seeds.order=4", "predict=velocity"]])
def test_a_config_of_today_is_as_it_was(compose_verb, overrides):
    today = RunConfig.of_command(compose_verb("train", *overrides)).stored
    before = copy.deepcopy(today)
    assert modernized(today, "run") == before
    assert today == before


def test_a_newer_version_is_not_guessed_at():
    with pytest.raises(ValueError, match="run was made by a newer version of ddpm-lightning: update this one"):
        modernized({**earlier(), "config_version": CONFIG_VERSION + 1}, "run")


@pytest.mark.parametrize("config", [{}, {"seed": 0}, {"seed": 0, "dataset": None}, {"config": "of another project"}])
def test_what_is_not_the_config_of_a_run_is_refused(config):
    with pytest.raises(ValueError, match="run does not hold the config of a run .*: take the folder of a run"):
        modernized(config, "run")


class TestRemoved:
    @pytest.fixture(autouse=True)
    def removed(self, monkeypatch):
        monkeypatch.setattr(stored_config, "REMOVED", {"model.depth": 3, "callbacks.a.size": 5})

    def test_an_option_that_is_a_constant_now_is_left_out(self):
        callbacks = {"a": {"size": 5, "other": 1}, "b": None, "c": {}}
        config = modernized(earlier(model={"depth": 3, "width": 2}, callbacks=callbacks), "run")
        assert config["model"] == {"width": 2}
        assert config["callbacks"] == {"a": {"other": 1}, "b": None, "c": {}}

    def test_another_value_than_the_constant_is_refused(self):
        with pytest.raises(ValueError, match=r"run was made with model\.depth=4, which .* takes as 3: use the version"):
            modernized(earlier(model={"depth": 4}), "run")


def test_a_renamed_choice_has_its_present_name():
    record = {"choices": {"model": "ddim_resnet", "loss": "mse"}, "options": {"seed": "7"}}
    record = modernized(earlier(hydra=record), "run")["hydra"]
    assert record == {"choices": {"model": "keras_unet", "loss": "mse", "grid": "uniform"}, "options": {"seed": "7"}}


def test_reading_twice_is_reading_once_and_changes_no_input():
    stored = earlier(
        loss_on={"_target_": f"{CORE}.parameterization.Noise", "t_max": 0.98},
        callbacks={"sample_grid": {"sampler": dict(DDIM)}},
        timesteps={"_target_": f"{CORE}.timesteps.UniformDiscrete"},
    )
    before = copy.deepcopy(stored)
    once = modernized(stored, "run")
    assert stored == before
    assert modernized(once, "run") == once != stored


def as_stored_earlier(config: dict[str, Any]) -> dict[str, Any]:
    """Today's config of a default run in the words of the version before there were grids and four seeds."""
    former = {new: old for old, new in RENAMED.items()}
    newer = ("config_version", "seeds", "grid", "predict")
    config = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    config = {key: value for key, value in config.items() if key not in newer}
    config["hydra"]["choices"] = {k: v for k, v in config["hydra"]["choices"].items() if k not in ("grid", "predict")}
    for node in targets(config):
        node["_target_"] = former.get(node["_target_"], node["_target_"])
    config["timesteps"] = {"_target_": f"{CORE}.timesteps.Stratified"}
    config["loss_on"]["t_max"] = 0.98
    config["model"]["conditioning"] = "time"
    del config["metrics"]["labels"]
    scoring = config["callbacks"]["generative_metrics"]
    plan = scoring.pop("plan")
    del plan["labels"], scoring["seeds"]
    scoring |= {"extractor": plan.pop("features"), **plan}
    config["callbacks"]["checkpointing"]["lower_is_better"] = True
    for part in (config, *config["callbacks"].values()):
        if "sampler" in part:
            del part["sampler"]["grid"]
    return config


@pytest.fixture
def done(compose_verb: Callable, tiny_options: list[str], tiny_environment: None, tmp_path: Path) -> RunFolder:
    """A run that is done, with the config of an earlier version in its folder and its checkpoint."""
    train(compose_verb("train", *tiny_options, "callbacks=[checkpointing,generative_metrics]", "logger=none"))
    run = RunFolder(tmp_path / "run")
    config = as_stored_earlier(run.read_config())
    assert config["schedule"]["_target_"] == f"{CORE}.schedule.CosineSchedule"
    run.write_config(config)
    torch.save(read_checkpoint(run.last_checkpoint) | {CONFIG_KEY: config}, run.last_checkpoint)
    return run


def test_every_verb_continues_a_run_of_an_earlier_version(done, compose_verb, tiny_paths, tmp_path):
    options = [*tiny_paths, "trainer.accelerator=cpu", f"checkpoint={done.path}"]
    own = json.loads((done.path / "metrics.json").read_text())
    evaluate(compose_verb("evaluate", *options, folder=tmp_path / "again"))
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again["card"] == own["card"]
    assert again["values"] == pytest.approx(own["values"], rel=1e-6)
    evaluate(compose_verb("evaluate", *options, "grid=karras", "guidance=none", folder=tmp_path / "karras"))
    assert '"karras"' in (tmp_path / "karras" / "metrics.json").read_text()
    assert (sample(compose_verb("sample", *options, "num=2", folder=tmp_path / "drawn")) / "samples.png").is_file()
    train(compose_verb("train", f"resume={done.path}", "trainer.max_steps=5"))
    assert read_checkpoint(done.last_checkpoint)["global_step"] == 5
