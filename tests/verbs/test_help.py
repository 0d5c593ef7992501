"""`--help`: it lists what a verb accepts, all of it and nothing else, with a line on each."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf

from ddpm_lightning.runs.from_checkpoint import needs_checkpoint, refuse_in_training
from ddpm_lightning.runs.plain_config import leaves, plain, without_hydra
from ddpm_lightning.verbs.composition import Composition
from ddpm_lightning.verbs.help.contents import HelpContents, Option, Section, help_contents
from ddpm_lightning.verbs.help.hydra_grammar import typed
from ddpm_lightning.verbs.help.page import help_text
from ddpm_lightning.verbs.help.yaml_comments import read_comments

CONF = Path(__file__).parents[2] / "conf"
VERBS = ("train", "evaluate", "sample")
OF_PLUGINS = ("hydra.launcher.", "hydra.sweeper.")
"""Options that may be a plugin's, which has no comments."""
OWN_MODEL = """\
# A network of my own.
defaults:
  - unet_small
  - _self_
blocks: 3
# A new option.
temperature: 2.5
"""


compose = cache(lambda verb, *words: Composition(CONF, verb, words))
contents_of = cache(lambda verb, *words: help_contents(compose(verb, *words)))


def selections(verb: str) -> list[tuple[str, ...]]:
    """Words that select the first choice of every group, the second of every group, ... until all had their turn.

    A recipe has a turn of its own, because it may need its own choices. Likelihoods need no features.
    """
    groups = contents_of(verb).groups
    together = [group for group in groups if group.name != "experiment"]
    recipes = [choice for group in groups if group.name == "experiment" for choice in group.choices]
    turns = range(max(len(group.choices) for group in together))
    turned = [tuple(f"{g.name}={g.choices[turn % len(g.choices)]}" for g in together) for turn in turns]
    selected = [
        tuple(w for w in words if "metrics=likelihood" not in words or not w.startswith("metrics/")) for words in turned
    ]
    return selected + [(f"experiment={recipe}",) for recipe in recipes]


def words_of_turns() -> Iterator[Any]:
    for verb in VERBS:
        for turn, words in enumerate(selections(verb)):
            yield pytest.param(verb, words, id=f"{verb}-{words[0] if len(words) == 1 else turn}")


TURNS = list(words_of_turns())


def options(contents: HelpContents) -> list[Option]:
    return [option for section in contents.sections for option in section.options]


def sections(contents: HelpContents) -> dict[str, Section]:
    return {section.name: section for section in contents.sections}


@pytest.mark.parametrize(("verb", "words"), TURNS)
def test_every_listed_choice_is_accepted(verb, words):
    choices = compose(verb, *words).config.hydra.runtime.choices
    assert {f"{group}={choice}" for group, choice in choices.items()} >= set(words)
    if verb == "train":
        for group, choice in choices.items():
            refuse_in_training(group, choice)


@pytest.mark.parametrize("verb", VERBS)
def test_a_group_that_is_not_listed_is_refused(verb):
    listed = {group.name for group in contents_of(verb).groups}
    accepted = compose(verb).config.hydra.runtime.choices
    files = [path.relative_to(CONF).with_suffix("") for path in CONF.rglob("*/*.yaml")]
    refused = 0
    for group, choice in sorted({str(file.parent): file.name for file in files}.items()):
        if group == "hydra" or group in listed:
            continue
        if group in accepted:
            alternatives = {c for c in compose(verb).choices(group) if not needs_checkpoint(group, c)}
            assert alternatives == {accepted[group]}, f"{verb} does not list {group}"
            continue
        with pytest.raises(HydraException, match="Could not override"):
            _ = Composition(CONF, verb, [f"{group}={choice}"]).config
        refused += 1
    assert refused >= {"train": 1, "evaluate": 12, "sample": 14}[verb]


def test_only_verbs_of_checkpoints_take_choices_from_them():
    with_it = {verb: sum("from_checkpoint" in group.choices for group in contents_of(verb).groups) for verb in VERBS}
    assert with_it == {"train": 0, "evaluate": 5, "sample": 3}


