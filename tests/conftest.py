"""Fixtures for all tests: one thread, a clean environment, small data sets, a full disk, stores."""

import dataclasses
import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
import torch
from support import ray_clusters
from support.datasets import idx
from support.endtoend import furnish, make_template
from support.postgres import Cluster, running

from pipeline.data.search_data import SearchData, Split, load

# Shared machines are slow at times; and a test that passed today passes tomorrow.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("suite")

DATA_DIR = "PIPELINE_DATA_DIR"  # a folder of real data sets, for slow tests
PREFIXES = ("MLFLOW_", "PIPELINE_")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """For networks this small, threads that wait for each other take most of the time."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    """Nothing of the developer's shell decides a test, but for where the real data sets are."""
    for name in [name for name in os.environ if name.startswith(PREFIXES) and name != DATA_DIR]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _garbage():
    """Unfreeze what a test's commands hid from the collector: their process does not end here."""
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _own_cache(_clean_environment, tmp_path_factory, monkeypatch):
    """Decoded images are kept apart from the developer's, and from those of other tests."""
    monkeypatch.setenv("PIPELINE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def digits() -> SearchData:
    """The digits, split."""
    return load("digits", Path("nowhere"))


@pytest.fixture(scope="session")
def tiny(digits) -> SearchData:
    """200 of the digits: an epoch takes milliseconds."""
    train, val = digits.train, digits.val
    return dataclasses.replace(
        digits,
        train=Split(train.images[:160], train.labels[:160]),
        val=Split(val.images[:40], val.labels[:40]),
    )


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets."""
    if DATA_DIR not in os.environ:
        pytest.skip(f"{DATA_DIR} names no folder of real data sets")
    return Path(os.environ[DATA_DIR])


@pytest.fixture
def mnist(tmp_path) -> Path:
    """A data folder with an MNIST of 60 + 20 different images; only test images are above 127."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for part, count, low, high in (("train", 60, 0, 128), ("t10k", 20, 128, 256)):
        images = torch.randint(low, high, (count, 28, 28), dtype=torch.uint8, generator=generator)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            idx(torch.arange(count).remainder(10).to(torch.uint8))
        )
    return tmp_path


@pytest.fixture
def full_disk():
    """A context that bounds the size of every file, as a nearly full disk does."""

    @contextmanager
    def limit(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A folder with both stores, made once."""
    folder = tmp_path_factory.mktemp("template")
    make_template(folder)
    return folder


@pytest.fixture
def folder(tmp_path, template, monkeypatch) -> Path:
    """A working folder with ready stores and the study file tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    return furnish(tmp_path, template)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server."""
    made = running()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[ray_clusters.RayCluster]:
    """A Ray cluster of two nodes."""
    made = ray_clusters.running()
    yield made
    made.remove()
