"""The weights that a new training starts from, where `init_from` names those of another one."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ddpm_lightning.runs.exported import read_exported
from ddpm_lightning.runs.find_checkpoint import is_exported
from ddpm_lightning.runs.plain_config import leaves, plain
from ddpm_lightning.runs.saved_model import SavedModel, read_trained
from ddpm_lightning.training.training_module import TrainingModule

log = logging.getLogger(__name__)


def load_initial_weights(module: TrainingModule, config: DictConfig) -> None:
    """Gives a new module the network's weights that `config.init_from` names, if it names any.

    Everything else is new: the average starts from these weights, the optimizer without a memory, the normaliser fits
    the run's own data.

    Raises:
        FileNotFoundError: there is no such run, checkpoint or export.
        ValueError: it is damaged, does not have the weights of `config.init_weights`, or they are of another network.
    """
    origin, weights = config.get("init_from"), config.get("init_weights")
    if origin is None:
        if weights is not None:
            raise ValueError(f"init_weights={weights} says which weights of another run to take: set init_from=RUN too")
        return
    saved = _read(Path(origin), weights)
    try:
        module.start_from(saved.network)
    except RuntimeError as error:
        raise ValueError(
            f"the weights of init_from={origin} are not those of this network: {_difference(saved, config, error)}"
        ) from error
    log.info("starting from the %s weights of %s, step %d", saved.weights, saved.origin, saved.step)


def _read(path: Path, weights: str | None) -> SavedModel:
    """What is saved there; nothing of its config will be built."""
    if not is_exported(path):
        return read_trained(path, trust=None, weights=weights)
    saved = read_exported(path, trust=None)
    if weights not in (None, saved.weights):
        raise ValueError(f"{path} has the {saved.weights} weights only: leave out init_weights={weights}")
    return saved


def _difference(saved: SavedModel, config: DictConfig, error: RuntimeError) -> str:
    """The options of the network that differ; the first tensor that does if none is known."""
    theirs, ours = (_of_network(full) for full in (saved.config, plain(config)))
    options = [
        f"{name}={theirs.get(name)} there, {ours.get(name)} here"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
    ]
    first_tensor = str(error).partition("\n")[2].partition("\n")[0].strip()
    return "; ".join(options) or first_tensor


def _of_network(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options on which the network's tensors depend."""
    of_model = dict(leaves({"model": config["model"]}))
    if "variance" not in config:  # a classifier's
        return of_model
    variance = config["variance"]["_target_"].rpartition(".")[2]
    return {**of_model, "self_conditioning": config["self_conditioning"], "variance": variance}
