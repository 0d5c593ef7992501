"""The page that `--help` prints."""
