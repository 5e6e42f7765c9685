"""MixUp and CutMix: what each image is made of is what its label is made of."""

import pytest
import torch

from pipeline.training.loss import Loss
from pipeline.training.mixing import mix
from sweeps.trial import configure


def batch(count=64, channels=3, height=12, width=8):
    """Images that are filled with their own number, and that number as label."""
    labels = torch.arange(count)
    images = labels.float().view(-1, 1, 1, 1).expand(count, channels, height, width).contiguous()
    return images, labels


def mixed(seed=0, **values):
    images, labels = batch()
    torch.manual_seed(seed)
    return images, labels, mix(images, labels, configure(values))


def test_nothing_is_mixed_by_default():
    """Without the fields, no random number is drawn: earlier studies go on as they were."""
    images, labels = batch()
    before = torch.random.get_rng_state()
    assert mix(images, labels, configure({})) is None
    assert mix(images, labels, configure({"mixup": 0, "cutmix": 0})) is None
    assert torch.random.get_rng_state().equal(before)


def test_mixup():
    """Each pixel is the mean of two images by the shares of their labels."""
    images, labels, result = mixed(mixup=0.4)
    shares = result.shares
    expected = labels * shares + result.other_labels * (1 - shares)
    assert torch.allclose(result.images, expected.view(-1, 1, 1, 1).expand_as(images), atol=1e-4)
    assert 0 <= shares.min() < shares.max() <= 1


def test_cutmix():
    """Each pixel is one of two images', and a label's share is the share of its pixels."""
    images, labels, result = mixed(cutmix=1.0)
    own = result.images == labels.view(-1, 1, 1, 1)
    other = result.images == result.other_labels.view(-1, 1, 1, 1)
    assert (own | other).all()
    different = labels != result.other_labels
    counted = own[:, 0].float().mean(dim=(1, 2))
    assert torch.allclose(counted[different], result.shares[different], atol=1e-6)
    assert images.equal(batch()[0])


def test_both():
    """With both, a batch is mixed in one of the two ways."""
    ways = set()
    for seed in range(20):
        _, _, result = mixed(seed=seed, mixup=1.0, cutmix=1.0)
        whole = (result.images == result.images[:, :1, :1, :1]).all()
        ways.add("mixup" if whole else "cutmix")
    assert ways == {"mixup", "cutmix"}


@pytest.mark.parametrize("values", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_seed(values):
    """Torch's global seed decides what is mixed."""
    assert mixed(seed=1, **values)[2].images.equal(mixed(seed=1, **values)[2].images)
    assert not mixed(seed=1, **values)[2].images.equal(mixed(seed=2, **values)[2].images)


@pytest.mark.parametrize(
    "loss", [Loss(), Loss(is_squared=True), Loss(label_smoothing=0.1), Loss(weights=torch.ones(5))]
)
def test_loss_of_mixed_images(loss):
    """With all of the share at one label, the loss is that label's."""
    torch.manual_seed(0)
    outputs = torch.randn(7, 5)
    labels, others = torch.randint(5, (2, 7))
    own = loss.mean_in_training(outputs, labels, others, torch.ones(7))
    assert torch.allclose(own, loss.mean_in_training(outputs, labels))
    half = loss.mean_in_training(outputs, labels, others, torch.full((7,), 0.5))
    both = (own + loss.mean_in_training(outputs, others)) / 2
    assert torch.allclose(half, both)
