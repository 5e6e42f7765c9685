"""Fetches torchvision's data sets: with its download helper, unpacked by ours, moved into place file by file.

What a process that died left half-done stands apart, and goes with the next fetch. Knows nothing of images.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

from pipeline.data import archives, vision
from pipeline.system.console import print_notice
from pipeline.system.errors import IntegrityFailure

TIMEOUT = 30  # seconds without an answer
_APART = ".fetching"  # below the data folder


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file that is fetched: an archive, or what it is wanted for itself."""

    urls: Sequence[str]  # the same file at each
    file: str
    md5: str
    folder: str  # below the data folder, where it, or what it holds, belongs
    packed: bool = True
    inner: str | None = None  # those of the archives within it to unpack
    gives: str | None = None  # where this file is there, nothing is fetched


Downloads = Callable[
    [Any, Mapping[str, Any]], list[Download]
]  # of a torchvision class and its arguments


def mnist_downloads(known: Any, _: Mapping[str, Any]) -> list[Download]:
    """The four files of MNIST, or of a data set in its format."""
    return [
        Download(
            urls=[mirror + file for mirror in known.mirrors],
            file=file,
            md5=md5,
            folder=f"{known.__name__}/raw",
            gives=file.removesuffix(".gz"),
        )
        for file, md5 in known.resources
    ]


def emnist_downloads(known: Any, arguments: Mapping[str, Any]) -> list[Download]:
    """The one archive of EMNIST, of gzipped files."""
    folder = f"{known.__name__}/raw"
    inner = f"gzip/emnist-{arguments['split']}-*.gz"
    return [Download(urls=[known.url], file="gzip.zip", md5=known.md5, folder=folder, inner=inner)]


def cifar_downloads(known: Any, _: Mapping[str, Any]) -> list[Download]:
    """The one archive of CIFAR-10 or CIFAR-100."""
    return [Download(urls=[known.url], file=known.filename, md5=known.tgz_md5, folder=".")]


def svhn_downloads(known: Any, arguments: Mapping[str, Any]) -> list[Download]:
    """The file of one part of SVHN."""
    url, file, md5 = known.split_list[arguments["split"]]
    return [Download(urls=[url], file=file, md5=md5, folder=".", packed=False)]


def fetch(downloads: Sequence[Download], data_dir: Path) -> None:
    """Fetch what is not there.

    Args:
        downloads: what to fetch.
        data_dir: the folder of data sets; it is made, and stays only if something came.

    Raises:
        OSError, RuntimeError: where no address gives the file.
        IntegrityFailure: where what came is another file, or an archive that is refused.
    """
    new = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torchvision sets none
    try:
        with _apart(data_dir) as apart:
            for download in downloads:
                place = data_dir / download.folder
                if download.gives is None or not (place / download.gives).is_file():
                    _fetch(download, apart, place)
    finally:
        socket.setdefaulttimeout(before)
        with contextlib.suppress(OSError):  # not empty
            for folder in new:
                folder.rmdir()


@contextmanager
def _apart(data_dir: Path) -> Iterator[Path]:
    """A folder on the same disk, for one process at a time."""
    data_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data_dir, os.O_RDONLY)
    try:
        try:  # the folder itself is locked: no lock file stays, and a death frees it
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_notice(f"waiting for another process that fetches into {data_dir}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        shutil.rmtree(data_dir / _APART, ignore_errors=True)
        (data_dir / _APART).mkdir()
        yield data_dir / _APART
    finally:
        shutil.rmtree(data_dir / _APART, ignore_errors=True)
        os.close(descriptor)


def _fetch(download: Download, apart: Path, place: Path) -> None:
    archive = _at_hand(download, apart, place)
    unpacked = apart / "unpacked"
    unpacked.mkdir()
    if not download.packed:
        archive.replace(unpacked / archive.name)
    else:
        archives.unpack(archive, unpacked)
        for inner in unpacked.glob(download.inner) if download.inner else ():
            archives.unpack(inner, unpacked)
        shutil.rmtree(unpacked / "gzip", ignore_errors=True)  # the archives within EMNIST's
    for file in archives.unpacked_files(unpacked):
        target = place / file.relative_to(unpacked)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    shutil.rmtree(unpacked)


def _at_hand(download: Download, apart: Path, place: Path) -> Path:
    """The file as it was fetched before, or now."""
    helpers = vision.datasets().utils
    if helpers.check_integrity(place / download.file, download.md5):
        return place / download.file
    for last, url in enumerate(download.urls, start=1 - len(download.urls)):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                helpers.download_url(url, str(apart), download.file, download.md5)
        except (RuntimeError, URLError, OSError) as error:
            if last == 0 and isinstance(error, RuntimeError) and (apart / download.file).is_file():
                raise IntegrityFailure(
                    f"what came from {url} is not {download.file}: its MD5 is another"
                ) from None
            if last == 0:
                raise
        else:
            break
    return apart / download.file
