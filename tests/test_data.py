"""The three splits: what each holds, what decides them, and that a search is given no test image."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from pipeline.data import load, load_test, stratified
from pipeline.datasets import source

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
    found, test, whole = load("digits", NOWHERE, seed), load_test("digits", NOWHERE, seed), source("digits")
    everything = rows(whole.read(NOWHERE, False))
    assert max(everything.values()) == 1  # no digit is there twice, so what follows says all
    assert rows(found.train, found.val, test) == everything
    assert not rows(found.train) & rows(found.val)
    assert not rows(found.train, found.val) & rows(test)


def test_each_class_has_its_share():
    """A fifth of each class tests, a sixth of the rest of each class validates."""
    found, test = load("digits", NOWHERE), load_test("digits", NOWHERE)
    count = source("digits").read(NOWHERE, False).labels.bincount()
    tests, vals, trains = test.labels.bincount(), found.val.labels.bincount(), found.train.labels.bincount()
    assert tests.tolist() == [round(n / 5) for n in count.tolist()]
    assert vals.tolist() == [round(n / 6) for n in (count - tests).tolist()]
    assert trains.tolist() == (count - tests - vals).tolist()


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


@pytest.mark.parametrize(("file", "place"), [("train-images-idx3-ubyte", 16), ("train-labels-idx1-ubyte", 8)])
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
    assert rows(found.train, found.val) == rows(source("mnist").read(mnist, False))
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
    assert {part.device.type for split in (moved.train, moved.val) for part in (split.images, split.labels)} == {"meta"}
    assert (moved.mean, moved.std, moved.digest, moved.name) == (tiny.mean, tiny.std, tiny.digest, tiny.name)


def test_unknown_data_set():
    """An unknown data set is refused by name."""
    with pytest.raises(ValueError, match="did you mean digits"):
        load("digit", NOWHERE)


@pytest.mark.parametrize("share", [2, 5, 6])
def test_stratified(share):
    """Both parts are ascending, disjoint and complete, and classes too small to share stay in the first."""
    labels = torch.tensor([0] * 30 + [3] * 13 + [7])[torch.randperm(44)]
    rest, held_out = stratified(labels, share, 0)
    assert sorted(rest.tolist() + held_out.tolist()) == list(range(44))
    assert rest.tolist() == sorted(rest.tolist())
    assert held_out.tolist() == sorted(held_out.tolist())
    counts = [int((labels[held_out] == label).sum()) for label in (0, 3, 7)]
    assert counts == [round(30 / share), round(13 / share), 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real(name, real_data):
    """The real data sets are split into 50,000, 10,000 and 10,000 images but for a rounding, by class alike."""
    found, test = load(name, real_data), load_test(name, real_data)
    assert len(found.train) + len(found.val) == 60_000
    assert abs(len(found.val) - 10_000) <= 5  # each class's sixth is rounded: MNIST's are 10,001 in all
    assert len(test) == 10_000
    count = found.val.labels.bincount() + found.train.labels.bincount()
    assert found.val.labels.bincount().tolist() == [round(n / 6) for n in count.tolist()]
