"""Collects the mistakes of a trial for the page: confused classes and the worst images."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.report.problems import class_name
from pipeline.system.text import clip
from sweeps.analysis.record import StudyRecord
from sweeps.trial import Mistake, TrialResult

_PAIRS = 10  # pairs of classes
_EXAMPLES = 4  # images of a pair
_WORST = 24  # images with the largest losses
_CLASS_CLIP = 60  # characters of a class name
_PIXEL_ART = 40  # pixels of width; larger thumbnails are photographs, which a browser may smooth
_PNG_HEADER = 32  # characters of a PNG in base64 that hold its size


@dataclass(frozen=True, kw_only=True)
class Example:
    """A validation image with a wrong prediction."""

    image: int  # index in the validation split
    true: str  # class
    predicted: str  # class
    probability: float  # of the predicted class
    thumbnail: str  # a PNG in base64
    pixelated: bool  # small enough to be shown with sharp pixels

    @property
    def alt(self) -> str:
        """The image's text alternative."""
        return (
            f"true {self.true}, predicted {self.predicted} with probability {self.probability:.2f}"
        )


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """Images of a class with the prediction of another class."""

    true: str
    predicted: str
    count: int
    images: int  # of the true class
    examples: tuple[Example, ...]


def confused_pairs(record: StudyRecord, trial: TrialResult) -> list[ConfusedPair]:
    """The pairs of classes confused most at a trial's best epoch, with a few images each."""
    confusion = trial.confusion or ()
    counts = [
        (count, true, predicted)
        for true, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    # The most frequent first; equally frequent ones in the order of the classes.
    counts.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    pairs = []
    for count, true, predicted in counts[:_PAIRS]:
        mistakes = [m for m in trial.mistakes if (m.true, m.predicted) == (true, predicted)]
        pairs.append(
            ConfusedPair(
                true=_class_name(record, true),
                predicted=_class_name(record, predicted),
                count=count,
                images=sum(confusion[true]),
                examples=_examples(record, mistakes)[:_EXAMPLES],
            )
        )
    return pairs


def worst_mistakes(record: StudyRecord, trial: TrialResult) -> tuple[Example, ...]:
    """The images with a trial's largest losses at its best epoch, the worst first."""
    by_loss = sorted(trial.mistakes, key=lambda mistake: -mistake.loss)
    return _examples(record, by_loss)[:_WORST]


def _examples(record: StudyRecord, mistakes: Iterable[Mistake]) -> tuple[Example, ...]:
    """The mistakes with a thumbnail in the study."""
    examples = []
    for mistake in mistakes:
        thumbnail = record.thumbnails.get(mistake.image)
        if thumbnail is None:
            continue
        width, _ = png_size(base64.b64decode(thumbnail[:_PNG_HEADER]))
        examples.append(
            Example(
                image=mistake.image,
                true=_class_name(record, mistake.true),
                predicted=_class_name(record, mistake.predicted),
                probability=mistake.probability,
                thumbnail=thumbnail,
                pixelated=width <= _PIXEL_ART,
            )
        )
    return tuple(examples)


def _class_name(record: StudyRecord, index: int) -> str:
    return clip(class_name(record, index), _CLASS_CLIP)


def png_size(png: bytes) -> tuple[int, int]:
    """The width and height of a PNG in pixels, read from its first chunk."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height
