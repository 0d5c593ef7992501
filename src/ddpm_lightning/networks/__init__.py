"""Networks: plain PyTorch modules, `network(x, noise_level, label) -> (B, out_channels, H, W)`.

Each takes `input_shape` and `out_channels`, and declares its `conditioning` (the measure of the noise level that it is
given) and its `num_classes` (None if it takes no labels; otherwise label `num_classes` stands for "no label").
"""
