"""Estimates which searched dimensions decided the values, by PED-ANOVA, and tells noise apart.

The shares of PED-ANOVA add up to 1 also where nothing matters. Each therefore has a band that noise
fills, from permutations: shares inside their band are not told from noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from sweeps.analysis.equal_epochs import has_value, scores_at_equal_epochs
from sweeps.analysis.ped_anova import Choices, Gridded, Range, divergences, to_grid
from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.trial import TrialConfig, TrialResult, Value

# With fewer configurations, the best third has fewer than seven, and the shares are mostly noise.
MIN_CONFIGURATIONS = 20
QUANTILE = 1 / 3  # the share of the configurations that count as good
FALSE_RATE = 0.05  # how often noise alone may name a cause
_PERMUTATIONS = 999
_LEAST_PERMUTATIONS = 199  # of large studies, which would take long
_NUMBERS_AT_ONCE = 500_000  # bounds the memory
_NUMBERS_IN_ALL = 1_000_000  # bounds the time
_KEPT = "_importance"  # where a record keeps its estimate
_TINY = 1e-9  # relative error of a divergence


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much one dimension decided whether a configuration is among the best third."""

    key: str  # of the `Dimension`
    share: float | None  # from 0 to 1; None if there is too little data, which the note explains
    configurations: int  # how many it was computed from
    # The end of the band that noise fills: a larger share is told from noise. None where there is
    # no share, or no other dimension to share with.
    noise: float | None = None
    is_told: bool = False  # whether it is told from noise
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The shares of a study's dimensions, the largest first."""

    configurations: int  # with a complete, pruned or paused trial
    # Of the dimensions that every configuration has: they sum to 1, or there are none.
    shares: tuple[Share, ...] = ()
    # Of the other dimensions, each among the configurations that have it.
    conditional: tuple[Share, ...] = ()
    note: str | None = None  # why there are no shares

    @property
    def told(self) -> tuple[Share, ...]:
        """The shares that are told from noise."""
        return tuple(share for share in (*self.shares, *self.conditional) if share.is_told)


