"""Keeps a study's images in memory once, for all processes on this machine that train on them."""

from __future__ import annotations

import dataclasses
import math
import mmap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from pipeline.data.search_data import SearchData, Split, joined
from pipeline.system.errors import StorageFailure
from pipeline.system.shared_file import make_shared_file

_ALIGNMENT = 64  # bytes; each tensor begins at a multiple


@dataclasses.dataclass(frozen=True)
class _TensorLocation:
    """The place of a tensor in the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int  # bytes


class SharedData:
    """The images and labels of a study, in a file mapped by all its processes.

    A new process can be given the object as an argument.
    """

    def __init__(self, data: SearchData) -> None:
        """Move the images and labels into the file.

        The tensors of `data` then map the file themselves, so that no second copy remains.

        Raises:
            StorageFailure: if there is not enough room.
        """
        self._metadata = metadata(data)
        originals = tensors(data)
        self._locations, size = _plan_file(originals)
        try:
            self._file = make_shared_file(size)
        except OSError as error:
            raise StorageFailure(
                f"cannot share {size / 1e6:,.1f} MB of images: {error.strerror or error}"
            ) from error
        for tensor, copy in zip(originals, self._map(mmap.ACCESS_WRITE), strict=True):
            copy.copy_(tensor)
        shared = self.open()
        for split, shared_split in ((data.train, shared.train), (data.val, shared.val)):
            # As `Tensor.share_memory_` does.
            split.stored.set_(shared_split.stored)  # type: ignore[call-overload]
            split.labels.set_(shared_split.labels)  # type: ignore[call-overload]

    def _map(self, access: int) -> Iterator[torch.Tensor]:
        memory = mmap.mmap(self._file.fileno(), 0, access=access)
        for location in self._locations:
            count = math.prod(location.shape)
            if count == 0:  # torch.frombuffer refuses empty tensors
                yield torch.empty(location.shape, dtype=location.dtype)
                continue
            flat = torch.frombuffer(
                memory, dtype=location.dtype, count=count, offset=location.offset
            )
            yield flat.view(location.shape)

    def open(self) -> SearchData:
        """Map the images. A process that writes to them changes only its own copy."""
        return rebuild(self._metadata, self._map(mmap.ACCESS_COPY))

    def close(self) -> None:
        """Close the file in this process; mapped images stay valid."""
        self._file.close()


def tensors(data: SearchData) -> tuple[torch.Tensor, ...]:
    """The images and the labels of both splits together, as `rebuild` takes them.

    Together, so that a trial can draw its splits anew from the images of both without a copy.
    """
    both = joined(data)
    return both.stored, both.labels


def metadata(data: SearchData) -> dict[str, Any]:
    """All fields of the data but its tensors, and how many images are of the training split."""
    fields = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    del fields["train"], fields["val"]
    return {**fields, "first_val": len(data.train)}


def rebuild(metadata: Mapping[str, Any], tensors: Iterable[torch.Tensor]) -> SearchData:
    """Put together what `metadata` and `tensors` took apart."""
    images, labels = tensors
    fields = dict(metadata)
    first_val = fields.pop("first_val")
    train = Split(images[:first_val], labels[:first_val])
    val = Split(images[first_val:], labels[first_val:])
    return SearchData(train=train, val=val, **fields)


def _plan_file(
    tensors: Iterable[torch.Tensor],
) -> tuple[tuple[_TensorLocation, ...], int]:
    """The location of each tensor in a file, and the size of the file in bytes."""
    locations = []
    end = 0
    for tensor in tensors:
        start = math.ceil(end / _ALIGNMENT) * _ALIGNMENT
        locations.append(_TensorLocation(tensor.dtype, tuple(tensor.shape), start))
        end = start + tensor.nbytes
    return tuple(locations), end
