"""Decoded images on disk, of which all processes share one copy of the pages. Knows nothing of what they show."""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pipeline.system.console import print_notice
from pipeline.system.files import cache_folder

_THREADS = threading.Lock()  # a process's locks of files do not hold back its own threads


@dataclass(frozen=True)
class Decoding:
    """Images that can be had, at some cost."""

    shape: tuple[int, int, int, int]  # images, channels, height, width
    blocks: Callable[
        [], Generator[bytes]
    ]  # their pixels one after another, each a plane per channel


def load_or_decode(key: str, make: Callable[[], Decoding]) -> torch.Tensor:
    """Return the images under a key, mapped from their file; they are made where there is none, or a damaged one.

    Writing to the tensor changes neither the file nor what others see. Where no file can be written they are made in
    memory, and a line says so.

    Args:
        key: names them and all that decides them; letters and digits.
        make: called where they are not there.

    Returns:
        uint8 (images, channels, height, width).
    """
    made: Decoding | None = None
    try:
        path = cache_folder() / f"{key}.safetensors"
        found = _read(path)
        if found is not None:
            return found
        with _alone(path.parent):
            found = _read(path)  # by now another process may have made it
            if found is None:
                made = make()
                _write(path, made)
                found = _read(path)
        if found is not None:
            return found
        why = "what was written is not what is read"
    except OSError as error:
        why = f"{error.filename or 'it'}: {error.strerror or error}"
    print_notice(
        f"no cache of decoded images can be written ({why}); decoding into memory. PIPELINE_CACHE_DIR names its folder"
    )
    return _in_memory(made or make())


def _in_memory(made: Decoding) -> torch.Tensor:
    pixels = torch.empty(math.prod(made.shape), dtype=torch.uint8)
    done = 0
    with closing(made.blocks()) as blocks:
        for block in blocks:
            pixels[done : done + len(block)] = torch.frombuffer(bytearray(block), dtype=torch.uint8)
            done += len(block)
    return pixels.view(made.shape)


def _read(path: Path) -> torch.Tensor | None:
    """Map a file of images; None where there is none, or not the one that was written."""
    try:
        with safe_open(path, framework="pt") as file:  # which checks the header, and the size by it
            images: torch.Tensor = file.get_tensor("images")
            checksum = (file.metadata() or {}).get("crc32")
    except (OSError, SafetensorError):
        return None
    if checksum == f"{zlib.crc32(images.numpy().data):08x}":
        return images
    return None


def _write(path: Path, made: Decoding) -> None:
    """Write a safetensors file block by block, so that it is there in whole or not at all.

    Source: https://github.com/huggingface/safetensors#format
    """
    part = path.with_suffix(".part")
    checksum = 0
    try:
        with part.open("wb") as file, closing(made.blocks()) as blocks:
            file.write(_header(made.shape, checksum))
            for block in blocks:
                file.write(block)
                checksum = zlib.crc32(block, checksum)
            file.seek(0)
            file.write(_header(made.shape, checksum))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _header(shape: tuple[int, ...], checksum: int) -> bytes:
    tensor = {"dtype": "U8", "shape": shape, "data_offsets": [0, math.prod(shape)]}
    text = json.dumps({"__metadata__": {"crc32": f"{checksum:08x}"}, "images": tensor}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the cache against other processes, which wait; and clear away what one that was killed left behind."""
    place.mkdir(parents=True, exist_ok=True)
    with _THREADS, (place / "lock").open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_notice(f"waiting for another process that decodes images into {place}")
            fcntl.lockf(file, fcntl.LOCK_EX)
        for left in place.glob("*.part"):
            left.unlink(missing_ok=True)
        yield
