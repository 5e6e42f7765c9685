"""The three splits: what each holds, what decides them, and that a search is given no test image."""

import dataclasses
import os
import tarfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.datasets import LAYOUTS, write_folder

from pipeline.data.datasets import DATASETS, get_source
from pipeline.data.search_data import Split, load, load_for, trial_data
from pipeline.data.test_split import load_test, load_test_for
from pipeline.system import files
from pipeline.system.errors import UsageFailure
from sweeps.trial import configure

NOWHERE = Path("nowhere")


@pytest.fixture(autouse=True)
def _fresh():
    """Nothing comes from an earlier test's reading."""
    load.cache_clear()


def rows(*splits):
    """The images with their labels, as countable values."""
    return Counter(
        (bytes(image.flatten().tolist()), label)
        for split in splits
        for image, label in zip(split.images, split.labels.tolist(), strict=True)
    )


@pytest.mark.parametrize("seed", [0, 7])
def test_digits_are_split_in_three(seed):
    """Train, validation and test share no image and leave none out."""
    found, test, whole = (
        load("digits", NOWHERE, seed),
        load_test("digits", NOWHERE, seed),
        get_source("digits"),
    )
    everything = rows(whole.read(NOWHERE, False))
    assert max(everything.values()) == 1  # no digit is there twice, so what follows says all
    assert rows(found.train, found.val, test) == everything
    assert not rows(found.train) & rows(found.val)
    assert not rows(found.train, found.val) & rows(test)


def test_each_class_has_its_share():
    """A fifth of each class tests, a sixth of the rest of each class validates."""
    found, test = load("digits", NOWHERE), load_test("digits", NOWHERE)
    count = get_source("digits").read(NOWHERE, False).labels.bincount()
    tests, vals, trains = (
        test.labels.bincount(),
        found.val.labels.bincount(),
        found.train.labels.bincount(),
    )
    assert tests.tolist() == [round(n / 5) for n in count.tolist()]
    assert vals.tolist() == [round(n / 6) for n in (count - tests).tolist()]
    assert trains.tolist() == (count - tests - vals).tolist()


def test_few_digits_train_and_the_rest_of_train_and_val_validates():
    """A fifth of what digits train and validate trains, and the test images stay the same."""
    few, whole = load("few_digits", NOWHERE, 3), load("digits", NOWHERE, 3)
    assert (len(few.train), len(few.val)) == (287, 1151)
    assert rows(few.train, few.val) == rows(whole.train, whole.val)
    assert rows(load_test("few_digits", NOWHERE, 3)) == rows(load_test("digits", NOWHERE, 3))


def test_split_seed_alone_decides():
    """The same split seed gives the same splits whatever else was random; another gives others."""
    torch.manual_seed(1)
    first, state = load("digits", NOWHERE), torch.get_rng_state()
    torch.manual_seed(2)
    load.cache_clear()
    again, other = load("digits", Path("elsewhere")), load("digits", NOWHERE, 1)
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.val.labels, again.val.labels)
    assert (first.digest, first.mean, first.std) == (again.digest, again.mean, again.std)
    assert rows(other.val) != rows(first.val)
    assert rows(load_test("digits", NOWHERE, 1)) != rows(load_test("digits", NOWHERE))
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_digest_tells_splits_apart():
    """The digest differs where the split seed does, and nowhere else."""
    digests = {load("digits", NOWHERE, seed).digest for seed in range(4)}
    load.cache_clear()
    assert len(digests) == 4
    assert load("digits", NOWHERE, 2).digest in digests


@pytest.mark.parametrize(
    ("file", "place"), [("train-images-idx3-ubyte", 16), ("train-labels-idx1-ubyte", 8)]
)
def test_digest_tells_contents_apart(mnist, file, place):
    """One other pixel or label gives another digest; another test image does not."""
    raw = mnist / "MNIST" / "raw"

    def change(name, at):
        content = bytearray((raw / name).read_bytes())
        content[at] ^= 1
        (raw / name).write_bytes(content)
        load.cache_clear()
        return load("mnist", mnist).digest

    before = load("mnist", mnist).digest
    assert change("t10k-images-idx3-ubyte", 16) == before
    assert change(file, place) != before


