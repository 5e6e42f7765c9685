"""Own images are looked at once: their true sizes, what of them a search may know, and which are copies."""

import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from support.datasets import noise, save, write_folder

from pipeline.data import survey
from pipeline.data.copies import count_copies, keys_of_arrays, merge
from pipeline.data.own.folders import scan_folder
from pipeline.data.search_data import load, trial_splits
from pipeline.data.splits import divide, redraw, stratified
from pipeline.data.test_split import load_test
from pipeline.system.errors import IntegrityFailure, UsageFailure
from sweeps.analysis.health import copies_texts
from sweeps.trial import DATA_VERSION, Redraw, configure


def opened(root, **options):
    return load(f"folder:{root}", root, data_version=DATA_VERSION, **options)


def turned(path, orientation, seed=0):
    """Write a picture of 16x48 whose file says how it is to be turned, wherever its format says that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = Image.fromarray(noise(seed, 48, 16).numpy())
    kind = path.suffix
    if kind in (".jpg", ".webp"):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(path, exif=exif)
    elif kind == ".tif":
        stored.save(path, tiffinfo={274: orientation}, compression="tiff_lzw")
    elif kind == ".tiff":
        stored.save(path, tiffinfo={274: orientation})
    else:  # its eXIf may follow the pixels
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(path, exif=exif)
        if kind == ".png":
            move_exif_behind(path)


def move_exif_behind(path):
    data = path.read_bytes()
    chunks, place = [], 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big") + 12
        chunks.append(data[place : place + length])
        place += length
    first = [chunk for chunk in chunks if chunk[4:8] not in (b"eXIf", b"IEND")]
    last = [chunk for chunk in chunks if chunk[4:8] in (b"eXIf", b"IEND")]
    assert len(last) == 2
    path.write_bytes(data[:8] + b"".join([*first, *last]))


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "tiff", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_is_that_of_the_decoded_image(tmp_path, kind, orientation):
    """A turned image has the size that it is decoded to, in every format and wherever the orientation stands."""
    for name in ("cat", "dog"):
        turned(tmp_path / name / f"a.{kind}", orientation)
    listing = scan_folder(str(tmp_path))
    records = survey.survey(listing)
    width, height = (48, 16) if orientation > 4 else (16, 48)
    assert {tuple(size) for size in records[["width", "height"]].tolist()} == {(width, height)}
    assert survey.common_shape(records, None) == (1 if kind != "webp" else 3, height, width)
    assert opened_shape(tmp_path) == (1 if kind != "webp" else 3, height, width)


def opened_shape(root):
    """The shape of the images that a search sees."""
    for name in ("cat", "dog"):
        for number in range(5):
            path = next((root / name).iterdir())
            shutil.copy(path, path.with_stem(f"b{number}"))
            shutil.copy(path, path.with_stem(f"c{number}"))
    return opened(root, copies="apart").shape


def test_test_images_decide_nothing(tmp_path, capsys):
    """A larger, a coloured and an unreadable test image change no training image; they are named when it is read."""
    root = write_folder(tmp_path / "a", ("train/", "test/"), size=(12, 12), mode="L")
    plain = opened(root)
    other = shutil.copytree(root, tmp_path / "b")
    save(other / "test" / "cat" / "large.png", 1, (40, 30), "L")
    save(other / "test" / "dog" / "colour.png", 2, (12, 12), "RGB")
    (other / "test" / "dog" / "broken.png").write_bytes(b"no image")
    found = opened(other)
    assert found.shape == plain.shape == (1, 12, 12)
    assert found.digest == plain.digest
    with pytest.raises(IntegrityFailure, match=r"test/dog/broken.png, cannot be read"):
        load_test(f"folder:{other}", other, data_version=DATA_VERSION)
    said = capsys.readouterr().err
    assert "2 of 27 test images are not like those of train and val (12x12, grey)" in said
    assert "'test/cat/large.png', 'test/dog/colour.png'" in said
    (other / "train" / "dog" / "broken.png").write_bytes(b"no image")
    load.cache_clear()
    with pytest.raises(IntegrityFailure, match=r"train/dog/broken.png, cannot be read"):
        opened(other)


def test_all_unreadable_images_are_named_at_once(tmp_path, capsys):
    """Of several images that cannot be read, the first few are named together; those of test are counted."""
    root = write_folder(tmp_path, ("train/", "test/"))
    for place in ("train/cat/x.png", "train/dog/y.png", "test/dog/z.png"):
        (root / place).write_bytes(b"")
    (root / "train" / "dog" / "link.png").symlink_to("nowhere")
    (root / "test" / "dog" / "link.png").symlink_to("nowhere")
    named = r"3 images cannot be read: 'train/cat/x.png', 'train/dog/link.png', 'train/dog/y.png'"
    with pytest.raises(IntegrityFailure, match=named):
        opened(root)
    assert "2 of the test images cannot be read" in capsys.readouterr().err
    (root / "train/cat/x.png").unlink()
    (root / "train/dog/y.png").unlink()
    with pytest.raises(IntegrityFailure, match=r"link.png, cannot be read \(No such file or dir"):
        opened(root)


def test_animated_images_are_counted(tmp_path, capsys):
    """Animations and TIFFs of several pages are told once, with their number; a photo with a preview is none."""
    root = write_folder(tmp_path)
    pictures = [Image.fromarray(noise(seed, 8, 8).numpy()) for seed in (1, 2)]
    for ending in ("gif", "webp", "png", "tiff", "jpg"):
        kind = {"format": "MPO"} if ending == "jpg" else {}
        more = {"save_all": True, "append_images": pictures[1:]}
        pictures[0].save(root / "train" / "cat" / f"x.{ending}", **kind, **more)
        pictures[0].save(root / "train" / "dog" / f"y.{ending}")
    opened(root)
    said = capsys.readouterr().err
    assert said.count("several frames") == 1
    first = "'train/cat/x.gif', 'train/cat/x.png', 'train/cat/x.tiff' and 1 more"
    assert f"4 images have several frames or pages, of which the first is taken: {first}" in said


def test_copies_across_parts_are_counted(tmp_path, capsys):
    """Images of val and test that equal training images are named by their numbers, whatever their format and name."""
    root = write_folder(tmp_path, ("train/",), count=12)
    for part, count in (("val", 3), ("test", 4)):
        for name in ("cat", "dog"):
            save(root / part / name / "new.png", 10 + len(part + name), (8, 8))
            for number in range(count):
                with Image.open(root / "train" / name / f"{number:02}.png") as image:
                    image.save(root / part / name / f"copy{number}.bmp")
    found = opened(root)
    assert (found.copies.val_of_train, found.copies.test_of_train) == (6, 8)
    assert found.copies.misleads
    said = capsys.readouterr().err
    assert (
        "6 validation images are copies of training images and 8 test images are copies of training"
        in said
    )


def six_times(root):
    """24 different pictures, each in six files."""
    write_folder(root, ("",), count=12)
    for path in sorted(root.glob("*/*.png")):
        for number in range(5):
            shutil.copy(path, path.with_name(f"{path.stem}_{number}.png"))
    return root


def test_copies_are_kept_in_one_split(tmp_path, capsys):
    """No picture is in two splits, whether these are drawn once, drawn anew or in folds; or copies=apart says so."""
    root = six_times(tmp_path)
    found = opened(root)
    assert found.copies.leaks == 0
    assert (found.copies.images, found.copies.different) == (144, 24)
    assert "144 images show 24 different pictures, the others are copies; copies are kept" in (
        capsys.readouterr().err
    )

    def pictures(*splits):
        return [set(keys_of(split)) for split in splits]

    test = load_test(f"folder:{root}", root, data_version=DATA_VERSION)
    for config in (
        configure({}),
        configure({"redraw": "draw-2"}),
        *(configure({"redraw": f"fold-{number}-of-4"}) for number in range(1, 5)),
    ):
        train, val = pictures(*trial_splits(found, config))
        assert train
        assert val
        assert not train & val
        assert not (train | val) & pictures(test)[0]
    apart = opened(root, copies="apart")
    assert apart.copies.leaks > 20
    assert not apart.copies.together


def keys_of(split):
    return [bytes(image.flatten().tolist()) for image in split.images]


def test_without_copies_splits_are_as_before(tmp_path):
    """A folder without copies is divided as by version 0.1.0, image for image."""
    root = write_folder(tmp_path, count=15)
    assert opened(root).digest == load(f"folder:{root}", root).digest


def test_labels_that_differ_and_near_copies(tmp_path, capsys):
    """A picture with two labels, and one that comes again in another quality, are told."""
    root = write_folder(tmp_path, ("train/", "val/", "test/"), size=(64, 64), count=3)
    shutil.copy(root / "train/cat/00.png", root / "train/dog/cat.png")
    picture = Image.radial_gradient("L").resize((90, 70))
    picture.paste(0, (10, 20, 50, 40))
    picture.save(root / "train/cat/photo.png")
    picture.resize((64, 50)).save(root / "test/cat/photo.jpg", quality=60)
    copies = opened(root).copies
    assert (copies.other_label, copies.near_val, copies.near_test) == (2, 0, 1)
    said = capsys.readouterr().err
    assert "2 images are copies of an image with another label" in said
    assert "1 test images look nearly like a training image" in said


def test_groups_of_a_split_file(tmp_path, capsys):
    """Images of a group stay together where splits are drawn; a group that the file itself divides is told."""
    root = write_folder(tmp_path / "photos", ("",), count=12)
    paths = [f"{name}/{number:02}.png" for name in ("cat", "dog") for number in range(12)]
    file = tmp_path / "groups.csv"
    lines = [f"{path};patient {index % 12 // 3}" for index, path in enumerate(paths)]
    file.write_bytes("\r\n".join(["path;Group", *lines]).encode("utf-16"))
    found = load(f"folder:{root}", root, split_file=str(file), data_version=DATA_VERSION)
    assert len(found.train) + len(found.val) < 24
    test = load_test(f"folder:{root}", root, 0, str(file), None, DATA_VERSION)
    assert len(test) % 3 == len(found.val) % 3 == 0
    assert found.copies.groups_apart == 0
    lines = [f"{path},{['train', 'val', 'test'][i % 3]},x" for i, path in enumerate(paths)]
    file.write_text("\n".join(["path,split,group", *lines]))
    load.cache_clear()
    load(f"folder:{root}", root, split_file=str(file), data_version=DATA_VERSION)
    assert "1 group is in several splits" in capsys.readouterr().err


def test_groups_are_merged_with_copies():
    """A group holds its images and their copies, and those of a group that shares one; others are alone."""
    keys = np.array([0, 1, 2, 1, 3, 4])
    assert merge(keys, ["a", "a", "", "", "b", "b"]).tolist() == [0, 0, 2, 0, 4, 4]
    assert merge(None, ["", "", "", "", "", ""]) is None
    assert merge(np.arange(4), None) is None
    assert merge(None, None) is None


def test_held_out_groups_are_whole():
    """About a share of each class is held out in whole groups; one at least, unless it is the only one."""
    labels = torch.tensor([0] * 30 + [1] * 30 + [2] * 6)
    groups = torch.arange(66) // 3
    groups[60:] = 60
    remaining, held_out = stratified(labels, Fraction(1, 5), 0, groups)
    assert not set(groups[remaining].tolist()) & set(groups[held_out].tolist())
    assert labels[held_out].bincount(minlength=3).tolist() == [6, 6, 0]
    whole = torch.tensor([0] * 9 + [9] * 9)
    _, held_out = stratified(torch.zeros(18, dtype=torch.int64), Fraction(1, 5), 0, whole)
    assert len(held_out) == 9
    with pytest.raises(UsageFailure, match="folds must be at most 1, .* that are no copies or of"):
        redraw(labels, labels == 3, Redraw(1, 2), 0, groups)


def test_singletons_are_no_groups():
    """Groups of one image divide as no groups do."""
    labels = torch.tensor([0] * 30 + [1] * 13 + [2])
    parts = ["train"] * 44
    alone = divide(labels, parts, 3, Fraction(1, 6), torch.arange(44), has_test=False)
    plain = divide(labels, parts, 3, Fraction(1, 6), has_test=False)
    assert all(torch.equal(alone[part], plain[part]) for part in plain)


def test_options_of_own_images(tmp_path):
    """data_version and copies are refused with images that are not one's own."""
    for options in ({"data_version": 2}, {"copies": "apart"}):
        with pytest.raises(UsageFailure, match="is for images of your own: got .* with digits"):
            load("digits", tmp_path, **options)


LEAK = (
    "1 validation image is a copy of training images (equal pixels): scores of copies tell what was "
    "remembered, not what was learned; remove them from one of the two"
)


def test_what_is_said_of_copies():
    """Each finding is a sentence with its number; nothing is said where there are none."""
    splits = {
        name: torch.tensor(rows) for name, rows in (("train", [0, 1]), ("val", [2]), ("test", [3]))
    }
    labels = torch.tensor([0, 1, 0, 0])
    images = torch.tensor([1, 2, 1, 3], dtype=torch.uint8).view(4, 1, 1, 1)
    copies = count_copies(keys_of_arrays(images), labels, splits, None, together=True)
    assert list(copies_texts(copies)) == [
        LEAK,
        "4 images show 3 different pictures, the others are copies",
    ]
    different = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1)
    none = count_copies(keys_of_arrays(different), labels, splits, None, together=True)
    assert list(copies_texts(none)) == []
