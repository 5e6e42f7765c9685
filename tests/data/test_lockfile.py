"""A data set is what it was when it was first read, or the file that is not is named."""

import json
import os

import pytest
from conftest import idx
from support.datasets import LAYOUTS, save, write_folder

from pipeline.data import lockfile, search_data
from pipeline.data.datasets import FOLDER, dataset_files, get_source
from pipeline.data.lockfile import DatasetFiles
from pipeline.system import files
from pipeline.system.errors import IntegrityFailure

IMAGES = "train-images-idx3-ubyte"


def lock_of(data_dir):
    return data_dir / ".MNIST.sha256.json"


def test_the_first_read_locks_sizes_and_sums(mnist):
    """Reading a data set for the first time writes the size and SHA-256 of every file beside it."""
    get_source("mnist").read(mnist, False)
    locked = json.loads(lock_of(mnist).read_text())["files"]
    assert sorted(locked) == sorted(
        f"raw/{path.name}" for path in (mnist / "MNIST" / "raw").iterdir()
    )
    size, digest = locked[f"raw/{IMAGES}"]
    assert size == 16 + 60 * 28 * 28
    assert len(digest) == 64
    assert not list(mnist.rglob("*.tmp"))


@pytest.mark.parametrize("locked", [True, False])
def test_a_truncated_file_is_named(mnist, locked):
    """A file that was cut short is exit 6 and named in every later read, and in the first by its own header."""
    if locked:
        get_source("mnist").read(mnist, False)
    path = mnist / "MNIST" / "raw" / IMAGES
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityFailure, match=f"{IMAGES} has 47,055 bytes") as failure:
        get_source("mnist").read(mnist, False)
    assert failure.value.code == 6
    assert "remove" in str(failure.value)


def test_a_truncated_test_file_is_found_before_the_search(mnist):
    """The sizes of all files are looked at, also of the part that is not read now."""
    get_source("mnist").read(mnist, False)
    (mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(IntegrityFailure, match="t10k-labels-idx1-ubyte has 0 bytes instead of 28"):
        get_source("mnist").read(mnist, False)


def test_verifying_finds_one_changed_byte(mnist):
    """A file of the right size with one other byte is named by `verify`, and by nothing quicker."""
    assert lockfile.verify(dataset_files("mnist", mnist)) == (0, lock_of(mnist))
    assert lockfile.verify(dataset_files("mnist", mnist)) == (4, None)
    path = mnist / "MNIST" / "raw" / IMAGES
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    get_source("mnist").read(mnist, False)
    with pytest.raises(
        IntegrityFailure, match=f"{IMAGES} has another SHA-256: put back .* or remove .*json"
    ):
        lockfile.verify(dataset_files("mnist", mnist))


def test_verifying_finds_what_is_missing_and_what_is_new(tmp_path):
    """A folder of images is compared file by file; a study may take new files, `verify` names them."""
    name = f"{FOLDER}{write_folder(tmp_path / 'photos')}"
    lockfile.verify(dataset_files(name, tmp_path))
    new = save(tmp_path / "photos" / "train" / "cat" / "new.png")
    search_data.load(name, tmp_path)
    with pytest.raises(IntegrityFailure, match=r"train/cat/new\.png is new"):
        lockfile.verify(dataset_files(name, tmp_path))
    new.unlink()
    (tmp_path / "photos" / "train" / "dog" / "00.png").unlink()
    with pytest.raises(IntegrityFailure, match=r"train/dog/00\.png is missing"):
        lockfile.verify(dataset_files(name, tmp_path))


def test_an_image_that_was_cut_short_is_named(tmp_path):
    """A locked folder's image of another size is refused before anything is decoded."""
    name = f"{FOLDER}{write_folder(tmp_path / 'photos')}"
    lockfile.verify(dataset_files(name, tmp_path))
    path = tmp_path / "photos" / "train" / "cat" / "03.png"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(IntegrityFailure, match=r"train/cat/03\.png has .* bytes instead of"):
        search_data.load(name, tmp_path)


def test_a_part_that_comes_later_is_added(tmp_path, monkeypatch):
    """The test part of SVHN, fetched when it is asked for, joins the lock file of the training part."""
    LAYOUTS["svhn"](tmp_path, monkeypatch)
    later = tmp_path / "test_32x32.mat"
    later.rename(tmp_path / "later")
    get_source("svhn").read(tmp_path, False)
    (tmp_path / "later").rename(later)
    get_source("svhn").read(tmp_path, True)
    assert lockfile.verify(dataset_files("svhn", tmp_path)) == (2, None)


def test_beside_data_that_cannot_be_written_it_is_in_the_cache(tmp_path):
    """Where nothing can be written beside the data, the lock file is kept, and found, in the cache folder."""
    (tmp_path / "a file").touch()
    path = tmp_path / "x-ubyte"
    path.write_bytes(b"12345")
    found = DatasetFiles("x", tmp_path, {"x-ubyte": 5}, tmp_path / "a file" / "lock.json")
    lockfile.lock_new(found)
    assert [place.suffixes for place in files.cache_folder().iterdir()] == [[".sha256", ".json"]]
    assert lockfile.verify(found) == (1, None)
    path.write_bytes(b"12346")
    with pytest.raises(IntegrityFailure, match="another SHA-256"):
        lockfile.verify(found)


def test_a_read_only_folder_stays_as_it_is(mnist):
    """Nothing is written into a data folder that is marked read-only, not even by root."""
    mnist.chmod(0o555)
    try:
        get_source("mnist").read(mnist, False)
        assert [path.name for path in mnist.iterdir()] == ["MNIST"]
        assert lockfile.verify(dataset_files("mnist", mnist)) == (4, None)
    finally:
        mnist.chmod(0o755)


def test_without_any_place_a_line_says_so(tmp_path, monkeypatch, capsys):
    """Where no lock file can be written at all, reading goes on, and says so."""
    (tmp_path / "a file").touch()
    monkeypatch.setenv("PIPELINE_CACHE_DIR", str(tmp_path / "a file" / "cache"))
    (tmp_path / "x").write_bytes(b"")
    lockfile.lock_new(DatasetFiles("x", tmp_path, {"x": 0}, tmp_path / "a file" / "lock.json"))
    assert "no lock file of data set x can be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": 3}', '{"files": {"a": 1}}', '{"files": {"a": ["b", 1]}}']
)
def test_a_damaged_lock_file_is_named(mnist, text):
    """A lock file that is none is refused in a line, with what to do."""
    lock_of(mnist).write_text(text)
    with pytest.raises(
        IntegrityFailure, match=r"lock file .*\.MNIST\.sha256\.json cannot be read .*: remove it"
    ):
        get_source("mnist").read(mnist, False)


def test_a_header_that_lies_does_not_crash(mnist):
    """Whatever bytes a file of MNIST begins with, it is named or read."""
    path = mnist / "MNIST" / "raw" / IMAGES
    for head in (b"", b"\0\0\x08", b"\0\0\x08\xff", idx(path_images())[:9]):
        path.write_bytes(head)
        with pytest.raises(IntegrityFailure, match=f"{IMAGES} has {len(head)} bytes"):
            get_source("mnist").read(mnist, False)


def path_images():
    """Two images of 28x28."""
    import torch

    return torch.zeros(2, 28, 28, dtype=torch.uint8)


def test_a_lock_file_that_never_ends_is_not_read(mnist):
    """A pipe in its place is named."""
    os.mkfifo(lock_of(mnist))
    with pytest.raises(IntegrityFailure, match=r"lock file .* is no regular file: remove it"):
        get_source("mnist").read(mnist, False)
