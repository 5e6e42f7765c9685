"""Checks what the store says of a study, as if somebody had typed it.

A database can be edited by hand, or written by a newer version. Each part of a study is checked
once, when the study is read: its types, and that the parts fit together. An error names the
attribute. Attributes with other names belong to other programs.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from models.parameters import read_option
from sweeps.analysis.facts import FILLED, SELECTION, Refit, StoredSpec, StudyFacts, WarmStart
from sweeps.search.decisions import HEAD_STARTS, PROMOTING, DamagedStudyError
from sweeps.spec.configurations import LISTS_FIRST
from sweeps.spec.dimension import Dimension
from sweeps.spec.keywords import NO_KEYWORDS, Keywords, families_of, stored_keywords
from sweeps.spec.reference import Reference
from sweeps.spec.study_spec import (
    COSTS,
    MAX_TRIALS,
    OBJECTIVES,
    Objective,
    StudySpec,
    parse_budget,
)
from sweeps.trial import TrialConfig, TrialResult, Value, config_fields, problem

if TYPE_CHECKING:
    from sweeps.search.tables import StudyData

# Attributes about one trial: a prefix and the number of the trial.
RUN_OF = "run of trial "
TEST = "test of trial "
TEST_CORRECT = "correct test images of trial "
TEST_LOOKS = "test looks of "
THUMBNAILS = "pictures"
# Attribute of a study: where its images are now, if not where it was begun.
PLACE = "place"
SOURCES = "source/"  # before the digest of an own network's source in the path of its files

_PNG_HEADER = 33  # bytes: the signature, and the chunk with the size
_MOST_IMAGES = 10**9
_METRICS = ("val/acc",)  # of every epoch of a trial, whatever the objective

_Number = Annotated[int, Field(ge=0)]
_RunId = Annotated[str, Field(pattern=r"^[0-9a-zA-Z_-]{1,64}$")]
_Text = TypeAdapter(str)
_Texts = TypeAdapter(dict[str, str])
_Time = TypeAdapter(Annotated[float, Field(ge=0, le=1e11)])  # seconds since 1970
_Numbers = TypeAdapter(list[_Number])
_Scores = TypeAdapter(
    dict[str, Annotated[float, Field(ge=0)]], config=ConfigDict(allow_inf_nan=False)
)


def check_study(study: StudyData) -> None:
    """Check the attributes and the direction of a study.

    Raises:
        DamagedStudyError: naming the study and the first attribute that is not as it should be.
    """
    name = study.study_name
    attrs = study.user_attrs
    for key in _REQUIRED:
        if key not in attrs:
            raise DamagedStudyError(f"attribute {key!r} is missing", name)
    for key, value in attrs.items():
        if key is None:  # as a database may hold it
            raise DamagedStudyError("an attribute has no name", name)
        check = _CHECKS.get(key) or _check_of_prefix(key)
        # A value of None stands for a missing attribute, where it may be missing.
        may_be_none = key in _CHECKS and key not in _REQUIRED
        if check is None or (value is None and may_be_none):
            continue
        try:
            check(value)
        except ValidationError as error:
            raise DamagedStudyError(f"attribute {key!r} {problem(error)}", name) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DamagedStudyError(
                f"attribute {key!r} {_WHAT.get(key, '')}{error}", name
            ) from None

    facts = attrs["facts"]
    if facts.get("scheduler", 1) >= PROMOTING and attrs.get("goal") is None:
        raise DamagedStudyError("attribute 'goal' is missing", name)
    _check_direction(study, OBJECTIVES[attrs["spec"]["objective"]])


def _check_direction(study: StudyData, objective: Objective) -> None:
    direction = "maximize" if objective.maximize else "minimize"
    try:
        found = [stored.name.lower() for stored in study.directions]
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedStudyError(f"its direction is damaged: {error}", study.study_name) from error
    if found != [direction]:
        raise DamagedStudyError(
            f"its direction is {', '.join(found) or 'missing'}, not {direction}", study.study_name
        )


def check_result(result: TrialResult, number: int, facts: StudyFacts | None) -> None:
    """Check that a stored result is of its trial and of the study's classes.

    Args:
        result: of correct types.
        number: of the trial.
        facts: of the study; None to leave the number of its classes open.

    Raises:
        ValueError: if it is not.
    """
    if result.number != number:
        raise ValueError(f"is of trial {result.number}")
    if result.duplicate_of is not None and not 0 <= result.duplicate_of < number:
        raise ValueError(f"duplicate_of names no earlier trial: {result.duplicate_of}")
    classes = 0 if facts is None else len(facts.classes)
    _check_history(result, classes)
    if result.best_epoch is not None and result.history and result.best is None:
        raise ValueError(f"best_epoch {result.best_epoch} is not in the history")
    if result.history and result.value is not None and result.best is None:
        raise ValueError("best_epoch is missing")
    _check_classes(result, classes)


def _check_history(result: TrialResult, classes: int) -> None:
    for index, row in enumerate(result.history):
        if row.epoch != index + 1:
            raise ValueError(f"history.{index}.epoch must be {index + 1}: got {row.epoch}")
        for metric in _METRICS:
            if metric not in row.metrics:
                raise ValueError(f"history.{index}.metrics lacks {metric!r}")
        for figures in (row.per_class, row.train_per_class, row.predicted):
            if classes and len(figures) not in (0, classes):
                raise ValueError(f"history.{index} has {len(figures)} classes, not {classes}")


def _check_classes(result: TrialResult, classes: int) -> None:
    if result.confusion is not None:
        size = len(result.confusion)
        if any(len(row) != size for row in result.confusion) or (classes and size != classes):
            raise ValueError(f"confusion must have {classes or size} rows and columns")
        classes = size
    for mistake in result.mistakes:
        if classes and not (mistake.true < classes and mistake.predicted < classes):
            raise ValueError(f"mistakes have a class that is none of {classes}")


def _check_spec(value: Any) -> None:
    """Check the identity of a study's specification, without importing anyone's network."""
    spec = StoredSpec.from_dict(value)
    unknown = sorted(set(value) - set(StudySpec.model_fields))
    if unknown:
        raise ValueError(f"holds {unknown[0]!r}, which this version does not know: a newer one may")
    if spec.objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}")
    if spec.objectives and (len(spec.objectives) != 2 or spec.objectives[1] not in COSTS):
        raise ValueError(f"objectives must be the objective and one of {', '.join(COSTS)}")
    missing = {"dataset", "method", "objective", "pruner", "epochs", "repeats", "search"} - set(
        value
    )
    if missing:
        raise ValueError(f"holds no {', '.join(sorted(missing))}")
    for key in ("dataset", "pruner", "method"):
        _Text.validate_python(value[key])
    keywords = stored_keywords(families_of(value))
    starts = (value.get("baselines") or []) + (value.get("start_with") or [])
    for given in (value.get("fixed") or {}, *starts):
        for name, held in given.items():
            _field_value(name, held, keywords)
    for dimension in value["search"].values():
        _check_dimension(dimension, keywords)


def _check_facts(value: Any) -> None:
    facts = StudyFacts.from_dict({key: held for key, held in value.items() if key != "dimensions"})
    for key, version, newest in (
        ("scheduler", facts.scheduler, HEAD_STARTS),
        ("places", facts.places, FILLED),
        ("selection", facts.selection, SELECTION),
        ("order", facts.order, LISTS_FIRST),
    ):
        if not 1 <= version <= newest:
            raise ValueError(f"{key} {version} is of a newer version: this one knows 1 to {newest}")
    for values in (facts.runtime, *facts.baselines):
        for name, held in values.items():
            _field_value(name, held, Keywords(stored=True))
    if facts.finalists is not None:
        for config in facts.finalists.configs:
            TrialConfig.from_dict(config)
    if facts.ablated is not None:
        TrialConfig.from_dict(facts.ablated.best)
        keywords = stored_keywords([str(facts.ablated.best.get("family"))])
        for name in facts.ablated.searched:
            _check_name(name, keywords)
    for dimension in value["dimensions"]:
        _check_dimension(dimension, Keywords(stored=True))
    _check_warm_start(facts.warm_start)


def _check_warm_start(warm_start: WarmStart | None) -> None:
    if warm_start is None:
        return
    observations = [one for source in warm_start.sources for one in source.observations]
    for _, place in observations:
        if not 0 < place < 1:
            raise ValueError(f"warm_start has a place that is not between 0 and 1: {place}")
    keywords = Keywords(stored=True)
    for values in (*warm_start.first, *(values for values, _ in observations)):
        for name, held in values.items():
            _field_value(name, held, keywords)


def _field_value(name: str, value: object, keywords: Keywords) -> Value:
    _check_name(name, keywords)
    if keywords.declare(name):
        return read_option(name, value)
    return config_fields()[name].read(value)


def _check_name(name: str, keywords: Keywords) -> None:
    if name not in config_fields() and not keywords.take(name):
        raise ValueError(f"holds {str(name)[:80]!r}, which this version does not know as a field")


def _check_dimension(data: Mapping[str, Any], keywords: Keywords) -> None:
    dimension = _dimension_reader().validate_python(data)
    declared = Keywords(alone=True, stored=True) if dimension.own else NO_KEYWORDS
    _check_name(dimension.field, declared)
    if dimension.choices:
        for choice in dimension.choices:
            _field_value(dimension.field, choice, declared)
    elif dimension.low is None or dimension.high is None or dimension.low > dimension.high:
        raise ValueError(f"dimension {dimension.field} has no choices, and no low and high")
    if dimension.log and (dimension.low or 0) <= 0:
        raise ValueError(f"dimension {dimension.field} is logarithmic from {dimension.low}")
    for name, allowed in dimension.when.items():
        for value in allowed:
            _field_value(name, value, keywords)


@cache
def _dimension_reader() -> TypeAdapter[Dimension]:
    return TypeAdapter(Dimension)


def _check_references(value: Any) -> None:
    for reference in TypeAdapter(list[dict[str, Any]]).validate_python(value):
        Reference.model_validate(reference)


def _check_budget(value: object) -> None:
    parse_budget(value)


def _check_described(value: Any) -> None:
    TypeAdapter(dict[Literal["params", "files", "data"], dict[str, Any]]).validate_python(value)
    lacking = {"params", "files"} - value.keys()
    if lacking:
        raise ValueError(f"lacks {', '.join(sorted(lacking))}")
    for file, text in _Texts.validate_python(value.get("files", {})).items():
        parts = file.removeprefix(SOURCES).split("/") if file.startswith(SOURCES) else [file]
        if not all(re.fullmatch(r"[^/\\\0]{1,200}", part) for part in parts) or {".", ".."} & {
            *parts
        }:
            raise ValueError(f"has a file whose name is a path: {file[:80]!r}")
        _Text.validate_python(text)
    data = _Texts.validate_python(value.get("data", {}))
    missing = {"name", "digest", "source"} - data.keys()
    if data and missing:
        raise ValueError(f"data lacks {', '.join(sorted(missing))}")


def _check_thumbnails(value: Any) -> None:
    TypeAdapter(_Number).validate_python(value["trial"])
    for text in TypeAdapter(dict[_Number, str]).validate_python(value["images"]).values():
        png = base64.b64decode(text, validate=True)
        if len(png) < _PNG_HEADER or not png.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError("holds an image that is no PNG")


def _check_run(value: Any) -> None:
    TypeAdapter(dict[Literal["run_id", "checkpoint"], str | None]).validate_python(value)
    TypeAdapter(_RunId | None).validate_python(value.get("run_id"))


def _check_test(value: Any) -> None:
    """Check scores on the test split; those of the best epoch are stored together."""
    scores = _Scores.validate_python(value)
    if "images" in scores and "acc" not in scores:
        raise ValueError("lacks 'acc'")
    if not scores.get("images", 0.0) <= _MOST_IMAGES:
        raise ValueError(f"images: got {scores['images']}")
    for name, score in scores.items():
        if name not in ("images", "loss") and score > 1:
            raise ValueError(f"{name} must be from 0 to 1: got {score}")


def _repeats(value: object) -> None:
    TypeAdapter(list[Annotated[int, Field(ge=1, le=MAX_TRIALS)]]).validate_python(value)


_REQUIRED = ("facts", "spec", "trials", "opened")
_WHAT = {"facts": "holds no facts: ", "spec": "holds no specification: ", "budget": "is damaged: "}
_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "facts": _check_facts,
    "spec": _check_spec,
    "trials": TypeAdapter(Annotated[int, Field(ge=1, le=MAX_TRIALS)]).validate_python,
    "goal": _Text.validate_python,
    "opened": _Time.validate_python,
    "reference": _check_references,
    "keep_checkpoints": TypeAdapter(
        Annotated[str, Field(pattern=r"^(each|all|best|top:[1-9][0-9]{0,4})$")]
    ).validate_python,
    "budget": _check_budget,
    "expected epochs": TypeAdapter(Annotated[float, Field(ge=0)]).validate_python,
    "parent_run_id": TypeAdapter(_RunId).validate_python,
    "key": TypeAdapter(_RunId).validate_python,
    "deviations": _Text.validate_python,
    "reason": _Text.validate_python,
    PLACE: _Text.validate_python,
    "command": _Text.validate_python,
    "finalists wanted": TypeAdapter(bool).validate_python,
    "described": _check_described,
    "places": TypeAdapter(list[tuple[_Number, _Number]]).validate_python,
    "refit": TypeAdapter(Refit).validate_python,
    "earlier repeats": _repeats,
    THUMBNAILS: _check_thumbnails,
}
_PREFIXES: Mapping[str, Callable[[Any], object]] = {
    RUN_OF: _check_run,
    TEST: _check_test,
    TEST_CORRECT: _Text.validate_python,
    TEST_LOOKS: TypeAdapter(_Number).validate_python,
    "promising for ": _Numbers.validate_python,
}


def _check_of_prefix(key: str) -> Callable[[Any], object] | None:
    for prefix, check in _PREFIXES.items():
        if key.startswith(prefix):
            return check
    return None


def check_promising(numbers: Sequence[int], trials: int) -> list[int]:
    """Check that trials which are finished before finalists are chosen are there.

    Raises:
        DamagedStudyError: if one is not.
    """
    for number in numbers:
        if number >= trials:
            raise DamagedStudyError(f"trial {number} is to be finished, and is not there")
    return list(numbers)
