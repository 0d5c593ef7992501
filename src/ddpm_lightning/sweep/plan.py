"""The jobs of a sweep, before any of them begins: their options, their folders, and whether they can be one sweep."""

from collections.abc import Sequence, Set
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from omegaconf import DictConfig, flag_override

from ddpm_lightning.runs.check_command import check_command
from ddpm_lightning.runs.identity import job_hash
from ddpm_lightning.runs.option_types import with_right_types


def is_grid(config: DictConfig) -> bool:
    """Whether all jobs are known from the start."""
    return bool(config.hydra.sweeper._target_ == plugin_name(BasicSweeper))


def plugin_name(plugin: type) -> str:
    """What the config of a launcher or a sweeper has as its `_target_`."""
    return f"{plugin.__module__}.{plugin.__qualname__}"


def parsed_overrides(config: DictConfig) -> list[Override]:
    """All overrides: those that are swept, and those that are the same for all jobs."""
    arguments = [*(f"{k}={v}" for k, v in (config.hydra.sweeper.params or {}).items()), *config.hydra.overrides.task]
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(arguments)


def fix_job_names(config: DictConfig, overrides: list[Override]) -> None:
    """Makes the folders' names the same wherever a launcher, or another rank, composes a job's config.

    Options that have the same value in all jobs are left out of the jobs' names.
    """
    folder = Path(config.hydra.sweep.dir).absolute()
    swept = {override.key_or_group: override.is_sweep_override() for override in overrides}  # the last of a key wins
    same = [key for key, is_swept in swept.items() if not is_swept]
    fixed = {
        "hydra.sweep.dir": QuotedString(str(folder), Quote.single).with_quotes(),
        "hydra.job.config.override_dirname.exclude_keys": f"[{','.join(same)}]",
    }
    with flag_override(config, ["readonly", "struct"], False):
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra.extend([f"{key}={value}" for key, value in fixed.items()])


def plan_jobs(config: DictConfig, overrides: list[Override]) -> list[str] | None:
    """The folder of each job; None if the sweeper decides as it goes, as Optuna's does."""
    with_right_types(DictConfig({"hydra": {part: config.hydra[part] for part in ("launcher", "sweeper")}}), "hydra")
    if not is_grid(config):
        with_right_types(config)  # what is the same for all jobs
        if config.get("optimize") and config.optimize.score is None:
            raise ValueError(
                "this sweeper looks for the best score, and needs to know which: set optimize.score, as in "
                "optimize.score=test/kid_lenet_mnist, or leave out hydra/sweeper"
            )
        return None
    if config.hydra.sweeper.max_batch_size is not None and config.hydra.sweeper.max_batch_size < 1:
        raise ValueError(f"hydra.sweeper.max_batch_size must be at least 1, not {config.hydra.sweeper.max_batch_size}")
    if any(override.key_or_group == "resume" for override in overrides):
        raise ValueError("resume continues one run, in its own folder: leave out -m, or run one command for each")
    loader = GlobalHydra.instance().config_loader()
    (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    if not jobs:
        raise ValueError("there is nothing to sweep over: an option has no values at all")
    composed = [loader.load_sweep_config(config, list(words)) for words in jobs]
    varied = {override.key_or_group for override in overrides if override.is_sweep_override()}
    names = [" ".join(word for word in words if word.partition("=")[0].lstrip("+~") in varied) for words in jobs]
    for name, job in zip(names, composed, strict=True):
        _check_grid(name, job, {override.key_or_group for override in overrides})
        check_command(job)  # a wrong value in a grid is refused before the first job
    folders = [str(job.hydra.sweep.subdir) for job in composed]
    _check_distinct(names, [job_hash(job) for job in composed])
    _check_distinct(names, folders)
    return folders


def _check_grid(name: str, job: DictConfig, given: Set[str]) -> None:
    """Raises ValueError if a job's experiment brings a grid of its own, which Hydra ignores.

    It does not matter if everything that the grid would vary is `given`, by the command line or the sweep's own grid.
    """
    ignored = {key: value for key, value in (job.hydra.sweeper.params or {}).items() if key not in given}
    if ignored:
        params = " ".join(f"{key}={value}" for key, value in ignored.items())
        raise ValueError(
            f"{name}: this experiment defines its own grid ({params}), which Hydra ignores where experiments are "
            "swept. Run one command per experiment, or give the grid on the command line"
        )


def _check_distinct(names: Sequence[str], identities: Sequence[str]) -> None:
    """Raises ValueError if two jobs are the same run, or have the same folder."""
    jobs: dict[str, list[str]] = {}
    for name, identity in zip(names, identities, strict=True):
        jobs.setdefault(identity, []).append(name)
    for same in jobs.values():
        if len(same) > 1:
            raise ValueError(
                f"these jobs would be the same run and share its folder: {'; '.join(same)}. They differ only in "
                "options that are not part of a run's identity: leave those out, or run one command for each"
            )
