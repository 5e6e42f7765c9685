"""Trains one network epoch by epoch: each is seeded, scored, and kept if it is the best."""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from torch.utils.flop_counter import FlopCounterMode

import models
from pipeline.checkpoints import Card, Folder, save_model
from pipeline.data.search_data import SearchData
from pipeline.system import failpoints
from pipeline.system.errors import Diverged, Infeasible, TimedOut
from pipeline.training.augment import augment
from pipeline.training.distributed import Group, GroupMember, check_processes
from pipeline.training.metrics import Scores, class_accuracies, score
from pipeline.training.mistakes import find_mistakes
from pipeline.training.optimizer import Schedule, make_optimizer, make_schedule
from pipeline.training.prepare import Prepare, image_memory_format
from pipeline.training.state import CheckpointWriter, TrainingState, restore
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import (
    COMPLETE,
    FAILED,
    PRUNED,
    Epoch,
    TrialConfig,
    TrialResult,
    parse_augmentation,
)

if TYPE_CHECKING:
    from torch.optim import Optimizer


SAVE_EVERY = 2.0  # seconds between checkpoints, and so between batches of metrics sent


_TIMED_PASSES = 30  # of one image, whose median is the latency


_READY = (
    2**22
)  # bytes of images that are made ready together, well within a core's share of the cache


