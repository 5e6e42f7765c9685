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

Top = tuple[tuple[str, float], ...]  # classes and their probabilities, the likeliest first


@dataclass(frozen=True)
class Prediction:
    """The predicted classes of an image with their probabilities, the likeliest first."""

    path: Path | None  # the file; None for pixels that a program gave
    top: Top

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.top[0][0]

    @property
    def probability(self) -> float:
        """The probability of the likeliest class."""
        return self.top[0][1]


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
        with thread_count(card.config.cpu_threads):
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
                paths, pixels = zip(*images, strict=True)
                scores, probabilities = classify_pixels(predictor, pixels)
                tops = likeliest(scores, probabilities, predictor.classes, top)
                yield from map(Prediction, paths, tops)
            advance(len(batch))


def _decode(path: Path, shape: decode.Shape) -> bytes | IntegrityFailure:
    try:
        return decode.decode_file(path, shape)
    except IntegrityFailure as error:
        return error


def classify_pixels(
    predictor: Predictor, pixels: Sequence[bytes]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Classify decoded images, one batch at a time.

    Args:
        predictor: classifies the images.
        pixels: of each image, as `decode.fit_to_shape` returns them.

    Returns:
        Scores, which order the classes, and probabilities: float32 (images, classes).
    """
    batches = []
    for start in range(0, len(pixels), predictor.batch):
        batch = pixels[start : start + predictor.batch]
        channels_first = torch.frombuffer(bytearray(b"".join(batch)), dtype=torch.uint8)
        channels_first = channels_first.view(len(batch), *predictor.shape)
        batches.append(predictor.classify(channels_first.permute(0, 2, 3, 1)))
    scores, probabilities = zip(*batches, strict=True)
    return torch.cat(scores), torch.cat(probabilities)


def likeliest(
    scores: torch.Tensor, probabilities: torch.Tensor, classes: Sequence[str], top: int
) -> Iterator[Top]:
    """Tell the likeliest classes of each image.

    Args:
        scores: order the classes: (images, classes).
        probabilities: of the same shape.
        classes: the names of the classes.
        top: how many classes to tell at most.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :top]
    shares = probabilities.gather(1, order)
    for indices, row in zip(order.tolist(), shares.tolist(), strict=True):
        names = [classes[index] for index in indices]
        yield tuple(zip(names, row, strict=True))
