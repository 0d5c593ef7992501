"""Two commands are one run exactly if they compute the same, for any version of the project."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from choices import CONF
from ddpm_lightning.runs.identity import (
    NOTHING_CHANGED,
    Changed,
    changed_options,
    differences,
    job_hash,
    same_value,
    short_hash,
)
from ddpm_lightning.runs.options import IDENTITY, role_of
from ddpm_lightning.runs.plain_config import leaves, plain, resolved, without_hydra

CONTENT = {"seed": 0, "model": {"channels": [16, 16], "dropout": 0.0}, "ema": None, "name": None}


@pytest.fixture(autouse=True)
def no_hydra_left() -> Iterator[None]:
    yield
    GlobalHydra.instance().clear()


def composed(*overrides: str, conf: Path = CONF, verb: str = "train"):
    GlobalHydra.instance().clear()
    initialize_config_dir(str(conf), version_base="1.3")
    return compose(verb, list(overrides), return_hydra_config=True)


def name_of(*overrides: str, **options) -> str:
    return job_hash(composed(*overrides, **options))


def changed(*overrides: str, **options) -> frozenset[str]:
    config = composed(*overrides, **options)
    return changed_options(without_hydra(config), config.hydra).in_choices


@pytest.fixture
def other_conf(tmp_path: Path) -> Callable[[str, str], Path]:
    """`other_conf("schedule/cosine", "new: 1")`: the project's conf with a line more in one of its files."""

    def make(file: str, line: str) -> Path:
        copy = tmp_path / "conf"
        if not copy.exists():
            shutil.copytree(CONF, copy)
        with (copy / f"{file}.yaml").open("a") as yaml:
            yaml.write(f"\n{line}\n")
        return copy

    return make


def add_group(conf: Path) -> None:
    """A group that no run of before has, with a default choice."""
    (conf / "coupling").mkdir()
    for choice in ("independent", "ot"):
        (conf / "coupling" / f"{choice}.yaml").write_text(f"kind: {choice}\n")
    file = conf / "train.yaml"
    file.write_text(file.read_text().replace("  - sampler: ddim\n", "  - coupling: independent\n  - sampler: ddim\n"))


def test_a_hash_has_eight_digits_and_ignores_the_order_of_keys() -> None:
    turned = {"name": None, "ema": None, "model": {"dropout": 0.0, "channels": [16, 16]}, "seed": 0}
    assert short_hash(turned) == short_hash(CONTENT)
    assert len(short_hash(CONTENT)) == 8
    int(short_hash(CONTENT), 16)


def test_another_process_finds_the_same_hash() -> None:
    program = f"from ddpm_lightning.runs.identity import short_hash; print(short_hash({CONTENT!r}))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == short_hash(CONTENT)


@pytest.mark.parametrize(
    ("value", "other"),
    [
        ("photos/", "photos"),
        ("./photos", "./photos/"),
        ("a//b/", "a/b"),
        (1.0, 1),
        ([1.0, "a/"], [1, "a/"]),
        ("s3://a/b", "s3://a/b"),
    ],
)
def test_what_means_the_same_is_the_same_value(value, other) -> None:
    assert same_value(value) == same_value(other)


@pytest.mark.parametrize(("value", "other"), [("photos", "Photos"), (1, 2), (1.5, 1), ("s3://a/b/", "s3://a/b")])
def test_what_may_differ_differs(value, other) -> None:
    assert same_value(value) != same_value(other)


