"""Networks of torchvision and timm as families: ``torchvision:NAME`` and ``timm:NAME``.

This module knows their names, and the weights that the libraries publish; `models.backbone` builds
them. Nothing is downloaded here.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from models import vision

LIBRARIES = ("torchvision", "timm")
_SUGGESTIONS = 5


@dataclass(frozen=True)
class Published:
    """The weights that a library publishes for a network, and which images they want."""

    name: str
    side: int  # of an image, in pixels
    mean: tuple[float, ...]  # of each of three channels, 0..1
    std: tuple[float, ...]
    url: str
    file: str  # the name under which torch's folder of downloads has it
    sha256: str  # how the file's digest begins; empty if that is not known

    @property
    def path(self) -> Path:
        """Where the file is on this machine, or belongs: in torch's folder of downloads."""
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / self.file


def is_backbone(family: str) -> bool:
    """Whether a family has the form ``torchvision:NAME`` or ``timm:NAME``; nothing is imported."""
    library, _, name = family.partition(":")
    return library in LIBRARIES and bool(name)


def check(family: str) -> None:
    """Check that a library has a classifier of this name.

    Raises:
        ValueError: in one line, if it has none, or is not installed.
    """
    library, _, name = family.partition(":")
    known = _names(library)
    # timm also takes a name with the tag of weights, such as resnet18.a1_in1k.
    if name in known or (library == "timm" and name in _names_with_tag()):
        return
    nearest = difflib.get_close_matches(name, known, n=_SUGGESTIONS)
    hint = f"did you mean {', '.join(nearest)}?" if nearest else "such as resnet18"
    raise ValueError(
        f"family is unknown: {family[:80]!r}; {library} has {len(known):,} networks, {hint}"
    )


@cache
def published(family: str) -> Published:
    """Return the weights that a library publishes for a network; of several, its default.

    Raises:
        ValueError: if it has none, or there is no such network.
    """
    check(family)
    library, _, name = family.partition(":")
    of_library = _published_by_torchvision if library == "torchvision" else _published_by_timm
    found = of_library(name)
    if found is None:
        raise ValueError(f"{library} has no weights of {name}: give pretrained false, or a FILE")
    return found


def timm() -> Any:
    """Import timm, and with it all of torchvision.

    Raises:
        ValueError: if it is not installed.
    """
    if importlib.util.find_spec("timm") is None:
        raise ValueError(
            "the families timm:NAME need timm, which is not installed: `pip install 'timm>=1.0'` "
            "(the extra [timm] of this project)"
        )
    vision.networks()
    return importlib.import_module("timm")


@cache
def _names(library: str) -> Sequence[str]:
    """Return the names of a library's classifiers.

    Raises:
        ValueError: if it is not installed.
    """
    names: list[str]
    if library == "torchvision":
        module = vision.networks()
        names = module.list_models(module=module)
    else:
        names = timm().list_models()
    return names


@cache
def _names_with_tag() -> frozenset[str]:
    return frozenset(timm().list_pretrained())


def _published_by_torchvision(name: str) -> Published | None:
    weights = getattr(vision.networks().get_model_weights(name), "DEFAULT", None)
    if weights is None:
        return None
    wanted = weights.transforms()
    file = weights.url.rpartition("/")[2]
    return Published(
        name=str(weights),
        side=int(wanted.crop_size[0]),
        mean=tuple(wanted.mean),
        std=tuple(wanted.std),
        url=weights.url,
        file=file,
        sha256=file.rpartition("-")[2].partition(".")[0],  # such as resnet18-f37072fd.pth
    )


def _published_by_timm(name: str) -> Published | None:
    known = timm().get_pretrained_cfg(name)
    if known is None or not (known.hf_hub_id or known.url):
        return None
    url = known.url
    suffix = url.rpartition(".")[2]
    if known.hf_hub_id:
        import huggingface_hub

        inside = known.hf_hub_filename or "model.safetensors"
        url = huggingface_hub.hf_hub_url(known.hf_hub_id, inside)
        suffix = inside.rpartition(".")[2]
    full_name = f"{known.architecture}.{known.tag}".rstrip(".")
    return Published(
        name=full_name,
        side=int(known.input_size[-1]),
        mean=tuple(known.mean),
        std=tuple(known.std),
        url=url,
        file=f"{full_name}.{suffix}",
        sha256="",
    )
