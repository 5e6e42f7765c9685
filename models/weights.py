"""Weights to begin a training with: read from a file, and put into a network but for its head."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import libraries
from models.usercode import working_folder

if TYPE_CHECKING:
    import torch
    from torch import nn

NONE = "false"  # as a field: random weights
PUBLISHED = "true"  # as a field: those that the library publishes
_CHECKPOINT = "best.safetensors"  # of this project, in the folder of a network
_DIGITS = 12  # of a digest
_BLOCK = 2**20  # bytes
# Of files that hold more than the weights.
_INSIDE = ("state_dict", "model")
_WRAPPED = "network."  # how the tensors of a `models.backbone.Backbone` begin
# Heads that torchvision's networks have in training only.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# How files of DenseNets from before 2018 call layers: torchvision's own pattern.
_OLD_DENSE = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


class _NoWeightsError(TypeError):
    """A file of torch holds something else."""


@dataclass(frozen=True)
class Weights:
    """The content of a file of weights."""

    path: Path
    tensors: Mapping[str, torch.Tensor]
    about: Mapping[str, Any]  # what a checkpoint of this project says of them; else empty

    @property
    def family(self) -> str:
        """The family of the network, if the file says it; else empty."""
        config = self.about.get("config")
        return str(config.get("family", "")) if isinstance(config, Mapping) else ""


def find(text: str) -> Path:
    """Return the file that a configuration names: relative to the working folder.

    The folder of a network of this project stands for the file of its weights.

    Raises:
        ValueError: in one line, if there is no such file.
    """
    path = working_folder() / Path(text).expanduser()
    if path.is_dir():
        path /= _CHECKPOINT
    if not path.is_file():
        raise ValueError(
            f"pretrained must be true, false or a file of weights: there is no file {path}"
        )
    return path


def digest(text: str, family: str) -> str | None:
    """Return what tells the weights to begin with from others; None for random ones.

    Args:
        text: the value of the field.
        family: of the network.

    Raises:
        ValueError: in one line, if there are no such weights.
    """
    if text == NONE:
        return None
    if text == PUBLISHED:
        return libraries.published(family).name
    path = find(text)
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)[:_DIGITS]


@lru_cache(maxsize=16)
def _digest(path: Path, _size: int, _changed: int) -> str:
    """Return the SHA-256 of a file. Files of another size or time are read again."""
    content = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            content.update(block)
    return content.hexdigest()


def read(path: Path) -> Weights:
    """Read a file of weights: safetensors, or a state dict that torch has saved.

    Raises:
        ValueError: in one line, if it is neither.
    """
    import torch

    about: Mapping[str, Any] = {}
    try:
        if path.suffix == ".safetensors":
            tensors, about = _read_safetensors(path)
        else:
            tensors = _state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # noqa: BLE001 - torch raises many over any file
        # What torch says of a file that is none of its own is advice to trust it.
        reason = f": {error}" if isinstance(error, _NoWeightsError) else ""
        raise ValueError(
            f"pretrained {path} is no file of weights: it must be safetensors, or a state dict "
            f"that torch has saved, of nothing but tensors{reason}"
        ) from None
    if not tensors:
        raise ValueError(f"pretrained {path} holds no weights")
    return Weights(path, tensors, about)


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, Any]]:
    """Read the tensors, and what a checkpoint of this project says of them."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors, about(path)


