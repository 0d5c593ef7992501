"""Batches per second from the data loader alone, against training steps per second.

python benchmarks/input_pipeline.py
"""

import time
from pathlib import Path

from hydra import compose, initialize_config_dir
from training_step import STEPS, ours

from ddpm_lightning.runs.build import build_data
from ddpm_lightning.runs.hardware import resolve_auto

BATCHES = 1500


def main() -> None:
    conf = Path(__file__).resolve().parent.parent / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        options = [f"trainer.max_steps={STEPS}", "trainer.limit_val_batches=0"]
        config = compose("train", overrides=options)
    resolve_auto(config)
    batches = iter(build_data(config).train_dataloader())
    next(batches)
    start = time.perf_counter()
    for _ in range(BATCHES):
        next(batches)
    loader = BATCHES / (time.perf_counter() - start)
    training = ours(config, Path(config.paths.output_dir)) / config.dataset.batch_size
    print(f"loader {loader:.0f} batches/s, training {training:.1f} steps/s: {loader / training:.0f} times")


if __name__ == "__main__":
    main()
