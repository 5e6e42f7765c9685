"""Where trials can be trained, by name. Imports nothing heavy before it is asked for one: options are made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.system.errors import UsageFailure

if TYPE_CHECKING:
    from pipeline.engines.base import Site


def _local(address: str | None) -> Site:
    if address is not None:
        raise UsageFailure(
            f"--address is of a cluster: got {address!r} with --engine local; leave it out"
        )
    from pipeline.engines.local import Local

    return Local()


def _ray(address: str | None) -> Site:
    try:
        from pipeline.engines.on_ray.cluster import Cluster
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise UsageFailure(
            "--engine ray needs Ray, which is not installed: pip install 'ray>=2.50'"
        ) from None
    return Cluster(address)


SITES: dict[str, Callable[[str | None], Site]] = {"local": _local, "ray": _ray}


def open_site(name: str, address: str | None = None) -> Site:
    """Open a site: a key of `SITES`, and the address of the cluster where it is one that is joined.

    Raises:
        UsageFailure: for an address that is none, or a library that is not there or of another version.
        EngineFailure: for a cluster that does not answer.
    """
    return SITES[name](address)
