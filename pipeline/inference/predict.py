"""Image files in, their classes out, a batch at a time. Knows no command and no store."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.data import decode, folders
from pipeline.inference.classifier import as_trained
from pipeline.inference.networks import TrainedNetwork
from pipeline.system.console import progress_bar
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clean


@dataclass(frozen=True)
class Prediction:
    """What an image was taken for: classes with their probabilities, the likeliest first."""

    path: Path
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Whatever classifies images: a network here, or a server."""

    shape: decode.Shape  # channels, height, width
    classes: Sequence[str]
    batch: int  # images at once
    # Raw images (batch, height, width, channels) to scores, whose order counts, and probabilities: (batch, classes).
    classify: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def network_predictor(found: TrainedNetwork) -> Predictor:
    """A network as its trial scored it, in batches of the same size: it predicts bit for bit what was scored."""
    classifier = as_trained(found.network, found.card)
    device = next(itertools.chain(classifier.parameters(), classifier.buffers())).device

    @torch.no_grad()
    def classify(raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = classifier.outputs(raw.to(device))
        return outputs.cpu(), classifier.probabilities(outputs).cpu()

    card = found.card
    return Predictor(
        shape=card.shape, classes=card.classes, batch=card.config.eval_batch_size, classify=classify
    )


def parse_path_list(lines: str) -> list[Path]:
    """The paths in a list, one a line; or separated by NUL, as ``find -print0`` writes them."""
    # Not splitlines: it also splits at characters that a name may hold.
    if "\0" in lines:
        paths = lines.split("\0")
    else:
        paths = [line.removesuffix("\r") for line in lines.split("\n")]
    return [Path(path) for path in paths if path]


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The files that paths name: files themselves, whatever they are called, and the images below folders, by path.

    Raises:
        UsageFailure: for a path that is not there or no file, or a folder without images.
        IntegrityFailure: for a folder that cannot be read.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = folders.image_files_below(path)
            if not below:
                endings = ", ".join(folders.EXTENSIONS)
                raise UsageFailure(
                    f"no images below {clean(path)}: looked for files that end in {endings}"
                )
            found += below
        elif path.is_file():
            found.append(path)
        elif path.exists():  # to read a pipe or a device could take for ever
            raise UsageFailure(f"{clean(path)!r} is no file: give image files, or folders of them")
        else:
            raise UsageFailure(f"no file or folder {clean(path)!r}")
    if not found:
        raise UsageFailure(
            "no images are named: give files or folders, or - to read a list of them"
        )
    return found


def predict(
    judge: Predictor, files: Sequence[Path], top: int, failed: Callable[[Path, str], None]
) -> Iterator[Prediction]:
    """Classify files in order, holding one batch of them at a time.

    Args:
        judge: what classifies.
        files: of any size and mode; they are brought to one shape as in training.
        top: how many classes are told of each.
        failed: told of each file that cannot be read; the others are classified.
    """
    top = min(top, len(judge.classes))
    with ThreadPoolExecutor() as pool, progress_bar("predicting", len(files)) as advance:
        for start in range(0, len(files), judge.batch):
            some = files[start : start + judge.batch]
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # of odd metadata; what is wrong with pixels is an error
                read = list(pool.map(lambda path: _decode(path, judge.shape), some))
            there = [
                (path, content)
                for path, content in zip(some, read, strict=True)
                if isinstance(content, bytes)
            ]
            for path, error in zip(some, read, strict=True):
                if isinstance(error, IntegrityFailure):
                    failed(path, str(error))
            if there:
                yield from _classified(judge, there, top)
            advance(len(some))


def _decode(path: Path, shape: decode.Shape) -> bytes | IntegrityFailure:
    try:
        return decode.decode_file(path, shape)
    except IntegrityFailure as error:
        return error


def _classified(
    judge: Predictor, read: Sequence[tuple[Path, bytes]], top: int
) -> Iterator[Prediction]:
    planes = torch.frombuffer(
        bytearray(b"".join(content for _, content in read)), dtype=torch.uint8
    )
    raw = planes.view(len(read), *judge.shape).permute(0, 2, 3, 1)
    scores, probabilities = judge.classify(raw)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :top]
    likeliest = probabilities.gather(1, order)
    for (path, _), indices, shares in zip(read, order.tolist(), likeliest.tolist(), strict=True):
        yield Prediction(
            path, tuple((judge.classes[i], share) for i, share in zip(indices, shares, strict=True))
        )


def read_path_list() -> list[Path]:
    """The paths that standard input lists."""
    return parse_path_list(os.fsdecode(sys.stdin.buffer.read()))  # as paths among the arguments are
