"""Reads study files, those that come with this package and the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from models.suggestions import did_you_mean
from pipeline.data.datasets import check_dataset
from pipeline.system.errors import UsageFailure
from sweeps.analysis.facts import AblationStart, WarmStart
from sweeps.analysis.record import StudyRecord
from sweeps.search import warm_start
from sweeps.spec.configurations import ablation_spec
from sweeps.spec.study_spec import StudySpec, describe_difference
from sweeps.spec.studyfile import StudyFileError, parse_study
from sweeps.trial import TrialConfig

# What a study is read from: a name, the path of a file, what a file contains, or a checked study.
StudySource = str | Mapping[str, Any] | StudySpec
UNNAMED = "study"  # the name of a study that is in no file
DEFAULT_STUDY = "networks"  # is searched where no study is named
MAX_SIZE = 1_000_000  # characters of a study file: more would take minutes to check


def shipped_studies() -> list[str]:
    """Return the names of the studies that come with this package."""
    names = [file.name for file in resources.files("sweeps.studies").iterdir()]
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def read_study(
    study: StudySource, overrides: Mapping[str, Any], given_by: str = "command line"
) -> tuple[str, str, StudySpec]:
    """Read a study, and replace its values by those of the command line or the call.

    Args:
        study: the name of a shipped study, the path of a file, or what a program gives instead of a
            file: the mapping that it would contain, or a checked study.
        overrides: the values, as `sweeps.spec.studyfile.parse_study` takes them.
        given_by: where the overrides come from, for messages.

    Returns:
        The name of the study (that of the file, without its ending), the text, and the study.

    Raises:
        UsageFailure: with a line for every broken rule.
    """
    if isinstance(study, str):
        label = study
        text = _read_text(study)
    else:
        label = UNNAMED
        text = _write_text(study)
    try:
        spec = parse_study(
            text, label, overrides=overrides, given_by=given_by, check_dataset=check_dataset
        )
    except StudyFileError as error:
        raise UsageFailure(str(error)) from None
    return Path(label).stem, text, spec


def _write_text(study: Mapping[str, Any] | StudySpec) -> str:
    """Write a study as the text of a file.

    Raises:
        UsageFailure: if it holds values that a file cannot have.
    """
    document = study.document() if isinstance(study, StudySpec) else study
    try:
        return yaml.safe_dump(_plain(document), sort_keys=False, allow_unicode=True)
    except (yaml.YAMLError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageFailure(
            f"a study must hold text, numbers, lists and mappings alone: {reason}"
        ) from None


def _plain(value: Any) -> Any:
    """Turn tuples, NumPy's numbers and other mappings into what YAML has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def _read_text(study: str) -> str:
    if study in shipped_studies():
        return resources.files("sweeps.studies").joinpath(f"{study}.yaml").read_text("utf-8")
    if not Path(study).is_file():
        hint = did_you_mean(study, shipped_studies())
        raise UsageFailure(f"no study file {study!r}; {hint}, or the path of a file")
    try:
        with Path(study).open(encoding="utf-8") as file:
            text = file.read(MAX_SIZE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFailure(f"cannot read study file {study}: {error}") from None
    if len(text) > MAX_SIZE:
        raise UsageFailure(
            f"a study file has at most {MAX_SIZE:,} characters: {study} has more; give ranges "
            "(low, high) in place of long lists"
        )
    return text


def read_shipped(study: str) -> tuple[str, str, StudySpec]:
    """Read a shipped study without any overrides."""
    return read_study(study, {})


def study_name(study: str, dataset: str) -> str:
    """Make the name of a study in the stores from the names of its file and its data set."""
    kind, colon, path = dataset.partition(":")
    if not colon:
        return f"{study}-{dataset}"
    if kind == "folder":
        last = Path(path).name
        if last in ("", ".."):  # ``folder:.`` is called as the folder is
            last = Path(path).expanduser().resolve().name
    elif kind == "csv":
        last = Path(path).stem
    else:  # ``FILE.py:function``
        last = f"{Path(kind).stem}-{path}"
    return f"{study}-{last}"


def deviations(study: StudySource, spec: StudySpec) -> str:
    """Describe how a study with published figures differs from its file; empty if it does not."""
    if not spec.reference:
        return ""
    try:
        _, _, original = read_study(study, {})
    except UsageFailure:  # the file is complete only with the overrides of the command line
        return ""
    return describe_difference(original.identity(), spec.identity())


def ablation_start(record: StudyRecord) -> AblationStart:
    """Return what an ablation of a study starts from: its best configuration and searched fields.

    Raises:
        UsageFailure: if the study has no complete trial.
    """
    winner = record.best_trial
    if winner is None:
        raise UsageFailure(
            f"study {record.name!r} has no complete trial to ablate: let it go on first"
        )
    return AblationStart(best=winner.config.to_dict(), searched=record.searched)


def take_warm_start(spec: StudySpec, records: Sequence[StudyRecord]) -> WarmStart:
    """Return what a study takes from earlier ones when it begins.

    Args:
        spec: the study.
        records: the earlier studies, in the order in which they were named.

    Raises:
        UsageFailure: if nothing of one of them can be taken.
    """
    try:
        return warm_start.take_warm_start(spec, records)
    except warm_start.NothingFitsError as error:
        raise UsageFailure(f"{error}; leave it out of warm_start") from None


def ablate_study(spec: StudySpec, start: AblationStart) -> StudySpec:
    """Plan the trials of an ablation: each sets one searched value back to its default.

    Args:
        spec: a study with the method ``ablate``.
        start: the best configuration of the study to ablate.

    Raises:
        UsageFailure: if the best configuration has nothing but defaults.
    """
    try:
        return ablation_spec(spec, TrialConfig.from_dict(start.best), start.searched)
    except ValueError as error:
        raise UsageFailure(str(error)) from None
