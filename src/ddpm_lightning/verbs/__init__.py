"""The commands, named as the scripts at the root."""
