"""Whether two folders hold the same images: for the cache, and for a model that was trained on them."""

import os

import pytest
from PIL import Image

from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.sources.folder import FolderSource
from ddpm_lightning.data.sources.source import DataFileError
from ddpm_lightning.verbs.evaluate import evaluate
from ddpm_lightning.verbs.sample import sample
from ddpm_lightning.verbs.train import train


def test_folders_that_differ_only_in_content_are_distinguished(tmp_path):
    seen = []
    for colour in ("red", "blue"):
        (tmp_path / colour).mkdir()
        Image.new("RGB", (4, 4), colour).save(tmp_path / colour / "a.bmp")
        os.utime(tmp_path / colour / "a.bmp", ns=(0, 0))
        source = FolderSource(tmp_path, tmp_path / colour, image_size=4)
        seen.append(cached_images(source, tmp_path / "cache").images[0, :, 0, 0].tolist())
    assert seen == [[255, 0, 0], [0, 0, 255]]


def test_a_folder_has_one_fingerprint_by_any_path_to_it(tree, tmp_path):
    folder = tree({"a.png": "red"})
    (tmp_path / "link").symlink_to(folder)
    paths = (folder, tmp_path / "link", tmp_path / "link" / ".." / "tree")
    assert len({FolderSource(tmp_path, path).fingerprint() for path in paths}) == 1


def test_an_edit_that_resets_the_time_changes_the_fingerprint(tree, tmp_path):
    path = tree({"a.bmp": "red"}) / "a.bmp"
    Image.new("RGB", (4, 4), "red").save(path)
    before, first = path.stat(), FolderSource(tmp_path, path.parent).fingerprint()
    Image.new("RGB", (4, 4), "blue").save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the system's clock ticks every few milliseconds
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert FolderSource(tmp_path, path.parent).fingerprint() != first


def test_a_model_continues_with_its_images_and_no_others(compose_verb, tree, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    tree({f"{kind}/{number}.png": "red" for kind in ("ape", "bee") for number in range(10)})
    here = [f"paths.cache_dir={tmp_path / 'cache'}", "trainer.accelerator=cpu"]
    training = [
        *("dataset=folder", "dataset.path=tree", "dataset.image_size=8", "dataset.batch_size=4", "debug=one_batch"),
        *("callbacks=checkpointing", "logger=none", "trainer.precision=32-true"),
        *("model.channels=[16,16]", "model.attention_levels=[]", "model.num_classes=2"),
    ]
    train(compose_verb("train", *training, *here))
    (tmp_path / "data").mkdir()
    (tmp_path / "tree").rename(tmp_path / "data" / "tree")
    from_run = [f"checkpoint={tmp_path / 'run'}", *here]
    sample(compose_verb("sample", *from_run, "num=4", "sampler.steps=2", folder=tmp_path / "samples"))
    assert (tmp_path / "samples" / "samples.png").is_file(), "the images are not needed for samples"

    evaluation = [*from_run, "~callbacks.generative_metrics", "trainer.limit_test_batches=1"]
    with pytest.raises(DataFileError, match=r"give the folder that has tree as paths\.data_dir"):
        evaluate(compose_verb("evaluate", *evaluation, "paths.data_dir=elsewhere", folder=tmp_path / "a"))
    assert (
        evaluate(compose_verb("evaluate", *evaluation, "paths.data_dir=data", folder=tmp_path / "b"))["test/loss"] > 0
    )

    resumed = ("train", "resume=run", here[0], "paths.data_dir=data")
    assert train(compose_verb(*resumed, "trainer.max_steps=2"))["test/loss"] > 0

    Image.new("RGB", (9, 9), "blue").save(tmp_path / "data" / "tree" / "ape" / "0.png")
    evaluate(compose_verb("evaluate", *evaluation, "paths.data_dir=data", folder=tmp_path / "c"))
    assert "are not the same as those the model was trained on" in caplog.text
    with pytest.raises(ValueError, match="made with other data .*pixels_hash was .*restore the data set's files"):
        train(compose_verb(*resumed, "trainer.max_steps=3"))

    (tmp_path / "data" / "tree" / "ape" / "0.png").unlink()
    with pytest.raises(ValueError, match="split differently from those the model was trained on"):
        evaluate(compose_verb("evaluate", *evaluation, "paths.data_dir=data", folder=tmp_path / "d"))
