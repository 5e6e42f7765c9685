"""The loss that a training minimises, and the loss by which its network is scored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from sweeps.trial import TrialConfig

# Of `TrialConfig.class_weights`: the weight of a class is its number of training images to the
# power of this.
_EXPONENTS = {"none": 0.0, "sqrt": -0.5, "balanced": -1.0}


def class_weights(name: str, labels: torch.Tensor, classes: int) -> torch.Tensor | None:
    """The weight of each class in the training loss.

    Scaled so that the mean over all training images is 1, to leave the size of a step as it is.

    Args:
        name: a value of `TrialConfig.class_weights`.
        labels: of the training images, int64 (images,).
        classes: the number of classes.

    Returns:
        float32 (classes,), 0 for a class without training images; None if all weigh the same.
    """
    exponent = _EXPONENTS[name]
    if not exponent:
        return None
    # On the CPU, because Apple's GPUs have no double precision.
    counts = torch.bincount(labels.cpu(), minlength=classes).double()
    weights = torch.where(counts > 0, counts**exponent, 0.0)
    mean = (weights * counts).sum() / counts.sum()
    return (weights / mean).float().to(labels.device)


@dataclass(frozen=True, kw_only=True, eq=False)
class Loss:
    """A loss: the cross-entropy of the labels, in nats, or a squared error.

    The squared error of an image is the sum over all classes of (probability - target)², where the
    target of the true class is 1 and of any other 0: the Brier score, from 0 to 2. The
    probabilities are the softmax of the network's outputs, or the outputs of a network that puts
    out probabilities.
    """

    is_squared: bool = False
    outputs_are_probabilities: bool = False
    label_smoothing: float = 0.0  # in training
    weights: torch.Tensor | None = None  # of each class in training, (classes,); None for equal

    @staticmethod
    def of(config: TrialConfig, weights: torch.Tensor | None = None) -> Loss:
        """The loss of a configuration.

        Args:
            config: of the trial.
            weights: of `class_weights`, for a training.
        """
        return Loss(
            is_squared=config.loss == "squared_error",
            outputs_are_probabilities=bool(config.softmax_output),
            label_smoothing=config.label_smoothing,
            weights=weights,
        )

    def mean_in_training(
        self,
        outputs: torch.Tensor,
        labels: torch.Tensor,
        other_labels: torch.Tensor | None = None,
        shares: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The mean loss of a batch, with smoothed labels and with each image's class weight.

        Args:
            outputs: of the network, float32 (images, classes).
            labels: int64 (images,).
            other_labels: of mixed images, the labels of what was mixed in, int64 (images,).
            shares: of mixed images, the share of `labels`, float32 (images,): the loss is then the
                mean of both labels' losses by their shares.
        """
        if other_labels is not None and shares is not None:
            own = self._weighted(outputs, labels) * shares
            return (own + self._weighted(outputs, other_labels) * (1 - shares)).mean()
        if self.weights is None and not self.is_squared:
            return functional.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing)
        return self._weighted(outputs, labels).mean()

    def _weighted(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of each image in training, by the weight of its class: float32 (images,)."""
        losses = self._of_each(outputs, labels, self.label_smoothing)
        return losses if self.weights is None else losses * self.weights[labels]

    def total(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sum of the losses of images, with plain labels, and all classes equal.

        Args:
            outputs: of the network, float32 (images, classes).
            labels: int64 (images,).
        """
        if not self.is_squared:
            return functional.cross_entropy(outputs, labels, reduction="sum")
        return self._of_each(outputs, labels, smoothing=0.0).sum()

    def probabilities(self, outputs: torch.Tensor) -> torch.Tensor:
        """The probabilities of the classes, float32 (images, classes), from a network's outputs."""
        if self.outputs_are_probabilities:
            return outputs.float()
        return outputs.float().softmax(dim=1)

    def _of_each(
        self, outputs: torch.Tensor, labels: torch.Tensor, smoothing: float
    ) -> torch.Tensor:
        """The loss of each image, float32 (images,)."""
        if not self.is_squared:
            return functional.cross_entropy(
                outputs, labels, label_smoothing=smoothing, reduction="none"
            )
        probabilities = self.probabilities(outputs)
        classes = outputs.shape[1]
        targets = (1 - smoothing) * functional.one_hot(labels, classes) + smoothing / classes
        return (probabilities - targets).square().sum(dim=1)


CROSS_ENTROPY = Loss()
