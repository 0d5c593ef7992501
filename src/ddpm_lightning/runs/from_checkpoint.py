"""The choices of groups that need a checkpoint, which a training does not have."""

FROM_CHECKPOINT = "from_checkpoint"
"""Choice of evaluate.py and sample.py, by which the group's options come from the checkpoint."""
_MEASURE_CHECKPOINTS = {("metrics", "likelihood")}


def needs_checkpoint(group: str, choice: str) -> bool:
    """Whether no training can have this choice."""
    return choice == FROM_CHECKPOINT or (group, choice) in _MEASURE_CHECKPOINTS


def refuse_in_training(group: str, choice: str) -> None:
    """Raises ValueError if no training can have this choice."""
    if choice == FROM_CHECKPOINT:
        raise ValueError(f"{group}={choice} is for evaluate.py and sample.py: choose another {group}")
    if needs_checkpoint(group, choice):
        raise ValueError(
            f"{group}={choice} measures a checkpoint: train without it, then python evaluate.py checkpoint=RUN "
            f"{group}={choice}"
        )
