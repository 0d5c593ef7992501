"""Score a checkpoint's samples: `python evaluate.py --help` says how."""

from ddpm_lightning.verbs.commands import evaluate

if __name__ == "__main__":
    evaluate()
