"""Tiny runs: a data set of a few images, a network of a few weights, and configs composed as the verbs compose them."""

import logging
import os
import runpy
import subprocess
import sys
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, open_dict

import ddpm_lightning.sweep.folder_names  # noqa: F401  (registers the interpolations of conf/hydra)
from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.metrics.card import MetricCard
from ddpm_lightning.runs.build import build_data, build_module, build_trainer
from ddpm_lightning.runs.plain_config import plain, resolved
from ddpm_lightning.training.training_module import TrainingModule
from tiny_runs import TINY_OPTIONS, of_classifier, write_tiny_data
from tiny_runs import write_idx as write_idx_file

REPOSITORY = Path(__file__).parents[1]
CONF = REPOSITORY / "conf"
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


def _words(script: str | Path, words: Sequence[str]) -> Sequence[str]:
    """The words of a command line; of a training's, an option that comes again replaces a tiny one."""
    if Path(script).stem != "train":
        return words
    last = {word.partition("=")[0]: place for place, word in enumerate(words)}
    return [word for place, word in enumerate(words) if "=" not in word or last[word.partition("=")[0]] == place]


@pytest.fixture(scope="session")
def write_idx() -> Callable[[Path, np.ndarray], None]:
    """`write_idx(path, array)`: an idx file of unsigned bytes."""
    return write_idx_file


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with blobs in place of digits and clothes, as unpacked files."""
    root = tmp_path_factory.mktemp("data")
    write_tiny_data(root)
    return root


@pytest.fixture(scope="session")
def tiny_paths(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Where every tiny run reads and caches."""
    return [f"paths.data_dir={tiny_data}", f"paths.cache_dir={tmp_path_factory.mktemp('cache')}"]


@pytest.fixture
def tiny_environment(tiny_paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same places as what the environment says, so that a command that resumes a run gives them without words."""
    for variable, word in zip(("DDPM_DATA_DIR", "DDPM_CACHE_DIR"), tiny_paths, strict=True):
        monkeypatch.setenv(variable, word.partition("=")[2])


@pytest.fixture(scope="session")
def tiny_options(tiny_paths: list[str]) -> list[str]:
    """Options of train.py that make a run take a second: 10 steps an epoch, 8 images to validate on."""
    return [*tiny_paths, *TINY_OPTIONS]


@pytest.fixture(scope="session")
def card() -> MetricCard:
    """How scores were made that nobody made."""
    return MetricCard(
        features="lenet_mnist",
        features_sha256="ab" * 32,
        resize="none (28x28)",
        num_generated=40,
        num_real=50,
        seed=0,
        real_seed=0,
        seeds=dict.fromkeys(("init", "order", "noise", "samples"), 0),
        labels=None,
        sampler={"name": "ddim", "steps": 25, "grid": {"name": "uniform"}, "t_max": 0.98, "clip": True, "eta": 0.0},
        guidance={"name": "none"},
        nfe=25,
        weights="ema",
        split="test",
        dataset="mnist",
        real_images="0123456789abcdef",
    )


@pytest.fixture
def compose_verb(tmp_path: Path) -> Iterator[Callable[..., DictConfig]]:
    """`compose_verb(verb, *overrides)`: the config that the verb's function gets; Hydra knows the job's folder."""

    def make(verb: str, *overrides: str, folder: Path = tmp_path / "run") -> DictConfig:
        GlobalHydra.instance().clear()
        initialize_config_dir(str(CONF), version_base="1.3")  # for the whole test: a run asks Hydra for its defaults
        config = compose(verb, list(overrides), return_hydra_config=True)
        with open_dict(config):
            config.hydra.runtime.output_dir = str(folder)
            HydraConfig.instance().set_config(config)
            del config.hydra
        return config

    yield make
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


@pytest.fixture(scope="session")
def shell() -> Shell:
    """`shell("train.py", *overrides)`: runs a verb from the repository, as its user would."""

    def run(script: str | Path, *overrides: str, cwd: Path = REPOSITORY, **environment: str):
        return subprocess.run(
            [sys.executable, str(script), *_words(script, overrides)],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=500,
        )

    return run


@pytest.fixture
def shell_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """As `shell`, in this very interpreter, which has imported already what takes a new one seconds.

    For commands that end before they train, and where nothing is asked of the process itself.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(script: str | Path, *overrides: str, cwd: Path = REPOSITORY, **environment: str):
        words = [str(script), *_words(script, overrides)]
        code: object = 0
        capsys.readouterr()
        GlobalHydra.instance().clear()
        with monkeypatch.context() as surroundings:
            surroundings.chdir(cwd)
            surroundings.setattr(sys, "argv", words.copy())
            for variable, value in {"COLUMNS": "200", "HYDRA_FULL_ERROR": "1", **environment}.items():
                surroundings.setenv(variable, value)
            try:
                runpy.run_path(str(cwd / script), run_name="__main__")
            except SystemExit as end:
                code = end.code or 0
            except BaseException:
                traceback.print_exc()
                code = 1
        printed = capsys.readouterr()
        # As Python ends: what is not a number is printed.
        message, code = ("", code) if isinstance(code, int) else (f"{code}\n", 1)
        return subprocess.CompletedProcess(words, code, printed.out, printed.err + message)

    yield run
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    for handler in set(root.handlers) - set(handlers):  # Hydra's own
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # which remembers the proxies of its first use


class TinyRun(NamedTuple):
    """What train.py would build from its config."""

    config: DictConfig
    trainer: Trainer
    module: TrainingModule
    data: ImageDataModule

    def fit(self) -> TrainingModule:
        self.trainer.fit(self.module, self.data)
        return self.module


@pytest.fixture
def tiny_run(
    compose_verb: Callable[..., DictConfig], tiny_options: list[str], tmp_path: Path
) -> Callable[..., TinyRun]:
    """`tiny_run(*overrides, callbacks=[...], loggers=[...])`, with no other callbacks than these."""

    def make(*overrides: str, callbacks: list[Callback] | None = None, loggers: list[Logger] | None = None) -> TinyRun:
        is_classifier = "task=classifier" in overrides
        options = of_classifier(tiny_options) if is_classifier else tiny_options
        config = resolved(compose_verb("train", *options, *overrides))
        data = build_data(config)
        module = build_module(config, data.image_shape, data.num_classes)
        module.normalizer.fit(data.split("train"))
        module.run_config = plain(config)
        trainer = build_trainer(config, tmp_path / "run", callbacks or [], loggers or [])
        return TinyRun(config, trainer, module, data)

    return make
