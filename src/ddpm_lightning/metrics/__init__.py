"""How far generated images are from real ones: feature extractors, FID, KID, and the card that goes with each value.

Plain PyTorch. Import what you need from the submodules; importing this package is free.
"""
