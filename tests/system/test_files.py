"""Files are written whole or not at all."""

import pytest

from pipeline.system.files import atomic_write, write_text_atomically


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
