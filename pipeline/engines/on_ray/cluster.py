"""A Ray cluster as a place to train on: reached, described, and warmed up."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
from typing import Any

import ray
from ray.exceptions import RayTaskError

from pipeline.data.search_data import SearchData
from pipeline.engines.on_ray.engine import RayEngine
from pipeline.engines.on_ray.task import RESOLVE, import_paths, keep_signal_handlers, resources
from pipeline.system import cpu
from pipeline.system.errors import EngineFailure, UsageFailure
from pipeline.system.text import clean
from pipeline.training.resolve import resolve
from sweeps.trial import TrialConfig

_START = 5.0  # seconds in which a cluster must answer at the start


_GREETING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # RFC 9113, 3.4: with empty settings
)


_SETTINGS = 4  # the type of frame that answers it


# Ray tells nobody of this cluster, and leaves the GPUs that a process sees as they are where it is given none.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class RayFactory:
    """A Ray cluster, as a site."""

    deterministic = False

    def __init__(self, address: str | None) -> None:
        """Join a cluster, from one of its nodes.

        Args:
            address: ``host:port`` of its head, or ``auto`` for the one that this machine is in; None begins one of
                this machine alone, which ends with this process.

        Raises:
            UsageFailure: for an address that is none, or a cluster of other versions.
            EngineFailure: if there is no such cluster, or it does not answer.
        """
        if address is not None and address != "auto":
            _reach(address)
        os.environ.update(
            {name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()}
        )
        mine: dict[str, Any] = (
            {"num_cpus": cpu.available_cores(), "include_dashboard": False}
            if address is None
            else {}
        )
        if address is None:
            name = "a Ray cluster of this machine"
        else:
            name = f"the Ray cluster at {clean(address)}"
        try:
            with keep_signal_handlers():
                ray.init(
                    address=address or "local",
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **mine,
                )
        except Exception as error:  # noqa: BLE001 - it has no class of its own for these
            said = clean(" ".join(str(error).split()), 300)
            if "Version mismatch" in said:
                raise UsageFailure(f"{said}: use the versions of {name}") from None
            raise EngineFailure(f"cannot use {name}: {said}") from None
        # What its own processes have to say goes to its logs, and not between our lines.
        ray._private.worker._worker_logs_enabled = False  # noqa: SLF001 - there is no other switch
        self.where = f" on {name}"

    def resolve(self, config: TrialConfig) -> TrialConfig:
        """Settle what ``auto`` means on a node that has a GPU; on any, if none has."""
        if config.processes > 1:
            raise ValueError(f"gpus_per_trial must be 1{self.where}: got {config.processes}")
        if any(node.get("GPU") for node in nodes()):
            try:
                found: TrialConfig = ray.get(
                    RESOLVE.options(num_gpus=1).remote(config, import_paths())
                )
            except RayTaskError as error:
                raise error.cause from None
            return found
        if config.device not in ("auto", "cpu"):
            raise ValueError(f"device {config.device} is not there: no node{self.where} has a GPU")
        return resolve(dataclasses.replace(config, device="cpu"))

    def places(self, usual: int, config: TrialConfig) -> int:  # noqa: ARG002 - which is of one machine
        """As many as its nodes have room for now."""
        needs = {
            {"num_cpus": "CPU", "num_gpus": "GPU"}[name]: count
            for name, count in resources(config).items()
            if count
        }
        places = sum(
            int(min(has.get(name, 0) // count for name, count in needs.items())) for has in nodes()
        )
        if not places:
            wanted = " and ".join(f"{count:g} {name}" for name, count in needs.items())
            raise UsageFailure(
                f"no node{self.where} has {wanted} for a trial: add one, or wait for it with --workers N"
            )
        return places

    def warm_up(self, processes: int) -> None:
        """Nothing can be prepared."""

    def make(self, data: SearchData, places: int, processes: int = 1) -> RayEngine:  # noqa: ARG002 - of which there is one
        """The engine for so many trials at a time; those that there is no room for wait in the cluster."""
        return RayEngine(data, places)

    def close(self) -> None:
        """Leave it; one that was begun ends."""
        with keep_signal_handlers():
            ray.shutdown()


def nodes() -> list[dict[str, float]]:
    """What each node of the cluster has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _reach(address: str) -> None:
    """See that something like Ray answers at an address: Ray itself would try for two minutes, and then exit."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16 or "/" in host:
        raise UsageFailure(
            f"--address must be auto or HOST:PORT of a Ray cluster's head: got {clean(address)!r}"
        )
    try:
        with socket.create_connection((host, int(port)), _START) as found:
            found.sendall(_GREETING)
            answer = found.recv(9)
    except OSError as error:
        why = clean(error.strerror or error)
        raise EngineFailure(f"no Ray cluster answers at {clean(address)}: {why}") from None
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise EngineFailure(f"what answers at {clean(address)} is no Ray cluster")
