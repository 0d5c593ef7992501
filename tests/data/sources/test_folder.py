"""Any tree of images: which files are found, their classes, and damaged files."""

import logging
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.sources.folder import FolderSource
from ddpm_lightning.data.sources.source import DataFileError

SHADE = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def colours_of(source):
    """Which colour each image has."""
    images = np.zeros((len(source.labels()), *source.image_shape), np.uint8)
    assert source.read(range(len(images)), images) == {}
    names = list(SHADE)
    return [names[int(image.mean(axis=(1, 2)).argmax())] for image in images]


def test_top_level_folders_are_classes_in_alphabetical_order(tree, tmp_path):
    folder = tree({"zebra/1.png": "blue", "ape/deep/er/2.png": "red", "ape/1.JPG": "green", "bee/x.jpg": "red"})
    source = FolderSource(tmp_path, folder, image_size=4)
    assert source.list_files() == ["ape/1.JPG", "ape/deep/er/2.png", "bee/x.jpg", "zebra/1.png"]
    assert (source.num_classes, source.labels().tolist()) == (3, [0, 0, 1, 2])
    assert colours_of(source) == ["green", "red", "red", "blue"]
    assert source.official_splits() == {}


def test_there_are_no_classes_without_a_folder_for_each_image(tree, tmp_path):
    folder = tree({"a/1.png": "red", "b/2.png": "green"})
    unused = FolderSource(tmp_path, folder, use_classes=False)
    assert (unused.num_classes, unused.labels().tolist()) == (0, [0, 0])
    tree({"3.png": "blue"})
    mixed = FolderSource(tmp_path, folder, image_size=4)
    assert (mixed.num_classes, mixed.labels().tolist()) == (0, [0, 0, 0])
    assert colours_of(mixed) == ["blue", "red", "green"]


def test_files_of_other_kinds_are_counted_in_one_warning(tree, tmp_path, caplog):
    folder = tree({"a.png": "red", ".b.png": "red", ".git/c.png": "red", "d/.e/f.png": "red"})
    for name in ("1.HEIC", "2.heic", "notes.txt", "README", ".hidden.txt"):
        (folder / name).write_text("not an image")
    for _ in range(2):  # a command lists it twice
        assert FolderSource(tmp_path, folder).list_files() == ["a.png"]
    (message,) = caplog.messages
    assert message == (
        f"{folder}: files of kinds that are not read are left out (2 .heic, 1 .txt, 1 without suffix): convert those "
        "that are images to JPEG or PNG"
    )


def test_the_file_that_switches_classes_off_is_named(tree, tmp_path, caplog):
    folder = tree({"cat/1.png": "red", "dog/1.png": "blue", "dog/2.png": "blue"})
    assert FolderSource(tmp_path, folder).num_classes == 2
    tree({"stray.png": "red"})
    assert FolderSource(tmp_path, folder, use_classes=False).num_classes == 0
    assert not caplog.records
    assert FolderSource(tmp_path, folder).num_classes == 0
    assert caplog.messages == [
        f"{folder}: no classes, since stray.png is in none of their folders (cat, dog): move or delete it"
    ]


def test_folders_that_macos_adds_to_archives_are_left_out(tree, tmp_path):
    folder = tree({"ape/a.png": "red", "__MACOSX/ape/a.png": "blue"})
    assert FolderSource(tmp_path, folder).list_files() == ["ape/a.png"]


