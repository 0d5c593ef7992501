"""Noise schedules, one idea a module: variance-preserving tables of betas, and paths in continuous time."""
