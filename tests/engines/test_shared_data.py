"""Images that processes share: equal for all, changed for none, and in memory once."""

import dataclasses
import multiprocessing
from pathlib import Path

import psutil
import pytest
import torch
from support import forks

from pipeline.data.search_data import SearchData, Split, trial_data
from pipeline.engines.shared_data import SharedData
from pipeline.system.errors import StorageFailure
from sweeps.trial import configure


def made(images=30):
    """Splits of known images."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, 16, 16), dtype=torch.uint8, generator=generator)
    labels = torch.arange(images) % 7
    cut = 2 * images // 3
    train, val = Split(pixels[:cut], labels[:cut]), Split(pixels[cut:], labels[cut:])
    return SearchData("some", ("a", "b"), train, val, (0.5, 0.4, 0.3), (0.1, 0.2, 0.3), "digest")


def equal(one, other):
    """Whether all of two searches' data is equal."""
    tensors = [(d.train.images, d.train.labels, d.val.images, d.val.labels) for d in (one, other)]
    facts = [{k: v for k, v in vars(d).items() if k not in ("train", "val")} for d in (one, other)]
    return facts[0] == facts[1] and all(map(torch.equal, *tensors))


def test_what_is_shared_is_equal_and_cannot_be_changed():
    """Opened, it is what it was; writing to it changes what nobody else sees."""
    data = made()
    shared = SharedData(data)
    first, second = shared.open(), shared.open()
    assert equal(data, made())
    assert equal(first, made())
    first.train.images.zero_()
    assert equal(second, made())
    assert equal(data, made())
    shared.close()
    assert equal(second, made())
    shared.close()


def test_a_part_of_other_images_can_be_shared():
    """Splits that are views of a larger tensor, whole or with gaps, are shared as they are seen."""
    data = made()
    gaps = dataclasses.replace(data, train=Split(data.train.images[::2], data.train.labels[::2]))
    expected = gaps.train.images.clone()
    shared = SharedData(gaps)
    assert torch.equal(shared.open().train.images, expected)
    assert torch.equal(gaps.train.images, expected)
    shared.close()


def test_shared_images_are_redrawn_without_a_copy():
    """Splits drawn anew are rows of the shared images, in the process that shares them and in all others."""
    data = made()
    shared = SharedData(data)
    config = configure({"redraw": "draw-1"})
    expected = trial_data(made(), config)
    for images in (data, shared.open()):
        found = trial_data(images, config)
        assert found.train.stored.data_ptr() == images.train.images.data_ptr()
        assert equal(found, expected)
    shared.close()


def test_a_split_may_be_empty():
    """Where nothing judges the network, there are no validation images to share."""
    data = made()
    whole = dataclasses.replace(data, val=Split(data.val.images[:0], data.val.labels[:0]))
    shared = SharedData(whole)
    found = shared.open()
    assert torch.equal(found.train.images, made().train.images)
    assert (found.val.images.shape, found.val.images.dtype, len(found.val)) == (
        (0, 3, 16, 16),
        torch.uint8,
        0,
    )
    shared.close()


def test_a_disk_without_room(full_disk):
    """Where there is no room for them, that is said in one line."""
    with (
        full_disk(1000),
        pytest.raises(StorageFailure, match=r"^cannot share 0.0 MB of images: File too large$"),
    ):
        SharedData(made())


def _read(connection, shared):
    """Open the images and read each; once told to, say what that has added to this process alone, and to all it has.

    Only then, because what one process has read and the other has not yet counts as the one's own.
    """
    before = psutil.Process().memory_full_info()
    data = shared.open()
    connection.send(int(data.train.images.sum()) + int(data.val.images.sum()))
    connection.recv()
    after = psutil.Process().memory_full_info()
    connection.send((after.uss - before.uss, after.rss - before.rss))
    connection.recv()


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="only Linux tells what of its memory is shared"
)
def test_all_processes_hold_one_copy():
    """Reading 61 MB of images costs two processes under 5 MB of their own each, and the one that shares them none."""
    forks.serve()
    context = multiprocessing.get_context("forkserver")
    data = made(80_000)
    total = int(data.train.images.sum()) + int(data.val.images.sum())
    shared, size = SharedData(data), data.train.images.nbytes + data.val.images.nbytes
    children = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        child = context.Process(target=_read, args=(theirs, shared))
        child.start()
        children.append((ours, child))
    for ours, _ in children:
        assert ours.recv() == total
    for ours, _ in children:
        ours.send(None)
        alone, resident = ours.recv()
        assert alone < 5_000_000
        assert resident > 0.9 * size
    before = psutil.Process().memory_full_info().uss
    assert int(data.train.images.sum()) + int(data.val.images.sum()) == total
    assert psutil.Process().memory_full_info().uss - before < 5_000_000
    for ours, child in children:
        ours.send(None)
        child.join()
    shared.close()
