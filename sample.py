"""Draw images from a checkpoint: `python sample.py --help` says how."""

from ddpm_lightning.verbs.commands import sample

if __name__ == "__main__":
    sample()
