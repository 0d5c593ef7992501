"""The class of each sample."""

import pytest
import torch
from torch import nn

from ddpm_lightning.samplers.labels import one_label, proportional_labels, uniform_labels


@pytest.mark.parametrize("num_classes", [1, 3, 10])
def test_uniform_labels_take_turns(num_classes):
    labels = uniform_labels(num_classes)(torch.arange(4 * num_classes))
    assert labels.dtype == torch.long
    assert labels.tolist() == list(range(num_classes)) * 4


@pytest.mark.parametrize("label", range(3))
def test_one_label_is_that_of_every_sample(label):
    labels = one_label(label, 3)(torch.arange(5, 9))
    assert labels.dtype == torch.long
    assert labels.tolist() == [label] * 4


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_does_not_exist_is_refused(label):
    with pytest.raises(ValueError, match=f"label={label} does not exist: this model has the classes 0 to 2"):
        one_label(label, 3)


def test_a_label_for_a_model_without_classes_is_refused():
    with pytest.raises(ValueError, match="label=0, but this model has no classes: leave label out"):
        one_label(0, None)


@pytest.mark.parametrize("counts", [[1, 1], [60, 25, 10, 5], [0, 3, 0, 1, 0], [6313, 6742, 5958, 1]], ids=str)
def test_any_run_of_samples_has_the_datas_proportions(counts):
    """Counts of each class are right to within four samples, in runs of any start and length.

    Exactly the nearest number is more than multiples of the golden ratio give; independent draws would miss by 50.
    """
    counts = torch.tensor(counts)
    labels = proportional_labels(counts)(torch.arange(20_000))
    assert labels.dtype == torch.long
    excess = nn.functional.one_hot(labels, len(counts)) - counts.double() / counts.sum()
    total = torch.cat([torch.zeros(1, len(counts)), excess.cumsum(0)])
    for number in (1, 2, 10, 64, 100, 1000, 10_000):
        assert (total[number:] - total[:-number]).abs().max() < 4


def test_a_class_that_does_not_occur_is_never_drawn():
    """Not even at the borders of shares, where a class without a share would begin."""
    labels = proportional_labels(torch.tensor([0, 5, 0, 0, 5, 0]))(torch.arange(200_000))
    assert labels.unique().tolist() == [1, 4]


def test_proportional_labels_do_not_depend_on_the_chunk():
    labels, indices = proportional_labels(torch.tensor([5, 3, 2])), torch.arange(100)
    assert torch.equal(torch.cat([labels(part) for part in indices.split(7)]), labels(indices))
