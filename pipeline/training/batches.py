"""Serves the training split in random batches, augmented and prepared on its device."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from pipeline.data.search_data import SearchData
from pipeline.training.augment import Augmentation
from pipeline.training.prepare import Prepare
from sweeps.trial import TrialConfig

_PREPARED_BYTES = (
    2**22
)  # bytes of images prepared together, well within a core's share of the cache


class BatchLoader:
    """The batches of an epoch's steps: first their indices, then their images."""

    def __init__(self, data: SearchData, config: TrialConfig, prepare: Prepare) -> None:
        """Make the loader.

        Args:
            data: on the device.
            config: its batch size and augmentation.
            prepare: for the network's images.
        """
        self.config = config
        self._train = data.train
        self._labels = data.train.labels
        self._image_bytes = math.prod(data.shape) * 4  # as float32
        self._prepare = prepare
        mean = torch.tensor(data.mean, device=self._labels.device)
        self._augment = Augmentation(config, (mean * 255).round().to(torch.uint8))

    def draw(self, *, smallest: int) -> tuple[torch.Tensor, ...]:
        """Draw the order of an epoch, by torch's global generator on the CPU.

        Args:
            smallest: a last batch of fewer images is left out, unless it is the only one.

        Returns:
            The indices of each step's images, int64 (images,).
        """
        order = torch.randperm(len(self._labels)).to(self._labels.device)
        batches = torch.split(order, self.config.batch_size)
        if len(batches) > 1 and len(batches[-1]) < smallest:
            return batches[:-1]
        return batches

    def load(self, batches: list[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield each step's images, ready for the network, and their labels.

        The images of several small steps are augmented and prepared together.

        Args:
            batches: the indices of each step's images.
        """
        step_bytes = self.config.batch_size * self._image_bytes
        steps_together = max(1, _PREPARED_BYTES // step_bytes)
        for first in range(0, len(batches), steps_together):
            steps = batches[first : first + steps_together]
            indices = torch.cat(steps)
            batch = self._augment(self._train.take(indices))
            images = self._prepare(batch)
            labels = self._labels[indices]
            sizes = [len(step) for step in steps]
            yield from zip(torch.split(images, sizes), torch.split(labels, sizes), strict=True)
