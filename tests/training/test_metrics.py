"""Every figure agrees with scikit-learn's, and scoring changes nothing."""

import dataclasses
import statistics
import warnings

import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    top_k_accuracy_score,
)
from torch import nn

import models
from pipeline.data.search_data import Split
from pipeline.training.loss import CROSS_ENTROPY, Loss
from pipeline.training.metrics import Scores, bin_confidences, class_accuracies, score
from pipeline.training.prepare import Prepare, image_memory_format
from sweeps.trial import configure

CPU = torch.device("cpu")
AS_IT_IS = Prepare((0.0,), (1 / 255,), CPU, "fp32")


class Lookup(nn.Module):
    """Gives the logits laid down for each image, whose only pixel is its number."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images):
        return self.logits[images.flatten().long()]


def make(classes, present, seed=0):
    """200 images of the classes present, with random logits."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(200, classes, generator=generator)
    labels = torch.tensor(present)[torch.randint(len(present), (200,), generator=generator)]
    return Lookup(logits), Split(torch.arange(200, dtype=torch.uint8).view(200, 1, 1, 1), labels)


@pytest.mark.parametrize("batch_size", [1, 7, 200, 1000])
@pytest.mark.parametrize("present", [[0, 1, 2, 3, 4], [0, 2, 3]])
def test_scores_are_those_of_scikit_learn(present, batch_size):
    """Loss, accuracies, F1 and confusion are scikit-learn's, in whatever batches, also where classes are absent."""
    network, split = make(5, present)
    scores = score(network, split, 5, batch_size=batch_size, prepare=AS_IT_IS)
    logits, true = network.logits.detach(), split.labels
    predicted = logits.argmax(dim=1)
    assert scores.confusion.tolist() == confusion_matrix(true, predicted, labels=range(5)).tolist()
    assert scores.accuracy == pytest.approx(accuracy_score(true, predicted))
    assert scores.macro_f1 == pytest.approx(f1_score(true, predicted, average="macro"))
    assert scores.loss == pytest.approx(
        log_loss(true, logits.double().softmax(dim=1), labels=range(5))
    )
    assert scores.predicted == tuple(torch.bincount(predicted, minlength=5).tolist())
    assert sum(scores.predicted) == len(split)
    by_class = [true == label for label in range(5)]
    expected = torch.cat([(predicted == true)[images] for images in by_class])
    assert torch.equal(scores.correct, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that classes were predicted that are absent
        assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(true, predicted))


@pytest.mark.parametrize("classes", [20, 21])
def test_first_five_answers(classes):
    """Of more than 20 classes, it is also scored how often the class is among the first five."""
    network, split = make(classes, range(classes))
    scores = score(network, split, classes, batch_size=64, prepare=AS_IT_IS)
    if classes == 20:
        assert scores.top5_accuracy is None
    else:
        expected = top_k_accuracy_score(
            split.labels, network.logits.detach(), k=5, labels=range(classes)
        )
        assert scores.top5_accuracy == pytest.approx(expected)


def test_confidences():
    """Each image counts in the interval of its answer's probability, whatever the batches."""
    network, split = make(5, [0, 1, 2, 3, 4])
    scores = score(network, split, 5, batch_size=64, prepare=AS_IT_IS)
    bins = bin_confidences(scores, split.labels, CROSS_ENTROPY)
    confidence, answer = network.logits.detach().softmax(dim=1).max(dim=1)
    for index, one in enumerate(bins):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        right = inside & (answer == split.labels)
        assert (one.images, one.right) == (int(inside.sum()), int(right.sum()))
        assert one.confidence == pytest.approx(float(confidence[inside].sum()), rel=1e-4)
    assert sum(one.images for one in bins) == 200
    given = Loss(outputs_are_probabilities=True)
    sure = dataclasses.replace(scores, logits=(torch.eye(2),))
    assert bin_confidences(sure, torch.tensor([0, 0]), given)[-1] == (2, 1, 2.0)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 199, 200, 1000])
def test_spread_of_the_loss(batch_size):
    """The loss's deviation is that of the batches' mean losses, each batch counting once; of one batch it is 0."""
    network, split = make(5, [0, 1, 2, 3, 4])
    scores = score(network, split, 5, batch_size=batch_size, prepare=AS_IT_IS)
    of_each = -network.logits.detach().double().log_softmax(dim=1)[torch.arange(200), split.labels]
    means = [
        of_each[start : start + batch_size].mean().item() for start in range(0, 200, batch_size)
    ]
    assert scores.loss_std == pytest.approx(statistics.pstdev(means), rel=1e-4, abs=1e-9)
    assert (scores.loss_std > 0) == (batch_size < 200)