def test_normalised_by_the_training_split(mnist):
    """Mean and deviation are those of the training split's pixels, not of the others'."""
    found = load("mnist", mnist)
    pixels = found.train.images.double() / 255
    assert found.mean == pytest.approx([float(pixels.mean())])
    assert found.std == pytest.approx([float(pixels.std())], rel=1e-4)
    everything = torch.cat([found.train.images, found.val.images]).double() / 255
    assert found.mean != pytest.approx([float(everything.mean())], rel=1e-7)


def test_a_channel_without_contrast_can_be_normalised(mnist):
    """Black images have a deviation above 0 to divide by."""
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:16] + bytes(60 * 28 * 28))
    assert load("mnist", mnist).std == pytest.approx((1e-3,))


def test_official_test_split(mnist):
    """Where there is an official test part it is the test split, whole, and no image of it is searched with."""
    found, test = load("mnist", mnist), load_test("mnist", mnist)
    assert (len(found.train), len(found.val), len(test)) == (50, 10, 20)
    assert int(found.train.images.max()) <= 127 < int(test.images.min())
    assert int(found.val.images.max()) <= 127
    assert rows(found.train, found.val) == rows(get_source("mnist").read(mnist, False))
    assert torch.equal(test.images, load_test("mnist", mnist, 5).images)


def test_test_files_are_not_opened(mnist):
    """Loading for a search does not look into the files of the test part: they may hold nothing at all."""
    for path in (mnist / "MNIST" / "raw").glob("t10k-*"):
        path.write_bytes(b"")
    assert len(load("mnist", mnist).train) == 50


def test_shape(digits):
    """The shape is channels, height and width of one image."""
    assert digits.shape == (1, 8, 8)
    assert digits.classes == tuple("0123456789")


def test_to(tiny):
    """Moved to a device, both splits go and all else stays."""
    moved = tiny.to(torch.device("meta"))
    assert {
        part.device.type
        for split in (moved.train, moved.val)
        for part in (split.images, split.labels)
    } == {"meta"}
    assert (moved.mean, moved.std, moved.digest, moved.name) == (
        tiny.mean,
        tiny.std,
        tiny.digest,
        tiny.name,
    )


DRAWS = ["draw-0", "draw-1", "fold-1-of-5", "fold-5-of-5"]


@pytest.mark.parametrize("text", DRAWS)
def test_redrawn_images_are_those_of_the_search(digits, text):
    """Drawn anew, train and validation hold the same images and no test image; and the moments are of the new train."""
    config = configure({"redraw": text})
    found = trial_data(load_for(config, NOWHERE), config)
    assert rows(found.train, found.val) == rows(digits.train, digits.val)
    assert not rows(found.train, found.val) & rows(load_test_for(config, NOWHERE))
    assert torch.equal(load_test_for(config, NOWHERE).images, load_test("digits", NOWHERE).images)
    assert rows(found.val) != rows(digits.val)
    shares = found.val.labels.bincount() / digits.train.labels.bincount()
    assert float(shares.max() - shares.min()) < 0.02
    pixels = found.train.images.double() / 255
    assert found.mean == pytest.approx([float(pixels.mean())], rel=1e-12)
    assert found.std == pytest.approx([float(pixels.std())], rel=1e-12)
    assert found.digest == digits.digest
    assert trial_data(found, config) is found


@pytest.mark.parametrize("redraw", [None, "draw-1", "fold-2-of-3"])
def test_a_trial_trains_on_a_part(digits, redraw):
    """A part of the trial's own training images trains, uncopied; all of the others validate."""
    whole = trial_data(digits, configure({"redraw": redraw}))
    config = configure({"redraw": redraw, "train_images": 100})
    for known in (digits, whole):  # the study's splits, or already redrawn
        found = trial_data(known, config)
        assert len(found.train) == 100
        assert rows(found.train) <= rows(whole.train)
        assert rows(found.val) == rows(whole.val)
        assert found.train.stored.data_ptr() == known.train.stored.data_ptr()
        greys = found.train.images.float() / 255
        assert found.mean == pytest.approx([greys.mean().item()])
        assert found.digest == digits.digest
        assert trial_data(found, config) is found
    smaller = trial_data(digits, configure({"redraw": redraw, "train_images": 30}))
    assert rows(smaller.train) <= rows(found.train)


