"""Measures whether trials of one shape are trained faster together, as one network, than one by one.

    PIPELINE_DATA_DIR=data python -m benchmarks.fused --pairs 5 --out results

Several trials of one shape become one network with stacked weights. Each has its own learning rate,
weight decay, dropout and seed: its own initial weights and its own order of the images. Their layers
run together: linear layers as one batched product, convolutions as one convolution in groups, batch
norm over all trials' channels. Dropout's masks are drawn with a probability for each trial. The
fused kernel of the optimiser is called once for each trial, on the trial's part of the weights. All
validation images are scored after each epoch.

The sides of a pair take turns. Each counts the epochs after the first, in CPU seconds and by a clock:

- ``product``: the product's `train()`, one trial after the other;
- ``fused``: the above;
- ``vmap``: the same by `torch.func.vmap` over the product's network, in fp32 alone;

each in one process of one thread; and the first two in two processes of one thread at the same time,
with half of the trials each, as in a sweep with two workers. For its record, the product also keeps the
best weights and its mistakes in the time that counts. The others do not, which flatters them.

``--check`` trains without dropout, and compares the losses of each trial with those of the product.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

import models
from benchmarks import common
from benchmarks.common import Figures, Results
from benchmarks.training import truncated
from models import channels_last, layers
from pipeline.data.search_data import SearchData, load_for
from pipeline.training.batches import BatchLoader
from pipeline.training.epochs import Hooks, epoch_seed
from pipeline.training.prepare import Prepare
from pipeline.training.process import prepare_process
from pipeline.training.resolve import resolve
from pipeline.training.train import train
from sweeps.trial import COMPLETE, TrialConfig, configure

MOST_IMAGES = 2000  # that a trial trains on, so that its epoch takes about a tenth of a second
COUNTED = 24  # epochs of all trials of a group together
_STEPS = 2**15  # as in `models.layers`: dropout's probability is a multiple of 1 / _STEPS


def _shape(dataset: str, family: str, **values: Any) -> dict[str, Any]:
    return {"dataset": dataset, "family": family, **values}


SHAPES: dict[str, dict[str, Any]] = {
    "digits mlp 128": _shape("few_digits", "mlp", width=128, depth=2, batch_size=32),
    "digits mlp 256": _shape("few_digits", "mlp", width=256, depth=2, batch_size=32),
    "digits mlp 512": _shape("few_digits", "mlp", width=512, depth=2, batch_size=32),
    "digits mlp 256, batch 64": _shape("few_digits", "mlp", width=256, depth=2, batch_size=64),
    "digits mlp 256, sgd": _shape(
        "few_digits", "mlp", width=256, depth=2, batch_size=32, optimizer="sgd", momentum=0.9
    ),
    "digits cnn 16": _shape("few_digits", "cnn", width=16, depth=1, batch_size=32),
    "digits cnn 32, depth 3": _shape("few_digits", "cnn", width=32, depth=3, batch_size=32),
    "mnist mlp 256, fp32": _shape(
        "mnist", "mlp", width=256, depth=2, batch_size=64, precision="fp32"
    ),
    "mnist mlp 256, bf16": _shape(
        "mnist", "mlp", width=256, depth=2, batch_size=64, precision="bf16"
    ),
    # of the studies cifar10_mlp_lr and cifar10_mlp_dropout
    "cifar10 mlp 512": _shape(
        "cifar10",
        "mlp",
        width=512,
        depth=1,
        batch_size=128,
        bias=True,
        init="torch",
        precision="fp32",
    ),
}


def trials(shape: str, count: int, data_dir: Path) -> list[TrialConfig]:
    """Trials of one shape, which differ in learning rate, weight decay, dropout and seed."""
    values = {**SHAPES[shape]}
    if values["dataset"] == "cifar10":
        values["dataset"] = f"folder:{data_dir / 'cifar10'}"
    epochs = 1 + max(2, COUNTED // count)  # the first is not counted
    base = resolve(configure({**values, "device": "cpu", "augment": "none", "epochs": epochs}))
    return [
        dataclasses.replace(
            base,
            lr=float(f"{1e-3 * 1.2**number:.4g}"),
            weight_decay=1e-5 * number,
            dropout=0.5 * number / count,
            seed=number,
        )
        for number in range(count)
    ]


@cache
def images(shape: str, data_dir: Path) -> SearchData:
    """The images of a shape's trials."""
    data = load_for(trials(shape, 1, data_dir)[0], data_dir)
    if len(data.train) > MOST_IMAGES:
        return truncated(data, MOST_IMAGES, MOST_IMAGES // 5)
    return data


class Stacked(nn.Module):
    """Networks of one shape as one, for images in the order (image, trial).

    What passes between the layers is (images, trials * channels, ...), with each trial's channels
    together.
    """

    def __init__(self, networks: Sequence[nn.Module], dropouts: Sequence[float]) -> None:
        super().__init__()
        self.trials = len(networks)
        self.layers = nn.ModuleList()
        for same in zip(*map(_plain_layers, networks), strict=True):
            self.layers.append(_stacked(same, dropouts))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (images * trials, channels, height, width) to logits (images, trials, classes)."""
        count = len(images) // self.trials
        values = images.reshape(count, -1, *images.shape[2:])
        if isinstance(self.layers[0], StackedConv):
            values = values.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            values = layer(values)
        return values.view(count, self.trials, -1)


def _plain_layers(network: nn.Module) -> list[nn.Module]:
    """The layers of an MLP or a CNN, in their order."""
    if hasattr(network, "blocks"):
        blocks = [layer for block in network.blocks for layer in channels_last.pooled_first(block)]
        return [*blocks, nn.Flatten(), *network.hidden, network.logits]
    return [nn.Flatten(), *network.hidden, network.logits]


def _stacked(same: Sequence[nn.Module], dropouts: Sequence[float]) -> nn.Module:
    """One layer for the same layers of all trials."""
    first = same[0]
    if isinstance(first, nn.Linear):
        return StackedLinear(same)
    if isinstance(first, nn.Conv2d):
        return StackedConv(same)
    if isinstance(first, nn.BatchNorm1d | nn.BatchNorm2d):
        return StackedNorm(same)
    if isinstance(first, layers.Dropout):
        return StackedDropout(dropouts)
    if isinstance(first, nn.Flatten):
        return Flatten()
    return first  # has no weights


class Flatten(nn.Flatten):
    """Flattens maps, whose gradients stay channels last."""

    def forward(self, values: Tensor) -> Tensor:
        is_channels_last = values.is_contiguous(memory_format=torch.channels_last)
        return channels_last.flatten(values, training=self.training and is_channels_last)


class StackedLinear(nn.Module):
    """The linear layers of all trials: one batched product."""

    def __init__(self, same: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in same]))
        self.bias = None
        if same[0].bias is not None:
            self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in same])[:, None])

    def forward(self, values: Tensor) -> Tensor:
        trials, inputs, _ = self.weight.shape
        by_trial = values.view(len(values), trials, inputs).transpose(0, 1)
        if self.bias is None:
            outputs = torch.bmm(by_trial, self.weight)
        else:
            outputs = torch.baddbmm(self.bias, by_trial, self.weight)
        return outputs.transpose(0, 1).flatten(1)


class StackedConv(nn.Module):
    """The convolutions of all trials: one convolution, in a group for each trial."""

    def __init__(self, same: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in same]))
        self.bias = None
        if same[0].bias is not None:
            self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in same]))
        self.stride = same[0].stride
        self.padding = same[0].padding

    def forward(self, values: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.flatten()
        weight = self.weight.flatten(0, 1)
        groups = len(self.weight)
        return functional.conv2d(values, weight, bias, self.stride, self.padding, groups=groups)


class StackedNorm(nn.Module):
    """The batch norms of all trials: one over all channels."""

    def __init__(self, same: Sequence[nn.BatchNorm2d]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in same]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in same]))
        self.register_buffer("mean", torch.cat([layer.running_mean for layer in same]))
        self.register_buffer("var", torch.cat([layer.running_var for layer in same]))
        self.momentum = same[0].momentum
        self.eps = same[0].eps

    def forward(self, values: Tensor) -> Tensor:
        weight, bias = self.weight.flatten(), self.bias.flatten()
        return functional.batch_norm(
            values, self.mean, self.var, weight, bias, self.training, self.momentum, self.eps
        )


class StackedDropout(nn.Module):
    """Dropout with a probability for each trial, by the bits of `models.layers.Dropout`."""

    def __init__(self, dropouts: Sequence[float]) -> None:
        super().__init__()
        self.is_needed = any(dropouts)
        keep = torch.tensor([max(1, round((1 - drop) * _STEPS)) for drop in dropouts])
        self.keep = keep.to(torch.int16).view(-1, 1)  # 2**15, for all, wraps around as it should
        self.scale = (_STEPS / keep).view(-1, 1)
        self.bits = self.scale.bfloat16().view(torch.int16)

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not self.is_needed:
            return values
        count = values.numel()
        words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        random = words.view(torch.int16)[:count].bitwise_and_(_STEPS - 1)
        images, _, *size = values.shape  # in memory, the channels are last
        by_trial = random.view(images, *size, len(self.keep), -1)
        factors = self._factors(by_trial, values.dtype).flatten(-2)
        return values * factors.movedim(-1, 1)

    def _factors(self, random: Tensor, dtype: torch.dtype) -> Tensor:
        signs = random.sub_(self.keep).bitwise_right_shift_(15)
        if dtype == torch.bfloat16:
            return signs.bitwise_and_(self.bits).view(torch.bfloat16)
        return signs.neg_().to(dtype).mul_(self.scale)


class Vmapped(nn.Module):
    """Networks of one shape as one, by vmap. Without dropout, whose masks a lone trial draws."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        plain_networks = [
            nn.Sequential(
                *(layer for layer in _plain_layers(network) if not isinstance(layer, nn.Dropout))
            )
            for network in networks
        ]
        self.trials = len(networks)
        self._one = [plain_networks[0]]  # in a list, so that its weights are not this module's
        weights, self._buffers_by_trial = stack_module_state(plain_networks)
        self.names = list(weights)
        self.weights = nn.ParameterList(weight.detach() for weight in weights.values())
        self._together = vmap(self._forward_one, in_dims=(0, 0, 1), out_dims=1)

    def _forward_one(
        self, weights: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor
    ) -> Tensor:
        logits: Tensor = functional_call(self._one[0], (weights, buffers), images)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Map images (images * trials, channels, height, width) to logits (images, trials, classes)."""
        self._one[0].train(self.training)
        weights = dict(zip(self.names, self.weights, strict=True))
        by_trial = images.view(-1, self.trials, *images.shape[1:])
        return self._together(weights, self._buffers_by_trial, by_trial)


class StackedOptimizer:
    """The optimisers of all trials, over weights that are stacked in their first dimension."""

    def __init__(self, weights: Sequence[nn.Parameter], configs: Sequence[TrialConfig]) -> None:
        self._weights = weights
        self._configs = configs
        self._step = torch.zeros(())
        trials = range(len(configs))
        self._parts = [[weight.detach()[trial] for weight in weights] for trial in trials]
        self._first = [[torch.zeros_like(part) for part in parts] for parts in self._parts]
        self._second = [[torch.zeros_like(part) for part in parts] for parts in self._parts]

    @torch.no_grad()
    def step(self) -> None:
        """Take a step of each trial."""
        self._step += 1
        gradients = [weight.grad.unbind() for weight in self._weights]
        for trial, config in enumerate(self._configs):
            step_one = self._step_sgd if config.optimizer == "sgd" else self._step_adam
            step_one(trial, config, [of_trials[trial] for of_trials in gradients])
        for weight in self._weights:
            weight.grad = None

    def _step_adam(self, trial: int, config: TrialConfig, gradients: list[Tensor]) -> None:
        torch._fused_adam_(
            self._parts[trial],
            gradients,
            self._first[trial],
            self._second[trial],
            [],
            [self._step] * len(gradients),
            lr=config.lr,
            beta1=0.9,
            beta2=0.999,
            weight_decay=config.weight_decay,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    def _step_sgd(self, trial: int, config: TrialConfig, gradients: list[Tensor]) -> None:
        torch._fused_sgd_(
            self._parts[trial],
            gradients,
            self._first[trial],
            weight_decay=config.weight_decay,
            momentum=config.momentum or 0.0,
            lr=config.lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=bool(self._step == 1),
        )


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a process has trained."""

    seconds: float  # of the epochs after the first
    cpu_seconds: float
    losses: list[list[tuple[float, float]]]  # of each trial and epoch: in training, in validation


def train_by_product(configs: Sequence[TrialConfig], data: SearchData) -> Trained:
    """Train trials by the product, one after the other."""
    seconds = cpu_seconds = 0.0
    losses = []
    for config in configs:
        marks: list[tuple[float, float]] = []

        def mark(*_: object, marks: list[tuple[float, float]] = marks) -> bool:
            marks.append((time.perf_counter(), time.process_time()))
            return False

        with tempfile.TemporaryDirectory() as folder:
            hooks = Hooks(epoch=mark)
            result = train(0, config, data, Path(folder), objective="val_acc", hooks=hooks)
        if result.state != COMPLETE:
            raise RuntimeError(result.error)
        seconds += marks[-1][0] - marks[0][0]
        cpu_seconds += marks[-1][1] - marks[0][1]
        losses.append(
            [(row.metrics["train/loss"], row.metrics["val/loss"]) for row in result.history]
        )
    return Trained(seconds, cpu_seconds, losses)


def train_together(
    join: Callable[[list[nn.Module], list[float]], Any],
    configs: Sequence[TrialConfig],
    data: SearchData,
) -> Trained:
    """Train trials of one shape as one network.

    Args:
        join: makes one network of the trials', with the dropout of each.
        configs: of the trials.
        data: their images.
    """
    first = configs[0]
    networks = []
    for config in configs:
        torch.manual_seed(epoch_seed(config.seed, 0))
        networks.append(models.build(config.family, data.shape, len(data.classes), config.options))
    network = join(networks, [config.dropout or 0.0 for config in configs])
    optimizer = StackedOptimizer(list(network.parameters()), configs)
    prepare = Prepare(
        data.mean, data.std, torch.device("cpu"), first.precision, torch.contiguous_format
    )
    together = dataclasses.replace(first, batch_size=first.batch_size * len(configs))
    loader = BatchLoader(data, together, prepare)
    loader_of_one = BatchLoader(data, first, prepare)
    marks = []
    losses = []
    for epoch in range(1, first.epochs + 1):
        orders = []
        for config in configs:
            torch.manual_seed(epoch_seed(config.seed, epoch))
            orders.append(loader_of_one.draw(smallest=2))
        batches = [torch.stack(batch, dim=1).flatten() for batch in zip(*orders, strict=True)]
        network.train()
        total = torch.zeros(len(configs))
        count = 0
        for images, labels in loader.load(batches):
            with prepare.autocast():
                logits = network(images)
            mean = _losses(logits, labels.view(len(logits), -1)).mean(dim=0)
            mean.sum().backward()
            optimizer.step()
            total += mean.detach() * len(logits)
            count += len(logits)
            if not total.isfinite().all():
                raise RuntimeError("a trial diverged")
        scored = _score(network, data, prepare, first.eval_batch_size)
        losses.append(list(zip((total / count).tolist(), scored.tolist(), strict=True)))
        marks.append((time.perf_counter(), time.process_time()))
    return Trained(
        marks[-1][0] - marks[0][0],
        marks[-1][1] - marks[0][1],
        [list(of_trial) for of_trial in zip(*losses, strict=True)],
    )


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of each image and trial: (images, trials)."""
    flat_logits = logits.float().flatten(0, 1)
    return functional.cross_entropy(flat_logits, labels.flatten(), reduction="none").view_as(labels)


@torch.no_grad()
def _score(network: Any, data: SearchData, prepare: Prepare, most: int) -> Tensor:
    """The mean validation loss of each trial; also finds each image's class, as the product does."""
    network.eval()
    trials = network.trials
    total = torch.zeros(trials)
    together = max(1, most // trials)
    for start in range(0, len(data.val), together):
        images = prepare(data.val.between(start, start + together))
        labels = data.val.labels[start : start + together, None].expand(-1, trials)
        with prepare.autocast():
            logits = network(images.repeat_interleave(trials, dim=0))
        total += _losses(logits, labels.contiguous()).sum(dim=0)
        logits.argmax(dim=2)
    return total / len(data.val)


def _vmapped(networks: list[nn.Module], _dropouts: list[float]) -> Vmapped:
    return Vmapped(networks)


WAYS: dict[str, Callable[[Sequence[TrialConfig], SearchData], Trained]] = {
    "product": train_by_product,
    "fused": partial(train_together, Stacked),
    "vmap": partial(train_together, _vmapped),
}


def train_in_process(
    way: str, configs: Sequence[TrialConfig], shape: str, data_dir: Path
) -> Trained:
    """Train trials in this process."""
    prepare_process(configs[0])
    return WAYS[way](configs, images(shape, data_dir))


def measure(
    pool: ProcessPoolExecutor, way: str, processes: int, shape: str, count: int, data_dir: Path
) -> Figures:
    """Trained epochs of trials a second, with the trials divided among processes."""
    configs = trials(shape, count, data_dir)
    parts = [configs[first::processes] for first in range(processes)]
    jobs = [pool.submit(train_in_process, way, part, shape, data_dir) for part in parts]
    done = [job.result() for job in jobs]
    epochs = count * (configs[0].epochs - 1)
    return {
        "rate": epochs / max(trained.seconds for trained in done),
        "cpu_rate": epochs / sum(trained.cpu_seconds for trained in done),
    }


def check(shape: str, count: int, data_dir: Path) -> list[list[str]]:
    """Compare the losses of trials without dropout, trained together and by the product.

    Adam divides a gradient by its size, and so makes steps of the rounding errors of gradients that
    are zero, as those of pixels that are always black. By SGD, only the arithmetic differs.
    """
    rows = []
    for optimizer in ("sgd", "adam"):
        configs = [
            dataclasses.replace(config, optimizer=optimizer, momentum=0.9, dropout=0.0)
            for config in trials(shape, count, data_dir)
        ]
        expected = train_in_process("product", configs, shape, data_dir).losses
        for way in WAYS:
            if way == "product" or (way == "vmap" and configs[0].precision != "fp32"):
                continue
            losses = train_in_process(way, configs, shape, data_dir).losses
            row = [shape, optimizer, way]
            for epoch in (0, configs[0].epochs - 1):
                differences = [
                    abs(loss / loss_of_product - 1)
                    for of_trial, of_product in zip(losses, expected, strict=True)
                    for loss, loss_of_product in zip(
                        of_trial[epoch], of_product[epoch], strict=True
                    )
                ]
                row.append(f"{max(differences):.1e}")
            rows.append(row)
    return rows


def report(results: Results) -> str:
    """The table."""

    def ratio(part: str, side: str, peer: str, key: str) -> str:
        runs = [run["figures"] for run in results.of(part)]
        ratios = [run[side][key] / run[peer][key] for run in runs if side in run]
        if not ratios:
            return ""
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    rows = [
        [
            part,
            ratio(part, "vmap 1", "product 1", "cpu_rate"),
            ratio(part, "fused 1", "product 1", "cpu_rate"),
            ratio(part, "fused 2", "product 2", "cpu_rate"),
            ratio(part, "fused 2", "product 2", "rate"),
        ]
        for part in results.parts()
    ]
    head = [
        "trials of a shape",
        "vmap, CPU",
        "fused, CPU",
        "two processes, CPU",
        "two processes, by a clock",
    ]
    return common.table(head, rows)


def main() -> None:
    """Measure the pairs that are missing, and print the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--groups", nargs="+", type=int, default=[2, 4, 8, 16])
    parser.add_argument("--check", action="store_true", help="compare the losses, measure nothing")
    options = common.parse(parser)
    if options.check:
        rows = [row for shape in options.shapes for row in check(shape, 4, options.data_dir)]
        head = ["shape", "optimiser", "way", "largest difference, first epoch", "last epoch"]
        print(common.table(head, rows))
        return
    results = Results("fused", options)
    if not options.table:
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            for shape, count in itertools.product(options.shapes, options.groups):
                ways = ["product", "fused"]
                if trials(shape, 1, options.data_dir)[0].precision == "fp32":
                    ways.append("vmap")
                sides = {
                    f"{way} {processes}": partial(
                        measure, pool, way, processes, shape, count, options.data_dir
                    )
                    for way, processes in itertools.product(ways, (1, 2))
                    if (way, processes) != ("vmap", 2)
                }
                results.measure(f"{count} x {shape}", sides)
    print(report(results))


if __name__ == "__main__":
    main()
