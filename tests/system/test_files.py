"""Files are written whole or not at all, and what a killed process left behind is removed."""

import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import pytest

from pipeline.system import left_behind
from pipeline.system.files import atomic_write, temporary_folder, write_text_atomically


def test_a_file_appears_whole(tmp_path):
    """A file ends as its format's lines do, and a draft is left beside none."""
    assert write_text_atomically(tmp_path / "a.csv", "x").read_bytes() == b"x\r\n"
    assert write_text_atomically(tmp_path / "a.md", "猫").read_bytes() == "猫\n".encode()
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a.md"}


def test_or_not_at_all(tmp_path):
    """Where writing fails the old file stays as it was."""
    path = write_text_atomically(tmp_path / "a.md", "old")
    with pytest.raises(OSError), atomic_write(path) as draft:  # noqa: PT011
        draft.write_text("half")
        raise OSError
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_for_it_and_go_with_it(tmp_path):
    """Where writing fails, what was made for it is not left behind; what was there before stays."""
    (tmp_path / "old").mkdir()
    with pytest.raises(OSError), atomic_write(tmp_path / "old" / "new" / "newer" / "a"):  # noqa: PT011
        raise OSError
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]
    assert write_text_atomically(tmp_path / "old" / "new" / "newer" / "a", "x").read_text() == "x\n"


def _write_until_killed(path, say):
    with atomic_write(path) as draft, temporary_folder() as folder:
        draft.write_text("half")
        (folder / "a").write_text("half")
        say.send((draft, folder))
        say.recv()


@pytest.fixture
def writer(tmp_path, monkeypatch):
    """A process that writes a file through a draft, and has a temporary folder; and the paths of both."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    context = multiprocessing.get_context("fork")
    ours, its = context.Pipe()
    process = context.Process(target=_write_until_killed, args=(tmp_path / "out" / "a.md", its))
    process.start()
    assert ours.poll(60)
    yield process, *ours.recv()
    process.kill()
    process.join()


def test_what_a_killed_process_left_is_removed_by_the_next(writer, tmp_path):
    """Its drafts and folders go when the next one begins; those of a live one, and of others, stay."""
    process, draft, folder = writer
    others = [
        tmp_path / "out" / ".notes.md.tmp",
        tmp_path / "out" / ".a.md.12.tmp",
        tmp_path / "temporary" / "sweep-pipeline-copy" / "a",
    ]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.touch()

    def begin():
        with temporary_folder() as another:
            write_text_atomically(tmp_path / "out" / "b.md", "x")
        assert not another.exists()

    begin()
    assert draft.read_text() == "half"
    assert (folder / "a").read_text() == "half"
    process.kill()
    process.join()
    begin()
    assert not draft.exists()
    assert not folder.exists()
    assert all(path.exists() for path in others)


def test_a_new_draft_that_is_taken_for_an_orphan_is_made_again(tmp_path, monkeypatch):
    """Another process may look between its making and its locking."""
    made = []

    def number(_most):
        if made:  # the second one: the first is removed as an orphan would be
            return 1
        made.append(tmp_path / ".a.0.pipeline.tmp")
        return 0

    monkeypatch.setattr("pipeline.system.files.secrets.randbelow", number)
    monkeypatch.setattr(
        "pipeline.system.left_behind.fcntl.flock", lambda *_: made[0].unlink(missing_ok=True)
    )
    with atomic_write(tmp_path / "a") as draft:
        draft.write_text("x")
        assert draft.name == ".a.1.pipeline.tmp"
    assert (tmp_path / "a").read_text() == "x"
    assert [path.name for path in Path(tmp_path).iterdir()] == ["a"]


def test_where_nothing_is_locked_what_is_old_is_removed(tmp_path, monkeypatch):
    """Windows removes and renames nothing that is open: there, a draft or a folder of last week has been left."""
    monkeypatch.setattr(left_behind, "_left", left_behind._left_by_age)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders = [tmp_path / f"sweep-pipeline-{age}.tmp" for age in ("old", "new")]
    drafts = [tmp_path / f".a.{number}.pipeline.tmp" for number in (1, 2)]
    for folder, draft in zip(folders, drafts, strict=True):
        folder.mkdir()
        (folder / "a").touch()
        draft.touch()
    last_week = time.time() - 8 * 24 * 3600
    for path in (folders[0], drafts[0]):
        os.utime(path, (last_week, last_week))
    with temporary_folder():
        write_text_atomically(tmp_path / "a", "x")
    assert {path.name for path in tmp_path.iterdir()} == {"a", folders[1].name, drafts[1].name}
