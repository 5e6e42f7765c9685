"""How data sets are read, and what is said where one is missing or damaged."""

import pickle
import socket
import urllib.request
from urllib.error import URLError

import pytest
import torch
from sklearn.datasets import load_digits
from support.datasets import LAYOUTS, noise, write_cifar

from pipeline.data import datasets
from pipeline.data.datasets import DATASETS, check_dataset, get_source, is_present
from pipeline.data.sources import Arrays
from pipeline.system.errors import IntegrityFailure, UsageFailure
from sweeps.trial import parse_augmentation

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
FETCHED = [name for name, found in DATASETS.items() if isinstance(found, Arrays) and found.folder]


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """No network: a request fails, after noting how long it would have waited."""
    waits = []

    def refuse(*_, timeout=None):
        waits.append(timeout)
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return waits


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """A data folder with a CIFAR-10 of 60 + 20 images, whose sums torchvision is told."""
    write_cifar(tmp_path, monkeypatch)
    return tmp_path


def test_unknown_name():
    """An unknown name is refused, naming the nearest."""
    with pytest.raises(
        ValueError, match=r"dataset is unknown: 'mnits'; did you mean mnist\? known: digits, "
    ):
        check_dataset("mnits")


def test_a_folder_without_its_prefix(tmp_path, monkeypatch):
    """Where a folder has the unknown name, its images are what was meant; a name that is no path is just unknown."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("photos", str(tmp_path / "photos")):
        with pytest.raises(ValueError, match=f"unknown: '{name}'; did you mean folder:{name}[?]$"):
            check_dataset(name)
    for name in ("", "x" * 5000, "\0", "absent"):
        with pytest.raises(ValueError, match="unknown: .* known: digits, "):
            check_dataset(name)


@pytest.mark.parametrize("name", FETCHED)
def test_missing_offline(name, tmp_path):
    """Without files and network, one line names the data set, the folder and the one that needs neither."""
    with pytest.raises(UsageFailure) as failure:
        get_source(name).read(tmp_path, False)
    message = str(failure.value)
    assert failure.value.code == 2
    assert f"no data set {name.replace('_', '')} in" in message.lower()
    assert str(tmp_path / get_source(name).folder) in message
    assert "no network" in message
    assert "--dataset digits" in message
    assert "\n" not in message


def test_missing_tiny_imagenet(tmp_path):
    """What is never fetched is said to be missing, with where to put it."""
    with pytest.raises(
        UsageFailure, match=r"no data set tiny_imagenet in .*/tiny-imagenet-200: extract it there"
    ):
        get_source("tiny_imagenet").find(tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_present(name, tmp_path, monkeypatch):
    """A data set that would have to be fetched is not present; it is once its files are there."""
    assert is_present(name, tmp_path) is (name not in FETCHED)
    LAYOUTS[name](tmp_path, monkeypatch)
    assert is_present(name, tmp_path)


@pytest.mark.parametrize("name", FETCHED)
def test_incomplete_or_altered(name, tmp_path, monkeypatch, asked):
    """Where a file was cut short, and cannot be fetched, the data set is named corrupt in a line with its folder."""
    LAYOUTS[name](tmp_path, monkeypatch)
    for path in (tmp_path / get_source(name).folder).rglob("*train*"):
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(IntegrityFailure) as failure:
        get_source(name).read(tmp_path, False)
    assert failure.value.code == 6
    assert f"in {tmp_path / get_source(name).folder} is corrupt or incomplete (" in str(
        failure.value
    )
    assert "\n" not in str(failure.value)


def test_download_waits_for_a_while_only(tmp_path, asked):
    """A server that does not answer holds a download for 30 s, and no other connection of the process."""
    with pytest.raises(UsageFailure):
        get_source("mnist").read(tmp_path, False)
    assert set(asked) == {30}
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (IMAGES, lambda data: data[: len(data) // 2]),
        (IMAGES, lambda data: data[:7]),
        (IMAGES, lambda _: b""),
        (IMAGES, lambda data: b"\x00" * 4 + data[4:]),
        (IMAGES, lambda data: b"\xff" * 4 + data[4:]),
        (IMAGES, lambda data: data[:3] + b"\x01" + data[4:]),
        (LABELS, lambda data: data[:-1]),
        (LABELS, lambda data: data[:2] + b"\x0d" + data[3:]),
    ],
)
def test_damaged_mnist(mnist, file, damage, asked):
    """A truncated or overwritten file is named corrupt in one line with its folder, without asking the network."""
    path = mnist / "MNIST" / "raw" / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(IntegrityFailure) as failure:
        get_source("mnist").read(mnist, False)
    assert failure.value.code == 6
    assert str(mnist / "MNIST") in str(failure.value)
    assert "\n" not in str(failure.value)
    assert "corrupt ()" not in str(failure.value)
    assert asked == []


def test_mnist(mnist):
    """MNIST's two parts come as uint8 of (images, 1, 28, 28) with int64 labels and class names."""
    for test, count in ((False, 60), (True, 20)):
        found = get_source("mnist").read(mnist, test)
        assert found.images.shape == (count, 1, 28, 28)
        assert found.labels.tolist() == [n % 10 for n in range(count)]
        assert bool((found.images > 127).all()) is test
        assert (found.images.dtype, found.labels.dtype) == (torch.uint8, torch.int64)
        assert len(found.classes) == 10


