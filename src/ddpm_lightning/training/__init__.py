"""Training with Lightning: the module, its EMA, its randomness, its checkpoints, and how jobs are launched."""
