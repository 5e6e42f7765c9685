"""A module that maps raw images to class probabilities: preprocessing, network and softmax."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.checkpoints import Card
from pipeline.training.prepare import Prepare, image_memory_format


class Classifier(nn.Module):
    """A network with the preprocessing that it was trained with, and a softmax if it has none.

    Takes raw uint8 images (batch, height, width, channels), as image libraries give them.
    """

    def __init__(
        self,
        network: nn.Module,
        card: Card,
        device: torch.device,
        precision: str,
        memory_format: torch.memory_format,
    ) -> None:
        super().__init__()
        self.network = network.to(device)
        self._prepare = Prepare(card.mean, card.std, device, precision, memory_format)
        self._ends_in_softmax = card.config.softmax_output is True
        self.eval()

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the network's outputs in the same way as for its scores.

        Returns:
            float32 (batch, classes), largest for the predicted class.
        """
        channels_first = images.permute(0, 3, 1, 2)
        with self._prepare.autocast():
            outputs: torch.Tensor = self.network(self._prepare(channels_first))
        return outputs.float()

    def probabilities(self, outputs: torch.Tensor) -> torch.Tensor:
        """Turn the network's outputs into probabilities: float32 (batch, classes)."""
        return outputs if self._ends_in_softmax else outputs.softmax(dim=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map raw images to probabilities (batch, classes)."""
        return self.probabilities(self.outputs(images))


def as_trained(network: nn.Module, card: Card) -> Classifier:
    """Make a classifier on the device and in the precision of the network's trial.

    Its predictions equal the scored predictions bit for bit. If the device is missing, the
    classifier runs on the CPU in float32. Run it with the trial's number of threads
    (`pipeline.training.process.thread_count`), or the last bits may differ.
    """
    config = card.config
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if available.get(config.device, False):
        device = torch.device(config.device)
        precision = config.precision
    else:
        device = torch.device("cpu")
        precision = "fp32"
    memory_format = image_memory_format(network, config.family, card.shape)
    placed = network.to(memory_format=memory_format)
    return Classifier(placed, card, device, precision, memory_format)


def portable(network: nn.Module, card: Card) -> Classifier:
    """Make a classifier to export: on the CPU, in float32."""
    memory_format = image_memory_format(network, card.config.family, card.shape)
    contiguous = network.to(memory_format=torch.contiguous_format)
    return Classifier(contiguous, card, torch.device("cpu"), "fp32", memory_format)
