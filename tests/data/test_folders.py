"""What is found in folders of images, in which order, and what is said of folders that hold something else."""

import os
from unicodedata import normalize

import pytest
from support.datasets import HOSTILE, save, write_folder, write_nasty, write_tiny_imagenet

from pipeline.data.own.folders import scan_folder
from pipeline.data.tiny_imagenet import list_tiny_imagenet
from pipeline.system.errors import IntegrityFailure, UsageFailure


def paths(listing):
    return [file.path for file in listing.files]


def test_parts_in_order(tmp_path):
    """Images come part by part, class by class and path by path, whatever the order of the folder's entries."""
    write_folder(tmp_path, ("test/", "val/", "train/"), ("b", "a"), 3)
    found = scan_folder(str(tmp_path))
    assert paths(found) == [
        f"{p}/{c}/0{n}.png" for p in ("train", "val", "test") for c in "ab" for n in range(3)
    ]
    assert found.labels == (0, 0, 0, 1, 1, 1) * 3
    assert found.parts == ("train",) * 6 + ("val",) * 6 + ("test",) * 6
    assert found.classes == ("a", "b")
    assert all(file.size == (tmp_path / file.path).stat().st_size for file in found.files)


def test_classes_directly(tmp_path):
    """Without a train folder the classes may be directly in the folder."""
    found = scan_folder(str(write_folder(tmp_path, ("",), ("dog", "cat"), 2)))
    assert found.classes == ("cat", "dog")
    assert set(found.parts) == {"train"}
    assert paths(found)[0] == "cat/00.png"


def test_accents_of_two_systems(tmp_path):
    """A class is the same in each part, whether its accent is a character of its own or not; train decides."""
    composed, apart = (normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    for names in ((composed, apart), (apart, composed)):
        root = tmp_path / names[0].encode("unicode_escape").decode()
        write_folder(root, ("train/",), ("tea", names[0]), 2)
        write_folder(root, ("val/",), ("tea", names[1]), 2)
        found = scan_folder(str(root))
        assert found.classes == tuple(sorted(("tea", names[0])))
        assert sorted(found.labels) == [0] * 4 + [1] * 4


def test_nasty(tmp_path):
    """Nested images are found; hidden ones and other files are not; of an empty class a line tells."""
    found = scan_folder(str(write_nasty(tmp_path)))
    assert found.classes == tuple(sorted(HOSTILE))
    assert len(found.files) == 8 * len(HOSTILE)
    assert all("/deeper/" in path for path in paths(found))
    assert found.notes == ("left out without images: 'empty'", "6 files passed over: .txt 5, .md 1")


def test_relative_path(tmp_path, monkeypatch):
    """A relative path counts from the working folder."""
    write_folder(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    assert scan_folder("photos").root == tmp_path / "photos"


def test_links(tmp_path):
    """Links to folders are followed, but not in circles."""
    root = write_folder(tmp_path / "a", classes=("cat",), count=2)
    write_folder(tmp_path / "b", classes=("dog",), count=2)
    (root / "train" / "dog").symlink_to(tmp_path / "b" / "train" / "dog")
    (root / "train" / "cat" / "up").symlink_to(root / "train" / "cat")
    assert paths(scan_folder(str(root))) == [
        f"train/{c}/0{n}.png" for c in ("cat", "dog") for n in range(2)
    ]


def test_pipes_are_passed_over(tmp_path):
    """What has the name of an image and is no file is not opened."""
    os.mkfifo(write_folder(tmp_path) / "train" / "cat" / "x.png")
    assert len(scan_folder(str(tmp_path)).files) == 24


def test_links_to_nothing(tmp_path):
    """They do not end the listing: images are listed, to be told with all that cannot be read, others are counted."""
    train = write_folder(tmp_path) / "train"
    (train / "cat" / "x.png").symlink_to("nowhere")
    (train / "cat" / "y.png").symlink_to("y.png")
    (train / "bird").symlink_to("on a disk that is away")
    listing = scan_folder(str(tmp_path))
    assert {"train/cat/x.png", "train/cat/y.png"} < set(paths(listing))
    assert listing.notes == ("1 file passed over: broken links 1",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda root: None,
            r"no folder .*/photos: folder:PATH takes one that holds <class>/<images>, or train/",
        ),
        (lambda root: root.write_text("a file"), "no folder"),
        (lambda root: root.mkdir(), "needs images of at least 2 classes, .* found none"),
        (
            lambda root: write_folder(root, classes=("cat",)),
            "at least 2 classes, .* below .*/train: found 'cat'",
        ),
        (
            lambda root: save(root / "train" / "x.png"),
            "of its own below a folder train: found 'train'",
        ),
        (lambda root: write_folder(root, ("val/", "test/")), "found 'test', 'val'"),
        (
            lambda root: [
                write_folder(root),
                write_folder(root, ("val/",), ("cat", "cow\x1b[31m")),
            ],
            "photos/val has images of classes that train has none of: 'cow'",
        ),
        (
            lambda root: (write_folder(root) / "test").mkdir(),
            "photos/test holds no images in folders of classes",
        ),
    ],
)
def test_refused(tmp_path, make, message):
    """A folder without train images of two classes, or with other classes in its other parts, is refused in a line."""
    make(tmp_path / "photos")
    with pytest.raises(UsageFailure, match=message) as failure:
        scan_folder(str(tmp_path / "photos"))
    assert "\n" not in str(failure.value)
    assert "\x1b" not in str(failure.value)


