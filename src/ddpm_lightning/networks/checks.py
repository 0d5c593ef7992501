"""Ranges of the options that networks share."""

from collections.abc import Sequence

WIDEST, MOST_BLOCKS = 8192, 100
"""Bounds far above any network that trains, so that a digit too many does not fill the memory."""


def check_levels(channels: Sequence[int], blocks: int) -> None:
    """Raises ValueError unless there is a level, each level has channels, and there is a block for each."""
    if not channels or min(channels) < 1:
        raise ValueError(f"model.channels must be widths of at least 1, one for each level, not {list(channels)}")
    if max(channels) > WIDEST:
        raise ValueError(f"model.channels must be widths of at most {WIDEST}, not {list(channels)}")
    if blocks < 1:
        raise ValueError(f"model.blocks must be at least 1, not {blocks}")
    if blocks > MOST_BLOCKS:
        raise ValueError(f"model.blocks must be at most {MOST_BLOCKS}, not {blocks}")


def check_options(
    levels: int, attention_levels: Sequence[int], head_channels: int, dropout: float, num_classes: int | None
) -> None:
    """Raises ValueError for options of a U-Net out of their range: attention, dropout in [0, 1), classes."""
    if unknown := set(attention_levels) - set(range(levels)):
        raise ValueError(f"model.attention_levels {sorted(unknown)} do not exist: there are levels 0 to {levels - 1}")
    if head_channels < 1:
        raise ValueError(f"model.head_channels must be at least 1, not {head_channels}")
    if not 0 <= dropout < 1:
        raise ValueError(f"model.dropout must lie in [0, 1), not {dropout}")
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"model.num_classes must be at least 1, or null for an unconditional model, not {num_classes}")
