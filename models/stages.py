"""The parts of a network from the images to the logits: its stages, and its head.

The head is the layer of the logits, which belongs to the classes. All before it is the backbone, a
row of stages. A stage is what a network holds side by side: a layer with the norm behind it, or a
block, or a group of blocks that has a name of its own. Each member of a list that is called as one
of `_LISTS` counts for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.backbone import Backbone

if TYPE_CHECKING:
    from torch import nn

# What networks call the lists of their blocks and layers.
_LISTS = (
    "blocks",
    "encoder",
    "features",
    "hidden",
    "layers",
    "network",
    "stages",
    "trunk_output",
)


@dataclass(frozen=True)
class Stage:
    """A stage of a backbone: modules that stand next to each other."""

    name: str  # of its first module in the network
    modules: tuple[nn.Module, ...]


def head_names(network: nn.Module, classes: int) -> tuple[str, ...]:
    """Return the names of the layers whose outputs are the logits.

    Raises:
        ValueError: if none is found.
    """
    get_classifier = None
    if isinstance(network, Backbone):
        get_classifier = getattr(network.network, "get_classifier", None)  # of timm
    if get_classifier is not None:
        found = get_classifier()
        heads = found if isinstance(found, tuple) else (found,)
    else:
        fitting = [
            module
            for module in network.modules()
            if getattr(module, "out_features", getattr(module, "out_channels", None)) == classes
        ]
        heads = tuple(fitting[-1:])
    names = tuple(
        name for name, module in network.named_modules() if any(module is head for head in heads)
    )
    if not names:
        raise ValueError(f"no layer of {classes} logits is found in this network")
    return names


def in_head(name: str, heads: tuple[str, ...]) -> bool:
    """Whether a tensor or a module of a network is of its head."""
    return any(name == head or name.startswith(f"{head}.") for head in heads)


def stages(network: nn.Module, heads: tuple[str, ...]) -> list[Stage]:
    """Return the stages of a network, from the images on.

    Args:
        network: with its head.
        heads: as `head_names` returns them.
    """
    found: list[Stage] = []
    for name, module in _units(network, "", heads):
        if found and _is_norm(module):
            found[-1] = Stage(found[-1].name, (*found[-1].modules, module))
        else:
            found.append(Stage(name, (module,)))
    return found


def _units(
    network: nn.Module, prefix: str, heads: tuple[str, ...]
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules with parameters that count for themselves, by their names."""
    for name, module in network.named_children():
        full_name = f"{prefix}{name}"
        if in_head(full_name, heads) or not any(True for _ in module.parameters()):
            continue
        holds_head = any(head.startswith(f"{full_name}.") for head in heads)
        if holds_head or name in _LISTS:
            yield from _units(module, f"{full_name}.", heads)
        else:
            yield full_name, module


def _is_norm(module: nn.Module) -> bool:
    """Whether a module has no weights but those of norms."""
    return all(parameter.dim() <= 1 for parameter in module.parameters())


class Frozen:
    """The part of a network that is not trained: its weights stay, and its norms' statistics."""

    def __init__(self, network: nn.Module, freeze: str, classes: int) -> None:
        """Freeze a part of a network.

        Args:
            network: whose parameters then want no gradient.
            freeze: as the field of `sweeps.trial.TrialConfig`.
            classes: number of logits.

        Raises:
            ValueError: if it has fewer stages.
        """
        self._modules: list[nn.Module] = []
        if freeze == "none":
            return
        heads = head_names(network, classes)
        all_stages = stages(network, heads)
        count = len(all_stages) if freeze == "backbone" else int(freeze)
        if count > len(all_stages):
            names = ", ".join(stage.name for stage in all_stages)
            raise ValueError(f"freeze {count} is more than the {len(all_stages)} stages: {names}")
        self._modules = [module for stage in all_stages[:count] for module in stage.modules]
        in_stages = {id(one) for stage in all_stages for one in _parameters(stage)}
        for module in self._modules:
            module.requires_grad_(False)
        for name, parameter in network.named_parameters():
            # Such as the embedding of positions, which stands before the first stage.
            if id(parameter) not in in_stages and not in_head(name, heads):
                parameter.requires_grad_(False)

    def hold(self) -> None:
        """Keep the frozen part in evaluation mode, after the network was set to train."""
        for module in self._modules:
            module.eval()


def _parameters(stage: Stage) -> Iterator[nn.Parameter]:
    for module in stage.modules:
        yield from module.parameters()
