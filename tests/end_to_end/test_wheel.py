"""The wheel, installed into a new virtual environment and used from an empty folder."""

import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ddpm_lightning.training.checkpoint import read_checkpoint

REPOSITORY = Path(__file__).parents[2]
VERBS = ("train", "evaluate", "sample", "report", "export")
TINY = (
    "dataset=gradients", "dataset.source.size=64", "dataset.source.held_out=32", "dataset.source.height=28",
    "dataset.source.width=28", "dataset.source.channels=1",
    "dataset.batch_size=8", "dataset.diagnostic_size=8", "model.channels=[16,16]",
    "model.attention_levels=[]", "trainer.accelerator=cpu", "trainer.max_steps=6", "trainer.val_check_interval=3",
    "trainer.precision=32-true", "callbacks=minimal", "logger=none",
)  # fmt: skip
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, printed_by: Callable[..., str]) -> Path:
    """Built from a copy of what git would commit, since setuptools leaves files in the folder that it builds."""
    copy, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = printed_by(["git", "ls-files", "--cached", "--others", "--exclude-standard"], REPOSITORY)
    for name in listed.splitlines():
        if (REPOSITORY / name).is_file() and not name.startswith(("tests/", "experiments/", "data/", "docs/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((REPOSITORY / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    printed_by([*pip, "--wheel-dir", built, "."], copy)
    (file,) = built.glob("ddpm_lightning-*.whl")
    return file


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory, printed_by: Callable[..., str]) -> Path:
    """The folder of the programs of a new environment, which finds the wheel's dependencies in this one."""
    venv = tmp_path_factory.mktemp("environment") / "venv"
    printed_by([sys.executable, "-m", "venv", venv], venv.parent)
    printed_by([venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", wheel], venv.parent)
    (packages,) = venv.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return venv / "bin"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def run(programs: Path, empty: Path, printed_by: Callable[..., str]) -> Callable[..., str]:
    """`run("train", ...)` in the empty folder, by the installed program."""
    return lambda verb, *words: printed_by([programs / f"ddpm-{verb}", *words], empty)


@pytest.fixture(scope="module")
def trained(run: Callable[..., str], empty: Path) -> Path:
    run("train", *TINY, "name=one")
    return empty / "outputs" / "default" / "one"


def test_the_wheel_has_every_yaml_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.partition("/conf/")[2] for name in archive.namelist() if "/conf/" in name}
    assert inside == {str(path.relative_to(REPOSITORY / "conf")) for path in (REPOSITORY / "conf").rglob("*.yaml")}


def test_the_installed_package_is_the_one_that_runs(programs, empty, printed_by):
    where = printed_by([programs / "python", "-c", "import ddpm_lightning; print(ddpm_lightning.__file__)"], empty)
    assert where.startswith(str(programs.parent))


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_the_installed_program(run, verb):
    printed = run(verb, "--help")
    assert f"ddpm-{verb}" in printed
    assert f"{verb}.py" not in printed


def test_ddpm_train_does_what_train_py_does(trained, printed_by, tmp_path):
    printed_by([sys.executable, REPOSITORY / "train.py", *TINY, "name=one"], tmp_path)
    ours, theirs = (
        read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]
        for folder in (trained, tmp_path / "outputs" / "default" / "one")
    )
    assert ours.keys() == theirs.keys()
    assert all(bool((ours[key] == theirs[key]).all()) for key in ours)


@pytest.mark.parametrize(("name", "how"), [("pool", ["hydra/launcher=pool"]), ("ranks", ["trainer=ddp_cpu"])])
def test_a_sweep_runs_its_jobs(run, empty, name, how):
    printed = run("train", "-m", *TINY, f"name={name}", "loss=mse,mae", *how)
    assert "2 done" in printed
    assert len(list((empty / "multirun" / name).glob("*/checkpoints/last.ckpt"))) == 2


def test_the_other_verbs_work(run, trained, empty):
    plan = ("metrics.num_samples=8", "metrics.num_real=8", "metrics.kid_subset_size=4", "metrics.kid_subsets=2")
    features = ("metrics/features=lenet", "metrics.features.dataset=mnist")
    run("evaluate", f"checkpoint={trained}", "sampler.steps=2", "name=scored", *plan, *features)
    run("sample", f"checkpoint={trained}", "num=4", "sampler.steps=2", "name=drawn")
    run("export", f"checkpoint={trained}", "out=exported")
    run("report", "outputs/evaluate/scored")
    assert (empty / "outputs" / "sample" / "drawn" / "samples.png").is_file()
    assert (empty / "exported" / "model.safetensors").is_file()
    assert (empty / "outputs" / "evaluate" / "scored" / "report" / "report.md").is_file()
