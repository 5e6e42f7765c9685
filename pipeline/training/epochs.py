"""The training loop: trains a network epoch by epoch, scores each epoch, keeps the best weights.

Every epoch is seeded, so a resumed training equals an uninterrupted training.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

import models
from models.stages import Frozen
from models.weights import begin_with
from pipeline.checkpoints import Folder, save_model
from pipeline.data.search_data import SearchData, trial_data
from pipeline.system import failpoints
from pipeline.system.errors import Diverged, TimedOut
from pipeline.training.batches import BatchLoader
from pipeline.training.best import make_card, moments, save_best
from pipeline.training.clock import LONGEST_GAP, TrainingClock
from pipeline.training.cost import (
    PASSES_FOR_THE_RECORD,
    PASSES_THAT_DECIDE,
    check_limits,
    count_mflops,
    count_parameters,
    measure_latency,
)
from pipeline.training.distributed import Group, GroupMember, check_processes
from pipeline.training.loss import Loss, class_weights
from pipeline.training.metrics import (
    RunningLoss,
    Scores,
    TrainingScores,
    bin_confidences,
    class_accuracies,
    count_by_class,
    score,
)
from pipeline.training.mistakes import find_mistakes
from pipeline.training.mixing import mix
from pipeline.training.optimizer import Optimization, follow_learning_rate, make_optimization
from pipeline.training.prepare import Prepare, image_memory_format
from pipeline.training.state import CheckpointWriter, TrainingState, restore
from sweeps.analysis import bits, optimism
from sweeps.analysis.facts import SELECTION, TIES_BY_LOSS
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import (
    COMPLETE,
    FAILED,
    PAUSED,
    PRUNED,
    Epoch,
    TrialConfig,
    TrialResult,
)

SAVE_EVERY = 2.0  # seconds between checkpoints, and so between batches of metrics sent

_READ_LOSS_EVERY = 32  # steps between readings of the loss on a GPU, which has to wait for each


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Callbacks of a training. None of them decides how an epoch is trained.

    Attributes:
        epoch: called after every epoch, with its row and the best value; True prunes the trial.
        saved: called with the history of a checkpoint as soon as the checkpoint is on the disk.
        step: called with the steps done, the steps of the epoch, and the mean loss so far.
        stop: called before every step; raises to stop the training.
    """

    epoch: Callable[[Epoch, float], bool] = lambda _row, _best: False
    saved: Callable[[tuple[Epoch, ...]], None] = lambda _rows: None
    step: Callable[[int, int, float], None] = lambda _done, _steps, _loss: None
    stop: Callable[[], None] = lambda: None


