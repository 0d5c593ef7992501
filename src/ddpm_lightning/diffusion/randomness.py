"""Random numbers that are functions of what they are for, not of what was drawn before.

A counter-based generator (Philox 4x32-10, Salmon et al. 2011) maps a key and a counter to random bits. The key holds
the seed and the purpose, the counter the item (a slot of the batch, or a sample's index), the step, the micro-batch and
the place in the item's tensor. So a number does not depend on the batch size, on the number of devices, on what was
drawn earlier, or on the kind of device; a resumed run needs no generator state.
"""

import math
from enum import IntEnum, unique

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF


@unique
class Purpose(IntEnum):
    """What numbers are drawn for: draws of different purposes are independent."""

    TIME = 0
    SHARED_TIME = 1
    NOISE = 2
    FLIP = 3
    LABEL_DROPOUT = 4
    INITIAL_SAMPLE = 5
    SAMPLER_NOISE = 6
    VALIDATION_NOISE = 7
    SELF_CONDITIONING = 8
    KNOWN_PIXELS = 9
    RESAMPLING = 10
    BOUND_NOISE = 11
    DEQUANTIZATION = 12
    TRACE_PROBE = 13


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox 4x32-10: four words of random bits from a counter of four words and a key of two.

    The words are int64 tensors that broadcast together, with values in [0, 2^32); so are the answers.
    """
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        # Products of 32-bit words wrap in int64, and the mask makes the arithmetic shift a logical one.
        product_a, product_c = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (
            ((product_c >> 32) & _WORD) ^ b ^ k0,
            product_c & _WORD,
            ((product_a >> 32) & _WORD) ^ d ^ k1,
            product_a & _WORD,
        )
        k0, k1 = (k0 + 0x9E3779B9) & _WORD, (k1 + 0xBB67AE85) & _WORD
    return a, b, c, d


def _words(
    seed: int, purpose: Purpose, items: Tensor, count: int, step: int, micro_batch: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random words for `count` counters per item: four int64 tensors (N, count), values in [0, 2^32)."""
    if not 0 <= seed <= _WORD:
        raise ValueError(f"a seed must lie in [0, 2^32), not {seed}")
    block = torch.arange(count, device=items.device)[None, :]
    item = items.long()[:, None].expand(-1, count)
    a, b, c, d = philox(
        (block, item, torch.full_like(block, step), torch.full_like(block, micro_batch)), (seed, int(purpose))
    )
    return a, b, c, d


def keyed_uniform(
    seed: int, purpose: Purpose, items: Tensor, shape: tuple[int, ...] = (), *, step: int = 0, micro_batch: int = 0
) -> Tensor:
    """Uniform numbers in [0, 1), by default one per item.

    items: (N,), integers in [0, 2^32). Returns (N, *shape), float32.
    """
    size = math.prod(shape)
    words = torch.stack(_words(seed, purpose, items, -(-size // 4), step, micro_batch), -1)
    return ((words.flatten(1)[:, :size] >> 8).float() * 2.0**-24).reshape(len(items), *shape)


def keyed_normal(
    seed: int, purpose: Purpose, items: Tensor, shape: tuple[int, ...], *, step: int = 0, micro_batch: int = 0
) -> Tensor:
    """Standard normal tensors, one per item (Box & Muller 1958).

    items: (N,), integers in [0, 2^32). Returns (N, *shape), float32.
    """
    size = math.prod(shape)
    a, b, c, d = _words(seed, purpose, items, -(-size // 4), step, micro_batch)
    radius = (-2 * ((torch.stack([a, c], -1).float() + 0.5) * 2.0**-32).clamp(max=1.0).log()).sqrt()
    angle = torch.stack([b, d], -1).float() * (2 * math.pi * 2.0**-32)
    normals = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    return normals.flatten(1)[:, :size].reshape(len(items), *shape)


def golden_spread(indices: Tensor) -> Tensor:
    """Evenly spread numbers in [0, 1) for 0, 1, 2, ...: multiples of the golden ratio, modulo 1. (N,) to (N,), float32.

    Any run of consecutive indices is spread evenly, so no number has to know how many there are.
    """
    return ((indices.double() * 0.6180339887498949) % 1.0).float().clamp(max=1 - 2.0**-24)  # not rounded up to 1
