"""What `--help` of a verb lists: groups with their choices, options with their values, and a line on each."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from ddpm_lightning.runs.from_checkpoint import needs_checkpoint
from ddpm_lightning.runs.stored_values import REFERENCE
from ddpm_lightning.verbs.composition import Composition
from ddpm_lightning.verbs.help.hydra_grammar import typed
from ddpm_lightning.verbs.help.yaml_comments import YamlComments, read_comments

HYDRA_GROUPS = {
    "hydra/launcher": "How a sweep's jobs are run: basic is one after the other, pool several at once on this machine, "
    "slurm each as a SLURM job.",
    "hydra/sweeper": "How a sweep chooses its jobs: basic takes all combinations, optuna searches for the best.",
    "hydra/sweeper/sampler": "How optuna proposes values.",
}
"""The groups of Hydra itself that matter here, and a line on each."""


@dataclass(frozen=True)
class Group:
    """A group of choices, as `model` or `dataset/split`.

    Attributes:
        name: as on the command line.
        choices: that exist for this verb.
        current: those that are selected: usually one, none for a group such as `experiment`.
        line: what is chosen.
    """

    name: str
    choices: tuple[str, ...]
    current: tuple[str, ...]
    line: str


@dataclass(frozen=True)
class Option:
    """An option by its path ("optimizer.lr"), its value as one types it in Hydra's grammar, and a line on it."""

    name: str
    value: str
    line: str

    @property
    def word(self) -> str:
        """The option as one word of a shell's command line."""
        word = f"{self.name}={self.value}"
        return word if re.fullmatch(r"[\w./:=,?\[\]+@%-]+", word) else shlex.quote(word)


@dataclass(frozen=True)
class Section:
    """Options that belong together: those of a group's choice, of a callback, or of the verb itself.

    Attributes:
        name: of the group, or else path of the section; "" for the options of the verb itself.
        choice: that the options belong to; "" if the section is no group's.
        line: what it is.
        options: may be empty.
    """

    name: str
    choice: str
    line: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class HelpContents:
    """What `--help` lists, and the text before it: what the verb does, with examples that call it `$call`."""

    about: str
    groups: tuple[Group, ...]
    sections: tuple[Section, ...]


def help_contents(composition: Composition) -> HelpContents:
    """What `--help` of a verb lists, with the options of the choices that the command line makes.

    A group is listed if there is something to choose, and what needs a checkpoint where there is one. Not listed as
    options are `_target_` and its like, and references without a comment, as in `sampler: ${sampler}`: by these one
    section uses another.

    Raises:
        HydraException: a word names no choice or option.
    """
    comments = _Comments(composition)
    return HelpContents(
        about=composition.config.hydra.help.header,
        groups=tuple(_groups(composition, comments)),
        sections=tuple(_sections(composition, comments)),
    )


class _Comments:
    """The comments on options, groups and choices of a composed config.

    An option is described by the first file that does so: later ones set it to another value.
    """

    def __init__(self, composition: Composition) -> None:
        self._composition = composition
        self.options: dict[str, str] = {}
        self.groups = dict(HYDRA_GROUPS)
        for file in composition.files:
            comments = self._read(str(file.config_path))
            for option, line in comments.options.items():
                self.options.setdefault(f"{file.package}.{option}" if file.package else option, line)
            for group, line in comments.groups.items():
                self.groups.setdefault(group, line)

    def of_choice(self, group: str, choices: Sequence[str]) -> str:
        """The comment on the one choice of a group, or on the group itself."""
        line = self._read(f"{group}/{choices[0]}").choice if len(choices) == 1 else ""
        return line or self.groups.get(group, "")

    def _read(self, config_path: str) -> YamlComments:
        return read_comments(self._composition.yaml_text(config_path) or "", config_path.rpartition("/")[0])


def _groups(composition: Composition, comments: _Comments) -> Iterator[Group]:
    has_checkpoint = "checkpoint" in set(composition.config)
    names = [name for name in composition.chosen if not _is_hydra(name) or name in HYDRA_GROUPS]
    for name in sorted(names, key=lambda name: _place(name, names)):
        current = composition.chosen[name]
        choices = tuple(c for c in composition.choices(name) if has_checkpoint or not needs_checkpoint(name, c))
        if len(choices) > 1 or not current:
            yield Group(name, choices, current, comments.groups.get(name, ""))


def _is_hydra(group: str) -> bool:
    return group.partition("/")[0] == "hydra"


def _place(group: str, listed: list[str]) -> tuple[bool, int, str]:
    """Sorts groups as in the verb's defaults list, each followed by those below it; Hydra's own come last."""
    top = group.partition("/")[0]
    return _is_hydra(group), listed.index(top) if top in listed else 0, group


def _sections(composition: Composition, comments: _Comments) -> Iterator[Section]:
    content: Any = OmegaConf.to_container(composition.config, enum_to_str=True)
    hydra = content.pop("hydra")
    groups = {group.replace("/", "."): group for group in composition.chosen}

    def section(path: str, mapping: Mapping[str, Any]) -> Iterator[Section]:
        """A section, then those below it."""
        values, below = _split(path, mapping, lambda name: name in groups or name in comments.options)
        options = tuple(
            Option(name, typed(value), comments.options.get(name, ""))
            for name, value in values.items()
            if name in comments.options or not REFERENCE.fullmatch(str(value))
        )
        if path in groups:
            choices = composition.chosen[groups[path]]
            yield Section(groups[path], ", ".join(choices), comments.of_choice(groups[path], choices), options)
        elif options or path in comments.options:
            yield Section(path, "", comments.options.get(path, ""), options)
        for name, part in below.items():
            yield from section(name, part)

    yield from section("", content)
    for part in ("launcher", "sweeper"):
        if composition.chosen[f"hydra/{part}"] != ("basic",):
            yield from section(f"hydra.{part}", hydra[part])


def _split(
    path: str, mapping: Mapping[str, Any], is_section: Callable[[str], bool]
) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    """The options of a section by name, those of its nameless parts included, and the sections below it."""
    options: dict[str, Any] = {}
    below: dict[str, Mapping[str, Any]] = {}
    for key, value in mapping.items():
        name = f"{path}.{key}" if path else key
        if key.startswith("_") or "." in key:  # no option, or one that Hydra's grammar cannot name
            continue
        if not isinstance(value, Mapping):
            options[name] = value
        elif not path or is_section(name):
            below[name] = value
        else:
            for found, inner in zip((options, below), _split(name, value, is_section), strict=True):
                found.update(inner)
    return options, below
