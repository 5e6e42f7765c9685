"""Writes a finished network as one file that needs nothing of this project, checked against the network itself."""

from __future__ import annotations

import importlib.util
import io
import json
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
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
from pipeline.system.text import clean

FACTS = "card.json"  # among the extra files of a pt2
TOLERANCE = 1e-4  # of a probability
_IMAGES = 100  # that a file is checked on
_NEEDED = ("onnx", "onnxscript", "onnxruntime")

Answers = Callable[[torch.Tensor], torch.Tensor]  # raw images to probabilities


@dataclass(frozen=True, kw_only=True)
class ExportedNetwork:
    """A file's bytes, and how far its answers are from the network's."""

    content: bytes
    difference: float  # the largest of any probability
    checked_on: str
    example: (
        torch.Tensor
    )  # uint8 (1, height, width, channels): one of the images that it was checked on


def export(found: TrainedNetwork, data_dir: Path, fmt: str) -> ExportedNetwork:
    """Bring a network into a format: raw uint8 images (batch, height, width, channels) in, probabilities out.

    Args:
        found: the network, which ends up on the CPU.
        data_dir: the folder of data sets, for images to check it on; random ones where there are none.
        fmt: ``pt2`` or ``onnx``.

    Raises:
        UsageFailure: where the format's libraries are missing, or the network cannot be brought into it.
        IntegrityFailure: where the answers differ by more than `TOLERANCE`.
    """
    if fmt == "onnx":
        _check_onnx()
    images, checked_on = _images(found.card, data_dir)
    classifier = portable(found.network, found.card)
    with _quiet(), torch.no_grad():
        try:
            content = _FORMATS[fmt][0](_program(classifier, images), facts(found.card))
        except Exception as error:  # noqa: BLE001 - a network of the user's own can fail in any way
            why = clean(error, 200) or type(error).__name__
            raise UsageFailure(
                f"{found.card.config.family} cannot be brought into {fmt}: {why}"
            ) from None
        answers = _FORMATS[fmt][1](content)
        pairs = [
            (answers(some), classifier(some)) for some in (images, images[:1])
        ]  # of one and of many
    difference = max(float((ours - theirs).abs().max()) for theirs, ours in pairs)
    if not difference <= TOLERANCE:  # so that NaN does not pass
        raise IntegrityFailure(
            f"the {fmt} file answers otherwise than the network: by {difference:.1e} on {checked_on}, at most "
            f"{TOLERANCE:g} is allowed; nothing is written"
        )
    return ExportedNetwork(
        content=content, difference=difference, checked_on=checked_on, example=images[:1]
    )


def facts(card: Card) -> dict[str, Any]:
    """What stands beside an exported network: enough to use it."""
    channels, height, width = card.shape
    return {
        "input": "uint8 images (batch, height, width, channels), 0 to 255: they are normalised inside",
        "output": "probabilities (batch, classes)",
        "shape": [height, width, channels],
        "classes": list(card.classes),
        "family": card.config.family,
        "dataset": card.config.dataset,
        "epoch": card.epoch,
        "metrics": dict(card.metrics),
    }


def write(file: Path, content: bytes) -> None:
    """Write a file whole, or not at all.

    Raises:
        StorageFailure: if it cannot be written.
    """
    try:
        with atomic_write(file) as draft:
            draft.write_bytes(content)
    except OSError as error:
        raise StorageFailure(f"cannot write {file}: {error.strerror or error}") from None


def _images(card: Card, data_dir: Path) -> tuple[torch.Tensor, str]:
    """Images of the validation split that the network was chosen on, and what they are; random ones, and why."""
    config = card.config
    channels, height, width = card.shape
    why = "the data set is not there"
    try:
        if is_present(config.dataset, data_dir):
            found = search_data.load_for(config, data_dir)
            if found.shape == card.shape:
                count = min(_IMAGES, len(found.val))
                rows = torch.linspace(0, len(found.val) - 1, count).long()
                images = found.val.images[rows].permute(0, 2, 3, 1).contiguous()
                return images, f"{count} validation images of {clean(config.dataset)}"
            why = f"the data set's have the shape {found.shape} now, and not {card.shape}"
    except Failure as error:
        why = clean(error, 200)
    noise = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (_IMAGES, height, width, channels), dtype=torch.uint8, generator=noise
    )
    return images, f"{_IMAGES} images of random pixels ({why})"


def _program(classifier: Classifier, images: torch.Tensor) -> torch.export.ExportedProgram:
    """The network as a graph, which holds nothing of this machine: no image, and no path of our source."""
    example = torch.zeros(
        (2, *images.shape[1:]), dtype=torch.uint8
    )  # one would have the batch fixed at one
    shapes = {"images": {0: torch.export.Dim("batch")}}
    program = torch.export.export(classifier, (example,), dynamic_shapes=shapes)
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program


def _pt2(program: torch.export.ExportedProgram, about: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={FACTS: json.dumps(about)})
    return file.getvalue()


def _read_pt2(content: bytes) -> Answers:
    answers: Answers = torch.export.load(io.BytesIO(content)).module()
    return answers


def _onnx(program: torch.export.ExportedProgram, about: dict[str, Any]) -> bytes:
    names = {"input_names": ["images"], "output_names": ["probabilities"]}
    made: Any = torch.onnx.export(program, (), dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
    for key, value in about.items():
        made.model.metadata_props[key] = value if isinstance(value, str) else json.dumps(value)
    content: bytes = made.model_proto.SerializeToString()
    return content


def _read_onnx(content: bytes) -> Answers:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


_FORMATS: dict[
    str,
    tuple[
        Callable[[torch.export.ExportedProgram, dict[str, Any]], bytes], Callable[[bytes], Answers]
    ],
]
_FORMATS = {"pt2": (_pt2, _read_pt2), "onnx": (_onnx, _read_onnx)}


def _check_onnx() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageFailure(f"ONNX needs {', '.join(missing)}: pip install {' '.join(_NEEDED)}")


@contextmanager
def _quiet() -> Any:
    """Keep what the exporters say of themselves off the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
