"""Train a diffusion model: `python train.py --help` says how."""

from ddpm_lightning.verbs.commands import train

if __name__ == "__main__":
    train()
