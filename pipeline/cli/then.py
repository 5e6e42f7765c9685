"""The option --then: a command of the user's that is run when a sweep has ended, however it ended.

It learns of the outcome from its environment. It changes neither the study nor the exit code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

import click

from pipeline.cli.status import read_status
from pipeline.system import signals
from pipeline.system.console import print_message
from pipeline.system.errors import Failure, StudyBusy, UsageFailure

if TYPE_CHECKING:
    from pipeline.report.status import Status
    from pipeline.stores.locations import Stores

# What the command finds in its environment; what is not known is not there.
VARIABLES = (
    "PIPELINE_EXIT_CODE",
    "PIPELINE_STUDY",
    "PIPELINE_SUMMARY",
    "PIPELINE_OBJECTIVE",
    "PIPELINE_BEST",
    "PIPELINE_BEST_VALUE",
    "PIPELINE_BEST_RUN",
    "PIPELINE_REPORT",
)
_REFUSED = (UsageFailure.code, StudyBusy.code)  # exit codes of commands that have begun nothing

then_option = click.option(
    "--then",
    metavar="COMMAND",
    help="Shell command to run at the end, also after an interruption or a failure; "
    "$PIPELINE_SUMMARY, $PIPELINE_EXIT_CODE, $PIPELINE_BEST ... tell the outcome.",
)


@dataclass
class Ending:
    """What is known of a sweep when it ends."""

    stores: Stores | None = None
    study: str | None = None  # the study's name in the stores; None for the one last run


@contextmanager
def followed_by(command: str | None, *, printed_to_stderr: bool = False) -> Iterator[Ending]:
    """Run a command of the user's after the block, unless the block was refused.

    Args:
        command: for the shell; None for no command.
        printed_to_stderr: whether the command's output goes to standard error, because standard
            output is JSON.

    Yields:
        What the block fills in, as soon as it knows.
    """
    ending = Ending()
    code = 1
    try:
        yield ending
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
        raise
    except Failure as failure:
        code = failure.code
        raise
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
        raise
    finally:
        if command is not None and code not in _REFUSED:
            environment = _environment(ending, code)
            returned = _run(command, environment, printed_to_stderr=printed_to_stderr)
            if returned:
                print_message(
                    f"the command of --then has ended with {returned}; this one ends with {code}",
                    err=True,
                )


def _environment(ending: Ending, code: int) -> dict[str, str]:
    """Return this process's environment, with the outcome of the sweep."""
    environment = {name: text for name, text in os.environ.items() if name not in VARIABLES}
    environment["PIPELINE_EXIT_CODE"] = str(code)
    if ending.stores is None:
        return environment
    if ending.study is not None:
        environment["PIPELINE_STUDY"] = ending.study
    with suppress(Failure):  # the store may be what has failed
        environment |= _outcome(read_status(ending.stores, ending.study), ending.stores)
    return environment


def _outcome(status: Status, stores: Stores) -> Mapping[str, str]:
    from pipeline.report.status import status_line

    record = status.record
    values = {
        "PIPELINE_STUDY": record.name,
        "PIPELINE_SUMMARY": status_line(status),
        "PIPELINE_OBJECTIVE": record.objective,
    }
    decided = record.decided_finalists or record
    best = decided.best_trial
    if best is not None:
        values["PIPELINE_BEST"] = f"{decided.name}#{best.number}"
        values["PIPELINE_BEST_VALUE"] = str(best.value)
        if best.run_id is not None:
            values["PIPELINE_BEST_RUN"] = best.run_id
    report = stores.reports(record.name)
    if report.is_dir():
        values["PIPELINE_REPORT"] = str(report)
    return values


def _run(command: str, environment: Mapping[str, str], *, printed_to_stderr: bool) -> int:
    """Run a command of the shell to its end, and return its exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    output = sys.stderr.fileno() if printed_to_stderr else None
    running: list[subprocess.Popen[bytes]] = []

    def send(number: int) -> None:
        for process in running:
            process.send_signal(number)

    with _passing_on(send):
        process = subprocess.Popen(  # noqa: S602 - the user has typed the command for their shell
            command, shell=True, env=environment, stdin=subprocess.DEVNULL, stdout=output
        )
        running.append(process)
        return process.wait()


@contextmanager
def _passing_on(send: Callable[[int], None]) -> Iterator[None]:
    """Pass requests to stop on, while the block runs.

    A Ctrl-C reaches all processes of the terminal, and needs no passing on. The command inherits no
    handler of this process, but would inherit that a signal is ignored, as it is after a request.
    """
    began = time.monotonic()

    def pass_on(number: int, _frame: FrameType | None) -> None:
        # The second signal of a pair from `mlflow run` belongs to the request before.
        if number != signal.SIGINT and time.monotonic() - began > signals.SAME_REQUEST:
            send(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    numbers += [one for one in signals.HANGUP if signal.getsignal(one) != signal.SIG_IGN]
    previous = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
