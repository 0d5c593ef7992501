"""A run's folder says whose it is and how the run stands, and is never taken by another."""

from pathlib import Path

import pytest

from ddpm_lightning.runs.run_folder import RunFolder, find_checkpoint

CONFIG = {"seed": 0, "name": "mine", "paths": {"data_dir": "here"}, "optimizer": {"betas": [0.9, 0.99], "decay": None}}


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


def test_a_claimed_folder_gives_back_the_config(folder: RunFolder) -> None:
    folder.claim(CONFIG)
    assert folder.read_config() == CONFIG


def test_a_run_may_claim_its_folder_from_another_place(folder: RunFolder) -> None:
    folder.claim(CONFIG)
    folder.claim(CONFIG | {"name": None, "paths": {"data_dir": "there"}})
    assert folder.read_config() == CONFIG


def test_another_run_may_not_and_changes_nothing(folder: RunFolder) -> None:
    folder.claim(CONFIG)
    before = folder.config_file.read_bytes()
    with pytest.raises(FileExistsError, match=rf"{folder.path} holds another run .*resume={folder.path}.*name="):
        folder.claim(CONFIG | {"seed": 1})
    assert folder.config_file.read_bytes() == before


def test_a_folder_without_a_config_is_no_runs(folder: RunFolder) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not the folder of a run: it has no config\.yaml"):
        folder.read_config()


def test_a_folder_is_one_processes_at_a_time(folder: RunFolder) -> None:
    folder.path.mkdir()
    with folder.locked(), pytest.raises(ValueError, match=rf"another process is at work in {folder.path}"):
        RunFolder(folder.path).locked().__enter__()
    with folder.locked():
        assert folder.path.is_dir()


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
