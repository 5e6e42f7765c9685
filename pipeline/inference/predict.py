"""Classifies image files, one batch at a time."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from pipeline.data import decode, listing
from pipeline.inference.classifier import as_trained
from pipeline.inference.networks import TrainedNetwork
from pipeline.system.console import progress_bar
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clean
from pipeline.training.process import thread_count


@dataclass(frozen=True)
class Prediction:
    """The predicted classes of an image with their probabilities, the likeliest first."""

    path: Path
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Classifies batches of images: with a network in this process, or through a server."""

    shape: decode.Shape  # channels, height, width
    classes: Sequence[str]
    batch: int  # images at a time
    # Maps raw images (batch, height, width, channels) to two tensors (batch, classes): scores,
    # which order the classes, and probabilities.
    classify: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def network_predictor(trained: TrainedNetwork) -> Predictor:
    """Make a predictor of a network.

    Images are classified in batches of the size used to score the trial, so that predictions equal
    the scored predictions bit for bit.
    """
    card = trained.card
    classifier = as_trained(trained.network, card)
    device = next(itertools.chain(classifier.parameters(), classifier.buffers())).device

    @torch.no_grad()
    def classify(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with thread_count(card.config.threads):
            outputs = classifier.outputs(images.to(device))
            probabilities = classifier.probabilities(outputs)
        return outputs.cpu(), probabilities.cpu()

    return Predictor(
        shape=card.shape, classes=card.classes, batch=card.config.eval_batch_size, classify=classify
    )


def parse_path_list(text: str) -> list[Path]:
    """Split a list of paths, separated by line ends, or by NUL as ``find -print0`` writes them."""
    if "\0" in text:
        names = text.split("\0")
    else:
        # splitlines would also split at other characters, which a file name may hold.
        names = [line.removesuffix("\r") for line in text.split("\n")]
    return [Path(name) for name in names if name]


def read_path_list() -> list[Path]:
    """Read a list of paths from standard input, decoded as paths among the arguments are."""
    return parse_path_list(os.fsdecode(sys.stdin.buffer.read()))


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Find the image files that paths name.

    Args:
        paths: files of any name, and folders. A folder stands for all files below with the name
            of an image, ordered by path.

    Raises:
        UsageFailure: for a path that is missing or no regular file, a folder without images, or no
            paths at all.
        IntegrityFailure: for a folder that cannot be read.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            images = listing.image_files_below(path)
            if not images:
                endings = ", ".join(listing.EXTENSIONS)
                raise UsageFailure(
                    f"no images below {clean(path)}: looked for files that end in {endings}"
                )
            files += images
        elif path.is_file():
            files.append(path)
        elif path.exists():  # reading a pipe or a device could take forever
            raise UsageFailure(f"{clean(path)!r} is no file: give image files, or folders of them")
        else:
            raise UsageFailure(f"no file or folder {clean(path)!r}")
    if not files:
        raise UsageFailure(
            "no images are named: give files or folders, or - to read a list of them"
        )
    return files


def predict(
    predictor: Predictor, files: Sequence[Path], top: int, failed: Callable[[Path, str], None]
) -> Iterator[Prediction]:
    """Classify files in order, with one batch in memory at a time.

    Args:
        predictor: classifies the images.
        files: images of any size and mode; they are brought to one shape as in training.
        top: the number of classes to predict for each image.
        failed: called with each file that cannot be read, and the reason. Other files go on.
    """
    top = min(top, len(predictor.classes))
    read_pixels = partial(_decode, shape=predictor.shape)
    with ThreadPoolExecutor() as pool, progress_bar("predicting", len(files)) as advance:
        for start in range(0, len(files), predictor.batch):
            batch = files[start : start + predictor.batch]
            with warnings.catch_warnings():
                # The image library warns of odd metadata; damaged pixels raise an error.
                warnings.simplefilter("ignore")
                contents = list(pool.map(read_pixels, batch))
            images = []
            for path, content in zip(batch, contents, strict=True):
                if isinstance(content, IntegrityFailure):
                    failed(path, str(content))
                else:
                    images.append((path, content))
            if images:
                yield from _classify(predictor, images, top)
            advance(len(batch))


def _decode(path: Path, shape: decode.Shape) -> bytes | IntegrityFailure:
    try:
        return decode.decode_file(path, shape)
    except IntegrityFailure as error:
        return error


def _classify(
    predictor: Predictor, images: Sequence[tuple[Path, bytes]], top: int
) -> Iterator[Prediction]:
    """Classify a batch of decoded images, each the bytes of its channels."""
    content = bytearray(b"".join(pixels for _, pixels in images))
    channels_first = torch.frombuffer(content, dtype=torch.uint8)
    channels_first = channels_first.view(len(images), *predictor.shape)
    scores, probabilities = predictor.classify(channels_first.permute(0, 2, 3, 1))
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :top]
    likeliest = probabilities.gather(1, order)
    rows = zip(images, order.tolist(), likeliest.tolist(), strict=True)
    for (path, _), indices, shares in rows:
        names = [predictor.classes[index] for index in indices]
        yield Prediction(path, tuple(zip(names, shares, strict=True)))
