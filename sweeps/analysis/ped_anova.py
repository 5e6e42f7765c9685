"""PED-ANOVA's divergence of one searched dimension, for many sets of good trials at once.

Source: PED-ANOVA, https://arxiv.org/abs/2304.10255. The arithmetic is that of
`optuna.importance.PedAnovaImportanceEvaluator`, and a test holds the two against each other. Optuna
takes milliseconds for one set of good trials; a permutation test needs a thousand sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.trial import Value

_CELLS = 50  # of a continuous range
# The narrowest kernel: 90 % of it lie within its cell.
_LEAST_WIDTH = 0.5 / 1.64
_TINY = 1e-12  # keeps a quotient of densities finite


@dataclass(frozen=True)
class Choices:
    """A dimension of unordered choices."""

    choices: tuple[Value, ...]

    @property
    def is_single(self) -> bool:
        """Whether there is no choice."""
        return len(self.choices) == 1


@dataclass(frozen=True, kw_only=True)
class Range:
    """A dimension of numbers, both ends included."""

    low: float
    high: float
    log: bool = False
    is_whole: bool = False  # whether the numbers are whole

    @property
    def is_single(self) -> bool:
        """Whether there is a single number in it."""
        return self.low == self.high


@dataclass(frozen=True, kw_only=True)
class Gridded:
    """The trials' values of a dimension, as cells of a grid."""

    cells: np.ndarray  # (trials,): the index of each trial's cell
    size: int  # the number of cells
    is_ordered: bool  # whether neighbouring cells are alike, as in a range


def to_grid(space: Choices | Range, values: Sequence[Value]) -> Gridded:
    """Sort values into cells: one for each choice, at most 50 over a range.

    Args:
        space: the values that the dimension can have.
        values: those that the trials have, one each.
    """
    if isinstance(space, Choices):
        indices = [space.choices.index(value) for value in values]
        return Gridded(
            cells=np.array(indices, dtype=int), size=len(space.choices), is_ordered=False
        )
    numbers = np.array(values, dtype=float)
    low = space.low
    high = space.high
    size = _CELLS
    if space.is_whole and space.log:
        size = min(int(np.ceil(np.log2(high - low + 1))) + 1, _CELLS)
    elif space.is_whole:
        size = min(round(high - low) + 1, _CELLS)
    if space.log:
        numbers = np.log(numbers)
        low = float(np.log(low))
        high = float(np.log(high))
    width = (high - low) / (size - 1)
    # A value between two cells goes to the lower one.
    cells = np.ceil((numbers - low) / width - 0.5).astype(int)
    return Gridded(cells=np.clip(cells, 0, size - 1), size=size, is_ordered=True)


def divergences(gridded: Gridded, good: np.ndarray) -> np.ndarray:
    """How far the density of the good trials is from that of all trials.

    It is Pearson's divergence of the two densities: 0 where the good trials lie like all of them.

    Args:
        gridded: a dimension's values.
        good: (sets, trials), boolean: which trials are good in each set; at least one in each.

    Returns:
        The divergence for each set: (sets,).
    """
    one_hot = np.zeros((len(gridded.cells), gridded.size), dtype=np.float32)
    one_hot[np.arange(len(gridded.cells)), gridded.cells] = 1
    counts = good.astype(np.float32) @ one_hot  # whole numbers: exact
    every = one_hot.sum(axis=0, keepdims=True)
    density = _ordered_densities if gridded.is_ordered else _unordered_densities
    of_good = density(counts.astype(float)) + _TINY
    of_all = density(every.astype(float)) + _TINY
    return np.asarray((of_all * (of_good / of_all - 1) ** 2).sum(axis=1))


def _unordered_densities(counts: np.ndarray) -> np.ndarray:
    """Densities over choices; each kernel spreads the weight of one trial over all choices.

    Args:
        counts: (sets, choices): the good trials with each choice.

    Returns:
        (sets, choices).
    """
    choices = counts.shape[1]
    observed = (counts > 0).sum(axis=1, keepdims=True)
    spread = 1 / (observed + 1)  # what a kernel gives to each choice, beside 1 to its own
    trials = counts.sum(axis=1, keepdims=True)
    of_kernels = (counts + trials * spread) / (1 + choices * spread)
    return np.asarray((of_kernels + 1 / choices) / (trials + 1))


def _ordered_densities(counts: np.ndarray) -> np.ndarray:
    """Densities over a range: Gaussian kernels, cut at its ends, of a width by Scott's rule.

    Args:
        counts: (sets, cells): the good trials in each cell.

    Returns:
        (sets, cells).
    """
    size = counts.shape[1]
    trials = counts.sum(axis=1, keepdims=True)
    widths = _kernel_widths(counts)
    cells = np.arange(size)
    inside = _mass(-0.5 - cells, size - 0.5 - cells, widths)  # (sets, cells): of a kernel in each
    # What a cell gets of a kernel depends only on how far they are apart.
    offsets = np.arange(1 - size, size)
    masses = _mass(offsets - 0.5, offsets + 0.5, widths)
    apart = cells[:, None] - cells[None, :] + size - 1
    of_kernels = np.einsum("sk,sck->sc", counts / inside, masses[:, apart])
    middle = (size - 1) / 2
    prior_width = np.array([[float(size)]])
    of_prior = _mass(cells - 0.5 - middle, cells + 0.5 - middle, prior_width)
    of_prior /= of_prior.sum()
    return np.asarray((of_kernels + of_prior) / (trials + 1))


def _kernel_widths(counts: np.ndarray) -> np.ndarray:
    """The standard deviation of the kernels, in cells: (sets, 1)."""
    cells = np.arange(counts.shape[1])
    trials = counts.sum(axis=1, keepdims=True)
    mean = counts @ cells[:, None] / trials
    squares = (counts * (cells - mean) ** 2).sum(axis=1, keepdims=True)
    deviation = np.sqrt(squares / np.maximum(1, trials - 1))
    cumulated = counts.cumsum(axis=1)
    first_quartile = (cumulated >= np.maximum(1, trials // 4)).argmax(axis=1)
    third_quartile = (cumulated > trials * 3 // 4).argmax(axis=1)
    robust = (third_quartile - first_quartile)[:, None] / 1.34
    width = 1.059 * np.minimum(robust, deviation) * trials**-0.2
    return np.asarray(np.maximum(width, _LEAST_WIDTH))


def _mass(low: np.ndarray, high: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """The mass of Gaussians between two limits, which count from their means: (sets, limits)."""
    from scipy.special import ndtr  # takes a tenth of a second to import

    return np.asarray(ndtr(high / widths) - ndtr(low / widths))
