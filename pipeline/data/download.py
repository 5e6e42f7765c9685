"""Downloads the files of torchvision's data sets, and unpacks them into the data folder.

A download is completed and checked in a separate folder before the files are moved into place, so
a killed process leaves only whole files in the data folder. The next download cleans up.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import vision
from pipeline.data import archives
from pipeline.system.console import progress_bar
from pipeline.system.errors import IntegrityFailure
from pipeline.system.exclusive import exclusive

TIMEOUT = 30  # seconds without an answer
_WORK_FOLDER = ".fetching"  # below the data folder
_CHUNK = 10**6  # bytes, of which the progress bar counts one


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file to download."""

    urls: Sequence[str]  # mirrors
    file: str
    md5: str
    folder: str  # below the data folder, for the file or its content
    packed: bool = True  # whether it is an archive to unpack
    inner: str | None = None  # a pattern of archives in the archive, to unpack as well
    provides: str | None = None  # a file of the folder: if it exists, nothing is downloaded


# Lists the downloads of a class of `torchvision.datasets` with its arguments.
Downloads = Callable[[Any, Mapping[str, Any]], list[Download]]


def mnist_downloads(dataset_class: Any, _: Mapping[str, Any]) -> list[Download]:
    """The four files of MNIST, or of a data set in its format."""
    return [
        Download(
            urls=[mirror + file for mirror in dataset_class.mirrors],
            file=file,
            md5=md5,
            folder=f"{dataset_class.__name__}/raw",
            provides=file.removesuffix(".gz"),
        )
        for file, md5 in dataset_class.resources
    ]


def emnist_downloads(dataset_class: Any, arguments: Mapping[str, Any]) -> list[Download]:
    """The archive of EMNIST, which holds gzipped files."""
    return [
        Download(
            urls=[dataset_class.url],
            file="gzip.zip",
            md5=dataset_class.md5,
            folder=f"{dataset_class.__name__}/raw",
            inner=f"gzip/emnist-{arguments['split']}-*.gz",
        )
    ]


def cifar_downloads(dataset_class: Any, _: Mapping[str, Any]) -> list[Download]:
    """The archive of CIFAR-10 or CIFAR-100."""
    return [
        Download(
            urls=[dataset_class.url],
            file=dataset_class.filename,
            md5=dataset_class.tgz_md5,
            folder=".",
        )
    ]


def svhn_downloads(dataset_class: Any, arguments: Mapping[str, Any]) -> list[Download]:
    """The file of one part of SVHN."""
    url, file, md5 = dataset_class.split_list[arguments["split"]]
    return [Download(urls=[url], file=file, md5=md5, folder=".", packed=False)]


def fetch(downloads: Sequence[Download], data_dir: Path) -> None:
    """Download files that are missing.

    Args:
        downloads: the files.
        data_dir: the folder of data sets; a missing folder is made, and removed again if nothing
            is downloaded.

    Raises:
        OSError: if a file cannot be downloaded from any of its addresses.
        IntegrityFailure: if a download is not the published file, or an archive is refused.
    """
    missing_folders = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    try:
        with _work_folder(data_dir) as work_folder:
            for download in downloads:
                folder = data_dir / download.folder
                if download.provides is None or not (folder / download.provides).is_file():
                    _fetch_file(download, work_folder, folder)
    finally:
        with contextlib.suppress(OSError):  # not empty
            for folder in missing_folders:
                folder.rmdir()


@contextmanager
def _work_folder(data_dir: Path) -> Iterator[Path]:
    """Make an empty folder on the data's disk, used by one process at a time."""
    data_dir.mkdir(parents=True, exist_ok=True)
    work_folder = data_dir / _WORK_FOLDER
    lock_file = data_dir / f"{_WORK_FOLDER}.lock"
    with exclusive(lock_file, f"waiting for another process that fetches into {data_dir}"):
        shutil.rmtree(work_folder, ignore_errors=True)
        try:
            work_folder.mkdir()
            yield work_folder
        finally:
            shutil.rmtree(work_folder, ignore_errors=True)
            lock_file.unlink(missing_ok=True)  # a waiting process makes a new one


def _fetch_file(download: Download, work_folder: Path, folder: Path) -> None:
    """Download and unpack a file, and move the content into its folder.

    An archive in the folder already, from torchvision or a user, is not downloaded.
    """
    file = folder / download.file
    if not vision.part("datasets").utils.check_integrity(file, download.md5):
        file = _download(download, work_folder)
    unpacked = work_folder / "unpacked"
    unpacked.mkdir()
    if download.packed:
        _unpack(file, download.inner, unpacked)
    else:
        file.replace(unpacked / file.name)
    for path in archives.unpacked_files(unpacked):
        target = folder / path.relative_to(unpacked)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    shutil.rmtree(unpacked)


def _unpack(archive: Path, inner: str | None, folder: Path) -> None:
    archives.unpack(archive, folder)
    if inner is None:
        return
    for inner_archive in folder.glob(inner):
        archives.unpack(inner_archive, folder)
    shutil.rmtree(folder / "gzip", ignore_errors=True)  # the archives in EMNIST's


def _download(download: Download, folder: Path) -> Path:
    """Download a file from the first mirror that has it.

    Raises:
        OSError: if the last mirror fails.
        IntegrityFailure: if the last mirror has another file.
    """
    path = folder / download.file
    *mirrors, last_mirror = download.urls
    for url in mirrors:
        with contextlib.suppress(OSError):
            download_url(url, path, path.name)
            if _is_published(path, download):
                return path
    download_url(last_mirror, path, path.name)
    if not _is_published(path, download):
        raise IntegrityFailure(
            f"what came from {last_mirror} is not {download.file}: its MD5 is another; "
            "try again later"
        )
    return path


def _is_published(path: Path, download: Download) -> bool:
    is_published: bool = vision.part("datasets").utils.check_integrity(path, download.md5)
    return is_published


def download_url(url: str, path: Path, name: str) -> None:
    """Download an address to a file. torchvision's own function would wait without limit.

    Args:
        url: the address.
        path: the file, which is replaced.
        name: of the file, for the progress.

    Raises:
        OSError: if it cannot be downloaded, or the connection ends too soon.
    """
    headers = {"User-Agent": "pytorch/vision"}  # some servers refuse Python's own
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - https or http
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310 - as above
        chunks = math.ceil((response.length or 0) / _CHUNK)
        with path.open("wb") as file, progress_bar(f"fetching {name}, MB", chunks) as advance:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                advance(1)
