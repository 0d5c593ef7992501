import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm_lightning.metrics.features import reference
from ddpm_lightning.metrics.features.extractor import extract_features
from ddpm_lightning.metrics.features.reference import choose_real_indices, reference_features


def test_second_call_reads_what_the_first_computed(mean_colours, colour_images, tmp_path: Path):
    first = reference_features(mean_colours, colour_images, tmp_path / "cache", "data")
    second = reference_features(mean_colours, colour_images, tmp_path / "cache", "data")
    assert mean_colours.calls == 1
    assert torch.equal(first, second)
    assert torch.equal(first, extract_features(mean_colours, colour_images))


def test_other_data_or_other_weights_are_computed_again(mean_colours, colour_images, tmp_path: Path):
    reference_features(mean_colours, colour_images, tmp_path, "data")
    other = reference_features(mean_colours, 255 - colour_images, tmp_path, "other data")
    mean_colours.sha256 = "1" * 64
    reference_features(mean_colours, colour_images, tmp_path, "data")
    assert mean_colours.calls == 3
    assert len(list(tmp_path.iterdir())) == 3
    assert torch.equal(other, extract_features(mean_colours, 255 - colour_images))


@pytest.mark.parametrize("damage", ["truncated", "empty", "a bit", "not a cache"])
def test_damaged_cache_is_rebuilt_with_a_warning(mean_colours, colour_images, tmp_path: Path, damage):
    expected = reference_features(mean_colours, colour_images, tmp_path, "data")
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.write_bytes(
        {
            "truncated": content[:-10],
            "empty": b"",
            "a bit": content[:-1] + bytes([content[-1] ^ 1]),
            "not a cache": b"something else altogether",
        }[damage]
    )
    with pytest.warns(UserWarning, match="computed again"):
        rebuilt = reference_features(mean_colours, colour_images, tmp_path, "data")
    assert torch.equal(rebuilt, expected)
    calls = mean_colours.calls
    reference_features(mean_colours, colour_images, tmp_path, "data")
    assert mean_colours.calls == calls


def test_a_folder_that_cannot_be_written_costs_a_warning_only(mean_colours, colour_images, tmp_path, monkeypatch):
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(reference, "save_tensors", read_only)
    with pytest.warns(UserWarning, match=r"\(Read-only file system\).*: set paths\.cache_dir to a writable folder"):
        features = reference_features(mean_colours, colour_images, tmp_path, "data")
    assert torch.equal(features, extract_features(mean_colours, colour_images))


def test_another_versions_features_are_not_read(mean_colours, colour_images, tmp_path, monkeypatch):
    reference_features(mean_colours, colour_images, tmp_path, "data")
    monkeypatch.setattr(reference, "_FORMAT_VERSION", reference._FORMAT_VERSION + 1)
    reference_features(mean_colours, colour_images, tmp_path, "data")
    assert mean_colours.calls == 2


def test_builders_at_the_same_time_do_no_harm(mean_colours, colour_images, tmp_path: Path):
    expected = extract_features(mean_colours, colour_images)

    def build(_: int) -> torch.Tensor:
        return reference_features(mean_colours, colour_images, tmp_path, "data")

    with ThreadPoolExecutor(8) as pool:
        assert all(torch.equal(features, expected) for features in pool.map(build, range(16)))
    assert len(list(tmp_path.iterdir())) == 1


def test_chosen_indices_are_a_sorted_subset_of_the_seed():
    chosen = choose_real_indices(1000, 400, seed=3)
    global_state = np.random.get_state()
    np.random.seed(1)
    other_state = np.random.get_state()[1].copy()
    assert np.array_equal(choose_real_indices(1000, 400, seed=3), chosen)
    assert np.array_equal(np.random.get_state()[1], other_state)
    np.random.set_state(global_state)
    assert not np.array_equal(choose_real_indices(1000, 400, seed=4), chosen)
    assert len(set(chosen.tolist())) == 400
    assert (np.diff(chosen) > 0).all()
    assert set(chosen.tolist()) <= set(range(1000))
    assert np.array_equal(choose_real_indices(5, 5, seed=0), np.arange(5))


def test_every_index_is_as_likely_as_any_other():
    counts = np.bincount(np.concatenate([choose_real_indices(20, 5, seed) for seed in range(2000)]), minlength=20)
    # Each count is binomial: 2,000 draws of probability 1/4, deviation 19.4.
    assert np.abs(counts - 500).max() < 5 * 19.4


def test_more_than_available_are_refused():
    with pytest.raises(ValueError, match=r"6 real images out of 5: lower metrics\.num_real"):
        choose_real_indices(5, 6, seed=0)
