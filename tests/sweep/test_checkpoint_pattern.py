"""`checkpoint='multirun/NAME/*'` means the runs that match, for any names of runs."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.sweep.checkpoint_pattern import expand_checkpoints, name_checkpoint, pattern_as_typed

ODD_NAMES = ["a b", "it's", "müller", "run[1]", 'say "a"', "x,y", "{z}"]


def make_run(folder: Path, state: str = "done") -> None:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    RunFolder(folder).write_status(state)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def as_hydra_parses(words: list[str]) -> list[str]:
    """The values of the last word as Hydra reads them."""
    (override,) = OverridesParser.create().parse_overrides(words[-1:])
    return [str(v) for v in override.sweep_string_iterator()] if override.is_sweep_override() else [override.value()]


def test_words_without_a_pattern_stay_what_they_are() -> None:
    words = ["-m", "checkpoint=runs/a", "checkpoints=*", "dataset.glob=*", "sampler.steps=5,10"]
    assert expand_checkpoints(words) == words


def test_a_pattern_becomes_all_runs_in_the_order_of_their_names() -> None:
    for name in ("b", "c", "a"):
        make_run(Path("sweep") / name)
    assert expand_checkpoints(["-m", "checkpoint=sweep/*", "seed=1"]) == [
        "-m",
        "checkpoint='sweep/a','sweep/b','sweep/c'",
        "seed=1",
    ]


def test_odd_names_come_through_hydra_unchanged() -> None:
    for name in ODD_NAMES:
        make_run(Path("sweep") / name)
    (override,) = OverridesParser.create().parse_overrides(expand_checkpoints(["-m", "checkpoint=sweep/*"])[1:])
    assert [element.text for element in override.value().list] == sorted(f"sweep/{name}" for name in ODD_NAMES)


def test_one_match_needs_no_sweep() -> None:
    make_run(Path("sweep/run_a"))
    assert as_hydra_parses(expand_checkpoints(["checkpoint=sweep/run*"])) == ["sweep/run_a"]


def test_several_matches_without_a_sweep_are_refused() -> None:
    for name in ("a", "b"):
        make_run(Path("sweep") / name)
    with pytest.raises(ValueError, match="2 runs match sweep/.*: add -m"):
        expand_checkpoints(["checkpoint=sweep/*"])
    assert expand_checkpoints(["--multirun", "checkpoint=sweep/*"])[1].count(",") == 1


def test_what_is_no_run_is_left_out_and_files_are_taken() -> None:
    make_run(Path("sweep/run"))
    Path("sweep/report").mkdir()
    Path("sweep/sweep.json").touch()
    assert as_hydra_parses(expand_checkpoints(["-m", "checkpoint=sweep/*"])) == ["sweep/run"]
    Path("sweep/run/checkpoints/best.ckpt").touch()
    found = expand_checkpoints(["-m", "checkpoint=sweep/run/checkpoints/*"])[1]
    assert found == "checkpoint='sweep/run/checkpoints/best.ckpt','sweep/run/checkpoints/last.ckpt'"


def test_runs_that_are_not_done_are_left_out_and_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    for state in ("done", "failed", "running"):
        make_run(Path("sweep") / state, state)
    assert as_hydra_parses(expand_checkpoints(["-m", "checkpoint=sweep/*"])) == ["sweep/done"]
    printed = capsys.readouterr().err.splitlines()
    assert printed == ["sweep/failed is left out: its run is failed", "sweep/running is left out: its run is running"]


def test_a_sweep_over_a_pattern_is_known_by_the_pattern() -> None:
    make_run(Path("sweep/a"))
    typed = ["-m", "checkpoint=sweep/*", "seed=1"]
    before = expand_checkpoints(typed)
    make_run(Path("sweep/b"))
    after = expand_checkpoints(typed)
    assert before != after
    assert [pattern_as_typed(word) for word in before] == [pattern_as_typed(word) for word in after] == typed


@pytest.mark.parametrize("pattern", ["nothing/*", "sweep/*"])
def test_a_pattern_that_no_run_matches_is_an_error(pattern: str) -> None:
    Path("sweep/report").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no finished run with checkpoints/last\.ckpt matches"):
        expand_checkpoints(["-m", f"checkpoint={pattern}"])


@pytest.mark.parametrize("word", ["checkpoint=sweep/run[1]", "checkpoint='sweep/run[1]'", 'checkpoint="sweep/run[1]"'])
def test_a_name_with_brackets_is_a_name(word: str) -> None:
    make_run(Path("sweep/run[1]"))
    make_run(Path("sweep/run1"))  # which the name would match if it were a pattern
    assert as_hydra_parses(expand_checkpoints([word])) == ["sweep/run[1]"]


def test_a_path_that_stands_alone_is_a_checkpoint(here: Path) -> None:
    Path("run").mkdir()
    Path("conf").mkdir()
    words = ["-m", "run", "sampler.steps=5", "runs/*", "nothing", "--config-dir", "conf", "~logger"]
    named = [
        "-m",
        "checkpoint=run",
        "sampler.steps=5",
        "checkpoint=runs/*",
        "nothing",
        "--config-dir",
        "conf",
        "~logger",
    ]
    assert name_checkpoint(words) == named