@pytest.mark.parametrize("verb", VERBS)
def test_every_listed_option_can_be_set(verb):
    tried: set[str] = set()
    for words in selections(verb):
        new = [option for option in options(contents_of(verb, *words)) if option.name not in tried]
        typed = [word for option in new for word in shlex.split(option.word)]
        assert len(typed) == len(new)
        before, after = (unresolved(compose(verb, *words, *more)) for more in ((), typed))
        assert after == before
        tried |= {option.name for option in new}
    assert len(tried) > 50


def unresolved(composition: Composition) -> tuple[Any, ...]:
    """The options of the verb and those of its launcher and sweeper."""
    config = composition.config
    parts = (without_hydra(config), config.hydra.launcher, config.hydra.sweeper)
    return tuple(OmegaConf.to_container(part, enum_to_str=True) for part in parts)


@pytest.mark.parametrize(("verb", "words"), TURNS)
def test_every_option_is_listed(verb, words):
    config = plain(without_hydra(compose(verb, *words).config))
    listed = {option.name for option in options(contents_of(verb, *words))}
    exist = {name: value for name, value in leaves(config) if value != {} and not re.search(r"(^|\.)_", name)}
    assert {name for name in listed if not name.startswith(OF_PLUGINS)} <= exist.keys()
    missing = {name: value for name, value in exist.items() if name not in listed}
    assert all(re.fullmatch(r"\$\{[\w.]+\}", str(value)) for value in missing.values()), missing


@pytest.mark.parametrize(("verb", "words"), TURNS)
def test_everything_listed_has_a_line(verb, words):
    contents = contents_of(verb, *words)
    without = [group.name for group in contents.groups if not group.line]
    without += [section.name for section in contents.sections if section.name and not section.line]
    without += [option.name for option in options(contents) if not option.line]
    assert [name for name in without if not name.startswith(OF_PLUGINS)] == []


@pytest.mark.parametrize(("verb", "words"), TURNS)
def test_no_option_has_the_line_of_its_whole_file(verb, words):
    contents = contents_of(verb, *words)
    heads = {read_comments(text, "").choice for text in map(Path.read_text, CONF.glob("*.yaml"))} - {""}
    assert len(heads) >= 5
    assert [o.name for o in options(contents) if any(o.line.startswith(head) for head in heads)] == []


@pytest.mark.parametrize(
    "value",
    ["it's", 'a "b"', 'a\\"b', "a b\\", "null", "1e-3", "", "#1", "a=b", ["a,b", None, 1.5], {"key": "it's"}, True],
)
def test_a_value_is_typed_as_hydra_reads_it(value):
    read = OverridesParser.create().parse_override(f"key={typed(value)}").value()
    assert plain_value(read) == value


def plain_value(value):
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    if isinstance(value, dict):
        return {key: plain_value(item) for key, item in value.items()}
    return value.text if isinstance(value, QuotedString) else value


@pytest.mark.parametrize("choice", ["pool", "slurm"])
def test_our_own_launchers_have_a_line_on_each_option(choice):
    ours = OmegaConf.load(CONF / "hydra" / "launcher" / f"{choice}.yaml").keys() - {"_target_", "defaults"}
    launcher = sections(contents_of("train", f"hydra/launcher={choice}"))["hydra/launcher"]
    lines = {option.name.rpartition(".")[2]: option.line for option in launcher.options}
    assert ours <= lines.keys() and all(lines[option] for option in ours)
    assert launcher.line


def test_options_of_the_launcher_are_hidden_until_it_is_chosen():
    assert not any(name.startswith("hydra") for name in sections(contents_of("train")))
    assert "hydra/launcher" in sections(contents_of("train", "hydra/launcher=pool"))


def test_words_of_the_command_line_change_what_is_listed():
    section = sections(contents_of("train", "-m", "sampler=ddpm", "seed=0,1", "--help", "sampler.steps=7"))
    assert section["sampler"].choice == "ddpm"
    assert {option.name: option.value for option in section["sampler"].options}["sampler.steps"] == "7"
    assert "sampler.variance" in {option.name for option in section["sampler"].options}