class TestName:
    """The hash in the name of a job's folder."""

    @pytest.mark.parametrize(
        "words",
        [
            ["schedule=cosine", "loss=mse"],
            ["seed=0"],
            ["optimizer.lr=2e-3"],
            ["trainer.devices=2", "trainer=ddp_cpu"],
            ["dataset.num_workers=3"],
            ["trainer.log_every_n_steps=1", "callbacks=minimal", "logger=csv"],
            ["name=mine", "paths.data_dir=there", "experiment_name=other"],
        ],
        ids=" ".join,
    )
    def test_is_the_same_for_the_same_run(self, words: list[str]) -> None:
        assert name_of(*words) == name_of()

    @pytest.mark.parametrize(
        "word",
        ["schedule=linear", "seed=1", "optimizer.lr=0.1", "predict=noise", "dataset=fashion_mnist", "ema=none",
         "trainer.max_steps=5", "trainer.precision=32-true", "model=unet", "+model.extra=1", "seeds.init=4"],
    )  # fmt: skip
    def test_differs_for_another_run(self, word: str) -> None:
        assert name_of(word) != name_of()

    def test_a_path_with_a_slash_at_its_end_is_the_same_path(self) -> None:
        assert name_of("dataset=folder", "dataset.path=photos/") == name_of("dataset=folder", "dataset.path=photos")
        for verb in ("evaluate", "sample"):
            assert name_of("checkpoint=run/", verb=verb) == name_of("checkpoint=run", verb=verb)
            assert name_of("checkpoint=run", verb=verb) != name_of("checkpoint=other", verb=verb)

    @pytest.mark.parametrize("words", [[], ["seed=3", "optimizer.lr=0.1"]], ids=" ".join)
    def test_new_options_leave_it_as_it_was(self, words: list[str], other_conf: Callable) -> None:
        for file in ("train", "schedule/cosine", "optimizer/adamw", "dataset/loading/default"):
            conf = other_conf(file, "a_new_option: 7")
        assert name_of(*words, conf=conf) == name_of(*words)

    def test_a_new_option_that_refers_to_another_leaves_it(self, other_conf: Callable) -> None:
        conf = other_conf("optimizer/adamw", "momentum_seed: ${seed}")
        assert name_of("seed=3", conf=conf) == name_of("seed=3")

    @pytest.mark.parametrize("words", [[], ["dataset=flowers", "seed=3"]], ids=" ".join)
    def test_a_new_group_leaves_it_as_it_was(self, words: list[str], other_conf: Callable) -> None:
        conf = other_conf("train", "")
        add_group(conf)
        assert name_of(*words, conf=conf) == name_of(*words)
        assert name_of(*words, "coupling=ot", conf=conf) != name_of(*words, conf=conf)

    def test_a_new_group_of_a_data_set_leaves_it(self, other_conf: Callable) -> None:
        conf = other_conf("dataset/flowers", "")
        (conf / "dataset" / "crop").mkdir()
        (conf / "dataset" / "crop" / "centre.yaml").write_text("kind: centre\n")
        (conf / "dataset" / "crop" / "random.yaml").write_text("kind: random\n")
        file = conf / "dataset" / "flowers.yaml"
        file.write_text(file.read_text().replace("defaults:\n", "defaults:\n  - crop: centre\n"))
        assert name_of("dataset=flowers", conf=conf) == name_of("dataset=flowers")
        assert name_of("dataset=flowers", "dataset/crop=random", conf=conf) != name_of("dataset=flowers", conf=conf)

    def test_a_group_that_an_experiment_adds_is_hashed(self, other_conf: Callable) -> None:
        conf = other_conf("train", "")
        recipe = "# @package _global_\ndefaults:\n  - /sampler@other_sampler: {}\n"
        for choice in ("ddpm", "heun"):
            (conf / "experiment" / f"{choice}.yaml").write_text(recipe.format(choice))
        assert name_of("experiment=ddpm", conf=conf) != name_of("experiment=heun", conf=conf)

    def test_groups_out_of_the_search_path_are_found(self, tmp_path: Path) -> None:
        (tmp_path / "schedule").mkdir()
        text = (CONF / "schedule" / "cosine.yaml").read_text()
        (tmp_path / "schedule" / "mine.yaml").write_text(text)
        path = f"hydra.searchpath=[file://{tmp_path}]"
        assert name_of(path, "schedule=mine") != name_of(path) == name_of()

    def test_a_moved_class_leaves_it_as_it_was(self, tmp_path: Path, other_conf: Callable) -> None:
        conf = other_conf("schedule/cosine", "")
        file = conf / "schedule" / "cosine.yaml"
        file.write_text(file.read_text().replace("schedules.cosine.", "schedules.moved."))
        assert name_of("seed=3", conf=conf) == name_of("seed=3")


