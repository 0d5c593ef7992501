"""Data sets as uint8 arrays on disk."""
