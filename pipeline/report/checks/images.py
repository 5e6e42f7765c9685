"""Health checks of what the validation images tell: whether they can rank, and of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.report.checks.base import (
    Check,
    Level,
    mistakes_too_few_to_rank,
    validation_images,
)
from pipeline.report.problems import class_name
from pipeline.report.scores import PERCENT
from pipeline.system.text import clip
from sweeps.analysis.health import (
    balanced_accuracy,
    collapsed_class,
    copies_texts,
    dead_classes,
    imbalance,
)
from sweeps.analysis.intervals import wilson_interval
from sweeps.analysis.record import StudyRecord

# A class of which so few images are recognised is nearly never right, if it is also below half of
# what the network recognises of all images.
RARELY = 0.25
# Nobody would call more mistakes than this share of the images saturated: the images are few.
_SATURATED = 0.05
_HIDDEN = 0.05  # of accuracy, above the mean over the classes
_NAMED = 5  # classes that are listed
_NAME_CLIP = 20  # characters of a class name


def saturated(record: StudyRecord) -> Check | None:
    """Check whether several configurations leave too few mistakes to be told from a perfect one.

    See `pipeline.report.checks.base.mistakes_too_few_to_rank`. Silent otherwise.
    """
    saturation = mistakes_too_few_to_rank(record)
    images = validation_images(record.best_trial)
    if saturation is None or not images:
        return None
    at_most = "none" if saturation.most == 0 else f"at most {saturation.most:g}"
    low, _ = wilson_interval(1 - saturation.most / images, images)
    finding = "Validation is saturated"
    if saturation.most > _SATURATED * images:
        finding = f"{images:,} validation images are too few to rank networks"
    text = (
        f"{finding}: {len(saturation.configurations)} of "
        f"{len(record.complete_configurations)} complete configurations get {at_most} of the "
        f"{images:,} validation images wrong. A network without a mistake could not be told from "
        "them (sign test, 95 %), so these images can neither rank them nor show a better one. "
        f"On other images, as few as {PERCENT.value(low)} of their answers may be right (95 %): "
        "validate on more images."
    )
    return Check(name="saturated", level="warning", text=text)


def copies(record: StudyRecord) -> Check | None:
    """Check whether validation or test images are copies of training images.

    Silent if copies were not looked for, as in data sets that are not the user's own.
    """
    found = record.facts.copies
    if found is None:
        return None
    texts = [f"{text[:1].upper()}{text[1:]}." for text in copies_texts(found)]
    if not texts:
        text = f"None of the {found.images:,} images is a copy of another."
        return Check(name="copies", level="good", text=text)
    level: Level = "warning" if found.misleads else "note"
    return Check(name="copies", level=level, text=" ".join(texts))


class _Class(NamedTuple):
    """How many validation images of a class the winner recognises."""

    name: str
    right: int
    images: int
    high: float  # end of the 95 % interval of the share
    is_dead: bool  # never predicted

    @property
    def text(self) -> str:
        """The class in a list."""
        never = ", never predicted" if self.is_dead else ""
        return f"{self.name} ({self.right} of {self.images} right{never})"


def classes(record: StudyRecord) -> Check | None:
    """Check whether the winner nearly never recognises a class.

    A class is named if the 95 % interval of its accuracy is below `RARELY` and below half of the
    accuracy of all images, or if it is never predicted. A collapsed winner is named elsewhere.
    """
    trial = record.best_trial
    if trial is None or not trial.confusion or collapsed_class(trial) is not None:
        return None
    dead = set(dead_classes(trial))
    found: list[_Class] = []
    for index, row in enumerate(trial.confusion):
        images = sum(row)
        if images:
            name = clip(class_name(record, index), _NAME_CLIP)
            _, high = wilson_interval(row[index] / images, images)
            found.append(_Class(name, row[index], images, high, index in dead))
    if len(found) < 2:
        return None
    accuracy = sum(one.right for one in found) / sum(one.images for one in found)
    limit = min(RARELY, accuracy / 2)
    rare = [one for one in found if one.high < limit]
    named = rare + [one for one in found if one.is_dead and one not in rare]
    if rare:
        these = "this class" if len(named) == 1 else "these classes"
        text = (
            f"Trial {trial.number}, right on {PERCENT.value(accuracy)} of all images, nearly never "
            f"recognises {_listed([one.text for one in named])}: look at the confusion matrix and "
            f"at the images of {these}, or rank by balanced_acc."
        )
        return Check(name="classes", level="warning", text=text)
    if named:
        never = _listed([f"{one.name} ({one.images} images)" for one in named])
        text = (
            f"Trial {trial.number} never predicts {never}: too few images to tell more; "
            "look at the confusion matrix."
        )
        return Check(name="classes", level="note", text=text)
    if all(one.right == one.images for one in found):
        images = sum(one.images for one in found)
        text = f"Trial {trial.number} recognises all {images:,} images of its {len(found)} classes."
        return Check(name="classes", level="good", text=text)
    worst = min(found, key=lambda one: one.right / one.images)
    low, high = wilson_interval(worst.right / worst.images, worst.images)
    text = (
        f"Of its {len(found)} classes, trial {trial.number} recognises {worst.name} least: "
        f"{worst.right} of {worst.images} images (95 % interval {PERCENT.interval(low, high)})."
    )
    return Check(name="classes", level="good", text=text)


def unequal(record: StudyRecord) -> Check | None:
    """Check whether accuracy hides what the winner makes of small classes.

    Only where trials are ranked by accuracy, and the classes' validation images are of unequal
    number. It is a warning if the mean over the classes is lower by more than `_HIDDEN`.
    """
    trial = record.best_trial
    if trial is None or not trial.confusion or record.objective != "val_acc":
        return None
    counts = [sum(row) for row in trial.confusion]
    found = imbalance(counts)
    if found is None:
        return None
    right = [row[index] for index, row in enumerate(trial.confusion)]
    accuracy = sum(right) / sum(counts)
    balanced = balanced_accuracy(trial.confusion)
    largest = clip(class_name(record, found.largest), _NAME_CLIP)
    smallest = clip(class_name(record, found.smallest), _NAME_CLIP)
    text = (
        f"Accuracy counts large classes most: {largest} has {100 * found.largest_share:.1f} % of "
        f"the validation images, {smallest} {100 * found.smallest_share:.1f} %. Always answering "
        f"{largest} is right on {PERCENT.value(found.largest_share)}; trial {trial.number} is "
        f"right on {PERCENT.value(accuracy)} of the images, and on {PERCENT.value(balanced)} as "
        "the mean over the classes. "
        "objective: balanced_acc ranks by this mean, class_weights: balanced or sqrt trains for it."
    )
    if accuracy - balanced > _HIDDEN:
        return Check(name="unequal", level="warning", text=text)
    return Check(name="unequal", level="note", text=text)


def _listed(texts: Sequence[str]) -> str:
    """Join the first texts, and count the others."""
    listed = ", ".join(texts[:_NAMED])
    if len(texts) > _NAMED:
        listed += f" and {len(texts) - _NAMED} more"
    return listed
