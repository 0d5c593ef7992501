"""Names and paths as people write them: they mean these very words, or are refused with what to type instead."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

REFUSED = """
1 train name=../x => name must be the name of a folder \\(at most 200 bytes, no \\.\\. and no / in front\\) or null
1 train name=/abs/x => name must be the name of a folder .*, not /abs/x
1 train name=. => name must be the name of a folder .*, not \\.
1 train name=a//b => name must be the name of a folder .*, not a//b
1 train name=~/x => name must be the name of a folder .*, not /
1 train name='${oc.env:HOME}' => name must be the name of a folder
1 train name={a*300} => name must be the name of a folder .*, not aaaaaaaaa.*a\\.\\.\\.$
1 train name=[run] => name must be the name of a folder .*, not \\[run\\]
1 train name= => name= has no value: give one \\(name=null for none\\), or leave it out
1 train name='my run, second' => has several values: add -m .*, and text with commas 'name="my run, second"'
1 train name=“run” => one that only looks right: type name=run$
1 train 'name="run' => has a quote that is not closed: type name=run$
1 train 'name=[run' => opens a bracket that is not closed
1 train 'name=${x}' => name: \\$\\{x\\} refers to an option that does not exist
1 train -m seed=0,1 name=../x => name must be the name of a folder
1 train experiment_name=../.. => experiment_name must be the name of a folder
1 train experiment_name= => experiment_name= has no value
1 train experiment_name=null => experiment_name must be the name of a folder .*, not null
1 train paths.output_dir= => paths.output_dir= has no value
1 train paths.output_dir=file.txt => paths.output_dir=file.txt is a file: name a folder
1 train paths.data_dir=file.txt => paths.data_dir=file.txt is a file: name a folder
1 train paths.cache_dir=file.txt => paths.cache_dir=file.txt is a file: name a folder
1 train paths.data_dir=null => paths.data_dir must be text, not null
1 train paths.data_dir=~nobody-here/data => there is no user 'nobody-here': write the whole path
1 DDPM_DATA_DIR=~nobody-here/data train => there is no user 'nobody-here': write the whole path
1 train hydra.run.dir= => hydra.run.dir= has no value
1 train hydra.run.dir=file.txt/run => cannot be made, because .*file.txt is a file: .*hydra.run.dir=
1 train hydra.run.dir=~nobody-here => there is no user 'nobody-here'
1 train -m seed=0,1 hydra.sweep.dir= => hydra.sweep.dir= has no value
1 train -m seed=0,1 hydra.sweep.dir=file.txt => cannot be made, because .*file.txt is a file: .* hydra.sweep.dir=
1 train resume=~/nothing => resume=.*/home/nothing: there is no such folder
1 train resume=file.txt => resume=file.txt: there is no such folder
1 train resume= => resume= has no value
1 train FOLDER dataset.path=~/nothing => dataset.path=.*/home/nothing is not a folder
1 train FOLDER 'dataset.path=my photos (2)' => dataset.path=my photos \\(2\\) is not a folder
1 train FOLDER 'dataset.path=Fotos für uns' => dataset.path=Fotos für uns is not a folder
1 train metrics/features=inception metrics.weights=~/w.pth => no Inception weights at metrics.weights=.*/home/w.pth
1 train metrics/features=inception 'metrics.weights=/a b/ü.pth' => no Inception weights at metrics.weights=/a b/ü.pth
1 train --config-dir ~/conf => --config-dir .*/home/conf: there is no such folder
1 train --config-dir=~/conf => --config-dir .*/home/conf: there is no such folder
1 train hydra.searchpath=[~/conf] => path=.*/home/conf is not available
1 sample checkpoint=~/nothing => there is no checkpoint or run folder .*/home/nothing
1 sample ~/nothing => '.*/home/nothing' is neither a path of a run nor an option
1 sample 'checkpoint=my run (1)' => there is no checkpoint or run folder my run \\(1\\)
1 sample checkpoint=epoch=3-step=10.ckpt => there is no checkpoint or run folder epoch=3-step=10.ckpt
1 sample checkpoint={a*300} => there is no checkpoint or run folder aaa
1 sample checkpoint= => checkpoint= has no value
1 evaluate checkpoint=~/photos => /home/photos is not the folder of a run with checkpoints/last.ckpt: it holds no
1 evaluate -m checkpoint=~/runs/* => no checkpoint and no finished run .* matches .*/home/runs/\\*
1 report ~/nothing => there is no file or folder '.*/home/nothing'
1 report sweep out=~nobody-here/report => there is no user 'nobody-here'
1 report sweep out=file.txt => out=file.txt is a file: name a folder
1 report {a*300} => there is no file or folder 'aaa
1 export ~/photos out=model => it holds no checkpoint
1 export run out=~/photos => /home/photos is not empty, and nothing is written into it
1 export checkpoint=~/nothing out=model => there is no checkpoint or run folder .*/home/nothing
"""


@pytest.mark.parametrize("line", REFUSED.strip().splitlines())
def test_a_path_that_cannot_be_is_refused(refuse: Callable[[str], str], line: str) -> None:
    refuse(line)


@pytest.mark.parametrize(
    ("word", "option", "meant"),
    [
        ("name=a b (1) [x]", "name", "a b (1) [x]"),
        ("name=täst", "name", "täst"),
        ("name=lr=1e-3", "name", "lr=1e-3"),
        ("name=it's", "name", "it's"),
        ("name=李明", "name", "李明"),
        ("name=#1", "name", "#1"),
        ("name=2024_01_15", "name", "2024_01_15"),
        ("experiment_name=1.10", "experiment_name", "1.10"),
        ("dataset.name=0", "dataset.name", "0"),
        ("weights=true", "weights", "true"),
        ("paths.output_dir=my runs (old)", "paths.output_dir", "my runs (old)"),
        ("paths.data_dir=~/data", "paths.data_dir", "HOME/data"),
        ("paths.cache_dir=~", "paths.cache_dir", "HOME"),
        ("metrics.weights=~/Gewichte für alle.pth", "metrics.weights", "HOME/Gewichte für alle.pth"),
        ("hydra.run.dir=~/run (1)", "hydra.run.dir", "HOME/run (1)"),
        ("hydra.sweep.dir='~/sweep'", "hydra.sweep.dir", "HOME/sweep"),
    ],
)
def test_an_option_is_the_text_that_is_typed(
    shell_here: Callable, tmp_path: Path, word: str, option: str, meant: str
) -> None:
    result = shell_here("train.py", word, "--cfg", "all", HOME=str(tmp_path))
    value = yaml.safe_load(result.stdout)
    for part in option.split("."):
        value = value[part]
    assert value == meant.replace("HOME", str(tmp_path)), result.stderr


def test_images_are_drawn_from_a_run_in_the_home_folder(world: Path, shell_here: Callable) -> None:
    """With a home folder and a run whose names Hydra cannot read."""
    home = world / "home (älter)"
    home.mkdir()
    (world / "run").rename(home / "run=1")
    result = shell_here("sample.py", "~/run=1", "num=2", "hydra.run.dir=~/two", HOME=str(home))
    assert result.returncode == 0, result.stderr
    assert (home / "two" / "samples.png").is_file()
    assert not (world / "~").exists()


def test_yaml_and_variables_may_name_the_home_folder(world: Path, shell_here: Callable) -> None:
    paths = world / "conf" / "paths"
    paths.mkdir(parents=True)
    (paths / "mine.yaml").write_text("defaults: [default]\noutput_dir: ~/runs\ncache_dir: ~/cache\n")
    words = ["--config-dir", str(world / "conf"), "paths=mine", "name=x", "trainer.max_steps=-1"]
    result = shell_here("train.py", *words, HOME=str(world / "home"), DDPM_DATA_DIR="~/data")
    assert "training needs an end" in result.stderr
    result = shell_here(
        "train.py", *words[:-1], "--cfg", "job", "--resolve", HOME=str(world / "home"), DDPM_DATA_DIR=""
    )
    assert yaml.safe_load(result.stdout)["paths"]["data_dir"] == "data"
    assert not (world / "~").exists() and not list((world / "home").glob("runs"))
