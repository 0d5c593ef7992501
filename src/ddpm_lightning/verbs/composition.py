"""What Hydra makes of a command line: the config, the files that it comes from, and the choices that exist."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import DefaultsList
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import SearchPathException
from hydra.types import RunMode
from omegaconf import DictConfig


@dataclass(frozen=True)
class Composition:
    """The config of a verb for the words of a command line, and where it comes from.

    Attributes:
        conf: folder of the YAML files.
        config_name: the verb's file there, without its suffix.
        words: the command line without the program's name. Flags and options that a sweep varies are left out.

    Raises:
        HydraException: a word is misspelt, or names no choice, option or folder.
        SystemExit: a flag is not one of Hydra's.
    """

    conf: Path
    config_name: str
    words: Sequence[str]

    @cached_property
    def config(self) -> DictConfig:
        """The composed config with the section `hydra`; interpolations are not resolved."""
        return self._loader.load_configuration(self.config_name, self._overrides, RunMode.RUN)

    @property
    def files(self) -> list[ResultDefault]:
        """Each file of the config with the section that it fills (`package`), in the order in which they are merged."""
        return list(self._defaults.defaults)

    @cached_property
    def chosen(self) -> dict[str, tuple[str, ...]]:
        """Group -> its choices, in the order of the defaults list: usually one, none for a group that is null."""
        overrides = self._defaults.overrides
        # Hydra lists groups from the last to the first, and leaves out those with several choices.
        known = dict(reversed(overrides.known_choices.items()))
        several = {group: choice for group, choice in overrides.override_choices.items() if isinstance(choice, list)}
        return {
            group: () if choice is None else (choice,) if isinstance(choice, str) else tuple(choice)
            for group, choice in {**known, **several}.items()
        }

    def choices(self, group: str) -> list[str]:
        """The choices of a group, those of plugins and of the user's own folders included, sorted."""
        return self._repository.get_group_options(group)

    def yaml_text(self, config_path: str) -> str | None:
        """The text of a file ("model/unet"), or None if a plugin defines it without one."""
        for source in self._repository.get_sources():
            if source.scheme() in ("file", "pkg") and source.available():
                folder = Path(source.path) if source.scheme() == "file" else files(source.path)
                if (file := folder.joinpath(f"{config_path}.yaml")).is_file():
                    return file.read_text(encoding="utf-8")
        return None

    @cached_property
    def _defaults(self) -> DefaultsList:
        return self._loader.compute_defaults_list(self.config_name, self._overrides, RunMode.RUN)

    @cached_property
    def _loader(self) -> ConfigLoaderImpl:
        version.setbase("1.3")
        search_path = create_config_search_path(str(self.conf))
        if own := self._arguments.config_dir:
            if not Path(own).is_dir():
                raise SearchPathException(f"--config-dir {own}: there is no such folder")
            place = f"file://{Path(own).resolve()}"
            search_path.prepend("command-line", place, anchor=SearchPathQuery(provider="schema"))
        return ConfigLoaderImpl(search_path)

    @cached_property
    def _repository(self) -> CachingConfigRepository:
        """The places where Hydra looks for files, with `hydra.searchpath`."""
        return self._loader._parse_overrides_and_create_caching_repo(self.config_name, self._overrides)[1]

    @cached_property
    def _arguments(self) -> Namespace:
        return get_args_parser().parse_intermixed_args(list(self.words))

    @cached_property
    def _overrides(self) -> list[str]:
        words = self._arguments.overrides
        parsed = OverridesParser.create().parse_overrides(words)
        return [word for word, override in zip(words, parsed, strict=True) if not override.is_sweep_override()]
