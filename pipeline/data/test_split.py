"""Reads the test split, for `pipeline.inference.evaluate` only: nothing is selected on test data.

A test of the imports keeps this.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pipeline.data.search_data import Split, open_rows
from sweeps.trial import TrialConfig


def load_test_for(config: TrialConfig, data_dir: Path) -> Split:
    """Read the test split that belongs to a trial's training and validation splits."""
    return load_test(
        config.dataset, data_dir, config.split_seed, config.split_file, config.image_size
    )


@lru_cache(maxsize=2)
def load_test(
    name: str,
    data_dir: Path,
    split_seed: int = 0,
    split_file: str | None = None,
    image_size: int | None = None,
) -> Split:
    """Read the test split of a data set.

    The arguments and errors are those of `pipeline.data.search_data.load`.
    """
    rows, splits = open_rows(name, data_dir, split_seed, split_file, image_size, test=True)
    indices = splits["test"]
    return Split(rows.pixels(indices), rows.labels[indices])
