"""The choice of a group by which its options come from a checkpoint."""

FROM_CHECKPOINT = "from_checkpoint"
"""Choice of evaluate.py and sample.py; a training has no checkpoint to take options from."""
