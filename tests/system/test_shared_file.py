"""Files that processes share, as on this system and as on Windows."""

import mmap
import multiprocessing
import tempfile
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest

from pipeline.system.shared_file import NamedFile, make_shared_file


@pytest.fixture(params=[make_shared_file, NamedFile])
def file(request, tmp_path, monkeypatch):
    """A shared file of 100 bytes, of each kind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shared = request.param(100)
    yield shared
    shared.close()


def test_another_process_reads_what_was_written(file):
    """What one has mapped and written, another that opens the file maps; it stays mapped when closed."""
    ours = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE)
    ours[:5] = b"hello"
    theirs, answer = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(answer,))
    process.start()
    theirs.send(file)
    assert theirs.recv() == b"hello"
    process.join()
    file.close()
    assert ours[:5] == b"hello"


def _answer(connection):
    file = connection.recv()
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    file.close()
    connection.send(mapped[:5])


def test_nothing_is_left_of_it(file, tmp_path):
    """The one that made it removes it, and no reader does."""
    if isinstance(file, NamedFile):
        reader = ForkingPickler.loads(ForkingPickler.dumps(file))
        reader.close()
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["shared"]
    file.close()
    assert not list(Path(tmp_path).iterdir())
