"""Reads study files, shipped or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import models
from pipeline.data.datasets import check_dataset
from pipeline.system.errors import UsageFailure
from sweeps.analysis.facts import AblationStart
from sweeps.analysis.record import StudyRecord
from sweeps.spec.configurations import ablation_spec
from sweeps.spec.study_spec import StudySpec, describe_difference
from sweeps.spec.studyfile import StudyFileError, parse_study
from sweeps.trial import TrialConfig


def shipped_studies() -> list[str]:
    """The names of the studies that come with the product."""
    files = resources.files("sweeps.studies").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def read_study(study: str, overrides: Mapping[str, Any]) -> tuple[str, str, StudySpec]:
    """Read a study file and put the command line's values in.

    Args:
        study: a shipped study's name, or a file's path.
        overrides: as `sweeps.spec.studyfile.parse_study` takes them.

    Returns:
        The study's name (the file's, without its ending), the file's text, and what it says.

    Raises:
        UsageFailure: with a line for every broken rule.
    """
    if study in shipped_studies():
        text = resources.files("sweeps.studies").joinpath(f"{study}.yaml").read_text("utf-8")
        label = study
    elif not Path(study).is_file():
        raise UsageFailure(
            f"no study file {study!r}; {models.did_you_mean(study, shipped_studies())}, or the path of a file"
        )
    else:
        try:
            text = Path(study).read_text("utf-8")
            label = study
        except (OSError, UnicodeDecodeError) as error:
            raise UsageFailure(f"cannot read study file {study}: {error}") from None
    try:
        return (
            Path(study).stem,
            text,
            parse_study(text, label, overrides=overrides, check_dataset=check_dataset),
        )
    except StudyFileError as error:
        raise UsageFailure(str(error)) from None


def read_shipped(study: str) -> tuple[str, str, StudySpec]:
    """Read a shipped study as it stands."""
    return read_study(study, {})


def study_name(study: str, dataset: str) -> str:
    """The name of a study in the stores, where none is given: the file's plus the data set's."""
    return f"{study}-{Path(dataset.partition(':')[2]).name if ':' in dataset else dataset}"


def deviations(study: str, spec: StudySpec) -> str:
    """Say in what a study with published figures differs from its file; nothing where it does not."""
    if not spec.reference:
        return ""
    try:
        return describe_difference(read_study(study, {})[2].identity(), spec.identity())
    except UsageFailure:  # the file is a study only with what the command line adds
        return ""


def ablation_start(record: StudyRecord) -> AblationStart:
    """Return what an ablation of a study starts from: its best configuration and searched fields.

    Raises:
        UsageFailure: where the study has no complete trial.
    """
    winner = record.best_trial
    if winner is None:
        raise UsageFailure(
            f"study {record.name!r} has no complete trial to ablate: let it go on first"
        )
    return AblationStart(best=winner.config.to_dict(), searched=record.searched)


def ablate_study(spec: StudySpec, start: AblationStart) -> StudySpec:
    """The study of another study's best trial, each searched choice set back to its default in turn.

    Args:
        spec: of method ``ablate``.
        start: as `ablation_start` gives it.

    Raises:
        UsageFailure: where nothing can be set back.
    """
    try:
        return ablation_spec(spec, TrialConfig.from_dict(start.best), start.searched)
    except ValueError as error:
        raise UsageFailure(str(error)) from None
