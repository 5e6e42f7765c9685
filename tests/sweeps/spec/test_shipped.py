"""Every shipped study runs from its name to its report, shrunk: a few images of its kind, one epoch, few trials."""

import json
import struct
import zlib

import pytest
import torch
from support.endtoend import check_invariant, furnish, pipeline, record

from pipeline.inference import evaluate, find
from pipeline.jobs.studies import read_study, shipped_studies
from pipeline.stores import locations

# Images a class, by data set: large networks get few.
SHAPES = {
    "digits": (1, 8, 8),
    "few_digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "tiny_imagenet": (3, 64, 64),
}
IMAGES = {"digits": 20, "few_digits": 20, "mnist": 20, "cifar10": 20, "tiny_imagenet": 8}
TRIALS = 1
# Networks of tens of millions of parameters, which others of the studies have as well.
LARGE = {"mnist_cnn_epochs", "mnist_cnn_lr", "tinyimagenet_cnn", "tinyimagenet_resnet"}
STUDIES = [
    pytest.param(name, marks=pytest.mark.slow if name in LARGE else ())
    for name in shipped_studies()
]


def png(image: torch.Tensor) -> bytes:
    """A uint8 image (channels, height, width) as a PNG file."""
    channels, height, width = image.shape
    lines = b"".join(
        b"\0" + bytes(row) for row in image.permute(1, 2, 0).reshape(height, -1).tolist()
    )

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images for each data set: ten classes, each with its own brightness and noise."""
    generator = torch.Generator().manual_seed(0)
    root = tmp_path_factory.mktemp("images")
    for name, shape in SHAPES.items():
        for label in range(10):
            folder = root / name / "train" / f"class {label}"
            folder.mkdir(parents=True)
            for index in range(IMAGES[name]):
                noise = torch.randint(0, 40, shape, dtype=torch.uint8, generator=generator)
                (folder / f"{index}.png").write_bytes(png(noise + 20 * label))
    return root


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_runs_to_its_report(name, images, tmp_path, template, monkeypatch, capsys):
    """Its first trials train, its stores agree, its report holds its published figures, and a winner can be scored."""
    folder = furnish(tmp_path / "work", template)
    monkeypatch.chdir(folder)
    spec = read_study(name, {})[2]
    dataset = f"folder:{images / spec.dataset}"
    total = min(TRIALS, json.loads(_output(capsys, "studies", name, "--json"))["trials"])
    if name == "data_size":  # which asks for more images than the folder has
        dataset = "digits"
    study = f"{name}-{spec.dataset}"
    options = ("--epochs", "1", "--trials", str(total), "--no-finalists")
    assert pipeline("sweep", name, "--dataset", dataset, *options) == 0
    check_invariant(folder, study, total)
    found = record(folder, study)
    assert len(found.reference) == len(spec.reference)
    assert (folder / "reports" / study / "published.csv").exists() == bool(spec.reference)
    best = find.best_network(locations.locate(), study).trial
    scores = evaluate.evaluate(locations.locate(), folder, split="val", run_id=best.run_id).scores
    assert scores.accuracy == best.value


def _output(capsys, *arguments):
    """What a command prints."""
    capsys.readouterr()
    assert pipeline(*arguments) == 0
    return capsys.readouterr().out
