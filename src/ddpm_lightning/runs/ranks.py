"""Rank and world size from the environment, before torch.distributed starts."""

import os

from ddpm_lightning.processes import is_child


def started_from_outside() -> bool:
    """Whether torchrun's agent (the user's, or the one of `runs/launch.py`) or srun started this process as a rank.

    The variables of a SLURM allocation alone do not say so: a batch script has them too.
    """
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def is_own_rank() -> bool:
    """Whether this project started this process as a rank."""
    return is_child() and "TORCHELASTIC_RUN_ID" in os.environ


def global_rank() -> int:
    """This process's number among the ranks; 0 where it is the only one."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if started_from_outside() else 0


def num_ranks() -> int:
    """How many ranks there are."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