def test_too_many_images_to_train_are_refused(digits):
    """A trial cannot be trained on more images than its draw of the training split has."""
    whole = len(digits.train)
    load_for(configure({"train_images": whole}), NOWHERE)
    with pytest.raises(UsageFailure, match=rf"to {whole}, the images .*: got {whole + 1}$"):
        load_for(configure({"train_images": whole + 1}), NOWHERE)
    with pytest.raises(UsageFailure, match=r"got 1000$"):
        load_for(configure({"train_images": 1000, "redraw": "fold-1-of-2"}), NOWHERE)


def test_redrawn_images_are_not_copied(digits):
    """Both new splits are rows of the one tensor that holds the images already, and of one tensor on any device."""
    found = trial_data(digits, configure({"redraw": "draw-0"}))
    assert found.train.stored.data_ptr() == digits.train.images.data_ptr()
    assert found.train.stored is found.val.stored
    for split in (found.train, found.val):
        indices = torch.tensor([5, 0, 3])
        assert torch.equal(split.take(indices), split.images[indices])
        assert torch.equal(split.between(2, 6), split.images[2:6])
    moved = found.to(torch.device("meta"))
    assert moved.train.stored is moved.val.stored
    assert {moved.val.rows.device.type, moved.val.labels.device.type} == {"meta"}


def test_splits_that_lie_apart_are_redrawn_alike(digits):
    """It does not matter to a draw whether the two splits lie side by side in memory."""
    config = configure({"redraw": "fold-2-of-3"})
    val = Split(digits.val.images.clone(), digits.val.labels)
    apart = dataclasses.replace(digits, val=val)
    found, expected = trial_data(apart, config), trial_data(digits, config)
    assert torch.equal(found.val.images, expected.val.images)
    assert torch.equal(found.train.images, expected.train.images)


def test_redraw_of_a_split_file(tmp_path):
    """The test images of a split file stay those of the file; its training and validation images are drawn anew."""
    parts = ["test"] * 300 + ["val"] * 100 + ["train"] * 1397
    lines = [f"{index},{part}" for index, part in enumerate(parts)]
    file = tmp_path / "split.csv"
    file.write_text("index,split\n" + "\n".join(lines))
    config = configure({"split_file": str(file), "redraw": "draw-1"})
    found = trial_data(load_for(config, NOWHERE), config)
    assert (len(found.train), len(found.val)) == (1397, 100)
    assert not rows(found.train, found.val) & rows(load_test_for(config, NOWHERE))


@pytest.mark.parametrize(
    ("parts", "text", "error"),
    [
        (("train/", "val/"), "draw-0", r"folder:.* says itself which images validate, which stays"),
        (("train/", "val/"), "fold-1-of-2", r"no split_seeds, folds or redraw: got fold-1-of-2"),
        (("train/",), "fold-1-of-11", r"^folds must be at most 10, .*smallest class: got 11$"),
    ],
)
def test_what_cannot_be_redrawn_is_refused(tmp_path, parts, text, error):
    """Images that a data set itself validates with stay; there are no more folds than images of a class."""
    name = f"folder:{write_folder(tmp_path / 'photos', parts)}"
    with pytest.raises(UsageFailure, match=error):
        load_for(configure({"dataset": name, "redraw": text}), tmp_path)


def test_unknown_data_set():
    """An unknown data set is refused by name."""
    with pytest.raises(ValueError, match="did you mean digits"):
        load("digit", NOWHERE)


@pytest.fixture(params=[*DATASETS, "folder"])
def known(request, tmp_path, monkeypatch):
    """Each known data set, and a folder: its name and the data folder."""
    if request.param == "folder":
        return f"folder:{write_folder(tmp_path / 'photos')}", tmp_path
    LAYOUTS[request.param](tmp_path, monkeypatch)
    return request.param, tmp_path