def _pausing(hooks: Hooks, clock: TrainingClock) -> Hooks:
    """Return the hooks, whose time the clock does not count: they may wait for a database."""

    def epoch(row: Epoch, best: float) -> bool:
        with clock.paused():
            return hooks.epoch(row, best)

    def saved(history: tuple[Epoch, ...]) -> None:
        with clock.paused():
            hooks.saved(history)

    def step(done: int, steps: int, loss: float) -> None:
        with clock.paused():
            hooks.step(done, steps, loss)

    return dataclasses.replace(hooks, epoch=epoch, saved=saved, step=step)


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Derive the seed of everything random in an epoch.

    Args:
        seed: the trial's.
        epoch: counted from 1; 0 stands for the initial weights.
        rank: of the process in a group.
    """
    suffix = f":{rank}" if rank else ""
    digest = hashlib.sha256(f"{seed}:{epoch}{suffix}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Training:
    """A configuration in training: network, optimizer, schedule and progress.

    `pipeline.training.train.train` calls `join`, `run` and `save_best` in this order, and then
    `result`, also after a failure.
    """

    # Made by `run`. The parallel network wraps the network in DistributedDataParallel, if there are
    # several processes, and compiles it, if the configuration says so.
    network: nn.Module
    parallel_network: nn.Module
    frozen: Frozen
    optimization: Optimization
    prepare: Prepare
    loader: BatchLoader
    loss: Loss

    def __init__(
        self,
        config: TrialConfig,
        data: SearchData,
        folder: Folder,
        objective: str,
        hooks: Hooks,
        every_epoch: bool,
        time_limit: float | None,
        time_used: float = 0.0,
        selection: int = SELECTION,
    ) -> None:
        self.config = config
        self.data = trial_data(data, config)
        self.folder = folder
        self.clock = TrainingClock(time_used, math.inf if time_limit is None else LONGEST_GAP)
        self.hooks = _pausing(hooks, self.clock)
        self.every_epoch = every_epoch
        self.selection = selection
        self.time_limit = time_limit
        self.metric, self.maximize = OBJECTIVES[objective]
        self.device = torch.device(config.device)
        self.has_validation = len(data.val) > 0
        self.state = TrainingState()
        self.writer = CheckpointWriter(folder, self.hooks.saved)
        self.parameters: int | None = None
        self.mflops: float | None = None
        self.mean, self.std = moments(config, self.data)

    def join(self, member: GroupMember | None) -> None:
        """Join the group of processes. Only the leader calls hooks.

        Args:
            member: this process's place; None for a process alone.
        """
        check_processes(self.config)
        self.group = Group(member, self.device)
        if self.group.rank != 0:
            self.hooks = Hooks()

    def run(self, limits: Mapping[str, float], until: int | None = None) -> str:
        """Train until the last epoch, the end of patience, a pause, or a hook that prunes.

        Only the leader returns; the other processes follow until they are killed.

        Args:
            limits: the largest costs allowed, by the names in `sweeps.spec.study_spec.Constraints`.
            until: the epoch after which to pause; None for the last.

        Returns:
            COMPLETE, PAUSED or PRUNED. The state of a paused training is on the disk.
        """
        self._set_up(limits)
        if self.group.rank != 0:
            self._follow_leader()
        last_save = time.monotonic()
        last_epoch = min(until or self.config.epochs, self.config.epochs)
        for epoch in range(len(self.state.history) + 1, last_epoch + 1):
            if self._patience_is_exhausted():
                break
            is_last = epoch == self.config.epochs
            row = self._run_epoch(epoch)
            self._step_epoch_schedule(row)
            if self.every_epoch:
                weights = {
                    k: v.detach().cpu() for k, v in self._scored_network.state_dict().items()
                }
                card = make_card(self.config, self.data, row)
                save_model(self.folder.epoch(epoch), weights, card)
            pauses = epoch == last_epoch and not is_last and not self._patience_is_exhausted()
            if pauses or (time.monotonic() - last_save >= SAVE_EVERY and not is_last):
                # Before the hook, which has the epoch recorded by a thread that slows this one.
                self.writer.capture(self.state, self.config, self.network, self.optimization)
                last_save = time.monotonic()
            prune = self.hooks.epoch(row, self.state.best_value or 0.0)
            if prune and not is_last:
                return PRUNED
            self.writer.start_writing()
        if len(self.state.history) < self.config.epochs and not self._patience_is_exhausted():
            return PAUSED
        return COMPLETE

    def save_best(self) -> None:
        """Save the best epoch's weights.

        The newest checkpoint stays: the end of the trial is not recorded yet, and if this process
        dies before, the next resumes from the checkpoint.
        """
        self.writer.wait()
        save_best(self.folder, self.state, self.config, self.data)

    def result(self, number: int, state: str, end: str, error: str | None) -> TrialResult:
        """Make the trial's result.

        A failed trial has no value, no best epoch and no weights. The weights of a paused trial are
        in its state alone.
        """
        progress = self.state
        result = TrialResult(
            number=number,
            config=self.config,
            state=state,
            end=end,
            history=tuple(progress.history),
            seconds=round(progress.seconds, 3),
            parameters=self.parameters,
            mflops=self.mflops,
            latency_ms=progress.latency_ms,
            error=error,
        )
        if state == FAILED:
            return result
        confusion = progress.confusion
        has_weights = progress.best_epoch is not None and state != PAUSED
        return dataclasses.replace(
            result,
            value=progress.best_value,
            best_epoch=progress.best_epoch,
            confusion=None if confusion is None else tuple(tuple(row) for row in confusion),
            mistakes=progress.mistakes,
            correct=progress.correct,
            confidences=progress.confidences,
            optimism=self._estimate_optimism(),
            checkpoint=str(self.folder.best) if has_weights else None,
        )

    # Before the first epoch

    def _set_up(self, limits: Mapping[str, float]) -> None:
        """Move the data, build network, optimizer and schedule, and resume from a checkpoint."""
        config = self.config
        self.data = self.data.to(self.device)
        self.network = self._build_network()
        self.prepare = Prepare(
            self.mean, self.std, self.device, config.precision, self.memory_format
        )
        self.loader = BatchLoader(self.data, config, self.prepare)
        labels = self.data.train.labels
        weights = class_weights(config.class_weights, labels, len(self.data.classes))
        self.loss = Loss.of(config, weights)
        steps = len(self._draw_batches())
        classes = len(self.data.classes)
        self.frozen = Frozen(self.network, config.freeze or "none", classes)
        self.optimization = make_optimization(self.network, config, steps, classes)
        resumed = restore(self.folder, config, self.network, self.optimization)
        if resumed is not None:
            self.state = resumed
            self.hooks.saved(tuple(resumed.history))
        self._check_limits(limits)
        if self.group.rank == 0:
            self._measure_latency(PASSES_FOR_THE_RECORD)
        self.parallel_network = self.group.wrap(self.network)
        if config.compile:
            # The plain network is scored and kept. Each shape has a code of its own, whichever came
            # first: a resumed training equals an uninterrupted one.
            compiled = torch.compile(self.parallel_network, dynamic=False)
            self.parallel_network = cast("nn.Module", compiled)

    @property
    def _scored_network(self) -> nn.Module:
        """The network that is scored and kept: the moving average, if there is one."""
        average = self.optimization.average
        return self.network if average is None else average.network

    def _build_network(self) -> nn.Module:
        """Build the network with the weights it begins with, and count parameters and FLOPs."""
        torch.manual_seed(epoch_seed(self.config.seed, 0))
        shape = self.data.shape
        classes = len(self.data.classes)
        network = models.build(
            self.config.family,
            shape,
            classes,
            self.config.options,
            digest=self.config.source_digest,
        )
        begin_with(
            self.config.pretrained,
            network,
            self.config.family,
            classes,
            digest_then=self.config.weights_digest,
        )
        self.memory_format = image_memory_format(network, self.config.family, shape)
        self.parameters = count_parameters(network)
        self.mflops = count_mflops(network, shape)
        network = network.to(self.device).to(memory_format=self.memory_format)
        return self.group.convert(network)

    def _check_limits(self, limits: Mapping[str, float]) -> None:
        """Raise Infeasible if the network costs more than allowed."""
        if "latency_ms" in limits:
            self._measure_latency(PASSES_THAT_DECIDE)
        costs = {
            "parameters": self.parameters,
            "mflops": self.mflops,
            "latency_ms": self.state.latency_ms,
        }
        check_limits(costs, limits)

    def _measure_latency(self, passes: int) -> None:
        """Measure the time of one image, unless it is known: a resumed state has it."""
        if self.state.latency_ms is None:
            image = self.prepare(self.data.train.between(0, 1))
            self.state.latency_ms = measure_latency(self.network, image, self.prepare, passes)

    # Epochs

    def _run_epoch(self, epoch: int) -> Epoch:
        """Train and score an epoch, add the row to the history, and keep the weights if best."""
        start = self.clock.seconds
        learning_rate = float(self.optimization.optimizer.param_groups[0]["lr"])
        self.group.agree(epoch, learning_rate)
        trained = self._train_epoch(epoch)
        training_seconds = self.clock.seconds - start
        scores = score(
            self._scored_network,
            self.data.val,
            len(self.data.classes),
            batch_size=self.config.eval_batch_size,
            prepare=self.prepare,
            loss=self.loss,
        )
        if not math.isfinite(scores.loss):
            raise Diverged(f"validation loss is {scores.loss} after epoch {epoch}")
        seconds = self.clock.seconds - start
        metrics = {
            "train/loss": trained.loss,
            "train/loss_std": trained.loss_std,
            "train/acc": trained.accuracy,
            "train/lr": learning_rate,
        }
        if self.has_validation:
            metrics |= _validation_metrics(scores, self.metric)
        metrics["time/epoch_seconds"] = seconds
        metrics["time/images_per_second"] = len(self.data.train) / training_seconds
        row = Epoch(
            epoch=epoch,
            time=int(time.time() * 1000),
            metrics=metrics,
            per_class=scores.per_class if self.has_validation else (),
            train_per_class=trained.per_class,
            predicted=scores.predicted if self.has_validation else (),
            step_losses=self._logged_steps(epoch, trained.step_losses),
        )
        self.state.history.append(row)
        self.state.seconds += seconds
        packed = bits.pack(scores.correct.numpy())
        self._keep_correct(epoch, packed)
        if self._is_best(row):
            self._keep_best(row, scores, packed)
        return row

    def _logged_steps(self, epoch: int, losses: Sequence[float]) -> tuple[tuple[int, float], ...]:
        """The mean losses of every `log_every` steps of an epoch, with the last step of each.

        Args:
            epoch: counted from 1.
            losses: of the epoch's steps, in order. A rest at the end is a mean of fewer.
        """
        every = self.config.log_every
        if not every:
            return ()
        before = (epoch - 1) * len(losses)
        logged = []
        for first in range(0, len(losses), every):
            part = losses[first : first + every]
            logged.append((before + first + len(part), float(f"{statistics.fmean(part):.6g}")))
        return tuple(logged)

    def _is_best(self, row: Epoch) -> bool:
        """Whether to keep an epoch's weights: the best so far or, without validation, the last."""
        value = row.metrics.get(self.metric)
        best = self.state.best_value
        if value is None or best is None:
            return True
        if value == best and self.selection >= TIES_BY_LOSS:
            return row.metrics["val/loss"] < self._best_loss()
        return value > best if self.maximize else value < best

    def _best_loss(self) -> float:
        """The validation loss at the best epoch so far."""
        losses = [
            row.metrics["val/loss"]
            for row in self.state.history
            if row.epoch == self.state.best_epoch
        ]
        return losses[0]

    def _keep_correct(self, epoch: int, packed: str) -> None:
        """Keep which images an epoch classifies correctly, as long as it is one of the best."""
        if self.metric not in optimism.METRICS or not self.has_validation:
            return
        kept = self.state.epochs_correct
        kept[epoch] = packed
        if len(kept) > optimism.MOST_EPOCHS:
            values = {row.epoch: row.metrics[self.metric] for row in self.state.history}
            del kept[min(kept, key=lambda number: values[number])]

    def _estimate_optimism(self) -> float | None:
        """Estimate the optimism of the best epoch, if all are known that may have been it."""
        known = self.state.epochs_correct
        if len(known) < min(len(self.state.history), optimism.MOST_EPOCHS):
            return None  # version 0.1.0 began this training
        value = optimism.of_best_epoch(self.metric, self.state.confusion, known)
        return None if value is None else round(value, 6)

    def _keep_best(self, row: Epoch, scores: Scores, packed: str) -> None:
        self.state.best_epoch = row.epoch
        self.state.best_value = row.metrics.get(self.metric)
        if self.has_validation:
            self.state.confusion = scores.confusion.tolist()
            labels = self.data.val.labels
            self.state.mistakes = find_mistakes(scores, labels, self.loss)
            self.state.confidences = bin_confidences(scores, labels, self.loss)
            self.state.correct = packed
        weights = self._scored_network.state_dict()
        self.state.best_weights = {k: v.detach().cpu().clone() for k, v in weights.items()}

    def _step_epoch_schedule(self, row: Epoch) -> None:
        """Step the schedule after an epoch. One cycle is stepped with the optimizer instead."""
        schedule = self.optimization.schedule
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(row.metrics.get("val/loss", row.metrics["train/loss"]))
        elif schedule is not None and not isinstance(schedule, OneCycleLR):
            schedule.step()
        follow_learning_rate(self.optimization.optimizer)

    def _patience_is_exhausted(self) -> bool:
        """Whether early stopping ends the training."""
        if not self.config.patience or self.state.best_epoch is None:
            return False
        return len(self.state.history) - self.state.best_epoch >= self.config.patience

    def _follow_leader(self) -> NoReturn:
        """Train along with the leader, at the leader's learning rate, until killed."""
        while True:
            epoch, learning_rate = self.group.agree(0, 0.0)
            self.optimization.optimizer.param_groups[0]["lr"] = learning_rate
            follow_learning_rate(self.optimization.optimizer)
            self._train_epoch(epoch)

    # Steps

    def _train_epoch(self, epoch: int) -> TrainingScores:
        """Train once over the training split."""
        torch.manual_seed(epoch_seed(self.config.seed, epoch))
        batches = self._draw_batches()
        shares = [self.group.share(batch) for batch in batches]
        if self.group.rank != 0:
            # All processes draw the same batches; all else that is random differs between them.
            torch.manual_seed(epoch_seed(self.config.seed, epoch, self.group.rank))
        steps = len(batches)
        losses = RunningLoss([len(batch) for batch in batches])
        predictions = []
        parameters = list(self.parallel_network.parameters())
        self.parallel_network.train()
        self.frozen.hold()
        for step, (images, labels) in enumerate(self.loader.load(shares), start=1):
            failpoints.reach("mid_epoch")
            self.hooks.stop()
            self.writer.poll()
            self._check_time_limit()
            logits, loss = self._step(images, labels, len(batches[step - 1]), parameters)
            losses.add(loss)
            predictions.append(logits.argmax(dim=1))
            if self.device.type == "cpu" or step % _READ_LOSS_EVERY == 0 or step == steps:
                losses.read()
                if not math.isfinite(losses.total):
                    last_loss = losses.values[-1]
                    raise Diverged(f"training loss is {last_loss} at step {step} of epoch {epoch}")
                self.hooks.step(step, steps, losses.mean)
        targets = self.data.train.labels[torch.cat(shares)]
        counts = count_by_class(targets, torch.cat(predictions), len(self.data.classes))
        correct, total = self.group.total(counts)
        return TrainingScores(
            loss=losses.mean,
            loss_std=losses.std,
            accuracy=int(correct.sum()) / int(total.sum()),
            per_class=class_accuracies(correct, total),
            step_losses=tuple(losses.values),
        )

    def _step(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        batch_size: int,
        parameters: Sequence[nn.Parameter],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one optimizer step.

        Args:
            images: prepared, float (images, channels, height, width).
            labels: int64 (images,).
            batch_size: the images of the step in all processes.
            parameters: all of the network's.

        Returns:
            This process's logits (images, classes), and the mean loss of the whole batch.
        """
        for parameter in parameters:
            parameter.grad = None
        mixed = mix(images, labels, self.config)
        with self.prepare.autocast():
            logits = self.parallel_network(images if mixed is None else mixed.images)
        if not isinstance(logits, torch.Tensor):  # some networks return more in training mode
            raise TypeError(
                f"the forward of {self.config.family} must return one tensor of logits, also in "
                f"training mode: it returns a {type(logits).__name__}"
            )
        if mixed is None:
            loss = self.loss.mean_in_training(logits.float(), labels)
        else:
            loss = self.loss.mean_in_training(
                logits.float(), labels, mixed.other_labels, mixed.shares
            )
        loss = self.group.weigh(loss, len(labels), batch_size)
        self._update_weights(loss, parameters)
        return logits.detach(), self.group.mean(loss.detach())

    def _update_weights(self, loss: torch.Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Compute the gradients of a loss, and step what changes with each batch."""
        scaler = self.optimization.scaler
        optimizer = self.optimization.optimizer
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.config.grad_clip:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, self.config.grad_clip)
        scaler.step(optimizer)
        scaler.update()
        if self.optimization.average is not None:
            self.optimization.average.update(self.network)
        if isinstance(self.optimization.schedule, OneCycleLR):
            self.optimization.schedule.step()
            follow_learning_rate(optimizer)

    def _draw_batches(self) -> tuple[torch.Tensor, ...]:
        # Batch normalisation has no variance of a single image, which may be a process's share.
        return self.loader.draw(smallest=2 * self.group.size)

    def _check_time_limit(self) -> None:
        if self.time_limit is not None and self.clock.seconds > self.time_limit:
            raise TimedOut(self.time_limit)


def _validation_metrics(scores: Scores, objective: str) -> dict[str, float]:
    """The metrics of every study, and the objective if it is none of them."""
    metrics = {
        "val/loss": scores.loss,
        "val/loss_std": scores.loss_std,
        "val/acc": scores.accuracy,
    }
    if scores.top5_accuracy is not None:
        metrics["val/top5_acc"] = scores.top5_accuracy
    if objective == "val/balanced_acc":
        metrics[objective] = scores.balanced_accuracy
    if objective == "val/macro_f1":
        metrics[objective] = scores.macro_f1
    return metrics
