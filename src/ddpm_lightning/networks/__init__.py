"""Networks: plain PyTorch modules, `network(x, noise_level, label) -> (B, out_channels, H, W)`.

Each is made with `input_shape` and `out_channels`, and declares its `conditioning` (the measure of noise level that it
wants) and its `num_classes` (None: it takes no labels; else label `num_classes` stands for "no label").
"""