def about(path: Path) -> Mapping[str, Any]:
    """Return what a checkpoint of this project says of its network; empty for another file."""
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
    except (OSError, SafetensorError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _state_dict(loaded: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of what torch has loaded: a state dict, or one inside of it."""
    import torch

    for key in _INSIDE:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise _NoWeightsError(f"it holds a {type(loaded).__name__}")
    return {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}


def begin_with(
    text: str | None,
    network: nn.Module,
    family: str,
    classes: int,
    *,
    digest_then: str | None = None,
) -> None:
    """Put the weights that a configuration names into a network. Its head stays as it is.

    Args:
        text: the value of the field; None for a network that takes no such weights.
        network: on any device.
        family: of the network.
        classes: its number of logits.
        digest_then: what `digest` has said of the weights before; None for any.

    Raises:
        ValueError: in one line, if they are not there, have changed, or do not fit.
    """
    if text is None or text == NONE:
        return
    digest_now = digest(text, family)
    if digest_then not in (None, digest_now):
        raise ValueError(
            f"pretrained {text} has changed, from {digest_then} to {digest_now}: begin the command "
            "again, or put the old file back"
        )
    if text == PUBLISHED:
        put(_read_published(family, classes), network, family, classes)
    else:
        put(read(find(text)), network, family, classes)


def _read_published(family: str, classes: int) -> Weights:
    """Read the weights that a library publishes, from their file on this machine.

    Raises:
        ValueError: in one line, if they are not there.
    """
    weights = libraries.published(family)
    if not weights.path.is_file():
        raise ValueError(f"the weights of {family} are not on this machine: {weights.path}")
    library, _, name = family.partition(":")
    if library == "torchvision":
        return read(weights.path)
    # Some files of timm have other names or sizes than its networks, which it knows to convert.
    network = libraries.timm().create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(weights.path)},
        num_classes=classes,
    )
    return Weights(weights.path, network.state_dict(), {})


def put(weights: Weights, network: nn.Module, family: str, classes: int) -> None:
    """Put weights into a network. Its head stays as it is.

    Args:
        weights: of a network of the same sizes, but for its head.
        network: on any device; on ``meta``, only whether the weights fit is checked.
        family: of the network, for the message.
        classes: its number of logits.

    Raises:
        ValueError: in one line, naming what does not fit.
    """
    import torch

    from models.stages import head_names, in_head

    heads = head_names(network, classes)
    wanted = {
        name: tensor for name, tensor in network.state_dict().items() if not in_head(name, heads)
    }
    given = {
        name: tensor
        for name, tensor in _named_as(wanted, weights.tensors).items()
        if not in_head(name, heads) and not any(part in f".{name}" for part in _AUXILIARY)
    }
    problems = _misfits(wanted, given)
    if problems:
        of_family = f", which is of the family {weights.family}" if weights.family else ""
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ValueError(
            f"pretrained {weights.path}{of_family} does not fit {family}: {problems[0]}{more}"
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            if name in given and not tensor.is_meta:
                tensor.copy_(given[name])


def _named_as(
    wanted: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Name tensors as those of a network, which may be wrapped in another way."""
    result = dict(given)
    for prefix in ("module.", _WRAPPED):
        if all(name.startswith(prefix) for name in result):
            result = {name.removeprefix(prefix): tensor for name, tensor in result.items()}
    if all(name.startswith(_WRAPPED) for name in wanted):
        result = {
            _WRAPPED + _OLD_DENSE.sub(r"\1\2", name): tensor for name, tensor in result.items()
        }
    return result


def _misfits(wanted: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> list[str]:
    """Say what does not fit between the tensors of a network and those of a file, one text each."""
    found = []
    for name, tensor in wanted.items():
        if name not in given:
            if not name.endswith("num_batches_tracked"):  # old files have no such counters
                found.append(f"it has no {name}")
        elif given[name].shape != tensor.shape:
            has, needs = (_sizes(one) for one in (given[name], tensor))
            found.append(f"its {name} is {has}, and the network's {needs}")
    found += [f"the network has no {name}" for name in given if name not in wanted]
    return found


def _sizes(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def moments(
    text: str | None, family: str, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return the mean and deviation of each channel, 0..1, with which weights were trained.

    Grey images for weights of coloured ones get the mean over the channels.

    Args:
        text: the value of the field.
        family: of the network.
        channels: of the images.

    Returns:
        None if that is not known: of random weights, and of a file that is not of this project.

    Raises:
        ValueError: in one line, if there are no such weights.
    """
    if text is None or text == NONE:
        return None
    if text == PUBLISHED:
        known = libraries.published(family)
        return _spread(known.mean, channels), _spread(known.std, channels)
    said = about(find(text))
    mean, std = (said.get(key) for key in ("mean", "std"))
    if not mean or not std:
        return None
    return _spread(mean, channels), _spread(std, channels)


def _spread(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return a value for each channel."""
    if len(values) == channels:
        return tuple(values)
    return (sum(values) / len(values),) * channels


def side(text: str | None, family: str) -> int | None:
    """Return the side in pixels of the images that weights were trained on; None if not known.

    Raises:
        ValueError: in one line, if there are no such weights.
    """
    if text is None or text == NONE:
        return None
    if text == PUBLISHED:
        return libraries.published(family).side
    shape = about(find(text)).get("shape")
    return int(shape[-1]) if shape else None
