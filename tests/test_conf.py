"""Every file of conf/: it composes for its verbs, and a run with it gets through a batch."""

import re
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.runs.build import build_trainer
from ddpm_lightning.runs.launch import ranks_to_start
from ddpm_lightning.verbs.train import train
from tiny_runs import of_classifier

CONF = Path(__file__).parents[1] / "conf"
VERBS = ("train", "evaluate", "sample")
FRAGMENTS = ("hydra", "dataset/loading")  # parts of verbs and of data sets, not chosen by users
NOT_RUN = {
    "trainer=ddp": "needs GPUs",
    "trainer=ddp_cpu": "starts processes: covered by the tests of several processes",
    "logger=wandb": "an optional dependency that talks to a server",
    "dataset/split=folders": "needs files: tests/data/sources/test_split_folders.py",
    "metrics/features=inception": "needs its weights: covered by its own tests",
    "guidance=classifier": "needs a run: tests/runs/test_guiding.py",
    **dict.fromkeys(("dataset=cifar10", "dataset=flowers", "dataset=folder", "dataset=pets"), "needs files: own tests"),
    **dict.fromkeys(
        (f"experiment=flowers_{how}" for how in ("64", "ablation", "ddim", "small")), "needs files: as pets_ablation"
    ),
    "experiment=pets_ablation": "needs files: tests/data/test_pets.py",
}
NEEDS = {
    "guidance=classifier_free": ["model.num_classes=10"],
    "variance=learned_range": ["loss=hybrid", "timesteps=uniform_discrete"],
    "variance=fixed_large": ["loss=vlb", "timesteps=uniform_discrete"],
    "loss=hybrid": ["variance=learned_range", "timesteps=uniform_discrete"],
    "loss=vlb": ["timesteps=uniform_discrete"],
    **{
        choice: ["task=classifier"]
        for choice in ("model=adm_classifier_small", "metrics=accuracy", "callbacks=accuracy")
    },
    "model=adm_classifier": ["task=classifier", "model.blocks=1", "model.groups=4"],
    "callbacks=classifier": ["task=classifier"],
    "model=unet": ["model.blocks=1"],
    "model=adm": ["model.blocks=1", "model.groups=4"],
    "experiment=search": ["optimize.score=test/loss"],  # without the callback that scores samples
    "dataset=folder": ["dataset.path=pictures"],
    "dataset=gradients": ["dataset.source.held_out=20"],
    "experiment=gradients_quick": ["dataset.source.held_out=20"],
}
LACKS = {
    "model=keras_unet": ("model.attention_levels", "model.head_channels"),
    "model=convnext_unet": ("model.attention_levels",),
    "model=mlp": ("model.channels", "model.attention_levels", "model.head_channels"),
    "experiment=mnist_convnext": ("model.attention_levels",),
    "experiment=gradients_quick": (
        "model.channels",
        "model.attention_levels",
        "model.head_channels",
        "dataset.split.val_size",
    ),
    "dataset=gradients": ("dataset.split.val_size",),
    "dataset/split=official": ("dataset.split.val_size",),
    "dataset/split=resplit": ("dataset.split.val_size",),
}
"""Options of the tiny runs that a choice does not have."""
SCORED = ("sampler", "grid", "guidance", "predict", "metrics", "metrics/features")
"""Groups that take effect only in samples and their scores."""


def choices() -> list[str]:
    """`group=choice` of every file below conf/, so that a new file is tested."""
    files = sorted(path.relative_to(CONF).with_suffix("") for path in CONF.rglob("*.yaml"))
    return [f"{file.parent}={file.name}" for file in files if file.parent.parts and not str(file).startswith(FRAGMENTS)]


def groups_of(verb: str) -> list[str]:
    """The groups in a verb's defaults list, with their sub-groups."""
    named = re.findall(r"^  - (\w+): ", (CONF / f"{verb}.yaml").read_text(), re.MULTILINE)
    return [choice.partition("=")[0] for choice in choices() if choice.split("/")[0].split("=")[0] in named]


FROM_CHECKPOINT = [choice for choice in choices() if choice.endswith("from_checkpoint")]
OF_OTHER_VERBS = ["metrics=likelihood", *(choice for choice in choices() if choice.startswith("draw="))]
RUN = [choice for choice in choices() if choice not in {*NOT_RUN, *FROM_CHECKPOINT, *OF_OTHER_VERBS}]


