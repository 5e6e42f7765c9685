"""The loss: class weights, squared errors, and what training and scoring make of them."""

import dataclasses
import math

import pytest
import torch
from support.trainings import Linear, run
from torch.nn import functional

from pipeline.checkpoints import load_model
from pipeline.data.search_data import Split
from pipeline.training.epochs import epoch_seed
from pipeline.training.loss import CROSS_ENTROPY, Loss, class_weights
from sweeps.trial import TrialConfig, configure

LABELS = torch.tensor([0] * 16 + [2] * 4)


def test_class_weights():
    """A class weighs as one over its images, or over their root; over all images the mean is 1."""
    assert class_weights("none", LABELS, 3) is None
    balanced = class_weights("balanced", LABELS, 3)
    assert balanced.tolist() == pytest.approx([20 / (2 * 16), 0, 20 / (2 * 4)])
    root = class_weights("sqrt", LABELS, 3)
    assert root[2] / root[0] == pytest.approx(2)
    for weights in (balanced, root):
        assert weights[LABELS].mean() == pytest.approx(1)


def test_squared_error():
    """It is the Brier score: 0 if surely right, 2 if surely wrong, and of probabilities as they are put out."""
    labels = torch.tensor([0, 1])
    sure = torch.tensor([[50.0, 0.0], [50.0, 0.0]])
    assert Loss(is_squared=True).total(sure, labels) == pytest.approx(2)
    probabilities = torch.tensor([[0.7, 0.3], [0.6, 0.4]])
    put_out = Loss(is_squared=True, outputs_are_probabilities=True)
    assert put_out.total(probabilities, labels) == pytest.approx(2 * 0.09 + 2 * 0.36)
    assert Loss(is_squared=True).total(probabilities.log(), labels) == pytest.approx(0.9)
    smoothed = dataclasses.replace(put_out, label_smoothing=0.2)
    by_hand = (0.2**2 + 0.2**2 + 0.5**2 + 0.5**2) / 2
    assert smoothed.mean_in_training(probabilities, labels) == pytest.approx(by_hand)
    assert smoothed.total(probabilities, labels) == pytest.approx(0.9)  # of plain labels


def test_the_loss_of_a_configuration():
    """A configuration's loss knows whether its network puts out probabilities."""
    config = configure({"family": "lenet_resnet", "softmax_output": True, "loss": "squared_error"})
    assert Loss.of(config).outputs_are_probabilities
    assert not Loss.of(configure({"loss": "squared_error"})).outputs_are_probabilities


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_one_step(loss, weights, tiny, tmp_path):
    """A step follows the gradient of the weighted loss; the validation loss weighs all images alike."""
    labels = tiny.train.labels.where(tiny.train.labels > 5, 0)  # a class of over half the images
    data = dataclasses.replace(tiny, train=Split(tiny.train.images, labels))
    torch.manual_seed(epoch_seed(0, 0))
    layer = Linear(tiny.shape, 10).layer
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (tiny.mean, tiny.std))

    def losses(images, labels):
        outputs = layer(((images / 255 - mean) / std).flatten(1))
        if loss == "cross_entropy":
            return functional.cross_entropy(outputs, labels, reduction="none")
        return (outputs.softmax(1) - functional.one_hot(labels, 10)).square().sum(1)

    of_each = losses(data.train.images, labels)
    counts = torch.bincount(labels)[labels]
    of_image = 1 / counts if weights == "balanced" else torch.ones(len(labels))
    expected = (of_each * of_image).sum() / of_image.sum()
    gradient = torch.autograd.grad(expected, layer.weight)[0]
    sgd = {"optimizer": "sgd", "momentum": 0.0, "lr": 0.1}
    (row,) = run(
        tmp_path,
        data,
        family="support.trainings:Linear",
        epochs=1,
        batch_size=1000,
        loss=loss,
        class_weights=weights,
        **sgd,
    ).history
    assert row.metrics["train/loss"] == pytest.approx(expected.item(), rel=1e-5)
    trained = load_model(tmp_path)[0].layer
    assert torch.allclose(trained.weight, layer.weight - 0.1 * gradient, rtol=0, atol=1e-6)
    layer.load_state_dict(trained.state_dict())
    plain = losses(data.val.images, data.val.labels).mean().item()
    assert row.metrics["val/loss"] == pytest.approx(plain, rel=1e-5)


def test_defaults_are_as_before():
    """What version 0.1.0 trained has the signature that it had, and its configurations are read."""
    config = configure({})
    assert config.signature == "c7f9ef769aa4"
    assert configure({"class_weights": "sqrt"}).signature != config.signature
    values = config.to_dict()
    old = {name: values[name] for name in values if name not in ("loss", "class_weights")}
    assert TrialConfig.from_dict(old) == config
    outputs = torch.randn(64, 10)
    labels = torch.arange(64) % 10
    mean = CROSS_ENTROPY.mean_in_training(outputs, labels)
    assert mean == functional.cross_entropy(outputs, labels)
    assert math.isclose(CROSS_ENTROPY.total(outputs, labels), 64 * mean, rel_tol=1e-6)
