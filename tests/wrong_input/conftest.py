"""A small world in which wrong commands are tried: a home, a run, a sweep, a folder of photos."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny_runs import of_classifier

VERSION_1 = Path(__file__).parents[1] / "fixtures" / "version_1"
PROGRAMS = Path(__file__).parents[2]
FOLDER = "dataset=folder dataset/split=val_from_train"
Refuse = Callable[..., str]


@pytest.fixture(scope="session")
def world_template(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A folder with `run`, `sweep`, `data`, `home/photos` and `file.txt`."""
    world = tmp_path_factory.mktemp("world")
    shutil.copytree(VERSION_1 / "run", world / "run")
    shutil.copytree(VERSION_1 / "sweep", world / "sweep")
    shutil.copytree(tiny_data, world / "data")
    photos = world / "home" / "photos"
    photos.mkdir(parents=True)
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (4, 9, 9, 3), np.uint8)):
        Image.fromarray(pixels).save(photos / f"{number}.png")
    (world / "file.txt").write_text("text\n")
    return world


@pytest.fixture
def world(world_template: Path, tmp_path: Path) -> Path:
    """A copy of the world for one command."""
    return Path(shutil.copytree(world_template, tmp_path / "world"))


@pytest.fixture
def refuse(world: Path, shell_here: Callable, tiny_options: list[str], tiny_data: Path, tmp_path: Path) -> Refuse:
    """`refuse("1 train seed=abc => seed must be .*")`: tries a line of a table, and returns what was printed.

    A line has the exit code, perhaps variables of the environment, the verb, its words as a shell reads them, and a
    regular expression that its one message matches. `{a*300}` stands for 300 letters, FOLDER for options. A training
    gets tiny options, each of which may be set again.
    """
    for program in PROGRAMS.glob("*.py"):
        (world.parent / program.name).write_text(program.read_text())

    def run(line: str, keeps_record: bool = False) -> str:
        command, message = line.split(" => ")
        code, *words = shlex.split(command.replace("{a*300}", "a" * 300).replace("FOLDER", FOLDER))
        environment = {"HOME": str(world / "home"), "DDPM_DATA_DIR": str(tiny_data)}
        environment["DDPM_CACHE_DIR"] = str(tmp_path / "cache")
        while re.match("[A-Z_]+=", words[0]):
            variable, _, value = words.pop(0).partition("=")
            environment[variable] = value
        verb, *words = words
        if verb == "train" and not any(word.startswith("resume=") for word in words):
            given = {word.partition("=")[0] for word in words}
            options = [option for option in tiny_options if not option.startswith("paths.")]
            options = of_classifier(options) if "task=classifier" in words else options
            words = [*(option for option in options if option.partition("=")[0] not in given), *words]
        before = snapshot(world)
        result = shell_here(world.parent / f"{verb}.py", *words, cwd=world, **environment)
        printed = result.stdout + result.stderr
        assert result.returncode == int(code), printed
        assert "Traceback" not in printed
        if code == "1":
            assert len(re.findall(rf"^{verb}\.py: ", result.stderr, re.MULTILINE)) == 1, printed
            assert re.search(message, result.stderr), printed
        else:
            assert re.search(message, printed), printed
        after = snapshot(world)
        after.pop(Path("run", "train.log"), None)  # Hydra opens the log of a run that is resumed
        if keeps_record:
            after = {path: content for path, content in after.items() if path.parts[0] != "outputs"}
            assert not list((world / "outputs").rglob("*.ckpt"))
        assert after == before, f"changed: {sorted({*after.items()} ^ {*before.items()})[:5]}"
        return printed

    return run


def snapshot(folder: Path) -> dict[Path, bytes | None]:
    """The content of each file below a folder, and None for each folder and link."""
    return {
        path.relative_to(folder): None if path.is_dir() or path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
    }