@pytest.mark.parametrize("choice", NOT_RUN)
def test_every_choice_composes_completely_for_train(compose_verb, choice):
    """Only those that no other test composes."""
    config = compose_verb("train", choice, *NEEDS.get(choice, []))
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize(
    ("verb", "choice"),
    [(v, c) for v in ("evaluate", "sample") for c in choices() if c.split("=")[0] in groups_of(v)],
)
def test_every_choice_composes_for_the_verbs_of_checkpoints(compose_verb, verb, choice):
    compose_verb(verb, "checkpoint=none", choice)


def test_every_group_belongs_to_a_verb():
    known = {group for verb in VERBS for group in groups_of(verb)}
    assert {choice.partition("=")[0] for choice in choices()} == known


def test_every_choice_that_is_not_run_exists():
    assert NOT_RUN.keys() | NEEDS.keys() <= set(choices())


def test_choices_that_are_run_have_no_missing_values():
    assert [choice for choice in RUN if "???" in (CONF / f"{choice.replace('=', '/')}.yaml").read_text()] == []


@pytest.mark.parametrize("choice", RUN)
def test_every_choice_runs_one_batch(compose_verb, tiny_options, tmp_path, choice):
    group = choice.partition("=")[0]
    if group == "callbacks":
        shown = []
    elif group in SCORED:
        shown = ["callbacks=generative_metrics"]
    else:
        shown = ["callbacks=minimal", "logger=none"] if group != "logger" else ["callbacks=minimal"]
    needs = NEEDS.get(choice, [])
    if "task=classifier" in (choice, *needs):
        shown, tiny_options = ["logger=none"], of_classifier(tiny_options)
    config = compose_verb(
        "train",
        *shown,
        choice,
        *(option for option in tiny_options if not option.startswith(LACKS.get(choice, ()))),
        "trainer.max_steps=1",
        "trainer.limit_train_batches=1",
        "trainer.limit_val_batches=1",
        "trainer.limit_test_batches=1",
        *needs,
    )
    scores = train(config)
    assert (tmp_path / "run" / "config.yaml").is_file()
    assert '"done"' in (tmp_path / "run" / "status").read_text()
    assert scores["test/loss"] > 0
    assert ("test/fid_lenet_mnist" in scores or "test/fid_lenet_fashion_mnist" in scores) == (
        "callbacks=generative_metrics" in shown or choice in ("callbacks=default", "callbacks=generative_metrics")
    )


@pytest.mark.parametrize(
    ("experiment", "recipe"),
    [
        (
            "mnist_convnext",
            {"schedule._target_": "CosineSchedule", "schedule.num_steps": 500, "sampler._target_": "StridedDDPM",
             "sampler.steps": 35, "sampler.eta": 0.1, "sampler.t_max": 1.0, "model.num_classes": 10,
             "model._target_": "ConvNeXtUNet", "callbacks.sample_grid.num_samples": 100},
        ),
        (
            "gradients_quick",
            {"schedule._target_": "LinearSchedule", "schedule.num_steps": 200, "model._target_": "MLP",
             "model.hidden": 128, "optimizer.lr": 1e-3, "optimizer.betas": [0.9, 0.999], "optimizer.weight_decay": 0.0,
             "dataset.batch_size": 128, "dataset.source.height": 16, "dataset.source.width": 16},
        ),
        (
            "fashion_course",
            {"schedule._target_": "LinearSchedule", "schedule.num_steps": 1000, "dataset.image_size": 28,
             "model.attention_levels": [0, 1, 2], "loss_on._target_": "Noise", "loss._target_": "SquaredError"},
        ),
    ],
)  # fmt: skip
def test_an_experiment_is_its_recipe(compose_verb, experiment, recipe):
    config = compose_verb("train", f"experiment={experiment}")
    found = {option: OmegaConf.select(config, option) for option in recipe}
    assert {o: v.rpartition(".")[2] if o.endswith("_target_") else v for o, v in found.items()} == recipe


def test_the_smallest_experiment_takes_images_that_are_not_square(compose_verb, tiny_paths, tmp_path):
    words = ["experiment=gradients_quick", "dataset.source.height=4", "dataset.source.width=5", "trainer.max_steps=2",
             "dataset.source.held_out=200", "trainer.val_check_interval=1", "trainer.accelerator=cpu"]  # fmt: skip
    train(compose_verb("train", *tiny_paths, *words))
    assert sorted(path.name for path in (tmp_path / "run" / "pictures").iterdir()) == [
        "noise_levels", "process", "samples", "trajectory"
    ]  # fmt: skip


@pytest.mark.parametrize("choice", FROM_CHECKPOINT)
def test_train_refuses_to_take_a_group_from_a_checkpoint(compose_verb, choice):
    config = compose_verb("train", choice)
    with pytest.raises(ValueError, match=rf"{choice} is for evaluate\.py and sample\.py"):
        train(config)


