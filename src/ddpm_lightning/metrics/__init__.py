"""Scores of generated images: feature extractors, FID, KID, precision and recall, and the card of each score.

Plain PyTorch. Import what you need from the submodules; importing this package is free.
"""
