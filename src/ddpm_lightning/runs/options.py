"""The role of each option in a run: one table, from which everything else about options follows.

What the identity of a run covers, what may change when it is resumed, what a report calls a factor, and what a summary
shows are the same question.
"""

from enum import StrEnum


class Role(StrEnum):
    """Role of an option in a run."""

    EXPERIMENT = "experiment"
    """Determines the result."""
    LENGTH = "length"
    """Length of the training: part of the experiment, but a resumed run may go further."""
    SEED = "seed"
    """Selects a replicate of the experiment."""
    MACHINE = "machine"
    """Hardware, and the division of the work on it."""
    PLACE = "place"
    """Location of files, and names."""
    OBSERVER = "observer"
    """Output along the way: what is shown, logged and saved."""


ROLES = {
    "seed": Role.SEED,
    "checkpoint": Role.SEED,  # evaluations of several checkpoints are replicates, as trainings with several seeds are
    "checkpoint.step": Role.EXPERIMENT,
    "name": Role.PLACE,
    "experiment_name": Role.PLACE,
    "resume": Role.PLACE,
    "trust": Role.PLACE,
    "paths": Role.PLACE,
    "metrics.weights": Role.PLACE,
    "metrics.features.weights": Role.PLACE,
    "metrics.features.cache_dir": Role.PLACE,
    "trainer": Role.MACHINE,  # the group's choice; of its options below, some are the experiment's
    "trainer.": Role.EXPERIMENT,
    "trainer.accelerator": Role.MACHINE,
    "trainer.devices": Role.MACHINE,
    "trainer.num_nodes": Role.MACHINE,
    "trainer.strategy": Role.MACHINE,
    "trainer.max_steps": Role.LENGTH,
    "trainer.max_epochs": Role.LENGTH,
    "trainer.log_every_n_steps": Role.OBSERVER,
    "trainer.val_check_interval": Role.OBSERVER,
    "trainer.check_val_every_n_epoch": Role.OBSERVER,
    "trainer.limit_val_batches": Role.OBSERVER,
    "trainer.num_sanity_val_steps": Role.OBSERVER,
    "compile": Role.MACHINE,
    "chunk_size": Role.MACHINE,
    "sample.chunk_size": Role.MACHINE,
    "metrics.chunk_size": Role.MACHINE,
    "dataset.num_workers": Role.MACHINE,
    "dataset.in_memory": Role.MACHINE,
    "metrics.every_n_epochs": Role.OBSERVER,
    "callbacks": Role.OBSERVER,
    "logger": Role.OBSERVER,
    "hydra": Role.OBSERVER,
    "optimize": Role.OBSERVER,
    "config_version": Role.OBSERVER,
}
"""Option, or group of options, -> its role; a longer name overrides a shorter one, and the rest is the experiment.

A name that ends with a dot covers what is below it, but not the option itself.
"""

IDENTITY = frozenset({Role.EXPERIMENT, Role.LENGTH, Role.SEED})
"""Roles of the options that make a run this run: two runs that differ in none of them are one."""
FACTORS = frozenset({Role.EXPERIMENT, Role.LENGTH})
"""Roles of the options whose effect a report studies."""
RESUMABLE = frozenset({Role.LENGTH, Role.MACHINE, Role.PLACE, Role.OBSERVER})
"""Roles of the options that may change when a run is resumed."""


def role_of(option: str) -> Role:
    """The role of an option, by its path ("trainer.devices"), or of a group's choice ("trainer", "dataset/split")."""
    path = option.replace("/", ".")
    covering = [name for name in ROLES if path == name or path.startswith(f"{name.rstrip('.')}.")]
    return ROLES[max(covering, key=len)] if covering else Role.EXPERIMENT
