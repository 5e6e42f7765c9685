"""Joins or starts a Ray cluster, describes its hardware, and makes the engine."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
from typing import Any

import ray
from ray.exceptions import RayTaskError
from ray.job_config import JobConfig

from pipeline.data.search_data import SearchData
from pipeline.engines.on_ray.engine import RayEngine
from pipeline.engines.on_ray.task import RESOLVE, keep_signal_handlers, own_places, resources
from pipeline.system import cpu
from pipeline.system.errors import EngineFailure, UsageFailure
from pipeline.system.import_path import safe_children
from pipeline.system.text import clean, clip
from pipeline.training.resolve import resolve
from sweeps.trial import TrialConfig

_CONNECT_TIMEOUT = 5.0  # seconds in which the head of a cluster must answer

# The head of a Ray cluster speaks HTTP/2. This is a client's preface with empty settings (RFC 9113,
# section 3.4), to which a server answers with a frame of this type.
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
_HTTP2_SETTINGS = 4

# Ray reads these from the environment alone, so they stay set for the process and its Ray workers:
# send no usage statistics, and hide no GPU from a process that asks for none.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

_RESOURCE_NAMES = {"num_cpus": "CPU", "num_gpus": "GPU"}  # option of a task: resource of a node


class RayFactory:
    """Makes engines on a Ray cluster."""

    deterministic = False

    def __init__(self, address: str | None) -> None:
        """Join a cluster from any of its nodes, or start one.

        Args:
            address: ``host:port`` of the cluster's head, or ``auto`` for the cluster of this
                machine. None starts a cluster of this machine alone, which ends with this process.

        Raises:
            UsageFailure: if the address is malformed, or the cluster has other versions of Ray or
                Python.
            EngineFailure: if there is no such cluster, or it does not answer.
        """
        options: dict[str, Any] = {}
        if address is None:
            name = "a Ray cluster of this machine"
            options = {"num_cpus": cpu.available_cores(), "include_dashboard": False}
        else:
            name = f"the Ray cluster at {clean(address)}"
        if address is not None and address != "auto":
            _check_reachable(address)
        for variable, value in _ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        try:
            with keep_signal_handlers(), safe_children():
                ray.init(
                    address=address or "local",
                    job_config=_job_config(),
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **options,
                )
        except Exception as error:  # noqa: BLE001 - Ray has no class of its own for these
            text = clip(" ".join(str(error).split()), 300)
            if "Version mismatch" in text:
                raise UsageFailure(f"{text}: use the versions of {name}") from None
            raise EngineFailure(f"cannot use {name}: {text}") from None
        # Output of Ray's own processes goes to Ray's logs, and not between our lines.
        ray._private.worker._worker_logs_enabled = False  # noqa: SLF001 - there is no other switch
        self.where = f" on {name}"

    def resolve(self, config: TrialConfig) -> TrialConfig:
        """Replace ``auto`` by values for a node with a GPU, or for any node if none has a GPU."""
        if config.processes > 1:
            raise ValueError(
                f"gpus_per_trial must be 1 or a share of one{self.where}: got {config.processes}"
            )
        if any(node.get("GPU") for node in node_resources()):
            reference = RESOLVE.options(num_gpus=1).remote(config, own_places())
            try:
                resolved: TrialConfig = ray.get(reference)
            except RayTaskError as error:
                raise error.cause from None
            return resolved
        if config.device not in ("auto", "cpu"):
            raise ValueError(f"device {config.device} is not there: no node{self.where} has a GPU")
        return resolve(dataclasses.replace(config, device="cpu"))

    def places(self, usual: int, config: TrialConfig) -> int:  # noqa: ARG002 - it is of one machine
        """The number of trials for which the nodes have room now."""
        needs = {}
        for option, count in resources(config).items():
            if count:
                needs[_RESOURCE_NAMES[option]] = count
        places = 0
        for node in node_resources():
            places += int(min(node.get(name, 0) // count for name, count in needs.items()))
        if not places:
            wanted = " and ".join(f"{count:g} {name}" for name, count in needs.items())
            raise UsageFailure(
                f"no node{self.where} has {wanted} for a trial: "
                "add one, or wait for it with --workers N"
            )
        return places

    def cores(self, processes: int) -> int:  # noqa: ARG002 - Ray gives a task as many as it asks
        """One: what a node has more of is for other trials."""
        return 1

    def warm_up(self, processes: int) -> None:
        """Do nothing: Ray starts its processes itself."""

    def make(
        self,
        data: SearchData,
        places: int,
        processes: int = 1,  # noqa: ARG002 - always 1 on Ray
    ) -> RayEngine:
        """Make the engine. Trials beyond the room of the nodes wait in the cluster."""
        return RayEngine(data, places)

    def close(self) -> None:
        """Leave the cluster, or end it if this process started it."""
        with keep_signal_handlers():
            ray.shutdown()


def _job_config() -> JobConfig:
    """Make a configuration by which Ray's workers do not import from the working folder.

    For a driver that is not its client, Ray puts the folder first. Tasks get the import path of
    this process instead.
    """
    config = JobConfig()
    config._client_job = True  # noqa: SLF001 - there is no other switch
    return config


def node_resources() -> list[dict[str, float]]:
    """The resources of each live node of the cluster, by Ray's names such as ``CPU``."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def _check_reachable(address: str) -> None:
    """Check that a server like Ray's answers: Ray would try for two minutes, and then exit."""
    host, port = _split_address(address)
    try:
        with socket.create_connection((host, port), _CONNECT_TIMEOUT) as connection:
            connection.sendall(_HTTP2_PREFACE)
            frame_header = connection.recv(9)
    except OSError as error:
        why = clean(error.strerror or error)
        raise EngineFailure(f"no Ray cluster answers at {clean(address)}: {why}") from None
    if len(frame_header) < 4 or frame_header[3] != _HTTP2_SETTINGS:
        raise EngineFailure(f"what answers at {clean(address)} is no Ray cluster")


def _split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    is_port = port.isdecimal() and 0 < int(port) < 1 << 16
    if not host or "/" in host or not is_port:
        raise UsageFailure(
            f"--address must be auto or HOST:PORT of a Ray cluster's head: got {clean(address)!r}"
        )
    return host, int(port)
