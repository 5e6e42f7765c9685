"""A cache of decoded images on disk. All processes map the same pages of a file."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pipeline.system.console import print_notice
from pipeline.system.exclusive import exclusive
from pipeline.system.files import cache_folder, fsync, may_never_end

# The folder may hold files of others, too: what is locked or removed bears this project's name.
LOCK_FILE = "sweep-pipeline.lock"
_UNFINISHED = "sweep-pipeline-{}.part"


@dataclass(frozen=True)
class Decoding:
    """Images that can be decoded, at some cost."""

    shape: tuple[int, int, int, int]  # images, channels, height, width
    blocks: Callable[[], Generator[bytes]]  # yields the pixels in order, one plane for each channel


def load_or_decode(key: str, start_decoding: Callable[[], Decoding]) -> torch.Tensor:
    """Map the images of a key from their file, after writing the file if it is missing or damaged.

    Writing to the returned tensor changes neither the file nor the tensors of others. If no file
    can be written, the images are decoded into memory, with a notice.

    Args:
        key: stands for the images and everything that decides their pixels; letters and digits.
        start_decoding: called if the images have to be decoded.

    Returns:
        uint8 (images, channels, height, width).
    """
    decoding: Decoding | None = None
    try:
        path = cache_folder() / f"{key}.safetensors"
        images = _read(path)
        if images is not None:
            return images
        with _exclusive_cache(path.parent):
            images = _read(path)  # another process may have written it meanwhile
            if images is None:
                decoding = start_decoding()
                _write(path, decoding)
                images = _read(path)
        if images is not None:
            return images
        reason = "what was written is not what is read"
    except OSError as error:
        reason = f"{error.filename or 'it'}: {error.strerror or error}"
    print_notice(
        f"no cache of decoded images can be written ({reason}); decoding into memory. "
        "PIPELINE_CACHE_DIR names its folder"
    )
    return _decode_into_memory(decoding or start_decoding())


@contextmanager
def _exclusive_cache(folder: Path) -> Iterator[None]:
    """Hold the cache's lock, and remove the unfinished files of processes that were killed."""
    folder.mkdir(parents=True, exist_ok=True)
    notice = f"waiting for another process that decodes images into {folder}"
    with exclusive(folder / LOCK_FILE, notice):
        for unfinished in folder.glob(_UNFINISHED.format("*")):
            unfinished.unlink(missing_ok=True)
        yield


def _read(path: Path) -> torch.Tensor | None:
    """Map a file of images. A missing or damaged file is None."""
    if may_never_end(path):
        return None
    try:
        with safe_open(path, framework="pt") as file:  # checks the header, and the file's size
            images: torch.Tensor = file.get_tensor("images")
            metadata = file.metadata() or {}
    except (OSError, SafetensorError):
        return None
    if metadata.get("crc32") != _format_checksum(zlib.crc32(images.numpy().data)):
        return None
    return images


def _write(path: Path, decoding: Decoding) -> None:
    """Write a safetensors file block by block, so that a whole file appears or none.

    Source: https://github.com/huggingface/safetensors#format
    """
    unfinished = path.with_name(_UNFINISHED.format(path.stem))
    checksum = 0
    try:
        with unfinished.open("wb") as file, closing(decoding.blocks()) as blocks:
            file.write(_header(decoding.shape, checksum))
            for block in blocks:
                file.write(block)
                checksum = zlib.crc32(block, checksum)
            file.seek(0)
            file.write(_header(decoding.shape, checksum))  # of the same length
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    fsync(path.parent)


def _header(shape: tuple[int, ...], checksum: int) -> bytes:
    """Make the header of a safetensors file: its length, then JSON padded to 8 bytes."""
    header = {
        "__metadata__": {"crc32": _format_checksum(checksum)},
        "images": {"dtype": "U8", "shape": shape, "data_offsets": [0, math.prod(shape)]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _format_checksum(checksum: int) -> str:
    return f"{checksum:08x}"


def _decode_into_memory(decoding: Decoding) -> torch.Tensor:
    pixels = torch.empty(math.prod(decoding.shape), dtype=torch.uint8)
    position = 0
    with closing(decoding.blocks()) as blocks:
        for block in blocks:
            end = position + len(block)
            pixels[position:end] = torch.frombuffer(bytearray(block), dtype=torch.uint8)
            position = end
    return pixels.view(decoding.shape)
