from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ddpm_lightning.metrics.features import extractor as module
from ddpm_lightning.metrics.features.extractor import extract_features

FEATURES = Path(__file__).parents[3] / "conf" / "metrics" / "features"


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_features_are_in_order_for_any_batch_size(mean_colours, colour_images, batch_size, monkeypatch):
    monkeypatch.setattr(module, "_BATCH_SIZE", batch_size)
    features = extract_features(mean_colours, colour_images)
    torch.testing.assert_close(features, torch.from_numpy(colour_images.mean(axis=(2, 3))).float())
    assert features.dtype == torch.float32


def test_read_only_memory_map_and_tensor_give_the_same(mean_colours, colour_images, tmp_path: Path, recwarn):
    np.save(tmp_path / "images.npy", colour_images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    from_tensor = extract_features(mean_colours, torch.from_numpy(colour_images))
    assert torch.equal(extract_features(mean_colours, mapped), from_tensor)
    assert not recwarn.list


def test_no_images_give_no_features(mean_colours, colour_images):
    assert extract_features(mean_colours, colour_images[:0]).shape == (0, 3)


def test_autocast_around_the_call_does_not_lower_the_precision(mean_colours, colour_images):
    expected = extract_features(mean_colours, colour_images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(extract_features(mean_colours, colour_images), expected)


def test_extractor_stays_in_evaluation_mode_in_a_module(mean_colours):
    torch.nn.ModuleList([mean_colours]).train()
    assert not mean_colours.training


def test_bad_images_are_refused(mean_colours, colour_images):
    with pytest.raises(ValueError, match="uint8"):
        mean_colours(torch.rand(2, 3, 4, 4))
    with pytest.raises(ValueError, match="3 channels"):
        extract_features(mean_colours, colour_images[:, :1])
    with pytest.raises(ValueError, match=r"\(B, C, H, W\)"):
        extract_features(mean_colours, colour_images[0])


def shared(name: str, **options):
    """The extractor that a config of conf/metrics/features makes."""
    target = OmegaConf.load(FEATURES / f"{name}.yaml")._target_
    return instantiate({"_target_": target, **options})


def test_the_jobs_of_a_process_share_an_extractor():
    mnist = shared("lenet", dataset="mnist")
    assert shared("lenet", dataset="mnist") is mnist
    assert shared("lenet", dataset="fashion_mnist") is not mnist
    assert not mnist.training and not any(parameter.requires_grad for parameter in mnist.parameters())


def test_the_jobs_of_a_process_share_the_inception_network(inception_weights):
    first = shared("inception", weights=str(inception_weights), cache_dir="here")
    assert shared("inception", weights=str(inception_weights), cache_dir="here") is first


def test_a_shared_extractor_may_be_moved_by_a_job():
    """Lightning's tests may run in inference mode; double precision stands for another device."""
    extractor = shared("lenet", dataset="mnist")
    images = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = extract_features(extractor, images)
    with torch.inference_mode():
        extractor.to(torch.float64)
    extractor.to(torch.float32)
    assert torch.equal(extract_features(extractor, images), before)
    with torch.inference_mode():
        extractor.to(torch.float64)
        extractor.to(torch.float32)
    with torch.no_grad():
        assert torch.equal(extractor(images), before)
