"""Names are the words that are typed, even where Hydra would read a number."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from choices import CONF
from ddpm_lightning.verbs.text_options import quote_text_options


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("name=2024_01_15", "name='2024_01_15'"),
        ("name=1.10", "name='1.10'"),
        ("name=0", "name='0'"),
        ("name=true", "name='true'"),
        ("+name=7", "+name='7'"),
        ("experiment_name=1e5", "experiment_name='1e5'"),
        ("paths.output_dir=2024", "paths.output_dir='2024'"),
    ],
)
def test_text_that_looks_like_a_number_is_quoted(word: str, quoted: str) -> None:
    assert quote_text_options([word]) == [quoted]


@pytest.mark.parametrize(
    "word", ["name=run", "name=null", "name='7'", "name=", "name=1,2", "name=[1", "seed=7", "optimizer.lr=1.10", "-m"]
)
def test_any_other_word_stays_as_it_is(word: str) -> None:
    assert quote_text_options([word]) == [word]


@pytest.mark.parametrize("name", ["2024_01_15", "1.10", "0"])
def test_a_run_has_the_very_name_that_is_typed(shell_here: Callable, name: str) -> None:
    result = shell_here("train.py", f"name={name}", f"experiment_name={name}", "--cfg", "all", "--resolve")
    config = yaml.safe_load(result.stdout)
    assert (config["name"], config["experiment_name"]) == (name, name)
    assert config["hydra"]["run"]["dir"] == f"outputs/{name}/{name}"


def test_a_sweep_and_its_jobs_have_the_very_name(shell_here: Callable, tmp_path: Path) -> None:
    """Hydra writes the command lines of the jobs anew, from what it has read."""
    (tmp_path / "conf").symlink_to(CONF)
    (tmp_path / "train.py").write_text(
        "from ddpm_lightning.verbs.cli import run_verb\nrun_verb(lambda config: print('NAME', config.name), 'train')\n"
    )
    result = shell_here(tmp_path / "train.py", "-m", "name=1.10", "seed=0,1", cwd=tmp_path)
    assert result.stdout.count("NAME 1.10\n") == 2
    assert (tmp_path / "multirun" / "1.10" / "sweep.json").is_file()
