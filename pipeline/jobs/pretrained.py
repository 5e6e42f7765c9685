"""The weights that trainings begin with: fetched before anything is written, checked, compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from models import libraries, weights
from models.stages import Frozen
from pipeline.data.download import download_url
from pipeline.data.opened import equal_side, takes_size
from pipeline.jobs.sources import trials_text
from pipeline.system.errors import UsageFailure
from pipeline.system.exclusive import exclusive
from pipeline.system.files import atomic_write
from sweeps.spec.configurations import values_or_ends
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import TrialConfig

if TYPE_CHECKING:
    from torch import nn


def fetch(configs: Iterable[TrialConfig], *, download: bool = True) -> None:
    """Download the published weights that trainings begin with and that are not on this machine.

    Args:
        configs: of the trainings.
        download: False to fail instead.

    Raises:
        UsageFailure: in one line that says which file belongs where, if they cannot be had.
    """
    families = {config.family for config in configs if config.pretrained == weights.PUBLISHED}
    for family in sorted(families):
        wanted = libraries.published(family)
        if wanted.path.is_file():
            continue
        remedy = f"put {wanted.url} at {wanted.path}, or give a FILE to pretrained"
        if not download:
            raise UsageFailure(
                f"the weights of {family} are not on this machine: a sweep downloads them; or "
                f"{remedy}"
            )
        try:
            _download(wanted)
        except OSError as error:
            raise UsageFailure(
                f"the weights of {family} are not on this machine and cannot be downloaded "
                f"({error}): {remedy}"
            ) from None


def _download(wanted: libraries.Published) -> None:
    """Download a file of weights, which then is there as a whole or not at all.

    Raises:
        OSError: if it cannot be downloaded, or is another file.
    """
    path = wanted.path
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with exclusive(lock, f"waiting for another process that downloads {path.name}"):
        try:
            if not path.is_file():
                with atomic_write(path) as draft:
                    download_url(wanted.url, draft, path.name)
                    _check_file(draft, wanted)
        finally:
            lock.unlink(missing_ok=True)


def _check_file(path: Path, wanted: libraries.Published) -> None:
    """Check a file that was downloaded.

    Raises:
        OSError: if it is another file.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(wanted.sha256):
        raise OSError(f"what came from {wanted.url} is another file")


def check(config: TrialConfig, network: nn.Module, classes: int) -> None:
    """Check that the weights that a training begins with fit its network, and what it freezes.

    Args:
        config: of the training.
        network: of its family; it may get the weights.
        classes: number of logits.

    Raises:
        ValueError: in one line, if they do not.
    """
    weights.begin_with(config.pretrained, network, config.family, classes)
    Frozen(network, config.freeze or "none", classes)


def with_image_size(
    spec: StudySpec, identity: Mapping[str, Any] | None, data_dir: Path
) -> StudySpec:
    """Return a study whose image files have the size that the weights want, as far as they are it.

    A size that the user gives stays, as does that of a study in the store. So do images that are
    all equally small: the network brings those to the size of published weights by itself.

    Args:
        spec: as the user asks for it.
        identity: of the study in the store; None for a new study.
        data_dir: the folder of data sets.

    Raises:
        UsageFailure: if the images cannot be listed, or the weights are not there.
    """
    given = spec.fixed.model_dump()
    if given.get("image_size") is not None or not takes_size(spec.dataset):
        return spec
    if identity is not None:
        size = identity["fixed"].get("image_size")
    else:
        chosen = [str(value) for value in values_or_ends(spec, "pretrained")]
        pairs = [(text, family) for text in chosen for family in spec.families]
        size = wanted_size(spec.dataset, data_dir, pairs)
    return spec.model_copy(update={"fixed": spec.fixed.model_copy(update={"image_size": size})})


def wanted_size(
    dataset: str, data_dir: Path, chosen: Iterable[tuple[str | None, str]]
) -> int | None:
    """Return the side to which image files of one's own are brought; None to leave it to them.

    Args:
        dataset: the name of the data set.
        data_dir: the folder of data sets.
        chosen: the values of ``pretrained``, and the families beside them.

    Raises:
        UsageFailure: if the images cannot be listed, or the weights are not there.
    """
    sides = []
    for text, family in chosen:
        if text == weights.PUBLISHED and not models.is_backbone(family):
            continue
        try:
            sides.append(weights.side(text, family) or 0)
        except ValueError as error:
            raise UsageFailure(str(error)) from None
    side = max(sides, default=0)
    if not side or not takes_size(dataset):
        return None
    own_side = equal_side(dataset, data_dir)
    return None if own_side is not None and own_side <= side else side


def describe_changes(spec: StudySpec, trained: Mapping[int, TrialConfig]) -> Iterator[str]:
    """Yield a line for each file of weights that has changed since trials began with it.

    Args:
        spec: the study.
        trained: the configurations of the trials so far, by their numbers.
    """
    for text in map(str, values_or_ends(spec, "pretrained")):
        old: dict[str, list[int]] = {}
        for number, config in trained.items():
            if config.pretrained == text and _has_changed(config):
                old.setdefault(str(config.weights_digest), []).append(number)
        for digest, numbers in old.items():
            yield (
                f"the weights of pretrained {text} have changed since {trials_text(numbers)} "
                f"(digest {digest}): those stay in the ranking as other configurations than the "
                "trials to come"
            )


def check_unchanged(configs: Iterable[TrialConfig], what: str) -> None:
    """Check that trainings begin with the weights that they began with before.

    Args:
        configs: the configurations to train again.
        what: of what they are, for the message.

    Raises:
        UsageFailure: if a file of weights has changed, or is gone.
    """
    for config in configs:
        try:
            has_changed = _has_changed(config)
        except ValueError as error:
            raise UsageFailure(str(error)) from None
        if has_changed:
            raise UsageFailure(
                f"the weights of pretrained {config.pretrained} have changed since {what} chose "
                f"them (digest {config.weights_digest}): put the old file back, or search again "
                "under another --name"
            )


def _has_changed(config: TrialConfig) -> bool:
    """Whether the weights are others than those that a training has begun with.

    Raises:
        ValueError: if there are no such weights.
    """
    if config.weights_digest is None:
        return False
    return weights.digest(str(config.pretrained), config.family) != config.weights_digest
