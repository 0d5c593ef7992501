"""Effects that an attack may have, and a stranger's run to plant attacks in."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint
from ddpm_lightning.verbs.evaluate import evaluate
from ddpm_lightning.verbs.export import export
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train

SECRET = "4f1c-the-value-of-a-variable-9b2e"
MUCH_MEMORY = 400e6
"""Bytes by which no attack may raise the process's peak; what a verb takes itself is below half of it."""

_opened: list[str] | None = None


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str | os.PathLike):
        _opened.append(os.path.abspath(os.fspath(arguments[0])))


sys.addaudithook(_note_opened)  # for ever, since Python takes none away; it notes nothing between attacks


@dataclass
class Scene:
    """A user's computer with a stranger's run on it.

    Attributes:
        folder: everything is below it.
        run: the stranger's run, a copy that may be changed.
        compose: `compose_verb`.
        model: what `load` returned, if an attack got that far.
    """

    folder: Path
    run: RunFolder
    compose: Callable[..., Any]
    model: Any = None

    @property
    def outside(self) -> Path:
        """A folder of the user's that no command names; each change in it, and each look into it, is an effect."""
        return self.folder / "home"

    @property
    def marker(self) -> str:
        """A file there that an attack may write."""
        return str(self.outside / "marker")

    @property
    def checkpoint(self) -> Path:
        return self.run.last_checkpoint

    def config(self) -> dict[str, Any]:
        """The run's config."""
        return read_checkpoint(self.checkpoint)[CONFIG_KEY]

    def plant(self, config: dict[str, Any]) -> None:
        """Puts a config in the place of the run's own, in its folder and in its checkpoint."""
        torch.save(torch.load(self.checkpoint, weights_only=True) | {CONFIG_KEY: config}, self.checkpoint)
        self.run.write_config(config)

    def enter(self, verb: str) -> None:
        """The user's command. However it ends, its effects are what matters."""
        getattr(self, f"_{verb}")()

    def _load(self) -> None:
        import ddpm_lightning

        self.model = ddpm_lightning.load(self.run.path)
        self.model.sample(1, steps=1)

    def _export(self) -> None:
        export(self.run.path, self.folder / "exported", "safetensors", None, ())

    def _sample(self) -> None:
        words = (f"checkpoint={self.run.path}", "num=1", "sampler.steps=1", "trainer.accelerator=cpu")
        sample(self.compose("sample", *words, folder=self.folder / "drawn"))

    def _evaluate(self) -> None:
        words = (f"checkpoint={self.run.path}", "trainer.accelerator=cpu", "metrics.num_samples=8")
        evaluate(self.compose("evaluate", *words, folder=self.folder / "evaluated"))

    def _resume(self) -> None:
        words = (f"resume={self.run.path}", "trainer.max_steps=4")
        train(self.compose("train", *words, folder=self.run.path))

    def _report(self) -> None:
        from ddpm_lightning.report.make_report import make_report

        make_report([self.run.path], out=self.folder / "report")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test puts a run, for all of the module."""
    return tmp_path_factory.mktemp("trained") / "run"


@pytest.fixture
def scene(
    trained: Path,
    compose_verb: Callable[..., Any],
    tiny_options: list[str],
    tiny_environment: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    """A user's computer with a stranger's run on it, in whose files nothing is planted yet."""
    if not trained.exists():
        words = ("callbacks=[generative_metrics,checkpointing]", "logger=csv", "trainer.log_every_n_steps=1")
        train(compose_verb("train", *tiny_options, *words, folder=trained))
    scene = Scene(tmp_path, RunFolder(shutil.copytree(trained, tmp_path / "run")), compose_verb)
    (tmp_path / "here").mkdir()
    scene.outside.mkdir()
    (scene.outside / "precious").write_text("precious")
    for name in ("private.png", "private.jpg"):
        Image.new("RGB", (28, 28)).save(scene.outside / name)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DDPM_SECRET", SECRET)
    return scene


@pytest.fixture
def effects_of(scene: Scene) -> Callable[[Callable[[], None]], list[str]]:
    """`effects_of(act)`: what `act` does outside the places of the scene, whether it raises or not."""
    return lambda act: _effects_of(act, scene)


def _effects_of(act: Callable[[], None], scene: Scene) -> list[str]:
    global _opened
    before = _contents(scene.outside)
    _reset_peak()
    memory, _opened = _peak(), []
    try:
        act()
    except NameError:  # a fault of the attack itself
        raise
    except BaseException:  # messages are another test's matter
        pass
    opened, _opened = _opened, None
    effects = [f"{name} changed" for name in sorted(before.items() ^ _contents(scene.outside).items())]
    effects += [f"{path} was opened" for path in opened if Path(path).is_relative_to(scene.outside)]
    if _peak() - memory > MUCH_MEMORY:
        effects.append(f"{(_peak() - memory) / 1e6:.0f} MB of memory")
    if scene.model is not None and SECRET in repr(scene.model.config):
        effects.append("the variable is in the model's config")
    for path in scene.folder.rglob("*"):
        if (
            path.is_file()
            and not path.is_symlink()
            and path.stat().st_size < 1e7
            and SECRET.encode() in path.read_bytes()
        ):
            effects.append(f"the variable is in {path}")
    return effects


def _contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files} | {
        str(path): (0, b"") for path in folder.rglob("*") if path.is_dir()
    }


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """The largest resident memory of this process since `_reset_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * float(status.partition("VmHWM:")[2].split()[0])
