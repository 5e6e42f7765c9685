"""Reads the test split, for `pipeline.inference.evaluate` only: nothing is selected on test data.

A test of the imports keeps this.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pipeline.data.opened import open_images
from pipeline.data.search_data import Split, source_arguments
from pipeline.system.console import print_notice
from sweeps.trial import TrialConfig


def load_test_for(config: TrialConfig, data_dir: Path) -> Split:
    """Read the test split that belongs to a trial's training and validation splits."""
    return load_test(*source_arguments(config, data_dir))


@lru_cache(maxsize=2)
def load_test(
    name: str,
    data_dir: Path,
    split_seed: int = 0,
    split_file: str | None = None,
    image_size: int | None = None,
    data_version: int | None = None,
    copies: str | None = None,
) -> Split:
    """Read the test split of a data set, and name the images that are unlike all others.

    The arguments and errors are those of `pipeline.data.search_data.load`.
    """
    opened = open_images(
        name, data_dir, split_seed, split_file, image_size, data_version, copies, purpose="score"
    )
    misfits = opened.misfits()
    if misfits:
        print_notice(f"{name}: {misfits}")
    rows = opened.splits["test"]
    return Split(opened.pixels(rows), opened.labels[rows])
