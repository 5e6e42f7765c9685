"""One rank's view of a DistributedDataParallel group. The parent handles process failures.

The processes of a group train the same network on different shares of every batch, and
DistributedDataParallel averages the gradients, so all processes take the same steps. Rank 0 leads:
this process alone scores, writes checkpoints and reports. A single process is a group, too: there,
every method returns the argument unchanged.

The processes wait for each other without limit. If a process dies, the parent ends the group.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sweeps.trial import TrialConfig

_NO_LIMIT = timedelta(days=365)


@dataclass(frozen=True, kw_only=True)
class GroupMember:
    """A process's place in a group on this machine."""

    rank: int  # counted from 0, the leader
    size: int  # processes of the group
    rendezvous: Path  # a new file, through which the processes find each other


def check_processes(config: TrialConfig) -> None:
    """Check this machine for the number of processes of a configuration.

    Raises:
        ValueError: if there are fewer GPUs than processes, or fewer images in a batch.
    """
    if config.processes == 1:
        return
    if config.device == "cuda":
        devices = torch.cuda.device_count()
    elif config.device == "mps":
        devices = 1
    else:
        devices = config.processes
    if config.processes > devices:
        raise ValueError(
            f"gpus_per_trial must be at most {devices}, the {config.device} devices here: "
            f"got {config.processes}"
        )
    if config.processes > config.batch_size:
        raise ValueError(
            f"gpus_per_trial must be at most batch_size {config.batch_size}, of which each takes "
            f"a share: got {config.processes}"
        )


class Group:
    """The group of processes that this process belongs to."""

    def __init__(self, member: GroupMember | None, device: torch.device) -> None:
        """Join the group. Gradients on GPUs are exchanged through NCCL, all else through gloo.

        Args:
            member: this process's place; None for a process alone.
            device: of the training; each process of a group has selected a GPU before.
        """
        self.rank = 0
        self.size = 1
        self._on_gpus = device.type == "cuda"
        if member is None:
            return
        self.rank = member.rank
        self.size = member.size
        _connect_locally()
        backend = "cpu:gloo,cuda:nccl" if self._on_gpus else "gloo"
        file = str(member.rendezvous)
        distributed.init_process_group(
            backend,
            store=distributed.FileStore(file, member.size),  # type: ignore[attr-defined]
            rank=member.rank,
            world_size=member.size,
            timeout=_NO_LIMIT,
        )

    def convert(self, network: nn.Module) -> nn.Module:
        """Let batch normalisation on GPUs take its moments from the whole batch.

        Torch has no such layer for the CPU: there, each process uses the moments of a share, and
        the leader's are saved.
        """
        if self.size == 1 or not self._on_gpus:
            return network
        convert = nn.SyncBatchNorm.convert_sync_batchnorm
        converted: nn.Module = convert(network)  # type: ignore[no-untyped-call]
        return converted

    def wrap(self, network: nn.Module) -> nn.Module:
        """Wrap the network, to start from the leader's weights and to average gradients."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network)

    def agree(self, epoch: int, learning_rate: float) -> tuple[int, float]:
        """Broadcast the leader's epoch and learning rate. The others wait here for the next epoch.

        Returns:
            The leader's values, in every process.
        """
        if self.size == 1:
            return epoch, learning_rate
        values = torch.tensor([epoch, learning_rate], dtype=torch.float64)
        distributed.broadcast(values, src=0)
        return int(values[0]), float(values[1])

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's share of a batch.

        If the batch cannot be divided evenly, the first processes take one image more.
        """
        if self.size == 1:
            return batch
        return batch.tensor_split(self.size)[self.rank]

    def weigh(self, loss: torch.Tensor, share_size: int, batch_size: int) -> torch.Tensor:
        """Scale the mean loss of a share, to make the average of all shares the batch's mean.

        Args:
            loss: the mean loss of this process's share.
            share_size: the number of images in the share.
            batch_size: the number of images in the batch.
        """
        if self.size == 1:
            return loss
        return loss * (share_size * self.size / batch_size)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of all processes' tensors of this shape, on their device."""
        if self.size == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total

    def mean(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the average of all processes' losses."""
        if self.size == 1:
            return loss
        return self.total(loss) / self.size


def _connect_locally() -> None:
    """Let gloo listen on the loopback interface only: no other machine is to connect."""
    names = [name for _, name in socket.if_nameindex()]
    loopback = next((name for name in names if name.startswith("lo")), None)
    if loopback is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