@pytest.mark.parametrize("name", ["tiny-imagenet-200", "tiny_imagenet", "tiny-imagenet-20", "."])
def test_tiny_imagenet(tmp_path, name):
    """Classes are in order of their ids and named by their first word, with the id where two share it; val tests."""
    root = write_tiny_imagenet(tmp_path, name=name)
    found = list_tiny_imagenet(tmp_path)
    assert found.root == root.resolve()
    assert found.classes == ("crane (n001)", "crane (n002)", "goldfish")
    assert found.parts == ("train",) * 60 + ("test",) * 12
    assert found.labels == tuple(
        [n for n in range(3) for _ in range(20)] + [n for n in range(3) for _ in range(4)]
    )
    assert paths(found)[60:64] == [f"val/images/val_{n}.JPEG" for n in (4, 5, 6, 7)]


def test_tiny_imagenet_of_one_class(tmp_path):
    """Rows of the lists that name no class of wnids.txt are passed over."""
    root = write_tiny_imagenet(tmp_path)
    (root / "wnids.txt").write_text("n001\nn003\n")
    (root / "words.txt").unlink()
    assert list_tiny_imagenet(tmp_path).classes == ("n001", "n003")
    assert len(list_tiny_imagenet(tmp_path).files) == 48


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("val/images/val_4.JPEG", "lacks val/images/val_4.JPEG: extract it anew"),
        ("val/val_annotations.txt", "is incomplete .*val_annotations.txt: No such file"),
    ],
)
def test_incomplete_tiny_imagenet(tmp_path, lost, message):
    """Where a file is missing that a list names, or a list, the data set is half extracted."""
    (write_tiny_imagenet(tmp_path) / lost).unlink()
    with pytest.raises(IntegrityFailure, match=message):
        list_tiny_imagenet(tmp_path)


def test_tiny_imagenet_without_a_class(tmp_path):
    """A class that is listed and has no images is missing."""
    root = write_tiny_imagenet(tmp_path)
    for path in (root / "train" / "n002" / "images").iterdir():
        path.unlink()
    with pytest.raises(IntegrityFailure, match="has no train images of 'n002'"):
        list_tiny_imagenet(tmp_path)


def test_several_tiny_imagenets(tmp_path):
    """Which of several is meant is not guessed."""
    for name in ("tiny-imagenet-20", "tiny-imagenet-50"):
        write_tiny_imagenet(tmp_path, name=name)
    with pytest.raises(
        UsageFailure, match="several of data set tiny_imagenet in .*'tiny-imagenet-20', 'tiny-im"
    ):
        list_tiny_imagenet(tmp_path)
