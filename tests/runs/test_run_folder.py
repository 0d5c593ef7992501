"""A run's folder says whose it is and how the run stands, and is never taken by another."""

from pathlib import Path

import pytest
from omegaconf import DictConfig

from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.find_checkpoint import find_checkpoint
from ddpm_lightning.runs.identity import Changed
from ddpm_lightning.runs.plain_config import leaves
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.runs.stored_config import CONFIG_VERSION

CONFIG = {
    "config_version": CONFIG_VERSION,
    "seed": 0,
    "name": "mine",
    "paths": {"data_dir": "here"},
    "optimizer": {"betas": [0.9, 0.99], "decay": None},
}


def run_config(**changes: object) -> RunConfig:
    return RunConfig(
        DictConfig({}), CONFIG | changes, Changed(*[frozenset(option for option, _ in leaves(changes))] * 2)
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_status_is_new_until_one_is_written(folder: RunFolder) -> None:
    assert folder.read_status() == {"state": "new"}
    folder.write_status("failed", error="no disk")
    assert folder.read_status() == {"state": "failed", "error": "no disk"}
    folder.write_status("done", scores={"kid": 0.5})
    assert folder.read_status() == {"state": "done", "scores": {"kid": 0.5}}


def test_a_folder_gives_back_the_config(folder: RunFolder) -> None:
    folder.write_config(CONFIG)
    assert folder.read_config() == CONFIG


class TestCheck:
    @pytest.fixture
    def finished(self, folder: RunFolder) -> RunFolder:
        """The folder of a run that has left results."""
        folder.write_config(CONFIG)
        folder.write_status("done", scores={})
        return folder

    def test_the_same_run_from_another_place_may_enter(self, finished: RunFolder) -> None:
        finished.check(run_config(name=None, paths={"data_dir": "there"}, compile=True))

    def test_another_run_may_not(self, finished: RunFolder) -> None:
        with pytest.raises(
            FileExistsError,
            match=rf"{finished.path} holds another run, .* seed \(0 there, 1 here\)\. .*resume={finished.path}.*name=",
        ):
            finished.check(run_config(seed=1))

    def test_a_long_list_of_differences_is_cut(self, finished: RunFolder) -> None:
        with pytest.raises(FileExistsError, match=r"\bd \(absent there, 1 here\), e .* and 2 more\."):
            finished.check(run_config(**dict.fromkeys("abcdefg", 1)))

    def test_a_run_that_goes_further_may_enter(self, finished: RunFolder) -> None:
        longer = run_config(trainer={"max_steps": 9})
        with pytest.raises(FileExistsError, match=r"trainer\.max_steps"):
            finished.check(longer)
        finished.check(RunConfig(DictConfig({}), longer.stored, longer.changed, changes_length=True))

    @pytest.mark.parametrize("state", ["failed", "interrupted", "running"])
    def test_a_run_without_results_does_not_hold_its_folder(self, folder: RunFolder, state: str) -> None:
        folder.write_config(CONFIG)
        folder.write_status(state)
        make(folder.path / "checkpoints" / ".last.0123abcd.ckpt")  # a write that was killed
        folder.check(run_config(seed=1))

    @pytest.mark.parametrize("state", ["failed", "interrupted", "running"])
    def test_a_checkpoint_is_a_result(self, folder: RunFolder, state: str) -> None:
        folder.write_config(CONFIG)
        folder.write_status(state)
        make(folder.last_checkpoint)
        with pytest.raises(FileExistsError, match="holds another run"):
            folder.check(run_config(seed=1))

    def test_the_config_of_a_newer_version_is_not_guessed_at(self, finished: RunFolder) -> None:
        finished.write_config(CONFIG | {"config_version": CONFIG_VERSION + 1})
        with pytest.raises(ValueError, match="newer version of ddpm-lightning: update"):
            finished.check(run_config())


def test_a_folder_without_a_config_is_not_a_runs(folder: RunFolder) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not the folder of a run: it has no config\.yaml"):
        folder.read_config()


def test_a_folder_belongs_to_one_process_at_a_time(folder: RunFolder) -> None:
    folder.path.mkdir()
    with folder.locked(), pytest.raises(ValueError, match=rf"another process is working in {folder.path}"):
        RunFolder(folder.path).locked().__enter__()
    with folder.locked():
        assert folder.path.is_dir()


def test_only_what_the_other_run_wrote_is_set_aside(folder: RunFolder) -> None:
    folder.write_config(CONFIG | {"logger": {"csv": {}, "tensorboard": None}})
    for name in ("csv", "tensorboard", "pictures", "my_photographs"):
        make(folder.path / name / "file")
    folder.set_aside_other(run_config(logger={"csv": {}, "tensorboard": None}))
    assert (folder.path / "csv").is_dir(), "the same run again keeps its logs"
    folder.set_aside_other(run_config(seed=1))
    (aside,) = folder.path.glob("failed-*")
    assert {path.name for path in aside.iterdir()} == {"csv", "tensorboard", "pictures"}
    assert (folder.path / "my_photographs" / "file").is_file()


class TestFindCheckpoint:
    def test_a_file_is_itself(self, folder: RunFolder) -> None:
        best = make(folder.best_checkpoint)
        assert find_checkpoint(str(best)) == best

    def test_a_run_is_its_last_one(self, folder: RunFolder) -> None:
        make(folder.best_checkpoint)
        last = make(folder.last_checkpoint)
        assert find_checkpoint(folder.path) == last

    def test_a_folder_of_other_checkpoints_is_asked_for_one_of_them(self, folder: RunFolder) -> None:
        make(folder.best_checkpoint)
        with pytest.raises(FileNotFoundError, match=r"it holds checkpoints/best\.ckpt: name one of these"):
            find_checkpoint(folder.path)

    def test_what_a_kill_left_of_a_write_is_no_checkpoint(self, folder: RunFolder) -> None:
        make(folder.path / "checkpoints" / ".last.0123abcd.ckpt")
        with pytest.raises(FileNotFoundError, match=r"it holds no checkpoint"):
            find_checkpoint(folder.path)

    def test_a_path_to_nothing_is_an_error(self, folder: RunFolder) -> None:
        with pytest.raises(FileNotFoundError, match=r"there is no checkpoint or run folder"):
            find_checkpoint(folder.path)
