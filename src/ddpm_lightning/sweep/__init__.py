"""One command over many jobs: their plan, their folders, their progress."""
