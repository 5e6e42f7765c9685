"""Lists the engines by name, for the option ``--engine``.

The command line imports this module to build its options, so each engine is imported on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.system.errors import UsageFailure

if TYPE_CHECKING:
    from pipeline.engines.base import EngineFactory


def _open_local(address: str | None) -> EngineFactory:
    if address is not None:
        raise UsageFailure(
            f"--address is that of a Ray cluster: got {address!r}; "
            "add --engine ray, or leave it out"
        )
    from pipeline.engines.local import LocalFactory

    return LocalFactory()


def _open_ray(address: str | None) -> EngineFactory:
    try:
        from pipeline.engines.on_ray.cluster import RayFactory
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise UsageFailure(
            "--engine ray needs Ray, which is not installed: pip install 'ray>=2.50'"
        ) from None
    return RayFactory(address)


ENGINES: dict[str, Callable[[str | None], EngineFactory]] = {
    "local": _open_local,
    "ray": _open_ray,
}


def open_factory(name: str, address: str | None = None) -> EngineFactory:
    """Open the factory of an engine.

    Args:
        name: a key of `ENGINES`.
        address: the cluster to join, for an engine on a cluster.

    Raises:
        UsageFailure: if the address is malformed or not for this engine, or if the engine's library
            is missing or of another version than the cluster's.
        EngineFailure: if the cluster does not answer.
    """
    return ENGINES[name](address)
