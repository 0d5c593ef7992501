"""`examples/own_project`, run from a copy of its own: own network, schedule and data set with every verb."""

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ddpm_lightning
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.verbs.composition import Composition

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "own_project"
SHORT = (
    "experiment=mine", "trainer.max_steps=8", "trainer.val_check_interval=4", "dataset.source.size=200",
    "metrics.num_samples=16", "metrics.num_real=16", "metrics.kid_subset_size=8", "metrics.kid_subsets=2",
    "callbacks.checkpointing.every_n_steps=4",
)  # fmt: skip
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("own") / "project"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("outputs", "multirun", ".cache", "__pycache__"))
    return copy


@pytest.fixture(scope="module")
def command(project: Path, printed_by: Callable[..., str]) -> Callable[..., str]:
    """`command("train", ...)` in the project: what it printed, once it has succeeded."""
    return lambda verb, *words: printed_by([Path(sys.executable).parent / f"ddpm-{verb}", *words], project)


@pytest.fixture(scope="module")
def first(project: Path, command: Callable[..., str]) -> RunFolder:
    command("train", "--config-dir", "conf", *SHORT, "name=first")
    return RunFolder(project / "outputs" / "mine" / "first")


def test_a_run_has_the_three_own_parts(first):
    config = first.read_config()
    assert config["model"]["_target_"] == "my_parts.PlainConvNet"
    assert config["schedule"]["_target_"] == "my_parts.PowerSchedule"
    assert config["dataset"]["source"]["_target_"] == "my_parts.Shapes"
    assert first.read_status()["state"] == "done"


def test_it_is_resumed(first, command, project):
    command("train", "--config-dir", "conf", *SHORT, "name=longer")
    command("train", "--config-dir", "conf", "resume=outputs/mine/longer", "trainer.max_steps=12")
    assert RunFolder(project / "outputs" / "mine" / "longer").read_config()["trainer"]["max_steps"] == 12


@pytest.mark.parametrize(
    ("name", "where", "how"),
    [
        ("pool", "--config-dir=conf", ("hydra/launcher=pool",)),
        ("ranks", "hydra.searchpath=[file://conf]", ("trainer=ddp_cpu", "trainer.precision=32-true")),
    ],
)
def test_it_is_swept_and_reported(command, project, name, where, how):
    command("train", where, "-m", *SHORT, f"name={name}", "schedule.power=1,2", *how)
    states = [RunFolder(path.parent).read_status()["state"] for path in (project / "multirun" / name).glob("*/status")]
    assert states == ["done"] * 2
    assert "schedule.power" in command("report", f"multirun/{name}")


@pytest.mark.parametrize("word", ["trust=my_parts", "--config-dir=conf"])
def test_it_is_evaluated_with_its_package_or_its_yaml(first, command, word):
    assert "kid" in command("evaluate", "checkpoint=outputs/mine/first", "sampler.steps=3", word)


def test_it_is_sampled_from(first, command, project, monkeypatch):
    own = ("checkpoint=outputs/mine/first", "trust=my_parts")
    command("sample", *own, "num=4", "label=1", "sampler.steps=3", "format=npz", "name=ones")
    (drawn,) = (project / "outputs" / "sample").rglob("samples.npz")
    with np.load(drawn) as arrays:
        assert arrays["labels"].tolist() == [1] * 4
        images = arrays["images"]
    monkeypatch.syspath_prepend(str(project))
    model = ddpm_lightning.load(first.path, trust=["my_parts"])
    assert np.array_equal(model.sample(4, label=1, steps=3).numpy(), images)


def test_help_lists_its_choices(command):
    assert "plain_conv" in command("train", "--config-dir", "conf", "--help")


def test_every_command_of_its_page_composes(project, monkeypatch):
    monkeypatch.chdir(project)
    page = (project / "README.md").read_text()
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^ddpm-.*", page, re.MULTILINE)]
    verbs = {program.removeprefix("ddpm-") for program, *_ in commands}
    assert verbs == {"train", "evaluate", "sample", "report"}
    for program, *words in commands:
        if program != "ddpm-report":
            assert "trainer" in Composition(REPOSITORY / "conf", program.removeprefix("ddpm-"), words).config
    assert all((EXAMPLE / file).is_file() for file in re.findall(r"\]\(([\w./]+)\)", page))
