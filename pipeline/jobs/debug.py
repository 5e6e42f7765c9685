"""Tries configurations in seconds: the job behind `--debug` of `pipeline sweep` and `train`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pipeline.data.search_data import SearchData
from pipeline.jobs import preflight
from pipeline.system.errors import NothingComplete
from pipeline.system.files import temporary_folder
from pipeline.system.signals import StopRequest
from pipeline.system.text import clip
from pipeline.training.debug import Probe, probe
from sweeps.spec.configurations import configuration, representative_values
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import TrialConfig


def configurations(spec: StudySpec, data: SearchData) -> list[TrialConfig]:
    """Return a configuration of each family of a study on its images."""
    runtime = preflight.resolve_runtime(spec, data=data)
    first: dict[str, TrialConfig] = {}
    for values in representative_values(spec):
        config = configuration(spec, {**runtime, **values})
        first.setdefault(config.family, config)
    return list(first.values())


def try_out(
    configs: Sequence[TrialConfig],
    data: SearchData,
    say: Callable[[str], None],
    stop: StopRequest,
) -> None:
    """Try configurations, and say what is seen. Nothing is recorded, no test image is read.

    Args:
        configs: the configurations, resolved.
        data: the images.
        say: called with each line.
        stop: a request to stop between two steps.

    Raises:
        NothingComplete: if one of them cannot be trained, or does not learn.
    """
    failed = []
    with stop.listening():
        for config in configs:
            with temporary_folder() as folder:
                outcome = probe(config, data, folder, stop.check)
            for line in _lines(config, data, outcome):
                say(f"{config.family}: {line}")
            if not outcome.learns:
                failed.append(config.family)
    if failed:
        raise NothingComplete(f"--debug: {', '.join(failed)} did not pass; nothing was recorded")
    say("nothing was recorded")


def _lines(config: TrialConfig, data: SearchData, outcome: Probe) -> list[str]:
    """Write what was seen of a configuration."""
    failure = outcome.failure
    short = outcome.short
    if failure is short:
        return [f"two batches: {failure.end}: {clip(failure.error, 300)}"]
    row = short.history[-1].metrics
    shape = "x".join(map(str, data.shape))
    device = f"on {config.device} in {config.precision}"
    losses = f"train/loss {row['train/loss']:.4f}, val/loss {row['val/loss']:.4f}"
    guess = f"{math.log(len(data.classes)):.4f}"
    lines = [f"{short.parameters:,} parameters, images of {shape}, {device}"]
    lines.append(
        f"two batches trained and scored in {short.seconds:.1f} s: {losses} (guessing: {guess})"
    )
    batch = f"one batch of {outcome.images} images"
    overfitted = outcome.overfitted
    if failure is not None or overfitted is None:
        reason = "" if failure is None else f"{failure.end}: {clip(failure.error, 300)}"
        return [*lines, f"{batch} again and again: {reason}"]
    first = overfitted.history[0].metrics
    last = overfitted.history[-1].metrics
    right = round(last["val/acc"] * outcome.images)
    lines.append(
        f"{batch}, {len(overfitted.history)} times in {overfitted.seconds:.1f} s: "
        f"loss {first['val/loss']:.4f} to {last['val/loss']:.4f}, {right} right"
    )
    if outcome.learns:
        lines.append("it learns")
    else:
        lines.append(f"it does not learn: try another lr (now {config.lr:g}), or another network")
    return lines
