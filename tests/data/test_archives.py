"""What is unpacked of archives from anywhere, and that the refused ones leave nothing, inside or outside."""

import shutil
import stat
import tarfile

import pytest
from support.archives import good, write_tar, write_zip

from pipeline.data.archives import unpack, unpacked_files
from pipeline.system.errors import IntegrityFailure, StorageFailure

# Members of a tar that are refused: each its name, its type, and what it links to.
TAR = {
    "upwards": ("../x", tarfile.REGTYPE, ""),
    "upwards from within": ("a/../../x", tarfile.REGTYPE, ""),
    "absolute": ("/x", tarfile.REGTYPE, ""),
    "link outside": ("x", tarfile.SYMTYPE, "../../x"),
    "link inside": ("x", tarfile.SYMTYPE, "good"),
    "hard link": ("x", tarfile.LNKTYPE, "/etc/passwd"),
    "device": ("x", tarfile.CHRTYPE, ""),
    "pipe": ("x", tarfile.FIFOTYPE, ""),
}


@pytest.fixture
def place(tmp_path):
    """An empty folder two levels down, so that there is an outside."""
    place = tmp_path / "outside" / "place"
    place.mkdir(parents=True)
    return place


def left(tmp_path):
    """All but the archive itself and the two folders."""
    return sorted(
        path.name
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.name.startswith("archive")
    )


@pytest.mark.parametrize("member", TAR.values(), ids=TAR)
def test_a_tar_with_such_a_member_is_refused_whole(member, place, tmp_path):
    """A name that leads out, a link, a device: refused naming it, before its good members are written."""
    archive = write_tar(tmp_path / "archive.tar.gz", member)
    with pytest.raises(
        IntegrityFailure, match=r"archive\.tar\.gz is refused: its member '.*x' "
    ) as failure:
        unpack(archive, place)
    assert failure.value.code == 6
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "..\\x"])
def test_a_zip_with_such_a_name_is_refused_whole(name, place, tmp_path):
    """A name that leads out is refused, and not quietly written elsewhere."""
    with pytest.raises(IntegrityFailure, match="leads out of it"):
        unpack(write_zip(tmp_path / "archive.zip", name), place)
    assert left(tmp_path) == []


def test_a_zip_with_a_link_is_refused_whole(place, tmp_path):
    """A link is refused in a zip, too."""
    with pytest.raises(IntegrityFailure, match="is neither a file nor a folder"):
        unpack(write_zip(tmp_path / "archive.zip", "x", mode=stat.S_IFLNK), place)
    assert left(tmp_path) == []


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip", "gz"])
def test_a_good_archive_is_unpacked(kind, place, tmp_path):
    """Files and folders come out as they are."""
    unpack(good(tmp_path, kind), place)
    found = [path.relative_to(place).as_posix() for path in unpacked_files(place)]
    assert found == (["archive"] if kind == "gz" else ["a/b/c", "good"])


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip", "gz"])
@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"nonsense" * 99]
)
def test_a_damaged_archive_is_said_to_be_one(kind, damage, place, tmp_path):
    """A truncated, empty or other file is refused in one line, never a traceback."""
    archive = good(tmp_path, kind)
    whole = archive.read_bytes()
    archive.write_bytes(
        damage(whole[:1400] if kind == "tar" else whole)
    )  # a tar ends in thousands of zeros
    if kind == "gz" and not archive.read_bytes():
        pytest.skip("nothing at all is a gzip file of nothing")
    with pytest.raises(IntegrityFailure, match="is damaged") as failure:
        unpack(archive, place)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip"])
def test_what_there_is_no_room_for_is_not_begun(kind, place, tmp_path, monkeypatch):
    """An archive that says it is larger than the disk has room for is exit 5 before the first byte is written."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 3, 7))
    with pytest.raises(StorageFailure, match=r"unpacks to 8 bytes: .* has room for 7") as failure:
        unpack(good(tmp_path, kind), place)
    assert failure.value.code == 5
    assert left(tmp_path) == []