def test_conforms(known):
    """Every data set has uint8 images of one shape, labels of its classes, and three splits that share nothing."""
    found, test = load(*known), load_test(*known)
    channels, height, width = found.shape
    assert channels in (1, 3)
    assert min(height, width) >= 8
    assert len(set(found.classes)) == len(found.classes) >= 2
    for split in (found.train, found.val, test):
        assert len(split) >= 2
        assert split.images.shape == (len(split), *found.shape)
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
        assert split.images.is_contiguous()
        assert 0 <= int(split.labels.min()) <= int(split.labels.max()) < len(found.classes)
    assert max(rows(found.train, found.val, test).values()) == 1
    assert len(found.mean) == len(found.std) == channels


def test_conforms_again(known):
    """Every data set is read alike each time."""
    first, test = load(*known), load_test(*known)
    load.cache_clear()
    again = load(*known)
    assert first.digest == again.digest
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(test.images, load_test(*known).images)


def test_statistics(known):
    """Mean and deviation are those of floats, though none are made of all images."""
    found = load(*known)
    pixels = found.train.images.double() / 255
    assert found.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), rel=1e-12)
    assert found.std == pytest.approx(pixels.std((0, 2, 3)).tolist(), rel=1e-12)


def split_file(path, parts, order=()):
    """Write a split file by index, or by path where an order of paths is given."""
    lines = [
        f"{order[row] if order else row},{part}" for part, some in parts.items() for row in some
    ]
    path.write_text("\n".join([f"{'path' if order else 'index'},split", *lines]))
    return str(path)


def test_split_file_of_arrays(mnist, tmp_path):
    """A split file's index counts the official train part and then the test part, and may turn them about."""
    parts = {"train": [79, 0], "val": [59, 60], "test": [1, 61]}
    file = split_file(tmp_path / "split.csv", parts)
    whole = torch.cat([get_source("mnist").read(mnist, test).images for test in (False, True)])
    found, test = load("mnist", mnist, 0, file), load_test("mnist", mnist, 0, file)
    assert torch.equal(found.train.images, whole[[0, 79]])
    assert torch.equal(found.val.images, whole[[59, 60]])
    assert torch.equal(test.images, whole[[1, 61]])
    assert test.labels.tolist() == [1, 1]


@pytest.mark.parametrize("by_path", [False, True])
def test_split_file_of_folder(tmp_path, by_path):
    """A folder's images are named by index or by path; those that are not named are in no split."""
    name = f"folder:{write_folder(tmp_path / 'photos', ('train/', 'test/'))}"
    paths = [file.path for file in get_source(name).find(tmp_path).files]
    file = split_file(
        tmp_path / "s.csv",
        {"train": [0, 13, 30], "val": [1], "test": [12]},
        paths if by_path else (),
    )
    found, test = load(name, tmp_path, 0, file), load_test(name, tmp_path, 0, file)
    assert found.train.labels.tolist() == [0, 1, 0]
    assert (len(found.val), len(test)) == (1, 1)
    with Image.open(tmp_path / "photos" / paths[30]) as image:
        assert found.train.images[2].permute(1, 2, 0).flatten().tolist() == list(image.tobytes())


def test_split_file_without_a_class(mnist, tmp_path, capsys):
    """Where no image of a class trains that val or test has, one line warns."""
    file = split_file(tmp_path / "split.csv", {"train": [0, 1], "val": [2], "test": [3]})
    load("mnist", mnist, 0, file)
    said = capsys.readouterr().err
    assert said == f"{file}: train lacks classes that val or test has: 2, such as '2 - two'\n"


def test_bad_split_file(tmp_path):
    """Indices count what there is."""
    file = split_file(tmp_path / "split.csv", {"train": [1797]})
    with pytest.raises(
        UsageFailure, match=r"split.csv:2: index must be from 0 to 1796: got '1797'"
    ):
        load("digits", NOWHERE, 0, file)


