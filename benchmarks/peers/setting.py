"""What is the same for every peer: the plan, the space, the network, and PyTorch's plain loop. Knows no tracking.

A plan is a JSON file that the benchmark writes: which images train and validate, the listed configurations and the
epochs. Networks are this project's own, so that all train the same.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import datasets, transforms

import models

CLASSES = 10
WIDTHS = {"mlp": [128, 256, 512], "cnn": [16, 32, 48], "resnet": [8, 16, 24]}
SCORING_BATCH = 1000
EXPERIMENT, STUDY = "sweep", "sweep"
TRACKING, STORAGE = "sqlite:///mlflow.db", "sqlite:///optuna.db"  # in the working folder

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Plan:
    dataset: str  # mnist, or the path of a folder of train/<class>/*
    data_dir: str
    train: list[int]  # rows of the official training part
    val: list[int]
    epochs: int
    trials: list[dict[str, Any]] = field(
        default_factory=list
    )  # listed ones, by parameter as `suggest` names them
    searched: int = 0  # how many are searched, where none is listed
    seed: int = 0  # of the search

    @staticmethod
    def read(file: Path) -> "Plan":
        return Plan(**json.loads(Path(file).read_text(encoding="utf-8")))

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1, 28, 28) if self.dataset == "mnist" else (3, 32, 32)


class Decoded(Dataset):
    """Image files decoded once, then handed out as torchvision's CIFAR10 does: faster than its ImageFolder."""

    def __init__(self, folder: str, rows: list[int], transform: transforms.Compose) -> None:
        files = datasets.ImageFolder(folder)
        self.pixels = {row: np.asarray(files[row][0]) for row in rows}
        self.targets, self.transform = files.targets, transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[row])), self.targets[row]


def dataset(plan: Plan) -> Dataset:
    """torchvision's data set with its usual transforms, by the published mean and deviation."""
    if plan.dataset == "mnist":
        transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )
        return datasets.MNIST(plan.data_dir, train=True, transform=transform)
    normalise = transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    return Decoded(
        f"{plan.dataset}/train",
        plan.train + plan.val,
        transforms.Compose([transforms.ToTensor(), normalise]),
    )


def loaders(
    data: Dataset, plan: Plan, batch_size: int, workers: int
) -> tuple[DataLoader, DataLoader]:
    """Loaders of the training and the validation images."""
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    train = DataLoader(Subset(data, plan.train), batch_size, shuffle=True, **options)
    return train, DataLoader(Subset(data, plan.val), SCORING_BATCH, **options)


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """The space of listed trials, which are enqueued, so that every peer trains the same configurations."""
    return {
        "family": trial.suggest_categorical("family", ["mlp", "cnn", "resnet"]),
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "width": trial.suggest_int("width", 8, 512, log=True),
        "depth": trial.suggest_int("depth", 1, 3),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128, 256]),
    }


def explore(trial: optuna.Trial) -> dict[str, Any]:
    """The space that is searched where no trial is listed: the default study's."""
    family = trial.suggest_categorical("family", list(WIDTHS))
    values = {
        "family": family,
        "activation": trial.suggest_categorical(
            "activation", ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
        ),
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "width": trial.suggest_categorical(f"{family} width", WIDTHS[family]),
        "depth": trial.suggest_int(f"{family} depth", 2 if family == "resnet" else 1, 3),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
    }
    if family == "cnn":
        orders = ["conv-norm-act-pool-drop", "conv-act-norm-pool-drop", "pool-conv-norm-act-drop"]
        values["layer_order"] = trial.suggest_categorical("layer_order", orders)
    if family == "resnet":
        values["residual"] = trial.suggest_categorical("residual", [True, False])
    return values


def build(values: dict[str, Any], plan: Plan) -> nn.Module:
    """The network of a configuration."""
    options = models.find_family(values["family"]).options
    overrides = {name: values[name] for name in options if name in values}
    return models.build(values["family"], plan.shape, CLASSES, {**options, **overrides})


def fit(
    network: nn.Module, lr: float, epochs: int, train: Batches, val: Batches
) -> Iterator[dict[str, float]]:
    """Train with Adam; yields the figures of each epoch."""
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    for _ in range(epochs):
        total, right, seen = 0.0, 0, 0
        network.train()
        for images, labels in train:
            optimizer.zero_grad()
            logits = network(images)
            loss = functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            right += (logits.argmax(1) == labels).sum().item()
            seen += len(labels)
        yield {"train_loss": total / seen, "train_acc": right / seen, **evaluate(network, val)}


@torch.no_grad()
def evaluate(network: nn.Module, val: Batches) -> dict[str, float]:
    """The loss and the accuracy of the validation images."""
    network.eval()
    total, right, seen = 0.0, 0, 0
    for images, labels in val:
        logits = network(images)
        total += functional.cross_entropy(logits, labels, reduction="sum").item()
        right += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    return {"val_loss": total / seen, "val_acc": right / seen}


def study(plan: Plan) -> optuna.Study:
    """A new study, with the plan's configurations enqueued."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=STUDY,
        storage=STORAGE,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=plan.seed),
        pruner=optuna.pruners.NopPruner(),
    )
    for values in plan.trials:
        study.enqueue_trial(values)
    return study


def arguments(text: str) -> argparse.Namespace:
    """What every peer's command takes."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("--threads", type=int, default=2, help="torch's threads of a training")
    parser.add_argument("--loader-workers", type=int, default=0, help="processes of a DataLoader")
    return parser.parse_args()