@dataclass(frozen=True)
class _Panel:
    """Dimensions whose shares are computed together, among configurations that have them all."""

    configurations: Sequence[Sequence[TrialResult]]  # each with all its seeds
    dimensions: Sequence[Dimension]  # all that these configurations have
    shown: Sequence[Dimension]  # those whose shares are taken from here
    record: StudyRecord

    @cached_property
    def scores(self) -> np.ndarray:
        """The mean score of each configuration's trials: (configurations,). Higher is better."""
        trials = [trial for trials in self.configurations for trial in trials]
        scores = scores_at_equal_epochs(
            trials, self.record.objective, maximize=self.record.maximize
        )
        ends = np.cumsum([len(trials) for trials in self.configurations])
        return np.array([part.mean() for part in np.split(scores, ends[:-1])])

    @cached_property
    def good(self) -> np.ndarray:
        """Which configurations are among the best third, or equal to its last: boolean."""
        last_good = math.ceil(QUANTILE * len(self.scores))
        return np.asarray(self.scores >= np.sort(self.scores)[-last_good])

    @property
    def why_no_share(self) -> str | None:
        """Explain why no share can be computed; None if it can."""
        count = len(self.configurations)
        if count < MIN_CONFIGURATIONS:
            return f"too few to say ({count} of the {MIN_CONFIGURATIONS} configurations needed)"
        if self.good.all():
            return "too alike to say (the best third and the rest have the same value)"
        return None

    @cached_property
    def grids(self) -> list[Gridded]:
        """The configurations' values of each dimension, which all permutations share."""
        grids = []
        for dimension in self.dimensions:
            points = [_point(dimension, trials[0].config) for trials in self.configurations]
            values = [point for point in points if point is not None]
            grids.append(to_grid(_space(dimension), values))
        return grids

    def divergences(self, good: np.ndarray) -> np.ndarray:
        """The divergence of each dimension, for each set of good configurations.

        Args:
            good: (sets, configurations), boolean.

        Returns:
            (sets, dimensions).
        """
        return np.stack([divergences(grid, good) for grid in self.grids], axis=1)

    def with_permutations(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """The divergences as they are, and after each permutation of which configurations are good.

        Returns:
            (1 + permutations, dimensions).
        """
        size = len(self.good)
        at_once = max(1, _NUMBERS_AT_ONCE // size)
        parts = [self.divergences(self.good[None])]
        for begun in range(0, count, at_once):
            shape = (min(at_once, count - begun), size)
            order = np.argsort(rng.random(shape), axis=1)
            parts.append(self.divergences(self.good[order]))
        return np.concatenate(parts)


def importance(record: StudyRecord) -> Importance:
    """Estimate how much each searched dimension decided which configurations are the best third.

    Complete, pruned and paused trials count, compared at equal epochs, see
    `sweeps.analysis.equal_epochs`. The seeds of a configuration are one observation. The dimensions
    that every configuration has share 1 among them. The share of a conditional dimension is
    computed among the configurations that have it, together with the dimensions that all those
    have. A dimension with a single value is left out.

    Optuna would weigh a conditional dimension by how often its condition holds among the best
    trials, which mixes the condition's importance into the dimension's own. Conditional dimensions
    are therefore computed separately.

    A share is told from noise by a permutation test, see `_shares`. The estimate is made once: like
    its cached properties, a record keeps it, also when it is pickled.

    Source: PED-ANOVA, https://arxiv.org/abs/2304.10255.
    """
    known = record.__dict__.get(_KEPT)
    if known is None:
        known = _estimate(record)
        record.__dict__[_KEPT] = known
    return cast("Importance", known)


def _estimate(record: StudyRecord) -> Importance:
    configurations = _configurations(record.results)
    panels = _panels(record, configurations)
    shares = _shares([panel for panel in panels if panel.why_no_share is None])
    note: str | None = "no searched dimension is common to all configurations"
    common: list[Share] = []
    conditional: list[Share] = []
    for panel in panels:
        is_common = len(panel.configurations) == len(configurations)
        if is_common:
            note = panel.why_no_share
        for dimension in panel.shown:
            share = shares.get(dimension.key)
            if share is not None and is_common:
                common.append(share)
            elif not is_common:
                conditional.append(share or _unknown(dimension, panel))
    return Importance(
        configurations=len(configurations),
        shares=_largest_first(common),
        conditional=_largest_first(conditional),
        note=note,
    )


def _configurations(results: Sequence[TrialResult]) -> list[list[TrialResult]]:
    """The trials that count, those of each configuration together, in order of their numbers."""
    groups: dict[str, list[TrialResult]] = {}
    for result in results:
        if _counts(result):
            groups.setdefault(result.config.group, []).append(result)
    return list(groups.values())


def _counts(result: TrialResult) -> bool:
    """Whether a trial is evidence of its own: it has a value, and reused no other trial's."""
    return has_value(result) and result.duplicate_of is None


def _panels(record: StudyRecord, configurations: Sequence[Sequence[TrialResult]]) -> list[_Panel]:
    """Put the dimensions that the same configurations have into a panel."""
    dimensions = [d for d in record.dimensions if not _space(d).is_single]
    having: dict[str, frozenset[int]] = {}
    for dimension in dimensions:
        having[dimension.key] = frozenset(
            index
            for index, trials in enumerate(configurations)
            if _point(dimension, trials[0].config) is not None
        )
    panels = []
    for members in dict.fromkeys(having.values()):
        panel = _Panel(
            configurations=[configurations[index] for index in sorted(members)],
            dimensions=[d for d in dimensions if members <= having[d.key]],
            shown=[d for d in dimensions if members == having[d.key]],
            record=record,
        )
        panels.append(panel)
    return panels


def _unknown(dimension: Dimension, panel: _Panel) -> Share:
    """A share that cannot be computed."""
    return Share(
        key=dimension.key,
        share=None,
        configurations=len(panel.configurations),
        note=panel.why_no_share,
    )


def _shares(panels: Sequence[_Panel]) -> dict[str, Share]:
    """Compute the shares that are shown, by key, and which of them are told from noise.

    The null hypothesis is that no dimension matters: then each order of the values is as likely as
    any other, for the configurations as they are. The divergences are computed again for random
    orders. Those of lists and of ranges are distributed differently, so each is judged by its
    p-value: how rarely a divergence of its dimension is as large. A cause is named where the
    p-value is below those that are the smallest of all shown dimensions in 5 % of the orders, so
    that noise names any cause at all in at most 5 % of studies (the single-step minP of Westfall &
    Young, Resampling-Based Multiple Testing, 1993). A divergence, unlike a share, does not shrink
    if another dimension matters, so the others can be told from noise beside a strong one, too.

    The sampler learns from values, so that the configurations depend on earlier values, and orders
    are not quite equally likely: docs/statistics.md has what this costs.
    """
    if not panels:
        return {}
    largest = max(len(panel.configurations) for panel in panels)
    count = _NUMBERS_IN_ALL // largest
    count = min(max(count, _LEAST_PERMUTATIONS), _PERMUTATIONS)
    rng = np.random.default_rng(0)
    columns: dict[str, np.ndarray] = {}
    others: dict[str, float] = {}  # the sum of the other dimensions' divergences
    for panel in panels:
        found = panel.with_permutations(count, rng)
        for index, dimension in enumerate(panel.dimensions):
            if dimension in panel.shown:
                columns[dimension.key] = found[:, index]
                others[dimension.key] = float(found[0].sum() - found[0, index])
    limits = dict(zip(columns, _limits(np.stack(list(columns.values()), axis=1)), strict=True))
    return {
        dimension.key: _share(
            dimension,
            panel,
            divergence=float(columns[dimension.key][0]),
            others=others[dimension.key],
            limit=float(limits[dimension.key]),
        )
        for panel in panels
        for dimension in panel.shown
    }


def _limits(found: np.ndarray) -> np.ndarray:
    """The largest divergence of each dimension that is not told from noise: (dimensions,).

    Args:
        found: (1 + permutations, dimensions): divergences, first those that were observed.
    """
    ascending = np.sort(found, axis=0)
    count = len(found)
    # Of each divergence, how many of its dimension are as large: its p-value, times their number.
    as_large = np.empty(found.shape, dtype=int)
    for index, column in enumerate(ascending.T):
        as_large[:, index] = count - np.searchsorted(column, found[:, index] * (1 - _TINY))
    smallest = np.sort(as_large.min(axis=1))
    needed = smallest[math.floor(FALSE_RATE * count)]
    # With fewer than that as large as itself, a divergence is above the one in that place.
    return np.asarray(ascending[count - needed])


def _share(
    dimension: Dimension, panel: _Panel, *, divergence: float, others: float, limit: float
) -> Share:
    """Compute a share, and the end of its band, from divergences."""
    note: str | None = None
    noise: float | None = None
    if divergence + others > 0:
        share = divergence / (divergence + others)
    else:
        share = 1 / len(panel.dimensions)
    if len(panel.dimensions) == 1:
        note = "the only dimension these configurations have"
    elif limit + others > 0:
        noise = limit / (limit + others)
    return Share(
        key=dimension.key,
        share=share,
        configurations=len(panel.configurations),
        noise=noise,
        is_told=divergence > limit * (1 + _TINY),
        note=note,
    )


def _space(dimension: Dimension) -> Choices | Range:
    """Return the values that a dimension can have.

    A stepped range becomes the indices of its steps, so that no rounding leaves the grid.

    Raises:
        ValueError: for a dimension with neither choices nor bounds.
    """
    if dimension.choices:
        return Choices(dimension.choices)
    low = dimension.low
    high = dimension.high
    if low is None or high is None:
        raise ValueError(
            f"{dimension.key} needs choices, or low and high: got low {low}, high {high}"
        )
    if dimension.step is not None and not dimension.log:
        steps = math.floor((high - low) / dimension.step + 1e-9)
        return Range(low=0.0, high=float(steps), is_whole=True)
    return Range(low=float(low), high=float(high), log=dimension.log, is_whole=dimension.integer)


def _point(dimension: Dimension, config: TrialConfig) -> Value | None:
    """Return a trial's value of a dimension, as one of its `_space`.

    None if the dimension does not apply to the trial.
    """
    value: Value | None = config.value(dimension.field)
    if value is None:
        return None
    if any(config.value(name) not in allowed for name, allowed in dimension.when.items()):
        return None
    space = _space(dimension)
    if isinstance(space, Range):
        if dimension.step is not None and not dimension.log:
            value = round((float(value) - float(dimension.low or 0)) / dimension.step)
        # A sampled float is rounded to 4 significant digits, which may put it outside the range.
        return min(max(cast("float", value), space.low), space.high)
    return next((choice for choice in dimension.choices if choice == value), None)


def _largest_first(shares: Sequence[Share]) -> tuple[Share, ...]:
    """Sort shares; unknown ones come last."""
    return tuple(sorted(shares, key=_known_share, reverse=True))


def _known_share(share: Share) -> float:
    return -1.0 if share.share is None else share.share
