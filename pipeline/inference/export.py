"""Exports a trained network as a single file, usable without this project.

The file's answers are compared with the network's before the file is written.
"""

from __future__ import annotations

import importlib.util
import io
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import torch

from pipeline.checkpoints import Card
from pipeline.data import search_data
from pipeline.data.datasets import is_present
from pipeline.inference.classifier import Classifier, portable
from pipeline.inference.networks import TrainedNetwork
from pipeline.system.errors import Failure, IntegrityFailure, StorageFailure, UsageFailure
from pipeline.system.files import atomic_write
from pipeline.system.text import clean, clip

FACTS = "card.json"  # the name of the facts among the extra files of a pt2
TOLERANCE = 1e-4  # the largest difference of a probability
_IMAGES = 100  # images that an export is checked on
_OUTPUT = "probabilities (batch, classes)"  # what a file gives, as its own description says
_FIRST_BYTES = (b"P", b"\x08")  # of a zip archive, which pt2 is, and of an ONNX model
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Classify = Callable[[torch.Tensor], torch.Tensor]  # raw images to probabilities


@dataclass(frozen=True, kw_only=True)
class ExportedNetwork:
    """An exported file, and how far its answers are from the network's."""

    content: bytes
    difference: float  # the largest difference of a probability
    checked_on: str  # describes the images
    example: torch.Tensor  # the first of the images: uint8 (1, height, width, channels)


@dataclass(frozen=True)
class _Format:
    """A file format: how to serialise a network with its facts, and how to load it again."""

    serialise: Callable[[torch.export.ExportedProgram, dict[str, Any]], bytes]
    load: Callable[[bytes], Classify]


def export(trained: TrainedNetwork, data_dir: Path, fmt: str) -> ExportedNetwork:
    """Export a network from raw uint8 images (batch, height, width, channels) to probabilities.

    Args:
        trained: the network; moves it to the CPU.
        data_dir: the folder of data sets, for images to check the file on. Without the data set,
            the images are random.
        fmt: ``pt2`` or ``onnx``.

    Raises:
        UsageFailure: if the format's libraries are missing, or the network cannot be exported.
        IntegrityFailure: if a probability differs by more than `TOLERANCE`.
    """
    if fmt == "onnx":
        _check_onnx()
    card = trained.card
    images, checked_on = _check_images(card, data_dir)
    classifier = portable(trained.network, card)
    with _no_warnings(), torch.no_grad():
        try:
            program = _trace(classifier, images)
            content = _FORMATS[fmt].serialise(program, facts(card))
        except Exception as error:  # noqa: BLE001 - a network of the user's own can fail in any way
            why = clip(error, 200) or type(error).__name__
            raise UsageFailure(
                f"{card.config.family} cannot be brought into {fmt}: {why}"
            ) from None
        exported = _FORMATS[fmt].load(content)
        differences = []
        for batch in (images, images[:1]):  # the batch size must not matter
            difference = (classifier(batch) - exported(batch)).abs().max()
            differences.append(float(difference))
    largest = max(differences)
    if not largest <= TOLERANCE:  # so that NaN does not pass
        raise IntegrityFailure(
            f"the {fmt} file answers otherwise than the network: by {largest:.1e} on "
            f"{checked_on}, at most {TOLERANCE:g} is allowed; nothing is written"
        )
    return ExportedNetwork(
        content=content, difference=largest, checked_on=checked_on, example=images[:1]
    )


def facts(card: Card) -> dict[str, Any]:
    """The description that goes into an exported file: enough to use the network."""
    channels, height, width = card.shape
    return {
        "input": "uint8 images (batch, height, width, channels), 0 to 255: "
        "they are normalised inside",
        "output": _OUTPUT,
        "shape": [height, width, channels],
        "classes": list(card.classes),
        "family": card.config.family,
        "dataset": card.config.dataset,
        "epoch": card.epoch,
        "metrics": dict(card.metrics),
    }


