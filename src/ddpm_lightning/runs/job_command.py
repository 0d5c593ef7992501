"""The command line of one job, for a process of its own that builds what the verb would build."""

import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig


def job_command(hydra_config: HydraConf | DictConfig, overrides: Sequence[str], folder: str | Path) -> list[str]:
    """The command that runs one job of the verb to which `hydra_config` (the node `hydra`) belongs.

    Without `-m`, even if this process was started with it: a rank would start the whole sweep once more.
    """
    sources = hydra_config.runtime.config_sources
    quoted = QuotedString(str(Path(folder).resolve()), Quote.single).with_quotes()
    # The user's own YAML is found as by the command that is running.
    own = [f"--config-dir={Path(source.path).resolve()}" for source in sources if source.provider == "command-line"]
    own += [word for word in map(str, hydra_config.overrides.hydra) if word.startswith("hydra.searchpath=")]
    # -P: modules are searched where this process searches them (`child_environment`), not in the current folder first.
    verb = [sys.executable, "-P", "-m", "ddpm_lightning.verbs", str(hydra_config.job.config_name)]
    return [*verb, *own, *overrides, f"hydra.run.dir={quoted}", "hydra.output_subdir=null"]
