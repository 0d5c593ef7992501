"""Oxford pets as torchvision reads them, in the official layout, and their experiment."""

import shutil

import numpy as np
import pytest
from hydra.core.hydra_config import HydraConfig
from torchvision import datasets
from torchvision.transforms import v2

from ddpm_lightning.data.sources.pets import PetsSource
from ddpm_lightning.data.sources.source import DataFileError
from ddpm_lightning.verbs.train import train

LISTS = {"train": "trainval", "test": "test"}


@pytest.fixture
def own_pets(pets_root, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(pets_root, tmp_path / "pets")


@pytest.mark.parametrize(("species", "target", "classes"), [(False, "category", 37), (True, "binary-category", 2)])
def test_labels_and_splits_are_torchvisions(pets_root, species, target, classes):
    source = PetsSource(pets_root, species=species)
    assert source.num_classes == classes
    splits = source.official_splits()
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 24, "test": 16}
    assert sorted(np.concatenate([*splits.values()])) == list(range(40))
    for split, name in LISTS.items():
        theirs = datasets.OxfordIIITPet(pets_root, name, target)
        assert source.labels()[splits[split]].tolist() == [theirs[i][1] for i in range(len(theirs))]


def test_images_are_torchvisions_cut_and_resized(pets_root):
    source = PetsSource(pets_root, image_size=16)
    ours = np.zeros((40, 3, 16, 16), np.uint8)
    assert source.read(range(40), ours) == {}
    resize = v2.Resize([16, 16], antialias=True)
    for split, name in LISTS.items():
        theirs = datasets.OxfordIIITPet(pets_root, name, transform=v2.PILToTensor())
        for (image, _), row in zip(theirs, source.official_splits()[split], strict=True):
            square = v2.functional.center_crop(image, min(image.shape[1:]))
            assert np.abs(ours[row] - resize(square.float()).numpy()).max() <= 1.01


def test_labels_are_part_of_the_fingerprint(pets_root):
    assert PetsSource(pets_root).fingerprint() != PetsSource(pets_root, species=True).fingerprint()


@pytest.mark.parametrize(
    "line", ["Bengal_1 6 1", "Bengal_1 six 1 1", "Bengal_1 38 1 1", "Bengal_1 6 0 1", "Bengal_1 6 3 1", "", "\0\0\0\0"]
)
def test_a_damaged_list_is_named_with_its_line(own_pets, line):
    path = own_pets / "oxford-iiit-pet" / "annotations" / "test.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")
    with pytest.raises(
        DataFileError, match=r"test\.txt is damaged in line 3 .*delete the folder .*annotations to have"
    ):
        PetsSource(own_pets).labels()


def serve(monkeypatch, archives, pets_root):
    members = {"images.tar.gz": ["images"], "annotations.tar.gz": ["annotations"]}
    url, md5 = archives(pets_root / "oxford-iiit-pet", members)
    monkeypatch.setattr(datasets.OxfordIIITPet, "_RESOURCES", [(url + name, md5[name]) for name in members])


def test_what_is_missing_is_downloaded(pets_root, own_pets, archives, tmp_path, monkeypatch):
    serve(monkeypatch, archives, pets_root)
    shutil.rmtree(own_pets / "oxford-iiit-pet" / "annotations")
    for root in (tmp_path / "new", own_pets):
        source = PetsSource(root, 16)
        np.testing.assert_array_equal(source.labels(), PetsSource(pets_root).labels())
        assert source.read(range(40), np.zeros((40, 3, 16, 16), np.uint8)) == {}


def test_without_network_the_error_names_files_and_folder(own_pets, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.OxfordIIITPet, "_RESOURCES", [(f"file://{tmp_path}/no-such-mirror/a.tar.gz", "0")])
    expected = r"could not be downloaded\. Put the folders images and annotations .* set paths\.data_dir"
    with pytest.raises(DataFileError, match=expected):
        PetsSource(tmp_path / "new").fingerprint()
    (own_pets / "oxford-iiit-pet" / "annotations" / "test.txt").unlink()
    with pytest.raises(DataFileError, match=expected):
        PetsSource(own_pets).fingerprint()


def test_the_experiment_runs_on_the_tiny_set(compose_verb, pets_root, tmp_path):
    small = ["dataset.image_size=8", "dataset.batch_size=8", "dataset.diagnostic_size=8", "model.channels=[16,16]"]
    config = compose_verb(
        "train",
        "experiment=pets_ablation",
        f"paths.data_dir={pets_root}",
        f"paths.cache_dir={tmp_path / 'cache'}",
        *small,
        "callbacks=minimal",
        "logger=none",
        "trainer.max_epochs=1",
        "trainer.check_val_every_n_epoch=1",
        "trainer.accelerator=cpu",
    )
    assert (config.metrics.num_real, config.dataset.source._target_) == (
        1470,
        "ddpm_lightning.data.sources.pets.PetsSource",
    )
    assert train(config)["test/loss"] > 0
    assert HydraConfig.get().sweeper.params == {
        "seed": "0,1,2",
        "schedule": "linear_rates,cosine_rates",
        "loss": "mae,mse",
        "loss_on": "noise,image",
    }
