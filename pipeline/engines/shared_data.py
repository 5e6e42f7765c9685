"""A study's images in memory, once for all processes that train on them. Knows nothing of what is done with them."""

from __future__ import annotations

import dataclasses
import math
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing.reduction import DupFd
from typing import Any, BinaryIO

import torch

from pipeline.data.search_data import SearchData, Split
from pipeline.system.errors import StorageFailure

_ALIGNED = 64  # bytes, at which each tensor begins


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a tensor lies in the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int


class SharedData:
    """The splits of a search in a file without a name, which vanishes with the last process that has it.

    It can be sent to a process that is being started. In RAM where the system has such files: shared memory under
    /dev/shm is often too small in containers.
    """

    def __init__(self, data: SearchData) -> None:
        """Move the images and labels there: the tensors of `data` are then those of the file, and hold no copy.

        Raises:
            StorageFailure: if there is no room.
        """
        self._facts = metadata(data)
        found = tensors(data)
        places = []
        end = 0
        for tensor in found:
            start = -(-end // _ALIGNED) * _ALIGNED
            places.append(_Place(tensor.dtype, tuple(tensor.shape), start))
            end = start + tensor.nbytes
        self._places = tuple(places)
        self._file = _nameless()
        try:
            _reserve(self._file.fileno(), end)
        except OSError as error:
            self._file.close()
            raise StorageFailure(
                f"cannot share {end / 1e6:,.1f} MB of images: {error.strerror or error}"
            ) from error
        for tensor, written in zip(found, self._map(mmap.ACCESS_WRITE), strict=True):
            written.copy_(tensor)
        for tensor, shared in zip(found, self._map(mmap.ACCESS_COPY), strict=True):
            tensor.set_(shared)  # type: ignore[call-overload]  # as `Tensor.share_memory_` does

    def _map(self, access: int) -> Iterator[torch.Tensor]:
        memory = mmap.mmap(self._file.fileno(), 0, access=access)
        for place in self._places:
            count = math.prod(place.shape)
            if not count:  # of which torch makes no tensor in memory
                yield torch.empty(place.shape, dtype=place.dtype)
                continue
            yield torch.frombuffer(
                memory, dtype=place.dtype, count=count, offset=place.offset
            ).view(place.shape)

    def open(self) -> SearchData:
        """Map the splits. Writing to them changes neither the file nor what others see."""
        return rebuild(self._facts, self._map(mmap.ACCESS_COPY))

    def close(self) -> None:
        """Give up the file; what is mapped stays so."""
        self._file.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_file": DupFd(self._file.fileno())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "_file": os.fdopen(state["_file"].detach(), "rb")})


def tensors(data: SearchData) -> tuple[torch.Tensor, ...]:
    """The images and labels of a search."""
    return data.train.images, data.train.labels, data.val.images, data.val.labels


def metadata(data: SearchData) -> dict[str, Any]:
    """The rest of it."""
    return {name: getattr(data, name) for name in ("name", "classes", "mean", "std", "digest")}


def rebuild(facts: Mapping[str, Any], tensors: Iterable[torch.Tensor]) -> SearchData:
    """The search again, of these two."""
    train, labels, val, val_labels = tensors
    return SearchData(train=Split(train, labels), val=Split(val, val_labels), **facts)


def _nameless() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("images"), "w+b")
    return tempfile.TemporaryFile()


def _reserve(file: int, size: int) -> None:
    """Take the room now: a page that cannot be had later kills the process that writes to it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)
