"""Where trials can be trained, by name. Imports nothing heavy before it is asked for one: options are made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.system.errors import UsageFailure

if TYPE_CHECKING:
    from pipeline.engines.base import EngineFactory


def _local(address: str | None) -> EngineFactory:
    if address is not None:
        raise UsageFailure(
            f"--address is of a cluster: got {address!r} with --engine local; leave it out"
        )
    from pipeline.engines.local import LocalFactory

    return LocalFactory()


def _ray(address: str | None) -> EngineFactory:
    try:
        from pipeline.engines.on_ray.cluster import RayFactory
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise UsageFailure(
            "--engine ray needs Ray, which is not installed: pip install 'ray>=2.50'"
        ) from None
    return RayFactory(address)


ENGINES: dict[str, Callable[[str | None], EngineFactory]] = {"local": _local, "ray": _ray}


def open_factory(name: str, address: str | None = None) -> EngineFactory:
    """Open a site: a key of `ENGINES`, and the address of the cluster where it is one that is joined.

    Raises:
        UsageFailure: for an address that is none, or a library that is not there or of another version.
        EngineFailure: for a cluster that does not answer.
    """
    return ENGINES[name](address)
