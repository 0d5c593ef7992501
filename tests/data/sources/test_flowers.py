"""Oxford flowers as torchvision reads them, in the official layout, small and whole."""

import os

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets
from torchvision.transforms import v2

from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.sources.flowers import FlowersSource
from ddpm_lightning.data.sources.source import DataFileError

SPLITS = ("train", "val", "test")


def assert_equal_to_torchvision(source, dataset, rows, size):
    """These rows of `source`, against torchvision's data set of the same images."""
    square = v2.Compose(
        [v2.PILToTensor(), v2.Lambda(lambda image: v2.functional.center_crop(image, min(image.shape[1:])))]
    )
    resize = v2.Resize([size, size], antialias=True)
    labels = source.labels()
    for i, row in enumerate(rows):
        theirs, label = dataset[i]
        ours = np.zeros((1, 3, size, size), np.uint8)
        assert source.read(range(row, row + 1), ours) == {}
        assert labels[row] == label
        assert np.abs(ours[0] - resize(square(theirs).float()).numpy()).max() <= 1.01


def trust(monkeypatch, flowers_root):
    """Makes torchvision accept the tiny tables as the official ones."""
    files = {**datasets.Flowers102._file_dict, "label": ("imagelabels.mat", None), "setid": ("setid.mat", None)}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)


def test_labels_splits_and_images_are_torchvisions(flowers_root, monkeypatch):
    trust(monkeypatch, flowers_root)
    source = FlowersSource(flowers_root, image_size=16)
    assert source.image_shape == (3, 16, 16) and source.num_classes == 102
    assert {name: len(rows) for name, rows in source.official_splits().items()} == {"train": 4, "val": 2, "test": 6}
    for split in SPLITS:
        theirs = datasets.Flowers102(flowers_root, split)
        assert_equal_to_torchvision(source, theirs, source.official_splits()[split], 16)


def test_the_real_data_set_is_whole(large_data_root, monkeypatch):
    if not (large_data_root / "flowers-102").is_dir():
        pytest.skip("no flowers-102 in DDPM_DATA_DIR")
    trust(monkeypatch, large_data_root)
    source = FlowersSource(large_data_root)
    assert len(source.labels()) == len(source.list_files()) == 8189
    assert np.unique(source.labels()).tolist() == list(range(102))
    splits = source.official_splits()
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 1020, "val": 1020, "test": 6149}
    assert sorted(np.concatenate([*splits.values()])) == list(range(8189))
    theirs = datasets.Flowers102(large_data_root, "val")
    assert_equal_to_torchvision(source, theirs, splits["val"][:4], 64)


def test_images_are_grey_on_request(flowers_root):
    images = np.zeros((12, 1, 16, 16), np.uint8)
    assert FlowersSource(flowers_root, 16, channels=1).read(range(12), images) == {}
    assert images.std(axis=(1, 2, 3)).min() > 10


def test_any_range_of_rows_gives_the_same_images(flowers_root):
    source = FlowersSource(flowers_root, 16)
    whole, pieces = np.zeros((2, 12, 3, 16, 16), np.uint8)
    source.read(range(12), whole)
    for start in range(0, 12, 5):
        source.read(range(start, min(start + 5, 12)), pieces[start : start + 5])
    np.testing.assert_array_equal(whole, pieces)


def test_a_change_of_a_file_or_label_changes_the_fingerprint(flowers_root):
    prints = {FlowersSource(flowers_root).fingerprint()}
    photo = flowers_root / "flowers-102" / "jpg" / "image_00003.jpg"
    os.utime(photo, ns=(0, 0))
    prints.add(FlowersSource(flowers_root).fingerprint())
    photo.unlink()
    prints.add(FlowersSource(flowers_root).fingerprint())
    labels = np.arange(1, 13, dtype=np.uint8)[None, ::-1]
    savemat(flowers_root / "flowers-102" / "imagelabels.mat", {"labels": labels})
    prints.add(FlowersSource(flowers_root).fingerprint())
    assert len(prints) == 4


def test_an_image_that_is_missing_is_reported(flowers_root, tmp_path):
    (flowers_root / "flowers-102" / "jpg" / "image_00003.jpg").unlink()
    with pytest.raises(DataFileError, match=r"1 of 12 images of flowers .*image_00003\.jpg: the file is missing"):
        cached_images(FlowersSource(flowers_root, 16), tmp_path / "cache")


@pytest.mark.parametrize("kept", [0, 60, 129, 180])
@pytest.mark.parametrize("file", ["imagelabels.mat", "setid.mat"])
def test_a_truncated_table_is_named(flowers_root, file, kept):
    os.truncate(flowers_root / "flowers-102" / file, kept)
    with pytest.raises(DataFileError, match=rf"{file} is damaged .*delete it to have it downloaded again"):
        FlowersSource(flowers_root).labels()


def test_tables_of_something_else_are_refused(flowers_root):
    savemat(flowers_root / "flowers-102" / "setid.mat", {"trnid": [[1]], "something": [[2]]})
    with pytest.raises(DataFileError, match="no table tstid, valid in its .mat files"):
        FlowersSource(flowers_root).labels()


def test_what_is_missing_is_downloaded(flowers_root, archives, tmp_path, monkeypatch):
    members = {"102flowers.tgz": ["jpg"], "imagelabels.mat": ["imagelabels.mat"], "setid.mat": ["setid.mat"]}
    url, md5 = archives(flowers_root / "flowers-102", members)
    files = {key: (name, md5[name]) for key, (name, _) in datasets.Flowers102._file_dict.items()}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)
    monkeypatch.setattr(datasets.Flowers102, "_download_url_prefix", url)
    source, original = FlowersSource(tmp_path / "new", 16), FlowersSource(flowers_root, 16)
    np.testing.assert_array_equal(source.labels(), original.labels())
    images = np.zeros((2, 12, 3, 16, 16), np.uint8)
    assert source.read(range(12), images[0]) == original.read(range(12), images[1]) == {}
    np.testing.assert_array_equal(*images)


def test_without_network_the_error_names_files_and_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.Flowers102, "_download_url_prefix", f"file://{tmp_path}/no-such-mirror/")
    with pytest.raises(DataFileError, match=r"could not be downloaded\. Put imagelabels\.mat.* set paths\.data_dir"):
        FlowersSource(tmp_path).fingerprint()


def test_wrong_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"dataset\.image_size must be at least 1, not 0"):
        FlowersSource(tmp_path, image_size=0)
    with pytest.raises(ValueError, match=r"channels must be 1 \(greyscale\) or 3 \(colour\), not 4"):
        FlowersSource(tmp_path, channels=4)