def options_of(group: str) -> DictConfig:
    """Every option of any choice of a group, with the value of the last choice."""
    paths = [p for p in sorted((CONF / group).glob("*.yaml")) if f"{group}={p.stem}" not in OF_OTHER_VERBS]
    return OmegaConf.merge(*(OmegaConf.load(path) for path in paths if path.stem != "from_checkpoint"))


@pytest.mark.parametrize(
    ("group", "elsewhere"),
    [
        ("sampler", {"_target_"}),
        ("grid", {"_target_"}),
        ("guidance", {"_target_", "_partial_"}),
        ("metrics", {"every_n_epochs"}),  # only of trainings
        # These refer to other groups, which come from the checkpoint.
        ("metrics/features", {"dataset", "cache_dir"}),
    ],
)
def test_from_checkpoint_lists_every_option(group, elsewhere):
    listed = OmegaConf.load(CONF / group / "from_checkpoint.yaml")
    assert set(listed) - {"_target_"} == set(options_of(group)) - {"_target_"} - elsewhere
    assert listed.get("_target_") is None


@pytest.mark.parametrize("group", ["sampler", "grid", "guidance", "metrics"])
def test_from_checkpoint_changes_nothing_by_itself(group):
    listed = OmegaConf.to_container(OmegaConf.load(CONF / group / "from_checkpoint.yaml"))
    given = {key: value for key, value in listed.items() if value is not None and key != "defaults"}
    assert given == ({"grid": "${grid}"} if group == "sampler" else {})


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "predict").glob("*.yaml")))
def test_predict_and_loss_on_have_the_same_choices(name):
    predict, loss_on = (OmegaConf.load(CONF / group / f"{name}.yaml") for group in ("predict", "loss_on"))
    assert predict == loss_on
    assert sorted(path.stem for path in (CONF / "loss_on").glob("*.yaml")) == sorted(
        path.stem for path in (CONF / "predict").glob("*.yaml")
    )


@pytest.mark.parametrize("choice", ["ddp", "ddp_cpu"])
def test_strategies_of_several_processes_start_none(compose_verb, choice):
    strategy = instantiate(compose_verb("train", f"trainer={choice}").trainer.strategy)
    assert type(strategy) is DDPStrategy
    assert strategy._ddp_kwargs == {"broadcast_buffers": False}


def test_the_job_starts_a_process_for_each_device(compose_verb, tmp_path):
    config = compose_verb("train", "trainer=ddp_cpu", "trainer.precision=32-true")
    assert ranks_to_start(config.trainer) == 2
    with pytest.raises(ValueError, match=r"several devices need a process each: start the run with train\.py"):
        build_trainer(config, tmp_path, [], [])


@pytest.fixture
def pool(compose_verb, monkeypatch):
    """`pool(*overrides)`: the launcher, on a machine where every GPU is visible."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(*overrides):
        compose_verb("train", "hydra/launcher=pool", *overrides)
        return instantiate(HydraConfig.get().launcher)

    return make


def test_the_pool_launcher_is_made_by_its_name(pool):
    assert (pool().jobs, pool().devices) == (2, ["", ""])  # on the CPU no GPU is visible
    of_gpus = pool("hydra.launcher.jobs=2", "hydra.launcher.devices=[0,'1,2']")
    assert of_gpus.devices == ["0", "1,2"]
    for wrong, message in (
        ("hydra.launcher.jobs=0", "jobs must be at least 1"),
        ("hydra.launcher.devices=[0]", "jobs=2 .* need as many entries in hydra.launcher.devices, not 1"),
    ):
        with pytest.raises(InstantiationException, match=message):
            pool(wrong)


def test_the_pool_counts_visible_gpus(pool, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert pool("hydra.launcher.devices=[1,0]").devices == ["7", "4"]
    assert pool("hydra.launcher.jobs=1", "hydra.launcher.devices=['0,1']").devices == ["4,7"]
    with pytest.raises(InstantiationException, match="devices has 2, but CUDA_VISIBLE_DEVICES='4,7'"):
        pool("hydra.launcher.devices=[0,2]")


def test_slurm_jobs_ask_for_the_devices_of_a_run(compose_verb):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    compose_verb("train", "hydra/launcher=slurm", "trainer.devices=2")
    launcher = HydraConfig.get().launcher
    assert launcher._target_ == "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    assert (launcher.gpus_per_node, launcher.tasks_per_node, launcher.nodes) == (2, 1, 1)
