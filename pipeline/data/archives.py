"""Unpacks archives that came from elsewhere: plain files below one folder, or nothing. Knows nothing of data sets."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.system.errors import IntegrityFailure, StorageFailure
from pipeline.system.text import clean

# What reading a damaged archive raises; a full disk is none of these.
_DAMAGED = (
    EOFError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    NotImplementedError,
    tarfile.TarError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    # Members that stand in each other's way.
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip archive, or a single gzipped file, into an empty folder.

    Members are looked at before the first is written: each must be a plain file or a folder, with a relative name that
    does not lead upwards.

    Raises:
        IntegrityFailure: naming the member that is not, or saying that the archive is damaged.
        StorageFailure: where it unpacks to more than there is room for.
    """
    try:
        if archive.suffix == ".zip":
            _unpack_zip(archive, folder)
        elif archive.suffix == ".gz" and archive.suffixes[-2:] != [".tar", ".gz"]:
            with gzip.open(archive) as packed, (folder / archive.stem).open("wb") as file:
                shutil.copyfileobj(packed, file)
        else:
            _unpack_tar(archive, folder)
    except _DAMAGED as error:
        why = clean(error, 200) or type(error).__name__
        raise IntegrityFailure(
            f"archive {archive.name} is damaged ({why}): fetch it anew"
        ) from None


def unpacked_files(folder: Path) -> Iterator[Path]:
    """The files of an unpacked archive, in order."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        for member in members:
            _check(archive, member.name, plain=member.isreg() or member.isdir())
        _check_room(archive, folder, sum(member.size for member in members))
        # It also drops what else a member may ask for, such as an owner; Python 3.11.3 and older do not have it.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder, members)  # noqa: S202 - each member is checked above


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            _check(archive, member.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if member.flag_bits & 1:
                raise ValueError(f"{member.filename} is encrypted")
        _check_room(archive, folder, sum(member.file_size for member in members))
        packed.extractall(folder, members)  # noqa: S202 - each member is checked above


def _check(archive: Path, name: str, *, plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if not plain or path.is_absolute() or ".." in path.parts:
        what = "leads out of it" if plain else "is neither a file nor a folder"
        raise IntegrityFailure(
            f"archive {archive.name} is refused: its member {clean(name, 80)!r} {what}"
        )


def _check_room(archive: Path, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StorageFailure(
            f"archive {archive.name} unpacks to {size:,} bytes: {folder} has room for {free:,}"
        )
