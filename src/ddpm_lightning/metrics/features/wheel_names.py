"""Translation of the names of the wheel's tensors to torch-fidelity's.

The wheel's TorchScript keeps the scopes of the original TensorFlow graph (`mixed_3.tower.conv_1`), torch-fidelity has
torchvision's names (`Mixed_6a.branch3x3dbl_2`). Tensors are matched by name, never by order.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

STEM = {
    "conv": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}
BLOCK_A = {
    "conv": "branch1x1",
    "tower.conv": "branch5x5_1",
    "tower.conv_1": "branch5x5_2",
    "tower_1.conv": "branch3x3dbl_1",
    "tower_1.conv_1": "branch3x3dbl_2",
    "tower_1.conv_2": "branch3x3dbl_3",
    "tower_2.conv": "branch_pool",
}
BLOCK_B = {
    "conv": "branch3x3",
    "tower.conv": "branch3x3dbl_1",
    "tower.conv_1": "branch3x3dbl_2",
    "tower.conv_2": "branch3x3dbl_3",
}
BLOCK_C = {
    "conv": "branch1x1",
    "tower.conv": "branch7x7_1",
    "tower.conv_1": "branch7x7_2",
    "tower.conv_2": "branch7x7_3",
    "tower_1.conv": "branch7x7dbl_1",
    "tower_1.conv_1": "branch7x7dbl_2",
    "tower_1.conv_2": "branch7x7dbl_3",
    "tower_1.conv_3": "branch7x7dbl_4",
    "tower_1.conv_4": "branch7x7dbl_5",
    "tower_2.conv": "branch_pool",
}
BLOCK_D = {
    "tower.conv": "branch3x3_1",
    "tower.conv_1": "branch3x3_2",
    "tower_1.conv": "branch7x7x3_1",
    "tower_1.conv_1": "branch7x7x3_2",
    "tower_1.conv_2": "branch7x7x3_3",
    "tower_1.conv_3": "branch7x7x3_4",
}
BLOCK_E = {  # in this block only, scopes are joined by "_"
    "conv": "branch1x1",
    "tower_conv": "branch3x3_1",
    "tower_mixed_conv": "branch3x3_2a",
    "tower_mixed_conv_1": "branch3x3_2b",
    "tower_1_conv": "branch3x3dbl_1",
    "tower_1_conv_1": "branch3x3dbl_2",
    "tower_1_mixed_conv": "branch3x3dbl_3a",
    "tower_1_mixed_conv_1": "branch3x3dbl_3b",
    "tower_2_conv": "branch_pool",
}
BLOCKS = {
    "mixed": ("Mixed_5b", BLOCK_A),
    "mixed_1": ("Mixed_5c", BLOCK_A),
    "mixed_2": ("Mixed_5d", BLOCK_A),
    "mixed_3": ("Mixed_6a", BLOCK_B),
    "mixed_4": ("Mixed_6b", BLOCK_C),
    "mixed_5": ("Mixed_6c", BLOCK_C),
    "mixed_6": ("Mixed_6d", BLOCK_C),
    "mixed_7": ("Mixed_6e", BLOCK_C),
    "mixed_8": ("Mixed_7a", BLOCK_D),
    "mixed_9": ("Mixed_7b", BLOCK_E),
    "mixed_10": ("Mixed_7c", BLOCK_E),
}


def convolution_names() -> dict[str, str]:
    """Names of the 94 convolutions with their batch norms: the wheel's -> torch-fidelity's."""
    names = dict(STEM)
    for scope, (block, branches) in BLOCKS.items():
        for wheel_branch, branch in branches.items():
            names[f"{scope}.{wheel_branch}"] = f"{block}.{branch}"
    return names


def rename_wheel_tensors(wheel: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The wheel's tensors by torch-fidelity's names, float32; batch norm's scale, which the graph lacks, is one.

    Raises:
        ValueError: a tensor is missing or left over.
    """
    parts = ("weight", "beta", "mean", "var")
    expected = {f"net.layers.{name}.{part}" for name in convolution_names() for part in parts}
    if expected != set(wheel):
        raise ValueError(
            f"the wheel does not hold the known tensors; missing or unknown: {sorted(expected ^ set(wheel))[:5]}"
        )
    renamed: dict[str, Tensor] = {}
    for wheel_name, name in convolution_names().items():
        weight = wheel[f"net.layers.{wheel_name}.weight"].float()
        renamed[f"{name}.conv.weight"] = weight
        renamed[f"{name}.bn.weight"] = torch.ones(len(weight))
        renamed[f"{name}.bn.bias"] = wheel[f"net.layers.{wheel_name}.beta"].float()
        renamed[f"{name}.bn.running_mean"] = wheel[f"net.layers.{wheel_name}.mean"].float()
        renamed[f"{name}.bn.running_var"] = wheel[f"net.layers.{wheel_name}.var"].float()
    return renamed
