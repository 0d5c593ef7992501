"""The command line: errors that name the choices, help that lists them, and jobs that get their folders."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CONF = Path(__file__).parents[2] / "conf"
SCHEDULES = ", ".join(sorted(path.stem for path in (CONF / "schedule").iterdir()))
PROBE = """
import sys
from hydra.core.hydra_config import HydraConfig
from ddpm_lightning.verbs.cli import run_verb

def main(config):
    if config.experiment_name == "user_error":
        raise ValueError("lower the learning rate")
    if config.experiment_name == "bug":
        raise KeyError("a bug")
    print("FOLDER", HydraConfig.get().runtime.output_dir)

run_verb(main, "train")
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A verb with train.py's config that does nothing but say which folder it was given."""
    (tmp_path / "conf").symlink_to(CONF)
    (tmp_path / "probe.py").write_text(PROBE)
    return tmp_path / "probe.py"


@pytest.fixture
def probe(shell_here: Callable, script: Path) -> Callable:
    return lambda *overrides: shell_here(script, *overrides, cwd=script.parent)


@pytest.fixture
def probe_process(shell: Callable, script: Path) -> Callable:
    return lambda *overrides, **environment: shell(script, *overrides, cwd=script.parent, **environment)


def folders(result) -> list[Path]:
    assert result.returncode == 0, result.stderr
    return [Path(line.removeprefix("FOLDER ")) for line in result.stdout.splitlines() if line.startswith("FOLDER ")]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lrr=1", ["Did you mean optimizer.lr?", "final_fraction"]),
        ("optimizr.lr=1", ["Did you mean optimizer?"]),
        ("sed=1", ["Did you mean seed?", "label_dropout"]),
        ("schedul=cosine", ["Did you mean schedule?"]),
        ("experimnt=mnist_quick", ["Did you mean experiment?"]),
        ("schedule=cosin", ["unknown schedule 'cosin'", f"choose from {SCHEDULES}.", "Did you mean schedule=cosine?"]),
        ("metrics/features=lent", ["choose from inception, lenet.", "metrics/features=lenet?"]),
        ("metrics.features.dataste=mnist", ["Did you mean metrics.features.dataset?"]),
        ("callbacks.sample_grid.num_sample=4", ["Did you mean callbacks.sample_grid.num_samples?"]),
        ("experiment=mnist_quik", ["Did you mean experiment=mnist_quick?"]),
        ("zzz=1", ["unknown option 'zzz'", "Options: ", "schedule"]),
        ("weighting.gamma=5", ["'weighting.gamma' is not an option of the selected weighting", "with weighting=..."]),
    ],
)
def test_a_misspelt_word_is_named_with_those_that_exist(probe, tmp_path, override, expected):
    result = probe(override)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for words in expected:
        assert words in result.stderr
    assert not (tmp_path / "outputs").exists()


def test_options_of_the_group_that_was_chosen_are_listed(probe):
    assert "variance" in probe("sampler=ddpm", "sampler.eta=1").stderr


@pytest.mark.parametrize(
    ("override", "printed"),
    [
        ("dataset=mnist", "'dataset' cannot be changed here: dataset comes from the checkpoint"),
        ("schedule.num_steps=7", "'schedule.num_steps' cannot be changed here: schedule comes from the checkpoint"),
        ("scheduler=linear", "unknown option 'scheduler'"),
    ],
)
def test_what_the_checkpoint_decides_is_not_an_option(shell_here, override, printed):
    result = shell_here("evaluate.py", "checkpoint=none", override)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert printed in result.stderr
    options = (
        "callbacks, checkpoint, grid, guidance, hydra, logger, metrics, name, paths, sampler, trainer, trust, weights"
    )
    assert f"Options: {options}" in result.stderr


def test_callbacks_of_an_evaluation_are_no_choice(shell_here):
    result = shell_here("evaluate.py", "checkpoint=none", "callbacks=minimal")
    assert result.returncode == 1
    assert "'callbacks' cannot be changed here: of callbacks, only single options can" in result.stderr


def test_a_misspelt_option_of_ones_own_choice_is_named(shell_here, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("defaults: [unet]\nwarmth: 1\n")
    for flags in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"], [f"hydra.searchpath=[{tmp_path}]"]):
        result = shell_here("train.py", *flags, "model=mine", "model.warmht=2")
        assert "Did you mean model.warmth?" in result.stderr, result.stderr


def test_help_may_be_read_in_part():
    pipe = "import subprocess, sys; from ddpm_lightning.verbs.program import print_page; print_page('line\\n' * 100000)"
    reader = subprocess.Popen([sys.executable, "-c", pipe], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    reader.stdout.close()
    assert reader.stderr.read() == b""
    assert reader.wait() == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "'nope' is neither a path of a run nor an option, as in KEY=VALUE"),
        (["runs"], "(resume=runs continues a run)"),
        (["--seed=1"], "--seed is not a flag (--help lists them): write an option as seed=1"),
        (["hydra.searchpath=[nowhere]"], "path=nowhere is not available"),
        (["--experimental-rerun", "run.pickle"], "--experimental-rerun loads a pickle, which may run code"),
    ],
)
def test_words_that_are_no_options_are_named(probe, tmp_path, words, message):
    (tmp_path / "runs").mkdir()
    result = probe(*words)
    assert result.returncode == 1
    assert message in result.stderr and "Traceback" not in result.stderr
    assert "FOLDER" not in result.stdout