def check_target(file: Path) -> None:
    """Check that a file is still to be made, or is an earlier export: no other file is replaced.

    Raises:
        UsageFailure: if the file is anything else.
    """
    try:
        is_free = not file.exists() or (file.is_file() and _is_export(file))
    except OSError as error:
        raise StorageFailure(f"cannot read {file}: {error.strerror or error}") from None
    if not is_free:
        raise UsageFailure(
            f"--out may replace an earlier export only: {str(file)!r} is another file; "
            "name a new file, or remove this one"
        )


def _is_export(file: Path) -> bool:
    """Whether `export` made a file: it begins like one of its formats, and holds our words."""
    if file.stat().st_size == 0:
        return False
    with file.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as content:
        return content[:1] in _FIRST_BYTES and content.find(_OUTPUT.encode()) >= 0


def write(file: Path, content: bytes) -> None:
    """Write a file as a whole, or not at all.

    Raises:
        StorageFailure: if the file cannot be written.
    """
    try:
        with atomic_write(file) as draft:
            draft.write_bytes(content)
    except OSError as error:
        raise StorageFailure(f"cannot write {file}: {error.strerror or error}") from None


def _check_images(card: Card, data_dir: Path) -> tuple[torch.Tensor, str]:
    """Choose the images for the check of an export.

    Returns:
        uint8 images (batch, height, width, channels) and their description: validation images of
        the network's data set, or random pixels if the data set is missing or has changed.
    """
    config = card.config
    channels, height, width = card.shape
    why = "the data set is not there"
    try:
        if is_present(config.dataset, data_dir):
            data = search_data.load_for(config, data_dir)
            if data.shape == card.shape:
                count = min(_IMAGES, len(data.val))
                rows = torch.linspace(0, len(data.val) - 1, count).long()
                images = data.val.images[rows].permute(0, 2, 3, 1).contiguous()
                return images, f"{count} validation images of {clean(config.dataset)}"
            why = f"the data set's have the shape {data.shape} now, and not {card.shape}"
    except Failure as error:
        why = clip(error, 200)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (_IMAGES, height, width, channels), dtype=torch.uint8, generator=generator
    )
    return images, f"{_IMAGES} images of random pixels ({why})"


def _trace(classifier: Classifier, images: torch.Tensor) -> torch.export.ExportedProgram:
    """Trace a network as a graph, without traces of this machine: no image, no path of a source."""
    # With a single image torch would fix the batch size at one.
    example = torch.zeros((2, *images.shape[1:]), dtype=torch.uint8)
    shapes = {"images": {0: torch.export.Dim("batch")}}
    program = torch.export.export(classifier, (example,), dynamic_shapes=shapes)
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
    return program


def _serialise_pt2(program: torch.export.ExportedProgram, facts: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={FACTS: json.dumps(facts)})
    return file.getvalue()


def _load_pt2(content: bytes) -> Classify:
    classify: Classify = torch.export.load(io.BytesIO(content)).module()
    return classify


def _serialise_onnx(program: torch.export.ExportedProgram, facts: dict[str, Any]) -> bytes:
    onnx_program: Any = torch.onnx.export(
        program,
        (),
        input_names=["images"],
        output_names=["probabilities"],
        dynamo=True,
        verbose=False,
    )
    for key, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value)
        onnx_program.model.metadata_props[key] = text
    content: bytes = onnx_program.model_proto.SerializeToString()
    return content


def _load_onnx(content: bytes) -> Classify:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def classify(images: torch.Tensor) -> torch.Tensor:
        (probabilities,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(probabilities)

    return classify


_FORMATS = {
    "pt2": _Format(_serialise_pt2, _load_pt2),
    "onnx": _Format(_serialise_onnx, _load_onnx),
}


def _check_onnx() -> None:
    missing = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageFailure(
            f"ONNX needs {', '.join(missing)}: pip install {' '.join(_ONNX_PACKAGES)}"
        )


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Keep warnings of the exporters off the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
