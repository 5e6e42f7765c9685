"""Takes from earlier studies what a new study begins with: its first configurations, and a prior.

An earlier study may be of other images, another objective and another space. Its configurations are
projected onto the new space. What is kept of its results is the place of each configuration in its
own ranking, which means the same whatever the scale.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sweeps.analysis.facts import WarmSource, WarmStart
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.spec.configurations import Unfit, optuna_params, project
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import BAD_CONFIGURATION, Value

# Configurations of all sources together. A source that misleads costs a small study as many trials.
TRIED_FIRST = 3
OBSERVED = 60  # the most configurations of a source whose places are kept
_BEST_SHARE = 4  # of a source's configurations, the best 1 in so many may be tried first
_FEWEST = 3  # or so many, if that is more


@dataclass(frozen=True)
class _Candidate:
    """A configuration of an earlier study in the new space."""

    values: Mapping[str, Value]
    place: float  # among the configurations of its study: above 0, below 1 for the best
    moved: bool  # whether a number was moved to the nearest searched value


_T = TypeVar("_T")


class NothingFitsError(ValueError):
    """A study has nothing to begin another one from."""


def take_warm_start(spec: StudySpec, records: Sequence[StudyRecord]) -> WarmStart:
    """Take the first configurations and the prior of a study from earlier studies.

    The first ones are chosen from each source in turn: its best, and then of its best quarter each
    time the one that is farthest from all chosen before.

    Args:
        spec: the new study.
        records: the earlier studies, in the order in which they were named.

    Raises:
        NothingFitsError: if a source has no complete trial, or no configuration that fits.
    """
    candidates = []
    sources = []
    for record in records:
        tried = [entry for entry in record.ranked if _tells_something(entry)]
        found, unfit = _project_all(spec, tried)
        if record.best_trial is None:
            raise NothingFitsError(f"study {record.name!r} has no complete trial to begin from")
        if not found:
            raise NothingFitsError(
                f"nothing of study {record.name!r} fits what is searched here: {', '.join(unfit)}"
            )
        candidates.append(found)
        exact = [candidate for candidate in found if not candidate.moved]
        observed = spread_out(exact, OBSERVED) if _learns(spec) else []
        sources.append(
            WarmSource(
                name=record.name,
                dataset=record.dataset,
                configurations=len(tried),
                moved=len(found) - len(exact),
                unfit=dict(unfit),
                observations=tuple((candidate.values, candidate.place) for candidate in observed),
            )
        )
    return WarmStart(sources=tuple(sources), first=tuple(_choose_first(spec, candidates)))


def _project_all(spec: StudySpec, tried: Sequence[Ranked]) -> tuple[list[_Candidate], Counter[str]]:
    """Project configurations, the best first, and count what does not fit, by why.

    Of several that become one, the best counts.
    """
    candidates: dict[tuple[tuple[str, Value], ...], _Candidate] = {}
    unfit: Counter[str] = Counter()
    for index, entry in enumerate(tried):
        try:
            values, moved = project(spec, entry.trials[0].config)
        except Unfit as reason:
            unfit[str(reason)] += 1
            continue
        candidates.setdefault(
            tuple(values.items()),
            _Candidate(values, place=round(1 - (index + 0.5) / len(tried), 4), moved=moved),
        )
    return list(candidates.values()), unfit


def _learns(spec: StudySpec) -> bool:
    """Whether the sampler learns from earlier studies, whose places are of one objective."""
    return spec.method != "random" and spec.cost is None


def _tells_something(entry: Ranked) -> bool:
    """Whether a configuration has a value, or has failed because of itself."""
    return entry.value is not None or entry.trials[0].end in BAD_CONFIGURATION


def _choose_first(
    spec: StudySpec, candidates: Sequence[Sequence[_Candidate]]
) -> list[Mapping[str, Value]]:
    dimensions = {dimension.key: dimension for dimension in spec.dimensions}
    chosen: list[Mapping[str, Value]] = []
    chosen_params: list[Mapping[str, Value]] = []

    def isolation(values: Mapping[str, Value]) -> float:
        params = optuna_params(spec, values)
        return min((distance(dimensions, params, other) for other in chosen_params), default=1.0)

    best_of = []
    for found in candidates:
        count = max(_FEWEST, len(found) // _BEST_SHARE)
        best_of.append([one.values for one in found[:count]])
    while len(chosen) < TRIED_FIRST and any(best_of):
        for best in best_of:
            new = [values for values in best if isolation(values) > 0]
            best[:] = new
            if not new or len(chosen) == TRIED_FIRST:
                continue
            is_first = len(chosen) < len(best_of)
            values = new[0] if is_first else max(new, key=isolation)
            chosen.append(values)
            chosen_params.append(optuna_params(spec, values))
    return chosen


def spread_out(ordered: Sequence[_T], count: int) -> list[_T]:
    """Choose at most so many items, evenly spaced in their order, the first of them always."""
    count = min(count, len(ordered))
    return [ordered[index * len(ordered) // count] for index in range(count)]


def distance(
    dimensions: Mapping[str, Dimension], first: Mapping[str, Any], second: Mapping[str, Any]
) -> float:
    """Return how far two configurations are apart: from 0 to 1, the mean over their dimensions.

    A dimension that only one of them has counts 1, as do different words. Numbers count by their
    places in the range, or in the list of choices.

    Args:
        dimensions: of the study, by their keys.
        first: the values of a configuration, by the keys of their dimensions.
        second: those of another.
    """
    keys = {*first, *second}
    if not keys:
        return 0.0
    parts = [
        abs(dimensions[key].unit(first[key]) - dimensions[key].unit(second[key]))
        if key in first and key in second and dimensions[key].numeric
        else float(first.get(key) != second.get(key))
        for key in keys
    ]
    return math.fsum(parts) / len(keys)
