"""Unpacks archives from any source: plain files below one folder, or nothing."""

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
from pipeline.system.text import clip

# What reading a damaged archive raises. A full disk raises none of these.
_DAMAGED = (
    EOFError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    NotImplementedError,
    tarfile.TarError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    # Members with the same path:
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip archive, or a single gzipped file, into an empty folder.

    All members are checked before the first is written: each must be a plain file or a folder,
    with a relative name that does not lead upwards.

    Raises:
        IntegrityFailure: naming a member that is refused, or if the archive is damaged.
        StorageFailure: if there is no room for its content.
    """
    is_gzipped_file = archive.suffix == ".gz" and archive.suffixes[-2:] != [".tar", ".gz"]
    try:
        if archive.suffix == ".zip":
            _unpack_zip(archive, folder)
        elif is_gzipped_file:
            with gzip.open(archive) as packed, (folder / archive.stem).open("wb") as file:
                shutil.copyfileobj(packed, file)
        else:
            _unpack_tar(archive, folder)
    except _DAMAGED as error:
        reason = clip(error, 200) or type(error).__name__
        raise IntegrityFailure(
            f"archive {archive.name} is damaged ({reason}): fetch it anew"
        ) from None


def unpacked_files(folder: Path) -> Iterator[Path]:
    """Yield the files of an unpacked archive, in order."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        for member in members:
            _check_member(archive, member.name, is_plain=member.isreg() or member.isdir())
        _check_room(archive, folder, sum(member.size for member in members))
        # The filter drops other requests of a member, such as an owner. It is set in this way, and
        # not by an argument, because Python 3.11.3 and older do not have it. It does not replace
        # the checks: it allows links, and writes a member with an absolute name into the folder.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder, members)  # noqa: S202 - each member is checked above


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)  # 0: not said
            _check_member(archive, member.filename, is_plain=is_plain)
            if member.flag_bits & 1:
                raise ValueError(f"{member.filename} is encrypted")
        _check_room(archive, folder, sum(member.file_size for member in members))
        packed.extractall(folder, members)  # noqa: S202 - each member is checked above


def _check_member(archive: Path, name: str, *, is_plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if not is_plain:
        reason = "is neither a file nor a folder"
    elif path.is_absolute() or ".." in path.parts:
        reason = "leads out of it"
    else:
        return
    raise IntegrityFailure(
        f"archive {archive.name} is refused: its member {clip(name, 80)!r} {reason}"
    )


def _check_room(archive: Path, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StorageFailure(
            f"archive {archive.name} unpacks to {size:,} bytes: {folder} has room for {free:,}"
        )
