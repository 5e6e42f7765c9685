"""The processes that train one network together, as each of them sees the others. Knows no study and no process's end.

Each has a rank in torch's process group and trains on its share of every batch; DistributedDataParallel averages their
gradients, so that all take the same steps. The first one leads: it alone scores, keeps checkpoints and reports. One
process alone is a group of one, of which nothing here changes anything.

They wait for each other without limit: whoever started them sees it when one has died, and ends the others.
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

    rank: int  # counted from 0, which leads
    size: int  # processes of the group
    meeting: Path  # a file, not there before, through which they find each other


def check_processes(config: TrialConfig) -> None:
    """See that this machine can train a configuration in as many processes as it asks for.

    Raises:
        ValueError: if it has fewer GPUs, or there are fewer images in a batch than processes.
    """
    if config.processes == 1:
        return
    devices = {"cuda": torch.cuda.device_count(), "mps": 1}.get(config.device, config.processes)
    if config.processes > devices:
        raise ValueError(
            f"gpus_per_trial must be at most {devices}, the {config.device} devices here: got {config.processes}"
        )
    if config.processes > config.batch_size:
        most = f"batch_size {config.batch_size}, of which each takes a share"
        raise ValueError(f"gpus_per_trial must be at most {most}: got {config.processes}")


class Group:
    """The group that this process belongs to."""

    def __init__(self, seat: GroupMember | None, device: torch.device) -> None:
        """Meet the others; on GPUs they exchange gradients through NCCL, all else through gloo.

        Args:
            seat: this process's place; None where it is alone.
            device: where it trains; each process of a group has set its own GPU.
        """
        self.rank, self.size = (0, 1) if seat is None else (seat.rank, seat.size)
        self._synchronised = device.type == "cuda"
        if seat is None:
            return
        loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
        if loopback is not None:  # nobody else is to connect
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if self._synchronised else "gloo",
            store=distributed.FileStore(str(seat.meeting), seat.size),  # type: ignore[attr-defined]
            rank=seat.rank,
            world_size=seat.size,
            timeout=_NO_LIMIT,
        )

    def convert(self, network: nn.Module) -> nn.Module:
        """Let batch normalisation on GPUs take its moments from the whole batch.

        On the CPU, where torch has none such, each process takes those of its share, and keeps the first one's.
        """
        if self.size == 1 or not self._synchronised:
            return network
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return synchronised

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network to train: its gradients are the average of all processes', its weights first the leader's."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network)

    def agree(self, epoch: int, rate: float) -> tuple[int, float]:
        """The leader's epoch and learning rate, in every process: the others wait here for what is next."""
        if self.size == 1:
            return epoch, rate
        told = torch.tensor([epoch, rate], dtype=torch.float64)
        distributed.broadcast(told, src=0)
        return int(told[0]), float(told[1])

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch, the first ones' larger by an image where it cannot be divided."""
        if self.size == 1:
            return batch
        return batch.tensor_split(self.size)[self.rank]

    def weigh(self, loss: torch.Tensor, share: int, batch: int) -> torch.Tensor:
        """Scale the mean loss of a share, so that the processes' average is the mean loss of the batch.

        Args:
            loss: the mean loss of this process's images.
            share: how many those are.
            batch: the images of the batch.
        """
        if self.size == 1:
            return loss
        return loss * (share * self.size / batch)

    def total(self, figures: torch.Tensor) -> torch.Tensor:
        """The sum of all processes' tensors of this shape, on their device."""
        if self.size == 1:
            return figures
        total = figures.clone()
        distributed.all_reduce(total)
        return total

    def mean(self, loss: torch.Tensor) -> torch.Tensor:
        """The average of all processes' losses."""
        if self.size == 1:
            return loss
        return self.total(loss) / self.size
