"""Training that begins with weights: which of them change, at which rate, and what is recorded."""

import dataclasses
import shutil

import pytest
import torch
from support.trainings import Breaker, outcome, run, settled

import models
import pipeline.training.epochs
from models.weights import digest
from pipeline.checkpoints import load_model
from pipeline.system.errors import Interrupted
from pipeline.training.optimizer import follow_learning_rate, make_optimization

TUNED = {"family": "resnet", "epochs": 2, "seed": 1}


@pytest.fixture(scope="module")
def source(tiny, tmp_path_factory):
    """The folder of a network that was trained on half of the classes, on darker images."""
    folder = tmp_path_factory.mktemp("source")
    darker = {
        name: dataclasses.replace(split, stored=split.images // 2, labels=split.labels // 2)
        for name, split in (("train", tiny.train), ("val", tiny.val))
    }
    data = dataclasses.replace(tiny, **darker, classes=tuple("abcde"), mean=(0.1,), std=(0.2,))
    run(folder, data, family="resnet", epochs=1)
    return folder


def weights_of(folder):
    network, card = load_model(folder)
    return network.state_dict(), card


def test_frozen_backbone(tiny, source, tmp_path):
    """Nothing of a frozen backbone changes, not even its norms; the head is trained, on images as it wants them."""
    given, source_card = weights_of(source)
    result = run(tmp_path, tiny, pretrained=str(source), freeze="backbone", **TUNED)
    tuned, card = weights_of(tmp_path)
    assert result.state == "complete"
    for name, tensor in tuned.items():
        assert torch.equal(tensor, given[name]) == (not name.startswith("logits")), name
    assert tuned["logits.weight"].shape[0] == 10
    assert (card.mean, card.std) == (source_card.mean, source_card.std) == ((0.1,), (0.2,))
    assert card.config.weights_digest == digest(str(source), "resnet")
    assert card.config.backbone_lr is None


def test_frozen_stages(tiny, source, tmp_path):
    """The first stages stay as they are, all others are trained."""
    given, _ = weights_of(source)
    run(tmp_path, tiny, pretrained=str(source), freeze=2, **TUNED)
    tuned, _ = weights_of(tmp_path)
    for name, tensor in tuned.items():
        if name.startswith(("stem.", "stages.0.")):
            assert torch.equal(tensor, given[name]), name
        elif name.startswith("stages.1.") and name.endswith("weight"):
            assert not torch.equal(tensor, given[name]), name


def test_as_if_never_interrupted(tiny, source, tmp_path, monkeypatch):
    """A fine-tuning that is killed between two epochs ends with the same weights."""
    monkeypatch.setattr(pipeline.training.epochs, "SAVE_EVERY", 0)
    values = {**TUNED, "pretrained": str(source), "freeze": 1, "backbone_lr": 0.1, "ema": 0.9}
    values |= {"optimizer": "sgd", "momentum": 0.9, "schedule": "onecycle"}
    whole = outcome(run(tmp_path / "whole", tiny, **values), tmp_path / "whole")
    steps = Breaker()
    run(tmp_path / "count", tiny, hooks=steps.hooks, **values)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", tiny, hooks=Breaker(steps.steps // 2).hooks, **values)
    assert outcome(run(tmp_path / "cut", tiny, **values), tmp_path / "cut") == whole


def test_loading_needs_no_source(tiny, source, tmp_path):
    """A fine-tuned network is whole in its own file."""
    shutil.copytree(source, tmp_path / "source")
    run(tmp_path / "tuned", tiny, pretrained=str(tmp_path / "source"), **TUNED)
    shutil.rmtree(tmp_path / "source")
    network, card = load_model(tmp_path / "tuned")
    assert network(torch.zeros(1, *card.shape)).shape == (1, 10)


def test_other_weights_than_planned(tiny, source, tmp_path):
    """A trial whose file has changed since it was planned fails, and says so."""
    config = settled(pretrained=str(source), **TUNED)
    config = dataclasses.replace(config, weights_digest="0123456789ab")
    result = pipeline.training.train.train(0, config, tiny, tmp_path, objective="val_acc")
    assert result.end == "error:ValueError"
    assert "has changed, from 0123456789ab to" in result.error


@pytest.mark.parametrize("schedule", ["none", "cosine", "onecycle", "plateau", "step"])
def test_the_backbone_keeps_its_factor(schedule, source):
    """At every step of every schedule, the backbone's learning rate is its factor of the head's."""
    config = settled(
        family="resnet", pretrained=str(source), backbone_lr=0.25, schedule=schedule, lr_step=1
    )
    config = dataclasses.replace(
        config, min_lr=0.005 if schedule in ("cosine", "plateau") else None
    )
    network = models.build("resnet", (1, 8, 8), 10, config.options)
    made = make_optimization(network, config, steps=5, classes=10)
    head, backbone = made.optimizer.param_groups
    assert head["params"] == list(network.logits.parameters())
    assert len(head["params"]) + len(backbone["params"]) == len(list(network.parameters()))
    rates = set()
    for _ in range(4):
        rates.add(head["lr"])
        assert backbone["lr"] == pytest.approx(head["lr"] / 4)
        made.optimizer.step()
        if made.schedule is not None:
            made.schedule.step(*([1.0] if schedule == "plateau" else []))
        follow_learning_rate(made.optimizer)
    assert len(rates) > 1 or schedule in ("none", "plateau")
