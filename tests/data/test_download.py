"""Downloads from a server of our own: what comes whole is in place, what does not leaves nothing behind."""

import gzip
import hashlib
import http.server
import tarfile
import threading
import zipfile

import pytest
import torch
from support.archives import write_tar
from support.datasets import LAYOUTS

from models import vision
from pipeline.data import download
from pipeline.data.datasets import DATASETS, get_source
from pipeline.system.errors import IntegrityFailure


@pytest.fixture
def server(tmp_path):
    """A folder that is served, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()
        thread.join()


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def publish(name, server, original, patch):
    """Put a tiny data set on the server as the real one is, and tell torchvision where it is and its sums."""
    folder, address = server
    known = getattr(
        vision.part("datasets"),
        {"mnist": "MNIST", "emnist": "EMNIST", "svhn": "SVHN", "cifar10": "CIFAR10"}[name],
    )
    original.mkdir()
    LAYOUTS[name](original, patch)
    if name == "mnist":
        packed = []
        for path in sorted((original / "MNIST" / "raw").iterdir()):
            (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            packed.append((f"{path.name}.gz", md5(folder / f"{path.name}.gz")))
        patch.setattr(known, "resources", packed)
        patch.setattr(known, "mirrors", [f"{address}gone/", address])
    elif name == "emnist":
        with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
            for path in (original / "EMNIST" / "raw").iterdir():
                archive.writestr(f"gzip/{path.name}.gz", gzip.compress(path.read_bytes()))
            archive.writestr(
                "gzip/emnist-letters-train-images-idx3-ubyte.gz", gzip.compress(b"not asked for")
            )
        patch.setattr(known, "url", f"{address}gzip.zip")
        patch.setattr(known, "md5", md5(folder / "gzip.zip"))
    elif name == "cifar10":
        with tarfile.open(folder / known.filename, "w:gz") as archive:
            archive.add(original / known.base_folder, known.base_folder)
        patch.setattr(known, "url", address + known.filename)
        patch.setattr(known, "tgz_md5", md5(folder / known.filename))
    else:
        for part, (_, file, digest) in known.split_list.items():
            (original / file).rename(folder / file)
            known.split_list[part] = [address + file, file, digest]
    return known


@pytest.mark.parametrize("name", ["mnist", "emnist", "svhn", "cifar10"])
def test_what_is_not_there_is_fetched(name, server, tmp_path, monkeypatch, capfd):
    """Both parts are fetched, checked and unpacked, also where the first mirror fails; no archive stays."""
    publish(name, server, tmp_path / "original", monkeypatch)
    data_dir = tmp_path / "new" / "data"
    parts = [get_source(name).read(data_dir, test) for test in (False, True)]
    assert [len(part.labels) for part in parts] == [60, 20]
    assert [
        path.name for path in data_dir.rglob("*") if path.suffix in (".gz", ".zip", ".tmp")
    ] == []
    assert not (data_dir / ".fetching").exists()
    assert not list(data_dir.rglob("*letters*"))
    assert capfd.readouterr().out == ""


def test_one_missing_file_is_fetched_alone(server, tmp_path, monkeypatch):
    """What is there already is not asked for again, and stays as it is."""
    known = publish("mnist", server, tmp_path / "original", monkeypatch)
    before = get_source("mnist").read(tmp_path / "original", False)
    (tmp_path / "original" / "MNIST" / "raw" / "train-labels-idx1-ubyte").unlink()
    for file, _ in known.resources:
        if not file.startswith("train-labels"):
            (server[0] / file).unlink()
    (tmp_path / "original" / ".fetching" / "left").mkdir(parents=True)
    after = get_source("mnist").read(tmp_path / "original", False)
    assert torch.equal(before.images, after.images)
    assert torch.equal(before.labels, after.labels)
    assert not (tmp_path / "original" / ".fetching").exists()  # of a process that died


@pytest.mark.parametrize("name", ["mnist", "emnist", "svhn", "cifar10"])
def test_a_truncated_download_is_refused_and_leaves_nothing(name, server, tmp_path, monkeypatch):
    """What is not the published file is exit 6 naming it, and no folder is made for it."""
    publish(name, server, tmp_path / "original", monkeypatch)
    for path in server[0].iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        IntegrityFailure, match=r"what came from http://.* is not .*: its MD5 is another"
    ) as failure:
        get_source(name).read(tmp_path / "new" / "data", False)
    assert failure.value.code == 6
    assert not (tmp_path / "new").exists()


def test_a_malicious_archive_is_refused_and_leaves_nothing(server, tmp_path, monkeypatch):
    """An archive that leads out of its folder is exit 6, though its sum is the published one."""
    known = publish("cifar10", server, tmp_path / "original", monkeypatch)
    archive = write_tar(server[0] / known.filename, ("../../canary", tarfile.REGTYPE, ""))
    monkeypatch.setattr(known, "tgz_md5", md5(archive))
    with pytest.raises(
        IntegrityFailure, match=r"is refused: its member '\.\./\.\./canary' leads out of it"
    ):
        get_source("cifar10").read(tmp_path / "new" / "data", False)
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.rglob("canary"))


def test_an_archive_that_is_there_is_taken(server, tmp_path, monkeypatch):
    """An archive that torchvision, or someone, put into the data folder needs no network."""
    known = publish("cifar10", server, tmp_path / "original", monkeypatch)
    (tmp_path / "data").mkdir()
    (server[0] / known.filename).rename(tmp_path / "data" / known.filename)
    assert len(get_source("cifar10").read(tmp_path / "data", False).labels) == 60


@pytest.mark.parametrize(
    "name", ["mnist", "fashion_mnist", "kmnist", "emnist", "svhn", "cifar10", "cifar100"]
)
def test_every_download_is_checked(name):
    """Every file that may be fetched has an MD5, an address, and a place below the data folder."""
    classes = {
        n.lower(): n
        for n in ("MNIST", "FashionMNIST", "KMNIST", "EMNIST", "SVHN", "CIFAR10", "CIFAR100")
    }
    known = getattr(vision.part("datasets"), classes[name.replace("_", "")])
    how = {"emnist": download.emnist_downloads, "svhn": download.svhn_downloads}.get(
        name, download.mnist_downloads
    )
    how = download.cifar_downloads if name.startswith("cifar") else how
    found = how(known, {"split": "train"})
    assert found
    assert all(len(download.md5) == 32 and download.urls for download in found)
    assert name in DATASETS