def test_links_are_followed_but_not_in_circles(tree, tmp_path):
    folder = tree({"a/1.png": "red", "b/2.png": "green"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(folder / "a" / "1.png", elsewhere / "3.png")
    (folder / "c").symlink_to(elsewhere)
    (folder / "a" / "4.png").symlink_to("../b/2.png")
    (folder / "a" / "up").symlink_to("..")
    (elsewhere / "back").symlink_to(folder / "a")
    (elsewhere / "self").symlink_to(elsewhere)
    files = FolderSource(tmp_path, folder).list_files()
    assert files == ["a/1.png", "a/4.png", "b/2.png", "c/3.png", "c/back/1.png", "c/back/4.png"]


def test_pipes_are_left_out_and_broken_links_are_reported(tree, tmp_path):
    folder = tree({"a.png": "red"})
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to("nowhere")
    source = FolderSource(tmp_path, folder, image_size=4)
    assert source.list_files() == ["a.png", "gone.png"]
    before = source.fingerprint()
    assert source.read(range(2), np.zeros((2, 3, 4, 4), np.uint8)) == {1: f"{folder}/gone.png: the file is missing"}
    (folder / "nowhere").symlink_to("a.png")
    assert FolderSource(tmp_path, folder, image_size=4).fingerprint() != before


def test_names_that_are_not_text_are_read_and_reported(tree, tmp_path):
    folder = tree({"a.png": "red"})
    shutil.copy(folder / "a.png", os.fsencode(folder) + b"/caf\xe9.png")
    with open(os.fsencode(folder) + b"/\xff.png", "wb"):
        pass
    cached = cached_images(FolderSource(tmp_path, folder, image_size=4, skip_damaged=True), tmp_path / "cache")
    assert cached.readable.tolist() == [0, 1]
    assert (cached.images[1] == cached.images[0]).all()
    assert r"\xff.png: not an image of a known format" in (cached.path.parent / "damaged.txt").read_text()


def test_the_folder_is_looked_for_here_and_below_the_data_folder(tree, tmp_path, monkeypatch):
    folder = tree({"a.png": "red"})
    monkeypatch.chdir(folder)
    for path in (folder, ".", "tree", "../tree"):
        assert FolderSource(tmp_path, path).list_files() == ["a.png"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FolderSource("/", "~/tree").list_files() == ["a.png"]


@pytest.mark.parametrize(("path", "advice"), [("photos", "or give the folder that has photos as "), ("/photos", "$")])
def test_a_missing_folder_is_an_error_with_advice(tmp_path, monkeypatch, path, advice):
    monkeypatch.chdir(tmp_path)
    source = FolderSource(tmp_path / "data", path, image_size=4)
    assert source.image_shape == (3, 4, 4), "the folder is not needed for that"
    tried = f"{tmp_path}/photos and {tmp_path}/data/photos" if path == "photos" else "/photos"
    with pytest.raises(DataFileError, match=rf"={path} is not a folder: looked for {tried}\. .* back(, )?{advice}"):
        source.labels()


def test_a_file_is_not_a_folder(tree, tmp_path):
    file = tree({"a.png": "red"}) / "a.png"
    with pytest.raises(DataFileError, match=r"a\.png must be a folder, and .*/a\.png is a file"):
        FolderSource(tmp_path, file).labels()


def test_a_warning_says_which_of_two_folders_is_used(tree, tmp_path, monkeypatch, caplog):
    folder = tree({"a.png": "red"})
    shutil.copytree(folder, tmp_path / "data" / "tree")
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert FolderSource(tmp_path / "link", "tree").list_files() and not caplog.records
    assert FolderSource(tmp_path / "data", "tree").list_files()
    assert f"dataset.path=tree is {folder}, not {tmp_path}/data/tree, which also exists" in caplog.text


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataFileError, match=r"has no images \(other files: 1 \.txt\): put images there, .* \.png"):
        FolderSource(tmp_path, tmp_path).labels()


def test_a_folder_that_cannot_be_listed_is_an_error(tree, tmp_path, monkeypatch):
    folder, scandir = tree({"a/1.png": "red", "b/2.png": "red"}), os.scandir

    def refuse(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataFileError, match=r"cannot list .*tree/b: Permission denied"):
        FolderSource(tmp_path, folder).labels()


@pytest.fixture
def mixed_tree(tree):
    """Three good images, of other kinds and sizes, and four bad ones."""
    folder = tree({"a.png": "red", "h.png": "blue"})
    Image.new("L", (30, 20), 128).save(folder / "b.tif")
    (folder / "c.jpg").write_bytes(b"")
    (folder / "d.jpg").write_text("<html>404</html>")
    Image.effect_noise((99, 99), 50).save(folder / "e.jpg")
    os.truncate(folder / "e.jpg", 2000)
    Image.new("F", (9, 9), 0.5).save(folder / "f.tif")
    return folder


def test_damaged_images_are_refused_with_a_report(mixed_tree, tmp_path):
    source = FolderSource(tmp_path, mixed_tree, image_size=4)
    for _ in range(2):  # from a new entry and from one that is there
        with pytest.raises(
            DataFileError, match=r"4 of 7 .*c\.jpg.*d\.jpg.*e\.jpg.*; \.\.\. .*source\.skip_damaged=true"
        ) as caught:
            cached_images(source, tmp_path / "cache")
    (report,) = tmp_path.glob("cache/*/damaged.txt")
    assert f"(all: {report})" in str(caught.value)
    lines = report.read_text().splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        str(mixed_tree / name) for name in ("c.jpg", "d.jpg", "e.jpg", "f.tif")
    ]
    assert lines[3].endswith("unknown range")


def test_damaged_images_are_skipped_on_request(mixed_tree, tmp_path, caplog):
    source = FolderSource(tmp_path, mixed_tree, image_size=4, skip_damaged=True)
    with caplog.at_level(logging.WARNING):
        cached = cached_images(source, tmp_path / "cache")
    assert "4 of 7 images of folder cannot be read" in caplog.text and "left out" in caplog.text
    assert cached.readable.tolist() == [0, 1, 6]
    seen = [tuple(cached.images[row].mean(axis=(1, 2))) for row in cached.readable]
    assert seen == [(255, 0, 0), (128, 128, 128), (0, 0, 255)]


def test_a_repaired_image_is_read_again(mixed_tree, tmp_path):
    def readable():
        source = FolderSource(tmp_path, mixed_tree, image_size=4, skip_damaged=True)
        return len(cached_images(source, tmp_path / "cache").readable)

    assert readable() == 3
    shutil.copy(mixed_tree / "a.png", mixed_tree / "c.jpg")
    assert readable() == 4


def test_a_folder_of_damaged_images_alone_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataFileError, match="1 of 1 images of folder cannot be read"):
        cached_images(FolderSource(tmp_path, tmp_path, image_size=4, skip_damaged=True), tmp_path / "cache")


