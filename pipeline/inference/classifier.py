"""A finished network with everything around it: raw pixels in, probabilities out. Knows no file and no class name."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.checkpoints import Card
from pipeline.training.prepare import Prepare


class Classifier(nn.Module):
    """A network behind the preparation that it was trained with, and before the softmax if it has none itself.

    Takes raw uint8 images (batch, height, width, channels), as image libraries give them.
    """

    def __init__(
        self, network: nn.Module, card: Card, device: torch.device, precision: str
    ) -> None:
        super().__init__()
        self.network = network.to(device)
        self._prepare = Prepare(card.mean, card.std, device, precision)
        self._ends_in_softmax = card.config.softmax_output is True
        self.eval()

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """What the network puts out, as it is scored: float32 (batch, classes), the largest of the predicted class."""
        with self._prepare.autocast():
            found: torch.Tensor = self.network(self._prepare(images.permute(0, 3, 1, 2)))
        return found.float()

    def probabilities(self, outputs: torch.Tensor) -> torch.Tensor:
        """The probabilities that the network's outputs stand for: float32 (batch, classes)."""
        if self._ends_in_softmax:
            return outputs
        return outputs.softmax(dim=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map raw images to probabilities (batch, classes)."""
        return self.probabilities(self.outputs(images))


def as_trained(network: nn.Module, card: Card) -> Classifier:
    """Set a network up as its trial scored it, on the same device: it then predicts bit for bit what was scored there.

    Where that device is not there, on the CPU and in float32.
    """
    config = card.config
    known = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    here = known.get(config.device, False)
    torch.set_num_threads(config.threads)
    device = torch.device(config.device if here else "cpu")
    precision = config.precision if here else "fp32"
    return Classifier(network.to(memory_format=torch.channels_last), card, device, precision)


def portable(network: nn.Module, card: Card) -> Classifier:
    """Set a network up to be carried elsewhere: on the CPU, in float32."""
    return Classifier(
        network.to(memory_format=torch.contiguous_format), card, torch.device("cpu"), "fp32"
    )
