"""Folders as people have them, and what is printed of each: read as meant, or refused in a line."""

import shutil

import pytest
from support.datasets import save

from pipeline.data.search_data import load
from pipeline.system.errors import UsageFailure
from sweeps.trial import DATA_VERSION


def write(root, spec):
    """Write folders of images: ``train/cat 12`` is 12 images there, ``x.heic 3`` three files of another kind."""
    seed = 0
    for place, count in (entry.rsplit(" ", 1) for entry in spec.split(", ")):
        for number in range(int(count)):
            seed += 1
            if "." in place.rpartition("/")[2]:
                path = root / f"{place.rpartition('.')[0]}{number}.{place.rpartition('.')[2]}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"no image")
            else:
                save(root / place / f"{number}.png", seed, (4, 4), "L")
        if count == "0":
            (root / place).mkdir(parents=True)
    return root


CLASSES = "classes: cat 12, dog 12"
HELD_OUT = "train 16, val 4 held out of train, test 4 held out of train"

UNLABELLED = (
    "test/ passed over: its 7 images are in no folder of a class; test images are held out of train "
    "instead"
)

INNER = (
    "images of folders inside a class are of that class: 'cat' holds 'images', 'masks'; if that is "
    "not meant, name the folder that holds the classes, or list the images in a table: csv:FILE"
)

# What is in the folder, and what is printed of it; the first two lines of each begin alike.
READ = {
    "flat": ("cat 12, dog 12", ["24 images of 2 " + CLASSES, HELD_OUT]),
    "only train": (
        "train/cat 12, train/dog 12",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in train/, val 4 held out of train, test 4 held out of train",
        ],
    ),
    "three parts": (
        "train/cat 8, train/dog 8, val/cat 2, val/dog 2, test/cat 2, test/dog 2",
        ["24 images of 2 " + CLASSES, "train 16 in train/, val 4 in val/, test 4 in test/"],
    ),
    "a brain's": (
        "Training/cat 10, Training/dog 10, Testing/cat 2, Testing/dog 2",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in Training/, val 4 held out of train, test 4 in Testing/",
        ],
    ),
    "capitals": (
        "TRAIN/cat 8, TRAIN/dog 8, Valid/cat 2, Valid/dog 2, Test/cat 2, Test/dog 2",
        ["24 images of 2 " + CLASSES, "train 16 in TRAIN/, val 4 in Valid/, test 4 in Test/"],
    ),
    "roboflow's": (
        "train/cat 8, train/dog 8, valid/cat 2, valid/dog 2, test/cat 2, test/dog 2, README.txt 1",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in train/, val 4 in valid/, test 4 in test/",
            "1 file passed over: .txt 1",
        ],
    ),
    "dev": (
        "train/cat 10, train/dog 10, dev/cat 2, dev/dog 2",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in train/, val 4 in dev/, test 4 held out of train",
        ],
    ),
    "a common prefix": (
        "seg_train/cat 10, seg_train/dog 10, seg_test/cat 2, seg_test/dog 2, seg_pred 5",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in seg_train/, val 4 held out of train, test 4 in seg_test/",
            "seg_pred/ passed over: it is no part (5 images)",
        ],
    ),
    "a suffix, and each twice": (
        "train_imgs/train_imgs/cat 10, train_imgs/train_imgs/dog 10, test_imgs/cat 2, test_imgs/dog 2",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in train_imgs/, val 4 held out of train, test 4 in test_imgs/",
        ],
    ),
    "glued": (
        "trainset/cat 10, trainset/dog 10, testSet/cat 2, testSet/dog 2",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in trainset/, val 4 held out of train, test 4 in testSet/",
        ],
    ),
    "a folder around": (
        "a/pets/train/cat 10, a/pets/train/dog 10, a/pets/test/cat 2, a/pets/test/dog 2",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in a/pets/train/, val 4 held out of train, test 4 in a/pets/test/",
        ],
    ),
    "classes first": (
        "cat/train 8, dog/train 8, cat/val 2, dog/val 2, cat/test 2, dog/test 2",
        ["24 images of 2 " + CLASSES, "train 16 in */train/, val 4 in */val/, test 4 in */test/"],
    ),
    "test apart": (
        "cat 10, dog 10, test/cat 2, test/dog 2",
        ["24 images of 2 " + CLASSES, "train 16, val 4 held out of train, test 4 in test/"],
    ),
    "a test without labels": (
        "train/cat 12, train/dog 12, test 7",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in train/, val 4 held out of train, test 4 held out of train",
            UNLABELLED,
        ],
    ),
    "vehicles": (
        "train 12, car 12",
        [
            "24 images of 2 classes: car 12, train 12",
            HELD_OUT,
            "'train' is taken for a class: it holds images, and no folders of classes",
        ],
    ),
    "stations": (
        "train_station 12, test_tube 12",
        ["24 images of 2 classes: test_tube 12, train_station 12", HELD_OUT],
    ),
    "a phone's": (
        "cat 12, dog 12, cat/a.HEIC 4, dog/b.avif 5, dog/c.heic 1, bird/d.heic 2",
        [
            "24 images of 2 " + CLASSES,
            HELD_OUT,
            "left out without images: 'bird'",
            "12 files passed over: .heic 7, .avif 5",
        ],
    ),
    "a mac's": (
        "__MACOSX/cat 3, cat 12, dog 12, .hidden/x 3",
        ["24 images of 2 " + CLASSES, HELD_OUT],
    ),
    "strays": (
        "train/cat 12, train/dog 12, train 2",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in train/, val 4 held out of train, test 4 held out of train",
            "2 images directly in train/ passed over: they are in no folder of a class",
        ],
    ),
    "masks beside images": (
        "cat/images 6, cat/masks 6, dog/images 6, dog/masks 6",
        [
            "24 images of 2 " + CLASSES,
            HELD_OUT,
            INNER,
        ],
    ),
    "numbers": (
        "10 6, 9 6, 100 6",
        [
            "18 images of 3 classes: 9 6, 10 6, 100 6",
            "train 12, val 3 held out of train, test 3 held out of train",
        ],
    ),
    "one class in two spellings": (
        "Cat 6, cat 6",
        [
            "12 images of 2 classes: Cat 6, cat 6",
            "train 8, val 2 held out of train, test 2 held out of train",
            "classes that differ in capitals or spaces only: 'Cat', 'cat'",
        ],
    ),
    "too few of a class": (
        "cat 12, dog 12, cow 1",
        [
            "25 images of 3 classes: cat 12, cow 1, dog 12",
            "train 17, val 4 held out of train, test 4 held out of train",
            "val has no image of 1 of 3 classes, which no validation score will count: 'cow'",
        ],
    ),
    "other spellings of classes": (
        "train/cat 10, train/dog 10, test/Cat 2, test/DOG 2",
        [
            "24 images of 2 " + CLASSES,
            "train 16 in train/, val 4 held out of train, test 4 in test/",
        ],
    ),
}
REFUSED = {
    "a part among classes": (
        "cat 3, dog 3, test 3",
        "is 'test' a part or a class, beside 'cat', 'dog'? A part holds a folder for each class",
    ),
    "a class that holds folders": (
        "train/steam 3, train/diesel 3, bus 3, car 3",
        "is train/ a part or a class? It holds folders, but beside it there are 'bus', 'car'",
    ),
    "two of a part": (
        "train/cat 3, train/dog 3, val/cat 3, validation/cat 3",
        "which folder is val, 'val' or 'validation'?",
    ),
    "two trains": (
        "a_train/cat 3, a_train/dog 3, b_train/cat 3, b_train/dog 3",
        "'a_train', 'b_train' may be train, or a class that holds folders",
    ),
    "parts without classes": ("train 9, test 3", "needs images of at least 2 classes"),
    "another class in a part": (
        "train/cat 3, train/dog 3, test/cow 3",
        "/test has images of classes that train has none of: 'cow'",
    ),
    "a val without labels": (
        "train/cat 3, train/dog 3, val 3",
        "/val holds no images in folders of classes",
    ),
    "an empty test": (
        "train/cat 3, train/dog 3, test 0",
        "/test holds no images in folders of classes",
    ),
    "some classes divided": (
        "cat/train 3, cat/test 3, dog 3",
        "'cat' holds folders of parts, and 'dog' does not",
    ),
    "no classes": ("images 9", "needs images of at least 2 classes"),
}


