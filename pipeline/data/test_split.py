"""Reads the test split. Only `pipeline.inference.evaluate` imports this module: nothing is selected on test data."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pipeline.data.search_data import Split, open_rows
from sweeps.trial import TrialConfig


def load_test_for(config: TrialConfig, data_dir: Path) -> Split:
    """Read the test split that goes with them. Who may name this function is the same as with `load_test`."""
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
    """Read the test split. Only `pipeline.inference.find` may name this function; a test of the code sees to it."""
    rows, splits = open_rows(name, data_dir, split_seed, split_file, image_size, test=True)
    return Split(rows.pixels(splits["test"]), rows.labels[splits["test"]])
