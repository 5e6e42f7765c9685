"""Trains one configuration and scores it after every epoch. Knows no study, no tracking and no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import torch

from pipeline.checkpoints import Folder
from pipeline.data.search_data import SearchData
from pipeline.system.errors import Diverged, Failure, Infeasible, TimedOut
from pipeline.system.signals import alarm
from pipeline.training import allocator
from pipeline.training.distributed import GroupMember
from pipeline.training.epochs import Hooks, Training
from sweeps.trial import FAILED, PRUNED, TrialConfig, TrialResult

HANG_GRACE = 2.0  # seconds over its time limit, after which a trial that ends no step is broken off inside it
# What plain RuntimeErrors say: the allocators of the CPU, of a driver, of cuBLAS and cuDNN.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")


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
    time_limit: float | None = None,
    seat: GroupMember | None = None,
) -> TrialResult:
    """Train a resolved configuration, going on from the newest checkpoint in its folder if there is one.

    The same configuration gives the same result, interrupted or not: every epoch is seeded from (seed, epoch).
    Leaves the best epoch's weights in the folder as ``best.safetensors``, unless the trial failed.

    Args:
        number: the trial's number, for the result.
        config: what to train; `resolve` has settled it.
        data: the training and validation splits; where the second is empty, the last epoch's weights are the best.
        folder: the trial's own, for checkpoints.
        objective: what chooses the best epoch: a key of `sweeps.spec.study_spec.OBJECTIVES`.
        hooks: callbacks; what ``stop`` raises passes through.
        limits: the most that a network may have, by the names in `sweeps.spec.study_spec.Constraints`, or it is not
            trained.
        every_epoch: also keep the weights after each epoch, in the folder's ``epochs``.
        time_limit: seconds that it may take.
        seat: this process's among those that train it together, one GPU each; without one it trains alone. The first
            does all that is said here; the others train along, call no hook, and return only what goes wrong.

    Returns:
        The result: complete, pruned (by a hook, or as ``infeasible``), or failed as ``diverged``, ``oom``, ``timeout``
        or ``error:<class>``.

    Raises:
        StorageFailure: if a checkpoint cannot be written; what was written before is kept.
    """
    torch.set_num_threads(config.threads)
    allocator.keep_freed_memory()
    training = Training(
        config, data, Folder(folder), objective, hooks or Hooks(), every_epoch, time_limit
    )
    error = None
    try:
        with closing(training.saver):
            with alarm(time_limit and time_limit + HANG_GRACE, TimedOut(time_limit)):
                training.join(seat)
                state = training.run(limits or {})
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
    except Exception as problem:  # noqa: BLE001 - one trial's failure is a result; the sweep goes on
        state = FAILED
        end = _kind(problem)
        error = " ".join(str(problem).split())[:500]
    if end == "oom":
        torch.cuda.empty_cache()  # only now nothing holds the network any more
    return training.result(number, state, end, error)


def _kind(problem: Exception) -> str:
    text = str(problem).lower()
    if isinstance(problem, torch.OutOfMemoryError | MemoryError) or any(
        words in text for words in _OUT_OF_MEMORY
    ):
        return "oom"
    return f"error:{type(problem).__name__}"
