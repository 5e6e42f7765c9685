"""Measures the costs of a network (parameters, FLOPs, latency) and checks them against limits."""

from __future__ import annotations

import inspect
import statistics
import time
from collections.abc import Callable, Mapping
from types import MethodType

import torch
from torch import nn

from pipeline.system.errors import Infeasible
from pipeline.training.prepare import Prepare

# Forward passes of one image, whose median time is the latency.
PASSES_THAT_DECIDE = 30  # of a study that constrains the latency, or has it as an objective
PASSES_FOR_THE_RECORD = 5


def count_parameters(network: nn.Module) -> int:
    """Count a network's parameters."""
    return sum(p.numel() for p in network.parameters())


def count_mflops(network: nn.Module, shape: tuple[int, int, int]) -> float:
    """Count the FLOPs of one image's forward pass, in millions.

    Args:
        network: on the CPU; left in evaluation mode.
        shape: channels, height and width of an image.
    """
    # With Triton, which only a process that trains should import.
    from torch.utils.flop_counter import FlopCounterMode

    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _leave_out_compiler(counter.mode)
        network(torch.zeros(1, *shape))
    flops: int = counter.get_total_flops()
    return flops / 1e6


def layer_bytes(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return the most memory of one image in scoring: what a layer takes in and gives out.

    Args:
        network: on the CPU, whatever its weights; left in evaluation mode.
        shape: channels, height and width of an image.

    Returns:
        The bytes of these numbers as float32.
    """
    most = 0

    def note(_layer: nn.Module, taken: object, given: object) -> None:
        nonlocal most
        most = max(most, _count_numbers(taken) + _count_numbers(given))

    _show_image(network, shape, note)
    return most * torch.float32.itemsize


def layer_costs(network: nn.Module, shape: tuple[int, int, int]) -> tuple[float, int]:
    """Count what decides how long a network trains beside others, without torch's FLOP counter.

    Args:
        network: on the CPU, whatever its weights; left in evaluation mode.
        shape: channels, height and width of an image.

    Returns:
        The FLOPs in millions that the weights of layers take for one image, and the number of
        layers: dense and convolutional ones, activations, norms and so on.
    """
    mflops = 0.0
    layers = 0

    def note(layer: nn.Module, _taken: object, given: object) -> None:
        nonlocal mflops, layers
        if next(layer.children(), None) is not None:
            return
        layers += 1
        weight = getattr(layer, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.dim() > 1:
            # Each number that is given out is a product with the weights of one unit or channel.
            mflops += 2 * weight[0].numel() * _count_numbers(given) / 1e6

    _show_image(network, shape, note)
    return mflops, layers


def _show_image(
    network: nn.Module,
    shape: tuple[int, int, int],
    note: Callable[[nn.Module, object, object], None],
) -> None:
    """Score one empty image, and have each layer noted with what it takes in and gives out."""
    hooks = [layer.register_forward_hook(note) for layer in network.modules()]
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()


def _count_numbers(value: object) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, tuple | list):
        return sum(map(_count_numbers, value))
    return 0


def _leave_out_compiler(mode: object) -> None:
    """Let a mode of torch work without torch's compiler, which takes more than a second to import.

    torch decorates the mode's method so that its compiler leaves it out, and imports it for that.
    Nothing is compiled while FLOPs are counted, so the method is taken as it was written.
    """
    method = inspect.unwrap(type(mode).__torch_dispatch__)  # type: ignore[attr-defined]
    mode.__torch_dispatch__ = MethodType(method, mode)  # type: ignore[attr-defined]


def measure_latency(
    network: nn.Module, image: torch.Tensor, prepare: Prepare, passes: int
) -> float:
    """Measure the forward pass of one image: the median in milliseconds, different each time.

    Args:
        network: left in evaluation mode.
        image: prepared, float (1, channels, height, width), on the network's device.
        prepare: its precision.
        passes: how many to measure.
    """
    network.eval()
    seconds = []
    for _ in range(passes):
        start = time.perf_counter()
        with torch.no_grad(), prepare.autocast():
            logits = network(image)
            if isinstance(logits, torch.Tensor):  # if not, its training says so
                logits.cpu()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return round(statistics.median(seconds) * 1000, 4)


def check_limits(costs: Mapping[str, float | None], limits: Mapping[str, float]) -> None:
    """Check a network's costs.

    Args:
        costs: by the names in `sweeps.spec.study_spec.Constraints`.
        limits: the largest values allowed, by the same names.

    Raises:
        Infeasible: if a cost is above its limit.
    """
    excesses = []
    for name, allowed in limits.items():
        cost = costs[name] or 0
        if cost > allowed:
            excesses.append(f"{name} {cost:,.10g}, allowed {allowed:,.10g}")
    if excesses:
        raise Infeasible("; ".join(excesses))
