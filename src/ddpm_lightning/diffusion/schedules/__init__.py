"""Noise schedules, one idea per module: variance-preserving tables of betas, and paths in continuous time."""
