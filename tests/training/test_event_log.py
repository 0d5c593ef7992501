"""TensorBoard's log, cut back to where a checkpoint was written."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ddpm_lightning.training.event_log import TensorBoardLogger


def started(folder: Path) -> TensorBoardLogger:
    """A logger that has begun its file, as Lightning's do before training."""
    logger = TensorBoardLogger(folder, name="", version="log")
    logger.experiment.flush()
    return logger


def logged(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "log")).Reload()
    return [(event.step, event.value) for event in events.Scalars("a")] if "a" in events.Tags()["scalars"] else []


def test_a_rewound_log_holds_every_step_once(tmp_path: Path) -> None:
    first = started(tmp_path)
    first.log_metrics({"a": 1.0}, 1)
    position = first.position()
    first.log_metrics({"a": 2.0}, 2)
    first.finalize("killed")
    second = started(tmp_path)  # another start, which got no further than its hyperparameters
    second.finalize("killed")
    third = started(tmp_path)
    own = third.position().keys() - position.keys()
    third.rewind(position)
    remaining = third.position()
    assert remaining.keys() - position.keys() < own  # the second start's file is gone, the third's is not
    assert len(remaining) == 2
    third.log_metrics({"a": 3.0}, 2)
    third.finalize("success")
    assert logged(tmp_path) == [(1, 1.0), (2, 3.0)]


def test_a_log_rewound_to_its_beginning_is_empty(tmp_path: Path) -> None:
    first = started(tmp_path)
    first.log_metrics({"a": 1.0}, 1)
    first.finalize("killed")
    second = started(tmp_path)
    second.rewind({})
    assert len(second.position()) == 1
    assert logged(tmp_path) == []