@pytest.mark.parametrize("test", [False, True])
def test_mnist_opens_one_part_only(mnist, test):
    """Reading one part of MNIST does not look into the files of the other."""
    other = "train" if test else "t10k"
    for path in (mnist / "MNIST" / "raw").glob(f"{other}-*"):
        path.write_bytes(b"")
    assert len(get_source("mnist").read(mnist, test).labels) == (20 if test else 60)
    with pytest.raises(IntegrityFailure):
        get_source("mnist").read(mnist, not test)


def test_cifar10(cifar10):
    """CIFAR-10's rows of red, green and blue planes become (images, 3, 32, 32) in the order of its files."""
    found = get_source("cifar10").read(cifar10, False)
    assert found.images.shape == (60, 3, 32, 32)
    assert found.images.dtype == torch.uint8
    assert found.images.is_contiguous()
    assert torch.equal(
        found.images, torch.cat([noise(0, 30, 3072), noise(1, 30, 3072)]).view(60, 3, 32, 32)
    )
    assert found.labels.tolist() == [n % 10 for n in range(30)] * 2
    assert found.classes == tuple(f"class {n}" for n in range(10))
    assert len(get_source("cifar10").read(cifar10, True).labels) == 20


def test_emnist_is_upright(tmp_path, monkeypatch):
    """EMNIST's images, which lie in its files mirrored on their side, are turned upright; it has 47 classes."""
    LAYOUTS["emnist"](tmp_path, monkeypatch)
    found = get_source("emnist").read(tmp_path, False)
    assert torch.equal(found.images, noise(1, 60, 28, 28).transpose(1, 2).unsqueeze(1))
    assert found.images.is_contiguous()
    assert len(found.classes) == 47
    assert found.classes[9:12] == ("9", "A", "B")


def test_svhn(tmp_path, monkeypatch):
    """SVHN's classes are the digits, of which its files call 0 ten, and its images are in planes."""
    LAYOUTS["svhn"](tmp_path, monkeypatch)
    found = get_source("svhn").read(tmp_path, False)
    assert torch.equal(found.images, noise(1, 32, 32, 3, 60).permute(3, 2, 0, 1))
    assert found.labels[:11].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert found.classes == tuple("0123456789")


@pytest.mark.parametrize("name", DATASETS)
def test_augmentation(name):
    """The random changes that suit a data set are ones that a trial can ask for."""
    assert parse_augmentation(get_source(name).augment) == (
        ("crop", "flip") if name in ("cifar10", "cifar100", "tiny_imagenet") else ()
    )


def test_folder():
    """A folder of images is a data set by its path, which is not looked at before it is read."""
    check_dataset("folder:no/such place")
    found = get_source("folder:photos")
    assert (found.folder, found.augment) == ("photos", "none")


@pytest.mark.parametrize("name", ["folder:", "folder: ", "folder:a\0b"])
def test_folder_without_path(name):
    """A folder must be named."""
    with pytest.raises(
        ValueError, match="dataset must name a folder of images, as in folder:photos: got"
    ):
        check_dataset(name)


@pytest.mark.parametrize(
    ("name", "near"), [("kmnst", "kmnist"), ("folder_PATH", "folder:PATH"), ("cifar", "cifar10")]
)
def test_nearest_name(name, near):
    """The nearest of all known names is named."""
    with pytest.raises(ValueError, match=f"did you mean {near}"):
        check_dataset(name)


def test_altered_cifar10_is_not_unpickled(cifar10, tmp_path):
    """A CIFAR-10 file of another sum is not read: it is a pickle, which can run anything."""

    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    (cifar10 / "cifar-10-batches-py" / "train_0").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(IntegrityFailure, match="CIFAR10"):
        get_source("cifar10").read(cifar10, False)
    assert not (tmp_path / "exploded").exists()


def test_digits():
    """The digits are 1,797 images of 8x8 pixels, their 17 greys spread over 0..255."""
    found, original = get_source("digits").read(None, False), load_digits()
    assert found.images.shape == (1797, 1, 8, 8)
    assert found.images.dtype == torch.uint8
    assert found.images.unique().tolist() == [round(grey * 255 / 16) for grey in range(17)]
    assert torch.equal(
        found.images.squeeze(1).double().mul(16 / 255).round(), torch.tensor(original.images)
    )
    assert found.labels.tolist() == original.target.tolist()
    assert found.classes == tuple("0123456789")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real(name, real_data):
    """The real files hold 60,000 and 10,000 images of 28x28 in ten classes."""
    for test, count in ((False, 60_000), (True, 10_000)):
        found = datasets.get_source(name).read(real_data, test)
        assert found.images.shape == (count, 1, 28, 28)
        assert found.labels.unique().tolist() == list(range(10))