def test_a_file_that_the_system_refuses_to_read_is_not_damaged(tree, tmp_path, monkeypatch):
    source = FolderSource(tmp_path, tree({"a.png": "red"}), image_size=4, skip_damaged=True)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        with pytest.raises(DataFileError, match=r"cannot read .*a\.png: Permission denied"):
            cached_images(source, tmp_path / "cache")
    assert cached_images(source, tmp_path / "cache").readable.tolist() == [0]


def test_greyscale(tree, tmp_path):
    source = FolderSource(tmp_path, tree({"a.png": (90, 90, 90)}), image_size=4, channels=1)
    assert cached_images(source, tmp_path / "cache").images.tolist() == np.full((1, 1, 4, 4), 90).tolist()


def test_several_threads_read_the_same_images_as_one(tree, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    folder = tree({f"{number}.png": tuple(rng.integers(0, 256, 3).tolist()) for number in range(600)})
    (folder / "300.png").write_bytes(b"")
    found = []
    for cores in "12":
        monkeypatch.setenv("DDPM_LIGHTNING_THREADS", cores)
        source = FolderSource(tmp_path, folder, image_size=4, skip_damaged=True)
        found.append(cached_images(source, tmp_path / f"cache{cores}"))
    np.testing.assert_array_equal(found[0].images, found[1].images)
    assert found[0].fingerprint == found[1].fingerprint
    assert len(found[1].readable) == 599


def test_names_with_new_lines_are_reported_in_one_line(tree, tmp_path):
    folder = tree({"a.png": "red"})
    for name in ("b\n.png", "c\u2028é.png"):
        (folder / name).write_bytes(b"")
    cached = cached_images(FolderSource(tmp_path, folder, image_size=4, skip_damaged=True), tmp_path / "cache")
    lines = (cached.path.parent / "damaged.txt").read_text().splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{folder}/b\\n.png", f"{folder}/c\\u2028é.png"]
