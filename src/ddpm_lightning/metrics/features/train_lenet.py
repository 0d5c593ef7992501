"""Script that trains the classifier of the LeNet features.

    python -m ddpm_lightning.metrics.features.train_lenet --dataset mnist --data-dir data --out lenet_mnist.safetensors

Deterministic for one version of torch on one kind of processor. The file's metadata hold the training options and the
test accuracy. With new weights, put the printed hash into `WEIGHTS_SHA256`; their scores do not compare with old ones.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import datasets

from ddpm_lightning.metrics.features.lenet import LeNet
from ddpm_lightning.metrics.features.tensor_files import save_tensors

DATASETS = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}
BATCH_SIZE = 128
MAX_LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-2
LABEL_SMOOTHING = 0.05
MAX_SHIFT = 2  # pixels


def load_split(dataset: str, data_dir: str, train: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) uint8 and labels (N,) int64; downloaded if they are not in `data_dir`."""
    split = DATASETS[dataset](data_dir, train=train, download=True)
    return split.data[:, None], split.targets


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (B, 1, H, W), each moved by up to `MAX_SHIFT` pixels along each axis and padded with black."""
    batch, _, height, width = images.shape
    padded = F.pad(images, [MAX_SHIFT] * 4)[:, 0]
    offsets = torch.randint(0, 2 * MAX_SHIFT + 1, (2, batch, 1, 1), generator=generator)
    rows = offsets[0] + torch.arange(height)[:, None]
    columns = offsets[1] + torch.arange(width)
    return padded[torch.arange(batch)[:, None, None], rows, columns][:, None]


def train(images: Tensor, labels: Tensor, epochs: int, seed: int) -> LeNet:
    """The classifier after `epochs` epochs over images (N, 1, 28, 28) uint8 and labels (N,)."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = LeNet()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    steps_per_epoch = len(images) // BATCH_SIZE
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_LEARNING_RATE, epochs * steps_per_epoch)
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for step in range(steps_per_epoch):
            chosen = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
            logits = network(shifted(images[chosen], generator).float() / 255)
            loss = F.cross_entropy(logits, labels[chosen], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{epochs}: loss of the last batch {loss.item():.3f}", flush=True)
    return network.eval()


@torch.inference_mode()
def accuracy(network: LeNet, images: Tensor, labels: Tensor) -> float:
    """Share of images (N, 1, 28, 28) uint8 whose largest logit is that of their label."""
    guesses = [network(batch.float() / 255).argmax(dim=1) for batch in images.split(500)]
    return (torch.cat(guesses) == labels).double().mean().item()


def recipe(epochs: int = 5, seed: int = 0) -> str:
    """The options of the training, as the weights' file records them; by default those of the weights that ship."""
    return (
        f"AdamW, one cycle to {MAX_LEARNING_RATE}, weight decay {WEIGHT_DECAY}, label smoothing {LABEL_SMOOTHING}, "
        f"batch {BATCH_SIZE}, {epochs} epochs, shifts up to {MAX_SHIFT} pixels, seed {seed}"
    )


def main() -> None:
    """Entry point: trains on one data set and writes the weights."""
    parser = argparse.ArgumentParser(description="Train the classifier behind the LeNet features.")
    parser.add_argument("--dataset", required=True, choices=sorted(DATASETS))
    parser.add_argument("--data-dir", required=True, help="folder that holds (or will hold) torchvision's data set")
    parser.add_argument("--out", required=True, type=Path, help="safetensors file to write; must not exist")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists: choose another name, or remove it first")
    torch.set_num_threads(1)  # the order of a sum, and so the last bit, depends on the number of threads
    network = train(*load_split(arguments.dataset, arguments.data_dir, True), arguments.epochs, arguments.seed)
    test_accuracy = accuracy(network, *load_split(arguments.dataset, arguments.data_dir, False))
    training = f"{recipe(arguments.epochs, arguments.seed)}, torch {torch.__version__}"
    made = {"dataset": arguments.dataset, "test_accuracy": round(test_accuracy, 4), "training": training}
    # One entry, because safetensors writes several in random order, which would change the hash of the file.
    save_tensors(arguments.out, network.state_dict(), {"made": json.dumps(made)})
    sha256 = hashlib.sha256(arguments.out.read_bytes()).hexdigest()
    print(f"test accuracy {test_accuracy:.4f}\nsha256 {sha256}\nwrote {arguments.out}")


if __name__ == "__main__":
    main()