def test_only_errors_of_libraries_offer_their_traceback(shell_here, tmp_path):
    ours = shell_here("evaluate.py", "checkpoint=nowhere", f"paths.output_dir={tmp_path}").stderr
    assert ours == "evaluate.py: there is no checkpoint or run folder nowhere\n"
    theirs = shell_here("train.py", "--resolve").stderr
    assert "(set DDPM_TRACEBACK=1 to see where)" in theirs


@pytest.mark.parametrize("words", [[], ["trian"]])
def test_the_module_names_the_verbs(words):
    ended = subprocess.run([sys.executable, "-m", "ddpm_lightning.verbs", *words], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith(
        "python -m ddpm_lightning.verbs needs one of train, evaluate, sample, report, export"
    )


@pytest.mark.parametrize("verb", ["evaluate", "sample"])
def test_a_verb_without_its_checkpoint_says_so(shell_here, verb, tmp_path):
    result = shell_here(f"{verb}.py", f"paths.output_dir={tmp_path}")
    assert result.returncode != 0
    assert "give checkpoint=..., which has no default" in result.stderr and "Traceback" not in result.stderr


def test_an_error_of_the_users_is_shown_without_a_traceback(probe_process):
    result = probe_process("experiment_name=user_error")
    assert result.returncode == 1
    assert "lower the learning rate" in result.stderr and "Traceback" not in result.stderr
    assert (result.stdout + result.stderr).count("lower the learning rate") == 1
    traced = probe_process("experiment_name=user_error", DDPM_TRACEBACK="1")
    assert traced.returncode != 0 and "Traceback" in traced.stderr


def test_an_error_of_ours_is_shown_with_its_traceback(probe_process):
    result = probe_process("experiment_name=bug")
    assert result.returncode != 0
    assert "Traceback" in result.stderr and "a bug" in result.stderr


def test_a_command_that_is_refused_leaves_no_folder(probe, tmp_path):
    assert probe("experiment_name=user_error").returncode == 1
    assert list((tmp_path / "outputs").glob("*/*")) == []


def test_a_refused_command_leaves_the_users_files(shell_here, tmp_path):
    (tmp_path / "notes.log").touch()
    result = shell_here("train.py", f"hydra.run.dir={tmp_path}", "grid=from_checkpoint")
    assert result.returncode == 1
    assert (tmp_path / "notes.log").is_file()


def test_a_class_that_cannot_be_imported_is_named(shell_here, tmp_path):
    result = shell_here("train.py", "model._target_=my_package.Net", f"paths.output_dir={tmp_path}")
    assert result.returncode == 1
    assert "model names my_package.Net, which cannot be imported: No module named 'my_package'" in result.stderr


def test_modules_in_the_current_folder_can_be_imported(shell, tiny_options, tmp_path):
    (tmp_path / "own_optimizer.py").write_text("raise ValueError('it was found')")
    place = f"paths.output_dir={tmp_path}"
    result = shell(CONF.parent / "train.py", *tiny_options, place, "ema._target_=own_optimizer.Any", cwd=tmp_path)
    assert "it was found" in result.stderr


def test_a_run_gets_its_folder(probe, tmp_path):
    (folder,) = folders(probe())
    assert folder.parent == tmp_path / "outputs" / "default"
    assert folders(probe("name=mine")) == [tmp_path / "outputs" / "default" / "mine"]


def test_a_resumed_runs_folder_is_its_own(probe, tmp_path):
    run = tmp_path / "anywhere" / "run"
    run.mkdir(parents=True)
    (run / "status").write_text("{}")
    assert folders(probe("resume=anywhere/run")) == [run]


def test_resuming_what_is_no_run_is_an_error_and_makes_no_folder(probe, tmp_path):
    result = probe("resume=nothing/here")
    assert result.returncode == 1
    assert "probe.py: resume=nothing/here: there is no such folder" in result.stderr
    assert not (tmp_path / "nothing").exists()


def test_flags_may_stand_anywhere(probe, tmp_path):
    (tmp_path / "own").mkdir()
    swept = folders(probe("seed=0,1", "-m", "name=grid", "--config-dir", "own", "loss=mse"))
    assert {folder.parent for folder in swept} == {tmp_path / "multirun" / "grid"}
    assert len(swept) == 2


def test_the_same_sweep_has_the_same_folders(probe, tmp_path):
    sweep = ["-m", "seed=0,1", "loss_on=noise,image"]
    first, again, other = (folders(probe(*words)) for words in (sweep, sweep, ["-m", "seed=2,3"]))
    assert len(set(first)) == 4
    assert {path.parent.parent for path in first} == {tmp_path / "multirun"}
    assert len({path.parent for path in first}) == 1
    assert other[0].parent != first[0].parent
    assert all(re.search("loss_on-(noise|image).*seed-[01]", path.name) for path in first)
    assert again == first
