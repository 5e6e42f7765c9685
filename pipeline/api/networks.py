"""`pipeline.load_model` and `pipeline.predict`: trained networks that take images as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.api.pixels import as_items, read_pixels
from pipeline.api.results import StudyResults, Trial
from pipeline.inference import find, predict
from pipeline.inference.networks import NetworkReference, TrainedNetwork
from pipeline.inference.predict import Prediction
from pipeline.stores import locations
from pipeline.system.errors import IntegrityFailure
from sweeps.trial import Value

if TYPE_CHECKING:
    import torch

    from pipeline.api.pixels import Pixels

Source = str | Path | Trial | StudyResults

_MODEL = "models:/"
_RUN_ID = re.compile("[0-9a-f]{32}")


class Model:
    """A trained network with the preprocessing that it was trained with.

    Takes images as they are: files, or raw pixels from 0 to 255 of any size. The bare network,
    which takes normalised tensors, is `network`.
    """

    def __init__(self, trained: TrainedNetwork) -> None:
        """Use `pipeline.load_model`."""
        self._trained = trained
        self._predictor = predict.network_predictor(trained)

    @property
    def network(self) -> torch.nn.Module:
        """The bare network, which takes float images (batch, channels, height, width) of `shape`.

        The images must be scaled to 0..1, then brought to mean 0 and deviation 1 by `mean` and
        `std`. Its outputs are logits (batch, classes).
        """
        return self._trained.network

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the outputs."""
        return self._trained.card.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images that the network was trained on."""
        return self._trained.card.shape

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean of each channel of the training images, 0..1."""
        return self._trained.card.mean

    @property
    def std(self) -> tuple[float, ...]:
        """The standard deviation of each channel of the training images."""
        return self._trained.card.std

    @property
    def config(self) -> Mapping[str, Value]:
        """The configuration that the network was trained with."""
        return self._trained.card.config.to_dict()

    def __call__(self, images: Pixels | Iterable[Pixels]) -> torch.Tensor:
        """Classify images.

        Args:
            images: an image, or several: PIL images, or uint8 pixels (height, width) or (height,
                width, channels); a batch of pixels has one dimension more. They are brought to the
                shape of the training images, as files are by `predict`.

        Returns:
            Probabilities, float32 (batch, classes).

        Raises:
            UsageFailure: if they are no such images.
        """
        _, probabilities = predict.classify_pixels(self._predictor, read_pixels(images, self.shape))
        return probabilities

    def predict(
        self, images: str | Path | Pixels | Iterable[str | Path | Pixels], top: int = 3
    ) -> list[Prediction]:
        """Predict the likeliest classes of images.

        Args:
            images: files, folders (for all images below, ordered by path), or what a call of the
                model takes; one or several.
            top: the number of classes to tell of each image.

        Returns:
            A prediction for each image, in order.

        Raises:
            UsageFailure: if there are no such images.
            IntegrityFailure: naming a file that cannot be read.
        """
        predictions: list[Prediction] = []
        for item in as_items(images):
            if isinstance(item, str | Path):
                files = predict.find_images([Path(item)])
                predictions += predict.predict(self._predictor, files, top, _fail)
            else:
                scores, probabilities = predict.classify_pixels(
                    self._predictor, read_pixels(item, self.shape)
                )
                tops = predict.likeliest(scores, probabilities, self.classes, top)
                predictions += [Prediction(None, likeliest) for likeliest in tops]
        return predictions

    def __repr__(self) -> str:
        """The family, the shape and the number of classes."""
        family = self._trained.card.config.family
        channels, height, width = self.shape
        return f"<model {family}: {len(self.classes)} classes, {channels}x{height}x{width} pixels>"


def load_model(source: Source, *, storage: str | None = None) -> Model:
    """Load a trained network.

    Args:
        source: a study (the refit of its winner, else its best trial) by name or as
            `pipeline.load_study` returns it; a trial, as ``"NAME#7"`` or from a study's `trials`;
            the id of an MLflow run; a registered model such as ``"models:/digits@champion"``; or
            the `Path` of a checkpoint.
        storage: the store of the studies, as for `pipeline.sweep`.

    Raises:
        UsageFailure, NothingComplete: if there is no such network.
        IntegrityFailure: if its checkpoint is damaged.
    """
    stores = locations.locate(storage)
    return Model(find.find_network(stores, _reference(source)))


def predict_images(
    images: str | Path | Pixels | Iterable[str | Path | Pixels],
    model: Model | Source,
    *,
    top: int = 3,
    storage: str | None = None,
) -> list[Prediction]:
    """Predict the likeliest classes of images, as `pipeline predict` does.

    Args:
        images: as for `Model.predict`.
        model: a loaded model, or what `pipeline.load_model` takes.
        top: the number of classes to tell of each image.
        storage: the store of the studies, as for `pipeline.sweep`.

    Raises:
        Failure: as `pipeline.load_model` and `Model.predict`.
    """
    if not isinstance(model, Model):
        model = load_model(model, storage=storage)
    return model.predict(images, top)


def _fail(_path: Path, message: str) -> None:
    raise IntegrityFailure(message)


def _reference(source: Source) -> NetworkReference:
    """Read what `load_model` takes."""
    if isinstance(source, StudyResults):
        return NetworkReference(best=True, name=source.name)
    if isinstance(source, Trial):
        return NetworkReference(run=f"{source.study}#{source.number}")
    if isinstance(source, Path) or ("/" in source and not source.startswith(_MODEL)):
        return NetworkReference(checkpoint=Path(source))
    if source.startswith(_MODEL):
        return NetworkReference(model=source)
    if "#" in source or _RUN_ID.fullmatch(source):
        return NetworkReference(run=source)
    return NetworkReference(best=True, name=source)
