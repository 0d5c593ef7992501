"""Callbacks: pictures, scores, checkpoints, costs, progress and the summary of a run. They hold no mathematics."""