@pytest.mark.parametrize("how", [["--config-dir={}"], ["--config-dir", "{}"], ["hydra.searchpath=[file://{}]"]])
def test_ones_own_choice_is_listed_with_its_options(tmp_path, how):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(OWN_MODEL)
    contents = contents_of("train", *(word.format(tmp_path) for word in how), "model=mine")
    (model,) = (group for group in contents.groups if group.name == "model")
    assert "mine" in model.choices and model.current == ("mine",)
    section = sections(contents)["model"]
    assert (section.choice, section.line) == ("mine", "A network of my own.")
    listed = {option.name: option for option in section.options}
    assert listed["model.temperature"] == Option("model.temperature", "2.5", "A new option.")
    assert (listed["model.blocks"].value, listed["model.blocks"].line) == ("3", "Residual blocks per level.")


@pytest.mark.parametrize("word", ["model=unett", "model.blockss=2", "--config-dir=nowhere"])
def test_a_misspelt_word_is_an_error(word):
    with pytest.raises(HydraException, match="unett|blockss|nowhere"):
        contents_of("train", word)


def test_several_callbacks_are_marked():
    contents = contents_of("train", "callbacks=[cost,checkpointing]")
    (callbacks,) = (group for group in contents.groups if group.name == "callbacks")
    assert callbacks.current == ("cost", "checkpointing")
    assert "checkpointing*, classifier, cost*, default," in help_text(
        CONF, "train", ["callbacks=[cost,checkpointing]"], "python train.py"
    )


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("columns", "width"), [(40, 80), (80, 80), (120, 120)])
def test_the_text_fits_the_terminal(monkeypatch, verb, columns, width):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = help_text(CONF, verb, [], f"ddpm-{verb}").splitlines()
    assert all(len(line) <= width for line in lines)
    assert max(map(len, lines)) > width - 12


@pytest.mark.parametrize("verb", VERBS)
def test_the_text_calls_the_program_as_its_user_did(verb):
    for call in (f"python {verb}.py", f"ddpm-{verb}"):
        text = help_text(CONF, verb, [], call)
        assert f"  {call} " in text and "$call" not in text
        assert f'eval "$({call} -sc install=bash)"' in " ".join(text.split())
    assert ".py" not in help_text(CONF, verb, [], f"ddpm-{verb}")


def test_help_does_not_import_torch():
    code = (
        "import sys; from pathlib import Path; from ddpm_lightning.verbs.help.page import help_text; "
        "[help_text(Path(sys.argv[1]), verb, [], verb) for verb in ('train', 'evaluate', 'sample')]; "
        "print({'torch', 'lightning', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(CONF)], capture_output=True, text=True, env={**os.environ})
    assert ran.stdout == "set()\n", ran.stderr


def test_comments_are_those_above_or_on_the_same_line():
    comments = read_comments(
        "# @package _global_\n"
        "# The choice,\n"
        "# on two lines.\n"
        "_target_: a\n"
        "# Above.\n"
        "first: 1\n"
        "second: [1, 2]  # After.\n"
        "third: 'a # b'\n"
        "  # Indented otherwise.\n"
        "fourth: 2\n"
        "# Not right above.\n"
        "\n"
        "part:  # A section.\n"
        "  # Below.\n"
        "  fifth: 3\n"
        "defaults:\n"
        "  # A reason.\n"
        "  - split: x  # A group.\n"
        "  # Another group.\n"
        "  - /other@here: y\n"
        "  # Not a group here.\n"
        "  - override /third: z\n"
        "  # No group.\n"
        "  - plain\n",
        "dataset",
    )
    assert comments.choice == "The choice, on two lines."
    assert comments.options == {
        "_target_": "The choice, on two lines.",
        "first": "Above.",
        "second": "After.",
        "part": "A section.",
        "part.fifth": "Below.",
    }
    assert comments.groups == {"dataset/split": "A group.", "other": "Another group."}


def test_files_without_comments_or_options_have_none():
    for text in ("", "{}\n", "key: 1\n"):
        assert read_comments(text, "") == read_comments("", "")
    assert read_comments("# Only a comment.\n{}\n", "").choice == "Only a comment."