@pytest.mark.parametrize("name", READ)
def test_read(tmp_path, capsys, name):
    """What was found comes first: classes, splits and their folders, sizes and modes, and what was passed over."""
    content, lines = READ[name]
    data_set = f"folder:{write(tmp_path / 'pets', content)}"
    load(data_set, tmp_path, data_version=DATA_VERSION)
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"{data_set}: ") for line in said)
    said = [line.removeprefix(f"{data_set}: ") for line in said]
    assert said[:2] == lines[:2]
    assert said[2].startswith("train and val images: sizes 4x4 (width x height); modes L ")
    assert said[3:-1] == lines[2:]
    assert said[-1].endswith("images of 1x4x4, 0 MB; decoding")


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, name):
    """What could be read in two ways, or in none, is refused in a line with its remedy."""
    content, message = REFUSED[name]
    with pytest.raises(UsageFailure) as failure:
        load(f"folder:{write(tmp_path / 'pets', content)}", tmp_path, data_version=DATA_VERSION)
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


def test_equal_images_are_one_data_set(tmp_path):
    """The digest and the splits are those of the images, however the folder and its parts are named."""
    content, _ = READ["three parts"]
    first = load(f"folder:{write(tmp_path / 'a', content)}", tmp_path, data_version=DATA_VERSION)
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "pets")
    for old, new in (("train", "Training"), ("val", "valid"), ("test", "Testing")):
        (tmp_path / "b" / "pets" / old).rename(tmp_path / "b" / "pets" / new)
    second = load(f"folder:{tmp_path / 'b'}/", tmp_path, data_version=DATA_VERSION)
    assert first.digest == second.digest
    assert first.classes == second.classes


def test_as_before(tmp_path, capsys):
    """A study of version 0.1.0 reads its folder as it did: other names are no parts, other folders do not count."""
    content, _ = READ["roboflow's"]
    root = write(tmp_path / "pets", content)
    before = load(f"folder:{root}", tmp_path)
    now = load(f"folder:{root}", tmp_path, data_version=DATA_VERSION)
    assert (len(before.train), len(before.val)) == (14, 2)
    assert (len(now.train), len(now.val)) == (16, 4)
    write(tmp_path / "more", "train/cat 6, train/dog 6, sketches 3")
    assert len(load(f"folder:{tmp_path / 'more'}", tmp_path).train) == 8
    assert "passed over" not in capsys.readouterr().err.splitlines()[-1]
