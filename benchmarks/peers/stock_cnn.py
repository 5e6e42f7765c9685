"""PyTorch's MNIST example, tracked: its network, optimiser and schedule, until the test accuracy is reached.

Prints a line of JSON: epochs, images, and the accuracy of each epoch.
"""

import argparse
import json

import mlflow
import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.peers import setting


class Net(nn.Sequential):
    """Two convolutions and two linear layers: the example's."""

    def __init__(self) -> None:
        features = [
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
        ]
        super().__init__(
            *features,
            nn.Flatten(),
            nn.Linear(9216, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 10),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--target", type=float, default=0.99)
    parser.add_argument("--epochs", type=int, default=14)  # the example's
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loader-workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    loader_options = {
        "num_workers": options.loader_workers,
        "persistent_workers": options.loader_workers > 0,
    }
    train, test = (
        datasets.MNIST(options.data_dir, train=part, transform=transform) for part in (True, False)
    )
    batches = DataLoader(train, 64, shuffle=True, **loader_options)
    scoring = DataLoader(test, setting.SCORING_BATCH, **loader_options)
    network = Net()
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    schedule = StepLR(optimizer, step_size=1, gamma=0.7)
    mlflow.set_tracking_uri(setting.TRACKING)
    mlflow.set_experiment(setting.EXPERIMENT)
    reached: list[float] = []
    with mlflow.start_run():
        mlflow.log_params({"lr": 1.0, "gamma": 0.7, "batch_size": 64, "seed": options.seed})
        while len(reached) < options.epochs and max(reached, default=0.0) < options.target:
            network.train()
            for images, labels in batches:
                optimizer.zero_grad()
                functional.cross_entropy(network(images), labels).backward()
                optimizer.step()
            schedule.step()
            figures = setting.evaluate(network, scoring)
            mlflow.log_metrics(figures, step=len(reached) + 1)
            reached.append(figures["val_acc"])
        torch.save(network.state_dict(), "mnist_cnn.pt")
        mlflow.log_artifact("mnist_cnn.pt")
    print(
        json.dumps(
            {"epochs": len(reached), "images": len(reached) * len(train), "accuracies": reached}
        )
    )


if __name__ == "__main__":
    main()
