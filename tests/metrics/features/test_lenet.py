import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from ddpm_lightning.metrics.features import lenet
from ddpm_lightning.metrics.features.extractor import extract_features
from ddpm_lightning.metrics.features.lenet import WEIGHTS_DIR, LeNetFeatures
from ddpm_lightning.metrics.features.train_lenet import accuracy, recipe
from ddpm_lightning.metrics.frechet import frechet_distance
from ddpm_lightning.metrics.kernel import kernel_distance

LEAST_ACCURACY = {"mnist": 0.992, "fashion_mnist": 0.915}


@pytest.mark.parametrize("dataset", sorted(LEAST_ACCURACY))
def test_committed_weights_are_small_and_record_their_training(dataset):
    path = WEIGHTS_DIR / f"lenet_{dataset}.safetensors"
    assert path.stat().st_size < 1_000_000
    with safe_open(path, framework="pt") as file:
        made = json.loads(file.metadata()["made"])
    assert made["dataset"] == dataset
    assert made["test_accuracy"] >= LEAST_ACCURACY[dataset]
    assert made["training"].startswith(f"{recipe()}, torch ")


@pytest.mark.parametrize("dataset", sorted(LEAST_ACCURACY))
def test_accuracy_in_the_metadata_is_true(dataset, request):
    images, labels = (torch.tensor(array) for array in request.getfixturevalue(f"{dataset}_test"))
    found = accuracy(LeNetFeatures(dataset).network, images, labels)
    with safe_open(WEIGHTS_DIR / f"lenet_{dataset}.safetensors", framework="pt") as file:
        claimed = json.loads(file.metadata()["made"])["test_accuracy"]
    assert found == pytest.approx(claimed, abs=2e-4)


def test_features_feed_the_classifier():
    extractor = LeNetFeatures("mnist")
    images = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features = extract_features(extractor, images)
    assert features.shape == (5, extractor.num_features)
    assert (extractor.name, extractor.sha256) == ("lenet_mnist", lenet.WEIGHTS_SHA256["mnist"])
    with torch.inference_mode():
        torch.testing.assert_close(extractor.network.classes(features), extractor.network(images.float() / 255))


def test_scores_are_worse_for_damaged_digits(mnist_test, mnist_train_images):
    generator = np.random.default_rng(0)
    extractor = LeNetFeatures("mnist")
    real = mnist_test[0][generator.choice(10_000, 1000, replace=False)]
    others = mnist_train_images[generator.choice(60_000, 1000, replace=False)]
    specks = others.copy()
    specks[generator.random(others.shape) < 0.01] = 255
    noise = generator.integers(0, 256, others.shape, dtype=np.uint8)
    reference = extract_features(extractor, real)
    scores = [
        (kernel_distance(reference, features), frechet_distance(reference, features))
        for features in (extract_features(extractor, images) for images in (others, specks, noise))
    ]
    assert abs(scores[0][0]) < 0.1 * scores[1][0] < 0.1 * scores[2][0]
    assert scores[0][1] < 0.5 * scores[1][1] < 0.5 * scores[2][1]


def test_a_file_with_one_changed_bit_is_refused(tmp_path: Path, monkeypatch):
    path = tmp_path / "lenet_mnist.safetensors"
    shutil.copy(WEIGHTS_DIR / path.name, path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(lenet, "WEIGHTS_DIR", tmp_path)
    with pytest.raises(ValueError, match="not the published file"):
        LeNetFeatures("mnist")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="missing from the package"):
        LeNetFeatures("mnist")


def test_unknown_dataset_and_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="choose from fashion_mnist, mnist"):
        LeNetFeatures("cifar10")
    with pytest.raises(ValueError, match="metrics/features=inception"):
        LeNetFeatures("mnist").check_images((3, 28, 28))