_CHECK_EVERY = 32  # steps between looks at the loss where looking makes the device wait


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What the one who asked for the training wants to hear. None of it decides how an epoch is trained."""

    epoch: Callable[[Epoch, float], bool] = lambda _row, _best: (
        False
    )  # with the best value so far; True prunes
    saved: Callable[[tuple[Epoch, ...]], None] = lambda _rows: (
        None
    )  # the history that a checkpoint now holds
    step: Callable[[int, int, float], None] = lambda _done, _steps, _loss: None
    stop: Callable[[], None] = lambda: None  # asked at every step; raises to stop


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """The seed of everything random in an epoch, in one of the processes; epoch 0 is the making of the weights."""
    own = f":{rank}" if rank else ""
    return int.from_bytes(hashlib.sha256(f"{seed}:{epoch}{own}".encode()).digest()[:8], "big") >> 1


class Training:
    """One configuration in training: network, optimiser, schedule, and where it stands."""

    def __init__(
        self,
        config: TrialConfig,
        data: SearchData,
        folder: Folder,
        objective: str,
        hooks: Hooks,
        every_epoch: bool,
        time_limit: float | None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.hooks = hooks
        self.every_epoch = every_epoch
        self.time_limit = time_limit
        self.began = time.monotonic()
        self.metric, self.maximize = OBJECTIVES[objective]
        self.device = torch.device(config.device)
        self.data = data
        self.judged = len(data.val) > 0
        self.state = TrainingState()
        self.saver = CheckpointWriter(folder, hooks.saved)
        self.parameters: int | None = None
        self.mflops: float | None = None
        channels = len(data.mean)
        self.mean, self.std = (
            (data.mean, data.std) if config.normalize else ((0.0,) * channels, (1.0,) * channels)
        )

    def join(self, seat: GroupMember | None) -> None:
        """Meet the processes that train it together, if it is not this one alone. Only the first calls hooks."""
        check_processes(self.config)
        self.group = Group(seat, self.device)
        if self.group.rank:
            self.hooks = Hooks()

    def run(self, limits: Mapping[str, float]) -> str:
        """Train to the end. Returns COMPLETE or PRUNED; from any but the leading process it does not return."""
        self.data = self.data.to(self.device)
        network = self._build()
        config = self.config
        self.prepare = Prepare(
            self.mean, self.std, self.device, config.precision, image_memory_format(network)
        )
        optimizer = make_optimizer(network, config)
        schedule = make_schedule(optimizer, config, len(self._batches()))
        resumed = restore(self.folder, config, network, optimizer, schedule)
        if resumed is not None:
            self.state = resumed
            self.hooks.saved(tuple(resumed.history))
        self._check(network, limits)
        self.wrapped = self.group.wrap(network)
        if self.group.rank:
            self._follow(optimizer, schedule)
        saved = time.monotonic()
        for epoch in range(len(self.state.history) + 1, config.epochs + 1):
            if self._exhausted():
                break
            row = self._epoch(epoch, network, optimizer, schedule)
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(row.metrics.get("val/loss", row.metrics["train/loss"]))
            elif schedule is not None and not isinstance(schedule, OneCycleLR):
                schedule.step()
            if self.every_epoch:
                weights = {k: v.detach().cpu() for k, v in network.state_dict().items()}
                save_model(self.folder.epoch(epoch), weights, self._card(row))
            if time.monotonic() - saved >= SAVE_EVERY and epoch < config.epochs:
                # Before the epoch's report, whose writing takes turns with this thread.
                self.saver.take(self.state, config, network, optimizer, schedule)
                saved = time.monotonic()
            if self.hooks.epoch(row, self.state.best_value or 0.0) and epoch < config.epochs:
                return PRUNED
            self.saver.write()
        return COMPLETE

    def save_best(self) -> None:
        """Leave the best epoch's weights behind, beside the state to go on from: nobody has noted the end yet."""
        self.saver.settle()
        row = next(row for row in self.state.history if row.epoch == self.state.best_epoch)
        save_model(self.folder.best, self.state.best_weights, self._card(row))

    def _card(self, row: Epoch) -> Card:
        return Card(
            config=self.config,
            classes=self.data.classes,
            shape=self.data.shape,
            mean=self.mean,
            std=self.std,
            epoch=row.epoch,
            metrics=row.metrics,
            digest=self.data.digest,
            judged=self.judged,
        )

    def result(self, number: int, state: str, end: str, error: str | None) -> TrialResult:
        """What came of it."""
        failed = state == FAILED
        at = self.state
        return TrialResult(
            number=number,
            config=self.config,
            state=state,
            end=end,
            value=None if failed else at.best_value,
            best_epoch=None if failed else at.best_epoch,
            history=tuple(at.history),
            confusion=None
            if failed or at.confusion is None
            else tuple(tuple(row) for row in at.confusion),
            mistakes=() if failed else at.mistakes,
            seconds=round(at.seconds, 3),
            parameters=self.parameters,
            mflops=self.mflops,
            latency_ms=at.latency_ms,
            checkpoint=None if failed or at.best_epoch is None else str(self.folder.best),
            error=error,
        )

    def _build(self) -> nn.Module:
        torch.manual_seed(epoch_seed(self.config.seed, 0))
        network = models.build(
            self.config.family, self.data.shape, len(self.data.classes), self.config.options
        )
        self.parameters = sum(p.numel() for p in network.parameters())
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(torch.zeros(1, *self.data.shape))
        self.mflops = counter.get_total_flops() / 1e6
        return self.group.convert(network.to(self.device).to(memory_format=torch.channels_last))

    def _check(self, network: nn.Module, limits: Mapping[str, float]) -> None:
        """Refuse a network that has more of something than it may."""
        if (
            "latency_ms" in limits and self.state.latency_ms is None
        ):  # a resumed state has it already
            self.state.latency_ms = self._latency(network)
        has = {
            "parameters": self.parameters,
            "mflops": self.mflops,
            "latency_ms": self.state.latency_ms,
        }
        over = [
            f"{k} {has[k]:,.10g}, allowed {most:,.10g}"
            for k, most in limits.items()
            if (has[k] or 0) > most
        ]
        if over:
            raise Infeasible("; ".join(over))

    def _latency(self, network: nn.Module) -> float:
        """The median time of one image's forward pass, in milliseconds: a measurement, and no two are the same."""
        image = self.prepare(self.data.train.images[:1])
        times = []
        network.eval()
        for _ in range(_TIMED_PASSES):
            start = time.perf_counter()
            with torch.no_grad(), self.prepare.autocast():
                network(image).cpu()
            times.append(time.perf_counter() - start)
        return round(statistics.median(times) * 1000, 4)

    def _follow(self, optimizer: Optimizer, schedule: Schedule) -> NoReturn:
        """Train along with the leading process, epoch by epoch at its learning rate, until one of them is ended."""
        while True:
            epoch, rate = self.group.agree(0, 0.0)
            for parameters in optimizer.param_groups:
                parameters["lr"] = rate
            self._pass(
                epoch,
                self.wrapped,
                optimizer,
                schedule if isinstance(schedule, OneCycleLR) else None,
            )

    def _epoch(
        self, epoch: int, network: nn.Module, optimizer: Optimizer, schedule: Schedule
    ) -> Epoch:
        """Train and score one epoch, and keep it: in the history, and its weights if it is the best so far."""
        start = time.perf_counter()
        rate = float(optimizer.param_groups[0]["lr"])
        self.group.agree(epoch, rate)
        trained_on = self._pass(
            epoch, self.wrapped, optimizer, schedule if isinstance(schedule, OneCycleLR) else None
        )
        trained = time.perf_counter()
        scores = score(
            network,
            self.data.val,
            len(self.data.classes),
            batch_size=self.config.eval_batch_size,
            prepare=self.prepare,
        )
        if not math.isfinite(scores.loss):
            raise Diverged(f"validation loss is {scores.loss} after epoch {epoch}")
        seconds = time.perf_counter() - start
        metrics = {
            "train/loss": trained_on.loss,
            "train/loss_std": trained_on.loss_std,
            "train/acc": trained_on.accuracy,
            "train/lr": rate,
            **(_figures(scores, self.metric) if self.judged else {}),
            "time/epoch_seconds": seconds,
            "time/images_per_second": len(self.data.train) / (trained - start),
        }
        row = Epoch(
            epoch=epoch,
            time=int(time.time() * 1000),
            metrics=metrics,
            per_class=scores.per_class if self.judged else (),
            train_per_class=trained_on.per_class,
            predicted=scores.predicted if self.judged else (),
        )
        state = self.state
        value = metrics.get(self.metric)
        state.history.append(row)
        state.seconds += seconds
        if self._better(value):
            state.best_epoch = epoch
            state.best_value = value
            if self.judged:
                state.confusion = scores.confusion.tolist()
                state.mistakes = find_mistakes(scores, self.data.val.labels)
            state.best_weights = {
                k: v.detach().cpu().clone() for k, v in network.state_dict().items()
            }
        return row

    def _better(self, value: float | None) -> bool:
        """Whether an epoch's weights are to be kept: the best so far or, where nothing judges them, the last."""
        best = self.state.best_value
        return value is None or best is None or (value > best if self.maximize else value < best)

    def _batches(self) -> tuple[torch.Tensor, ...]:
        """The indices of one epoch's steps, from torch's global generator."""
        batches = torch.split(
            torch.randperm(len(self.data.train)).to(self.device), self.config.batch_size
        )
        # Batch normalisation has no variance of one image, which a process would have for its share.
        if len(batches) > 1 and len(batches[-1]) < 2 * self.group.size:
            return batches[:-1]
        return batches

    def _feed(self, batches: list[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each step's images, ready for the network, and their labels: made for several small steps at a time."""
        images = self.data.train.images
        labels = self.data.train.labels
        parts = parse_augmentation(self.config.augment)
        fill = (torch.tensor(self.data.mean, device=self.device) * 255).round().to(torch.uint8)
        together = max(1, _READY // (self.config.batch_size * images[0].numel() * 4))
        for first in range(0, len(batches), together):
            some = batches[first : first + together]
            chosen = torch.cat(some)
            sizes = [len(batch) for batch in some]
            batch = images.index_select(0, chosen)
            batch = augment(batch, parts, fill) if parts else batch
            ready = self.prepare(batch)
            yield from zip(
                torch.split(ready, sizes), torch.split(labels[chosen], sizes), strict=True
            )

    def _pass(
        self, epoch: int, network: nn.Module, optimizer: Optimizer, schedule: OneCycleLR | None
    ) -> _Trained:
        """Train once over the training split. Returns its figures as trained."""
        torch.manual_seed(epoch_seed(self.config.seed, epoch))
        config = self.config
        batches = self._batches()
        parameters = list(network.parameters())
        own = [self.group.share(batch) for batch in batches]
        if (
            self.group.rank
        ):  # the order is the same in all processes, and all else that is random their own
            torch.manual_seed(epoch_seed(self.config.seed, epoch, self.group.rank))
        total = 0.0
        seen = 0
        losses: list[torch.Tensor] = []  # that have not been looked at
        values: list[float] = []  # of those that have
        predictions = []
        network.train()
        for step, (images, labels) in enumerate(self._feed(own), start=1):
            failpoints.reach("mid_epoch")
            self.hooks.stop()
            self.saver.look()
            if self.time_limit is not None and time.monotonic() - self.began > self.time_limit:
                raise TimedOut(self.time_limit)
            for parameter in parameters:
                parameter.grad = None
            with self.prepare.autocast():
                logits = network(images)
            loss = functional.cross_entropy(
                logits.float(), labels, label_smoothing=config.label_smoothing
            )
            loss = self.group.weigh(loss, len(labels), len(batches[step - 1]))
            loss.backward()  # type: ignore[no-untyped-call]
            if config.grad_clip:
                nn.utils.clip_grad_norm_(parameters, config.grad_clip)
            optimizer.step()
            if schedule is not None:
                schedule.step()
            loss = self.group.mean(loss.detach())
            losses.append(loss)
            predictions.append(logits.detach().argmax(dim=1))
            if self.device.type == "cpu" or step % _CHECK_EVERY == 0 or step == len(batches):
                for value in torch.stack(losses).tolist():
                    count = len(batches[len(values)])
                    total = total + value * count
                    seen = seen + count
                    values.append(value)
                losses.clear()
                if not math.isfinite(total):
                    raise Diverged(f"training loss is {values[-1]} at step {step} of epoch {epoch}")
                self.hooks.step(step, len(batches), total / seen)
        truth = self.data.train.labels[torch.cat(own)]
        classes = len(self.data.classes)
        right, of_class = self.group.total(_counts(truth, torch.cat(predictions), classes))
        return _Trained(
            loss=total / seen,
            loss_std=float(torch.tensor(values).std(correction=0)),
            accuracy=int(right.sum()) / int(of_class.sum()),
            per_class=class_accuracies(right, of_class),
        )

    def _exhausted(self) -> bool:
        """Whether early stopping's patience has run out."""
        patience = self.config.patience
        best = self.state.best_epoch
        return bool(patience) and best is not None and len(self.state.history) - best >= patience


@dataclass(frozen=True)
class _Trained:
    """The figures of one pass over the training split, as trained: with dropout, and while the weights changed."""

    loss: float  # mean of an image
    loss_std: float  # standard deviation of the batches' mean losses
    accuracy: float
    per_class: tuple[float | None, ...]


def _counts(truth: torch.Tensor, predictions: torch.Tensor, classes: int) -> torch.Tensor:
    """How many images of each class were classified rightly, and how many there are: int64 (2, classes)."""
    right = truth[predictions == truth]
    return torch.stack(
        [torch.bincount(right, minlength=classes), torch.bincount(truth, minlength=classes)]
    )


def _figures(scores: Scores, objective: str) -> dict[str, float]:
    figures = {"val/loss": scores.loss, "val/loss_std": scores.loss_std, "val/acc": scores.accuracy}
    others = {"val/balanced_acc": scores.balanced_accuracy, "val/macro_f1": scores.macro_f1}
    return figures | {key: value for key, value in others.items() if key == objective}