def test_shares():
    """Shares are right answers by images; where there are none there is no share."""
    assert class_accuracies(torch.tensor([3, 0, 0]), torch.tensor([4, 2, 0])) == (0.75, 0.0, None)


def test_class_without_images():
    """A class without images has no accuracy, rather than one of 0, and does not lower the balanced accuracy."""
    scores = Scores(0.0, torch.tensor([[3, 1, 0], [0, 0, 0], [1, 0, 1]]))
    assert scores.per_class == (0.75, None, 0.5)
    assert scores.balanced_accuracy == 0.625


def test_class_never_seen_at_all():
    """A class neither there nor predicted counts in no mean; one predicted in vain has an F1 of 0."""
    unseen = Scores(0.0, torch.tensor([[2, 0, 0], [0, 0, 0], [0, 0, 2]]))
    assert unseen.macro_f1 == 1.0
    in_vain = Scores(0.0, torch.tensor([[1, 1, 0], [0, 0, 0], [0, 0, 2]]))
    assert in_vain.macro_f1 == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_no_images():
    """Without images every figure is 0, and no class has an accuracy."""
    nothing = Split(torch.zeros(0, 1, 1, 1, dtype=torch.uint8), torch.zeros(0).long())
    scores = score(Lookup(torch.zeros(1, 2)), nothing, 2, batch_size=4, prepare=AS_IT_IS)
    assert (scores.loss, scores.accuracy, scores.balanced_accuracy, scores.macro_f1) == (0, 0, 0, 0)
    assert (scores.per_class, scores.predicted, scores.loss_std) == ((None, None), (0, 0), 0)
    assert scores.correct.tolist() == []


def test_scores_as_in_use():
    """Dropout does not drop and batch norm learns nothing while scoring."""
    network, split = make(5, [0, 1, 2])
    norm = nn.BatchNorm1d(5)
    whole = nn.Sequential(network, norm, nn.Dropout(0.9)).train()
    first = score(whole, split, 5, batch_size=50, prepare=AS_IT_IS)
    again = score(whole, split, 5, batch_size=50, prepare=AS_IT_IS)
    assert first.loss == again.loss
    assert int(norm.num_batches_tracked) == 0
    assert network.logits.grad is None


@pytest.mark.parametrize("channels", [1, 3])
def test_prepare(channels):
    """Images normalised by their own mean and deviation have 0 and 1 in each channel, and are left as they were."""
    images = torch.randint(
        0, 256, (64, channels, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    images[:, 0] //= 2
    before, pixels = images.clone(), images.float() / 255
    mean, std = (tuple(f(dim=(0, 2, 3)).tolist()) for f in (pixels.mean, pixels.std))
    ready = Prepare(mean, std, CPU, "fp32")(images)
    assert ready.dtype == torch.float32
    assert ready.shape == images.shape
    assert ready.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0] * channels, abs=1e-5)
    assert ready.std(dim=(0, 2, 3)).tolist() == pytest.approx([1] * channels, abs=1e-4)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("family", "kept"), [("mlp", torch.contiguous_format), ("cnn", torch.channels_last)]
)
def test_layout(family, kept):
    """Images lie as their network reads them, channels last for convolutions, and have the same values either way."""
    shape = (3, 8, 8)
    assert (
        image_memory_format(
            models.build(family, shape, 10, configure({"family": family}).options), family, shape
        )
        is kept
    )
    images = torch.randint(
        0, 256, (16, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mean, std = (0.3, 0.4, 0.5), (0.2, 0.1, 0.3)
    ready = Prepare(mean, std, CPU, "fp32", kept)(images)
    assert ready.is_contiguous(memory_format=kept)
    less, by = (torch.tensor(values).view(3, 1, 1) * 255 for values in (mean, std))
    assert torch.equal(ready, (images.float() - less) * (1 / by))


@pytest.mark.parametrize("channels", [1, 3])
def test_prepare_nothing(channels):
    """By a mean of 0 and a deviation of 1 the 256 greys become the numbers from 0 to 1, both ends included."""
    greys = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, channels, 16, 16)
    ready = Prepare((0.0,) * channels, (1.0,) * channels, CPU, "fp32")(greys)
    assert ready[0, 0].flatten().tolist() == pytest.approx([grey / 255 for grey in range(256)])
    assert (ready.min(), ready.max()) == (0, 1)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision(precision, dtype):
    """The precision decides the arithmetic of the forward pass."""
    prepare = Prepare((0.0,), (1.0,), CPU, precision)
    with prepare.autocast():
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype
