"""Trains a configuration, and turns every way of ending into a result."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path

import torch

from pipeline.checkpoints import Folder
from pipeline.data.search_data import SearchData
from pipeline.system.alarm import alarm
from pipeline.system.errors import Diverged, Failure, Infeasible, TimedOut
from pipeline.training.distributed import GroupMember
from pipeline.training.epochs import Hooks, Training
from sweeps.analysis.facts import SELECTION
from sweeps.trial import FAILED, PAUSED, PRUNED, TrialConfig, TrialResult

HANG_GRACE = 2.0  # seconds after the time limit, before a hung step is interrupted

# What plain RuntimeErrors say: the allocators of the CPU, of a driver, of cuBLAS and cuDNN.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "alloc_failed",
)


def train(
    number: int,
    config: TrialConfig,
    data: SearchData,
    folder: Path,
    *,
    objective: str,
    hooks: Hooks | None = None,
    limits: Mapping[str, float] | None = None,
    every_epoch: bool = False,
    until: int | None = None,
    time_limit: float | None = None,
    time_used: float = 0.0,
    selection: int = SELECTION,
    member: GroupMember | None = None,
) -> TrialResult:
    """Train a resolved configuration, resuming from the newest checkpoint in its folder if any.

    The same configuration gives the same result, interrupted or not: every epoch is seeded from
    (seed, epoch). The best epoch's weights are left in the folder as ``best.safetensors``, unless
    the trial failed or is paused. If it is paused, its state holds them.

    Call `pipeline.training.process.prepare_process` before, in the same process: the number of CPU
    threads decides the last bits of the weights.

    Args:
        number: the trial's number, for the result.
        config: what to train, settled by `pipeline.training.resolve.resolve`.
        data: the training and validation splits of the study, of which a trial with a redraw takes
            its own. If the validation split is empty, the last epoch's weights are the best.
        folder: the trial's own folder, for checkpoints.
        objective: chooses the best epoch: a key of
            `sweeps.spec.study_spec.OBJECTIVES`.
        hooks: callbacks; an exception of ``stop`` passes through.
        limits: the largest costs allowed, by the names in
            `sweeps.spec.study_spec.Constraints`; a network above a limit is not trained.
        every_epoch: also keep the weights after each epoch, in the folder's ``epochs``.
        until: the epoch after which to pause; None for the last. The state that is left in the
            folder resumes the training.
        time_limit: seconds allowed for the training. Neither the time in the hooks ``epoch``,
            ``saved`` and ``step`` counts, nor a time in which the process was stopped.
        time_used: seconds that earlier parts of the training took, before it was paused.
        selection: the version of the rules that choose the best epoch, as in
            `sweeps.analysis.facts.StudyFacts`.
        member: this process's place in a group with a GPU for each process; None for a process
            alone. Rank 0 does all of the above. The other ranks train along, call no hook, and
            return only after a failure.

    Returns:
        The result: complete, paused, pruned (by a hook, or as ``infeasible``), or failed as
        ``diverged``, ``oom``, ``timeout`` or ``error:<class>``.

    Raises:
        StorageFailure: if a checkpoint cannot be written; earlier checkpoints are kept.
    """
    training = Training(
        config,
        data,
        Folder(folder),
        objective,
        hooks or Hooks(),
        every_epoch,
        time_limit,
        time_used,
        selection,
    )
    clock = training.clock
    left = None
    ticking: AbstractContextManager[None] = nullcontext()
    if time_limit is not None:
        left = partial(clock.left, max(time_limit, time_used) + HANG_GRACE)
        ticking = clock.ticking()
    error = None
    try:
        with closing(training.writer):
            with ticking, alarm(left, TimedOut(time_limit)):
                training.join(member)
                state = training.run(limits or {}, until)
            if state == PAUSED:
                training.writer.wait()
            else:
                training.save_best()
        end = state
    except Infeasible as problem:
        state = PRUNED
        end = Infeasible.end
        error = str(problem)
    except (Diverged, TimedOut) as problem:
        state = FAILED
        end = type(problem).end
        error = str(problem)
    except Failure:
        raise
    except Exception as problem:  # noqa: BLE001 - a trial's failure is a result
        state = FAILED
        end = _end_of(problem)
        error = " ".join(str(problem).split())[:500]
    result = training.result(number, state, end, error)
    if end == "oom":
        del training  # and with it the network, whose memory can be given back only now
        torch.cuda.empty_cache()
    return result


def _end_of(problem: Exception) -> str:
    """Say how a trial ended that an unexpected exception ended."""
    text = str(problem).lower()
    is_memory_error = isinstance(problem, torch.OutOfMemoryError | MemoryError)
    if is_memory_error or any(phrase in text for phrase in _OUT_OF_MEMORY):
        return "oom"
    return f"error:{type(problem).__name__}"