class TestChanged:
    """The options that are not at their defaults."""

    def test_nothing_is_changed_by_choosing(self) -> None:
        assert changed("schedule=linear", "dataset=flowers", "model=unet", "guidance=classifier_free") == set()

    def test_typed_values_are(self) -> None:
        assert changed("seed=3", "model.dropout=0.1", "trainer.devices=2") == {"seed", "model.dropout"}

    def test_values_out_of_an_experiment_are(self) -> None:
        options = changed("experiment=flowers_ablation")
        assert {"optimizer.lr", "sampler.clip", "trainer.max_epochs"} < options
        assert all(role_of(option) in IDENTITY for option in options)


class TestDifferences:
    """What keeps a command out of the folder of another run."""

    @pytest.fixture
    def config(self) -> dict:
        return plain(resolved(without_hydra(composed())))

    def test_a_run_does_not_differ_from_itself(self, config: dict) -> None:
        assert differences(config, config, NOTHING_CHANGED) == {}

    def test_every_option_that_identifies_counts(self, config: dict) -> None:
        counted = [option for option, _ in leaves(config) if role_of(option) in IDENTITY]
        assert len(counted) > 50
        for option in counted:
            other = OmegaConf.create(config)
            OmegaConf.update(other, option, "another value")
            assert set(differences(config, plain(other), NOTHING_CHANGED)) == {option}, option

    def test_the_others_do_not_count(self, config: dict) -> None:
        others = [option for option, _ in leaves(config) if role_of(option) not in IDENTITY]
        other = OmegaConf.create(config)
        for option in others:
            OmegaConf.update(other, option, "another value", force_add=True)
        assert len(others) > 20
        assert differences(config, plain(other), NOTHING_CHANGED) == {}

    def test_a_new_option_counts_if_it_is_not_at_its_default(self) -> None:
        assert differences({"a": 1}, {"a": 1, "b": {"c": 2}}, NOTHING_CHANGED) == {}
        assert differences({"a": 1}, {"a": 1, "b": {"c": 2}}, Changed(frozenset(), frozenset({"b.c"}))) == {
            "b.c": "absent there, 2 here"
        }

    def test_a_new_option_of_a_known_group_counts_if_it_is_not_at_its_default(self) -> None:
        changes = Changed(frozenset({"b.c"}), frozenset({"b.c", "b.d"}))
        theirs, ours = {"b": {"a": 1}}, {"b": {"a": 1, "c": 2, "d": 3}}
        assert differences(theirs, ours, changes) == {"b.c": "absent there, 2 here"}

    def test_another_choice_of_a_new_group_counts(self, other_conf: Callable) -> None:
        conf = other_conf("train", "")
        add_group(conf)
        old = plain(resolved(without_hydra(composed())))
        for words, expected in (([], set()), (["coupling=ot"], {"coupling.kind"})):
            config = composed(*words, conf=conf)
            new = plain(resolved(without_hydra(config)))
            found = differences(old, new, changed_options(without_hydra(config), config.hydra))
            assert set(found) == expected

    def test_a_default_that_has_changed_counts(self) -> None:
        assert differences({"a": 1}, {"a": 2}, NOTHING_CHANGED) == {"a": "1 there, 2 here"}

    def test_an_option_that_is_gone_counts(self) -> None:
        assert differences({"a": 1, "b": 2}, {"a": 1}, NOTHING_CHANGED) == {"b": "2 there, absent here"}

    def test_auto_agrees_with_what_it_became(self) -> None:
        assert (
            differences({"trainer": {"precision": "32-true"}}, {"trainer": {"precision": "auto"}}, NOTHING_CHANGED)
            == {}
        )
