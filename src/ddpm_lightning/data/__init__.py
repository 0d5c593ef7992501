"""Data: image sources, their uint8 cache, and loaders whose order is a function of (seed, batches seen) alone."""
