"""Networks: plain PyTorch modules called as `net(x, noise_level, label) -> tensor shaped as x`."""
