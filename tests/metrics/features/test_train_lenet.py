import torch

from ddpm_lightning.metrics.features import train_lenet
from ddpm_lightning.metrics.features.train_lenet import MAX_SHIFT, accuracy, shifted, train


def test_shifts_move_whole_images_and_reach_every_offset():
    images = torch.zeros(2000, 1, 9, 9, dtype=torch.uint8)
    images[:, 0, 4, 4] = 255
    images[:, 0, 4, 5] = 100
    moved = shifted(images, torch.Generator().manual_seed(0))
    assert torch.equal(moved.flatten(1).sum(dim=1), images.flatten(1).sum(dim=1))  # nothing is lost
    assert torch.equal(moved[:, :, :, 1:][moved[:, :, :, :-1] == 255], torch.full((2000,), 100, dtype=torch.uint8))
    rows, columns = (moved[:, 0] == 255).nonzero()[:, 1:].unbind(1)
    offsets = {(row - 4, column - 4) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)}
    span = range(-MAX_SHIFT, MAX_SHIFT + 1)
    assert offsets == {(row, column) for row in span for column in span}


def test_training_is_deterministic_and_learns(monkeypatch):
    monkeypatch.setattr(train_lenet, "BATCH_SIZE", 20)
    labels = torch.arange(200) % 10
    images = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    for index, label in enumerate(labels.tolist()):
        images[index, 0, 4 + 2 * label : 6 + 2 * label, 6:22] = 150 + index % 100  # the label is the height of a bar
    images[labels >= 5] = images[labels >= 5].transpose(2, 3)
    first, second = (train(images, labels, epochs=4, seed=1) for _ in range(2))
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert accuracy(first, images, labels) > 0.5
