"""Write a checkpoint's model as safetensors and JSON, or for diffusers: `python export.py --help` says how."""

from ddpm_lightning.verbs.commands import export

if __name__ == "__main__":
    export()