def test_search_has_no_test_image(tmp_path, monkeypatch):
    """Neither what a search is given nor the cached file behind it holds an image of the test split."""
    name = f"folder:{write_folder(tmp_path / 'photos')}"
    found = load(name, tmp_path)
    (cached,) = files.cache_folder().glob("*.safetensors")
    assert len(load_file(cached)["images"]) == len(found.train) + len(found.val) == 20
    assert not rows(load_test(name, tmp_path)) & rows(found.train, found.val)


@pytest.mark.parametrize("size", [None, 12])
def test_of_a_trial(tmp_path, size):
    """A trial's configuration says which data set, splits and size are read."""
    name = f"folder:{write_folder(tmp_path / 'photos')}"
    config = configure({"dataset": name, "split_seed": 3, "image_size": size})
    found, test = load_for(config, tmp_path), load_test_for(config, tmp_path)
    assert found.shape == (3, size or 8, size or 8)
    assert (
        found.digest
        == load(name, tmp_path, 3, image_size=size).digest
        != load(name, tmp_path, image_size=size).digest
    )
    assert torch.equal(test.images, load_test(name, tmp_path, 3, None, size).images)


def test_size_of_arrays():
    """A data set that has its size is not brought to another."""
    with pytest.raises(
        UsageFailure,
        match=r"image size is for image files \(folder:, csv:, tiny_imagenet\): got 16 with digits",
    ):
        load("digits", NOWHERE, image_size=16)


def test_too_few_images(tmp_path):
    """A folder that cannot give each split an image is refused, with what each would get."""
    name = f"folder:{write_folder(tmp_path / 'photos', count=2)}"
    with pytest.raises(
        UsageFailure,
        match="too few images: each split needs at least one, and gets train 4, val 0, te",
    ):
        load(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real(name, real_data):
    """The real data sets are split into 50,000, 10,000 and 10,000 images but for a rounding, by class alike."""
    found, test = load(name, real_data), load_test(name, real_data)
    assert len(found.train) + len(found.val) == 60_000
    assert (
        abs(len(found.val) - 10_000) <= 5
    )  # each class's sixth is rounded: MNIST's are 10,001 in all
    assert len(test) == 10_000
    count = found.val.labels.bincount() + found.train.labels.bincount()
    assert found.val.labels.bincount().tolist() == [round(n / 6) for n in count.tolist()]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """A folder of the real archives, unpacked."""
    if "PIPELINE_DATA_DIR" not in os.environ:
        pytest.skip("PIPELINE_DATA_DIR names no folder of real data sets")
    folder = tmp_path_factory.mktemp("real")
    for name in ("cifar10-images.tar", "tiny-imagenet-20.tar"):
        with tarfile.open(Path(os.environ["PIPELINE_DATA_DIR"]) / name) as archive:
            archive.extractall(folder, filter="data")
    return folder


@pytest.mark.slow
def test_real_folder(real_data, unpacked, capsys):
    """60,000 images of a folder are read, and a second time from the cache."""
    name = f"folder:{unpacked / 'cifar10'}"
    found, test = load(name, unpacked), load_test(name, unpacked)
    assert f"{name}: 50,000 images of 3x32x32, 154 MB; decoding" in capsys.readouterr().err
    assert found.shape == (3, 32, 32)
    assert (len(found.train), len(found.val), len(test)) == (41_670, 8_330, 10_000)
    assert (test.labels.bincount() == 1000).all()
    assert found.classes[:3] == ("airplane", "automobile", "bird")
    load.cache_clear()
    assert load(name, unpacked).digest == found.digest
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_real_tiny_imagenet(real_data, unpacked):
    """Of Tiny-ImageNet's 500 images a class 450 train and 50 validate, and its labelled 50 test."""
    found, test = load("tiny_imagenet", unpacked), load_test("tiny_imagenet", unpacked)
    assert found.shape == (3, 64, 64)
    assert found.train.labels.bincount().tolist() == [450] * 20
    assert found.val.labels.bincount().tolist() == test.labels.bincount().tolist() == [50] * 20
    assert found.classes[:2] == ("goldfish", "European fire salamander")
