"""How data sets are read, and what is said where one is missing or damaged."""

import hashlib
import pickle
import socket
import urllib.request
from urllib.error import URLError

import pytest
import torch
from sklearn.datasets import load_digits

from pipeline import datasets, vision
from pipeline.datasets import DATASETS, check_dataset, source
from pipeline.errors import IntegrityFailure, UsageFailure

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
ON_DISK = [name for name, found in DATASETS.items() if found.folder]


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """No network: a request fails, after noting how long it would have waited."""
    waits = []

    def refuse(*args, **kwargs):
        waits.append(socket.getdefaulttimeout())
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return waits


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """A data folder with a CIFAR-10 of 6 + 2 images, whose sums torchvision is told."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(first, count):
        rows = torch.arange(first, first + count * 3072).remainder(251).to(torch.uint8).view(count, 3072)
        return {"data": rows.numpy(), "labels": [n % 10 for n in range(first, first + count)]}

    known = vision.datasets().CIFAR10
    trains = [write(f"data_batch_{n}", batch(n, 3)) for n in (1, 2)]
    name, md5 = write("batches.meta", {"label_names": [f"class {n}" for n in range(10)]})
    monkeypatch.setattr(known, "train_list", trains)
    monkeypatch.setattr(known, "test_list", [write("test_batch", batch(7, 2))])
    monkeypatch.setattr(known, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return tmp_path


def test_unknown_name():
    """An unknown name is refused, naming the nearest."""
    with pytest.raises(ValueError, match=r"dataset is unknown: 'mnits'; did you mean mnist\? known: digits, "):
        check_dataset("mnits")


@pytest.mark.parametrize("name", DATASETS)
def test_known_names(name):
    """Every registered name passes the check."""
    check_dataset(name)


@pytest.mark.parametrize("name", ON_DISK)
def test_missing_offline(name, tmp_path):
    """Without files and network, one line names the data set, the folder and the one that needs neither."""
    with pytest.raises(UsageFailure) as failure:
        source(name).read(tmp_path, False)
    message = str(failure.value)
    assert failure.value.code == 2
    assert f"no data set {name}" in message.replace("FashionMNIST", "fashion_mnist").lower()
    assert str(tmp_path / source(name).folder) in message
    assert "no network" in message
    assert "--dataset digits" in message
    assert "\n" not in message


def test_download_waits_for_a_while_only(tmp_path, asked):
    """A server that does not answer holds a download for 30 s, and no other connection of the process."""
    with pytest.raises(UsageFailure):
        source("mnist").read(tmp_path, False)
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
        source("mnist").read(mnist, False)
    assert failure.value.code == 6
    assert str(mnist / "MNIST") in str(failure.value)
    assert "\n" not in str(failure.value)
    assert "corrupt ()" not in str(failure.value)
    assert asked == []


def test_mnist(mnist):
    """MNIST's two parts come as uint8 of (images, 1, 28, 28) with int64 labels and class names."""
    for test, count in ((False, 60), (True, 20)):
        found = source("mnist").read(mnist, test)
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
    assert len(source("mnist").read(mnist, test).labels) == (20 if test else 60)
    with pytest.raises(IntegrityFailure):
        source("mnist").read(mnist, not test)


def test_cifar10(cifar10):
    """CIFAR-10's rows of red, green and blue planes become (images, 3, 32, 32) in file order."""
    found = source("cifar10").read(cifar10, False)
    assert found.images.shape == (6, 3, 32, 32)
    assert found.images.dtype == torch.uint8
    assert found.images.is_contiguous()
    assert found.images[0].flatten().tolist() == [n % 251 for n in range(1, 3073)]
    assert found.labels.tolist() == [1, 2, 3, 2, 3, 4]
    assert found.classes == tuple(f"class {n}" for n in range(10))
    assert source("cifar10").read(cifar10, True).labels.tolist() == [7, 8]


def test_altered_cifar10_is_not_unpickled(cifar10, tmp_path):
    """A CIFAR-10 file of another sum is not read: it is a pickle, which can run anything."""

    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    (cifar10 / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UsageFailure, match="cifar10"):
        source("cifar10").read(cifar10, False)
    assert not (tmp_path / "exploded").exists()


def test_digits():
    """The digits are 1,797 images of 8x8 pixels, their 17 greys spread over 0..255."""
    found, original = source("digits").read(None, False), load_digits()
    assert found.images.shape == (1797, 1, 8, 8)
    assert found.images.dtype == torch.uint8
    assert found.images.unique().tolist() == [round(grey * 255 / 16) for grey in range(17)]
    assert torch.equal(found.images.squeeze(1).double().mul(16 / 255).round(), torch.tensor(original.images))
    assert found.labels.tolist() == original.target.tolist()
    assert found.classes == tuple("0123456789")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real(name, real_data):
    """The real files hold 60,000 and 10,000 images of 28x28 in ten classes."""
    for test, count in ((False, 60_000), (True, 10_000)):
        found = datasets.source(name).read(real_data, test)
        assert found.images.shape == (count, 1, 28, 28)
        assert found.labels.unique().tolist() == list(range(10))
