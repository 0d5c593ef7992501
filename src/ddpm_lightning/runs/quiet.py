"""The messages of dependencies that are not shown, because a user of this project can do nothing about them."""

import logging
import warnings

from lightning.fabric.utilities.warnings import PossibleUserWarning

from ddpm_lightning.runs.ranks import global_rank

HIDDEN: tuple[tuple[str, type[Warning], str], ...] = (
    # Lightning's use of torch; gone with the next Lightning.
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning, r"lightning\.pytorch\.utilities\._pytree"),
    # Our strategy sets it; its replacement exists in torch from 2.13 on only, and would copy buffers at the start.
    (r"`broadcast_buffers` is deprecated", FutureWarning, r"lightning\.pytorch\.strategies\.ddp"),
    # Our loader takes a batch out of an array in memory, for which workers are no gain.
    (r"The '\w+' does not have many workers", PossibleUserWarning, r"lightning\.pytorch\.trainer\.connectors\."),
    # trainer.accelerator=cpu says so; the default takes the GPU.
    (r"GPU available but not used", UserWarning, r"lightning\.pytorch\.trainer\.setup"),
)
"""(Beginning of the message, category, module that it names as its origin), all but the category as patterns."""


def hide_messages() -> None:
    """Hides the warnings above and Lightning's own reports in this process, and what other ranks than the first report.

    Warnings and errors of this project are shown from all ranks. A second call changes nothing.
    """
    for message, category, module in HIDDEN:
        warnings.filterwarnings("ignore", message, category, module)
    # Which accelerators there are, one line per rank and one per checkpoint would bury our own lines.
    for logger in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    if global_rank() > 0:  # the first rank reports the same
        logging.getLogger("ddpm_lightning").setLevel(logging.WARNING)
