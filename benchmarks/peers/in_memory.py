"""(b) The same as by hand, with the whole data set in memory as normalised tensors: a good engineer's version."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Subset

from benchmarks.peers import setting
from benchmarks.peers.by_hand import search
from benchmarks.peers.setting import Plan


class Resident:
    """Batches of tensors in memory, in a new order each time if shuffled."""

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, size: int, *, shuffle: bool
    ) -> None:
        self.images, self.labels, self.size, self.shuffle = images, labels, size, shuffle

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        count = len(self.labels)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for rows in order.split(self.size):
            yield self.images[rows], self.labels[rows]


def resident(plan: Plan, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """All of a split's images as floats, and their labels."""
    if plan.dataset == "mnist":  # whose pixels torchvision has in memory already
        mnist = setting.dataset(plan)
        pixels = mnist.data[rows].unsqueeze(1).float().div_(255).sub_(0.1307).div_(0.3081)
        return pixels, mnist.targets[rows]
    batches = list(DataLoader(Subset(setting.dataset(plan), rows), setting.SCORING_BATCH))
    return torch.cat([images for images, _ in batches]), torch.cat(
        [labels for _, labels in batches]
    )


def main() -> None:
    options = setting.arguments(__doc__)
    torch.set_num_threads(options.threads)
    plan = Plan.read(options.plan)
    train, val = resident(plan, plan.train), resident(plan, plan.val)
    search(
        plan,
        lambda size: (
            Resident(*train, size, shuffle=True),
            Resident(*val, setting.SCORING_BATCH, shuffle=False),
        ),
    )


if __name__ == "__main__":
    main()
