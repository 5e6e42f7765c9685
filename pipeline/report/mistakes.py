"""Which classes the winner confuses most, and the images that it gets most wrong. Knows no format and no store."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.report.problems import class_name
from pipeline.system.text import clean
from sweeps.analysis.record import StudyRecord
from sweeps.trial import Mistake, TrialResult

_PAIRS = 10  # of classes
_OF_EACH = 4  # images of a pair
_WORST = 24  # images
_SMALL = 40  # pixels; larger pictures are photographs, which the browser may smooth


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image that was classified wrongly."""

    image: int  # its index in the validation split
    true: str
    predicted: str
    probability: float  # of the predicted class
    picture: str  # a PNG in base64
    small: bool  # its pixels are to be seen

    @property
    def alt(self) -> str:
        """What it shows, for who cannot see it."""
        return (
            f"true {self.true}, predicted {self.predicted} with probability {self.probability:.2f}"
        )


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """Images of one class that were taken for another."""

    true: str
    predicted: str
    count: int
    images: int  # of the true class
    examples: tuple[Example, ...]


def confused_pairs(record: StudyRecord, trial: TrialResult) -> list[ConfusedPair]:
    """The pairs of classes that a trial confuses most at its best epoch, each with a few of the images."""
    counts = trial.confusion or ()
    found = [
        (-count, true, predicted)
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return [
        ConfusedPair(
            true=_name(record, true),
            predicted=_name(record, predicted),
            count=-negative,
            images=sum(counts[true]),
            examples=_examples(
                record, [m for m in trial.mistakes if (m.true, m.predicted) == (true, predicted)]
            )[:_OF_EACH],
        )
        for negative, true, predicted in sorted(found)[:_PAIRS]
    ]


def worst_mistakes(record: StudyRecord, trial: TrialResult) -> tuple[Example, ...]:
    """The images with a trial's largest losses at its best epoch."""
    return _examples(record, sorted(trial.mistakes, key=lambda mistake: -mistake.loss))[:_WORST]


def _examples(record: StudyRecord, mistakes: list[Mistake]) -> tuple[Example, ...]:
    pictures: Mapping[int, str] = record.thumbnails
    return tuple(
        Example(
            image=mistake.image,
            true=_name(record, mistake.true),
            predicted=_name(record, mistake.predicted),
            probability=mistake.probability,
            picture=pictures[mistake.image],
            small=png_size(base64.b64decode(pictures[mistake.image][:32]))[0] <= _SMALL,
        )
        for mistake in mistakes
        if mistake.image in pictures
    )


def _name(record: StudyRecord, index: int) -> str:
    return clean(class_name(record, index), 60)


def png_size(png: bytes) -> tuple[int, int]:
    """The width and height of a PNG in pixels, with which its first chunk begins."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height
