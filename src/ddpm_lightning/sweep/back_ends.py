"""Whether the launcher and the sweeper of a sweep can work on this machine, asked before the sweep has a folder."""

import logging
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from tempfile import TemporaryDirectory

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from ddpm_lightning.runs.failure import cause_of

POOL_LAUNCHER = "hydra_plugins.ddpm_lightning_pool.pool_launcher.PoolLauncher"
SLURM_LAUNCHER = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
OPTUNA_SWEEPER = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"


def check_back_ends(config: DictConfig) -> None:
    """Checks what starts the jobs of a sweep, and what chooses their options.

    Args:
        config: of the sweep, with the section `hydra`.

    Raises:
        ValueError: something that it needs is not installed, is not on this machine, or cannot be used together.
    """
    if config.hydra.launcher._target_ == SLURM_LAUNCHER and shutil.which("srun") is None:
        raise ValueError(
            "hydra/launcher=slurm: there is no srun on this machine. Start the sweep on a login node of the cluster, "
            "or run several jobs at once here with hydra/launcher=pool"
        )
    if config.hydra.launcher._target_ == POOL_LAUNCHER and config.trainer.accelerator != "cpu":
        _check_gpus(config.hydra.launcher.devices or ())
    if config.hydra.sweeper._target_ == OPTUNA_SWEEPER:
        _check_optuna(config)
    for plugin in (config.hydra.launcher, config.hydra.sweeper):
        if not plugin._target_.startswith("hydra."):  # Hydra's own have nothing to refuse, and are made by Hydra alone
            _make(plugin)


def _make(plugin: DictConfig) -> None:
    """Raises ValueError if the plugin refuses its options."""
    try:
        instantiate(plugin)
    except InstantiationException as error:
        if isinstance(cause := cause_of(error), ValueError):
            raise ValueError(str(cause)) from error
        raise


def _check_gpus(dealt: Sequence[int | str]) -> None:
    """Raises ValueError if PyTorch does not find one of the GPUs that the pool deals to its jobs."""
    import torch  # which --help and a misspelt option do not wait for

    found = torch.cuda.device_count()
    if missing := sorted({int(number) for share in dealt for number in str(share).split(",") if int(number) >= found}):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible!r}"
        raise ValueError(
            f"hydra.launcher.devices has {missing[0]}, counted from 0, but PyTorch finds {found} GPUs{why}. Leave it "
            "out to train on the CPU"
        )


def _check_optuna(config: DictConfig) -> None:
    if find_spec("optuna") is None:
        raise ValueError("hydra/sweeper=optuna needs: pip install 'ddpm-lightning[optuna]'")
    if isinstance(storage := config.hydra.sweeper.storage, str):
        _check_storage(storage)


def _check_storage(storage: str) -> None:
    """Opens Optuna's database, which is created where there is none, as Optuna would do next."""
    kind = storage.partition("://")[0]  # what follows may contain a password
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it reports the plugins that it has found
    try:
        from optuna.storages import get_storage

        with TemporaryDirectory() as folder:
            get_storage(f"sqlite:///{folder}/trial.db")
    except Exception as error:  # an assertion, or whatever the versions cause
        raise ValueError(
            f"hydra.sweeper.storage cannot be used: Optuna {version('optuna')} does not work with SQLAlchemy "
            f"{version('sqlalchemy')}. Run pip install 'ddpm-lightning[optuna]' 'sqlalchemy<2', or leave the option "
            "out: the same command then proposes the same trials, and skips those that are done"
        ) from error
    try:
        get_storage(storage)
    except ImportError as error:
        missing = getattr(error.__cause__ or error, "name", None) or "the driver of this database"
        raise ValueError(f"hydra.sweeper.storage={kind}://... needs {missing}, which is not installed") from error
    except Exception as error:  # of SQLAlchemy or a driver
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise ValueError(
            f"hydra.sweeper.storage cannot be opened ({reason}): it is the address of a database, as in "
            "sqlite:///study.db"
        ) from error
