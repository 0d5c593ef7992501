"""Training throughput of the default U-Net against diffusers' UNet2DModel with equal forward FLOPs.

Ours is trained as in `python train.py` (Lightning, data loader, keyed draws, clipping, EMA, the machine's fastest
precision); theirs with the training step of diffusers' documentation (float32, NCHW, AdamW, clipping) on a batch in
memory. The two alternate in one process; the result is the median of the rounds' ratios.

Run it as: python benchmarks/training_step.py [rounds]
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ddpm_lightning.runs.build import build_data, build_module, build_trainer
from ddpm_lightning.runs.hardware import resolve_auto

STEPS = 60
WARM_UP = 10


class StepClock(Callback):
    """A callback that measures the time from the end of the warm-up steps to the last step."""

    seconds = 0.0

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == WARM_UP:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - self.start if trainer.global_step > WARM_UP else 0.0


def forward_flops(network: nn.Module, image: Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        network(image, torch.full((1,), 0.5))
    return counter.get_total_flops()


def ours(config: DictConfig, folder: Path) -> float:
    """Our training throughput, in images per second."""
    data = build_data(config)
    module = build_module(config, data.image_shape, data.num_classes)
    module.normalizer.fit(data.split("train"))
    clock = StepClock()
    trainer = build_trainer(config, folder, [clock], [])
    trainer.fit(module, data)
    return (STEPS - WARM_UP) * config.dataset.batch_size / clock.seconds


def theirs(network: Any, batch: Tensor) -> float:
    """Their training throughput, in images per second."""
    network.train()
    scheduler: Any = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    start = 0.0
    for step in range(STEPS):
        if step == WARM_UP:
            start = time.perf_counter()
        noise = torch.randn(batch.shape)
        timesteps = torch.randint(0, 1000, (len(batch),), dtype=torch.int64)
        noisy = scheduler.add_noise(batch, noise, timesteps)
        loss = F.mse_loss(network(noisy, timesteps, return_dict=False)[0], noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (STEPS - WARM_UP) * len(batch) / (time.perf_counter() - start)


def diffusers_network(channels: tuple[int, int, int], size: int) -> Any:
    """Their U-Net with attention at the lowest resolution, as in ours."""
    return UNet2DModel(
        sample_size=size,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )


def main(rounds: int) -> None:
    conf = Path(__file__).resolve().parent.parent / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        options = [f"trainer.max_steps={STEPS}", "trainer.limit_val_batches=0"]
        config = compose("train", overrides=options)
    resolve_auto(config)
    data = build_data(config)
    image = torch.zeros(1, *data.image_shape)
    our_flops = forward_flops(build_module(config, data.image_shape, data.num_classes).network, image)
    # The widths whose FLOPs are nearest to ours; their group norm needs multiples of 8.
    candidates = [(w, m, m) for w in (24, 32, 40) for m in (40, 48, 56, 64, 72, 80)]
    channels = min(
        candidates, key=lambda c: abs(forward_flops(diffusers_network(c, image.shape[-1]), image) - our_flops)
    )
    network = diffusers_network(channels, image.shape[-1])
    print(f"forward MFLOP per image: ours {our_flops / 1e6:.0f}, ", end="")
    print(f"diffusers {channels} {forward_flops(network, image) / 1e6:.0f}; {torch.get_num_threads()} threads")
    batch = torch.from_numpy(data.split("train").images_at(range(config.dataset.batch_size))).float() / 127.5 - 1

    ratios = []
    for number in range(rounds):
        our_speed, their_speed = ours(config, Path(config.paths.output_dir)), theirs(network, batch)
        ratios.append(our_speed / their_speed)
        print(f"round {number}: ours {our_speed:.0f} images/s, diffusers {their_speed:.0f}, ratio {ratios[-1]:.2f}")
    print(f"median ratio over {rounds} rounds: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
