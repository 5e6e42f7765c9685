"""The `pipeline` program: its commands, its exit codes, and the end of its process.

The commands import heavy modules inside their functions, so that `pipeline --help` stays quick.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
from contextlib import suppress

import click

from pipeline import __version__
from pipeline.cli.archive import archive_command
from pipeline.cli.clean import clean_command
from pipeline.cli.completion import completion_command
from pipeline.cli.data import data_command
from pipeline.cli.delete import delete_command
from pipeline.cli.evaluate import evaluate_command
from pipeline.cli.export import export_command
from pipeline.cli.finalists import finalists_command
from pipeline.cli.list import list_command
from pipeline.cli.options import Command
from pipeline.cli.predict import predict_command
from pipeline.cli.register import register_command
from pipeline.cli.rename import rename_command
from pipeline.cli.report import report_command
from pipeline.cli.restore import restore_command
from pipeline.cli.run import run_command
from pipeline.cli.status import status_command
from pipeline.cli.studies import studies_command
from pipeline.cli.sweep import sweep_command
from pipeline.cli.sync import sync_command
from pipeline.cli.train import train_command
from pipeline.cli.ui import ui_command
from pipeline.system import failpoints, streams
from pipeline.system.console import print_message
from pipeline.system.errors import Failure, StorageFailure, UsageFailure

# Errors of a path that the user named; pathlib takes all others for "there is no such file".
_PATH_ERRORS = (errno.EACCES, errno.ENAMETOOLONG)


# The commands as the help lists them, in the order of use.
SECTIONS = {
    "Search": ("sweep", "finalists", "train", "run"),
    "Look": ("status", "report", "ui", "list", "studies", "data"),
    "Use": ("predict", "evaluate", "export", "register"),
    "Keep": ("archive", "restore", "rename", "clean", "delete", "sync"),
    "Set up": ("completion",),
}


class _Group(click.Group):
    command_class = Command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by what they are for."""
        width = max(map(len, self.commands))
        for section, names in SECTIONS.items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(80))
                for name in names
                if name in self.commands
            ]
            with formatter.section(section):
                formatter.write_dl(rows)


@click.group(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="pipeline")
def cli() -> None:
    """Experiment-tracked hyperparameter sweeps for image classifiers.

    \b
    pipeline sweep                             search the default study
    pipeline sweep --dataset folder:photos     search on your own images
    pipeline report --best                     what won
    """
    failpoints.arm()


for command in (
    sweep_command,
    train_command,
    report_command,
    list_command,
    rename_command,
    delete_command,
    clean_command,
    archive_command,
    restore_command,
    studies_command,
    run_command,
    finalists_command,
    evaluate_command,
    predict_command,
    export_command,
    register_command,
    data_command,
    status_command,
    ui_command,
    sync_command,
    completion_command,
):
    cli.add_command(command)


class Leaving:
    """Ends this process at once, after the work that is registered for its exit.

    The interpreter's own exit would go through all imported modules, which takes two seconds.
    """

    def __init__(self) -> None:
        """Register the end. Do so first, because atexit runs the first handler last."""
        self.code: int | None = None  # the exit code; None to exit as the interpreter does
        atexit.register(self._leave)

    def _leave(self) -> None:
        if self.code is None:
            return
        sqlite = sys.modules.get("pipeline.stores.sqlite")
        if sqlite is not None:
            sqlite.close_files()
        forkserver = sys.modules.get("pipeline.system.forkserver")
        if forkserver is not None:
            forkserver.stop_server()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # it is not ours, and has gone
                stream.flush()
        os._exit(self.code)


def run_process() -> None:
    """Run the command line, and then end this process with its exit code."""
    leaving = Leaving()
    streams.make_safe()
    try:
        main()
        _check_output()
        leaving.code = 0
    except SystemExit as exit_:
        leaving.code = exit_.code if isinstance(exit_.code, int) else None
        raise


def _check_output() -> None:
    """Exit with an error if the output of a command that has succeeded could not be written."""
    sys.stdout.flush()
    failure = streams.output_failure()
    if failure is not None:
        reason = failure.strerror or failure
        _fail(f"cannot write the output: {reason}; all else is done", StorageFailure.code)


def main() -> None:
    """Run the command line, with one line for an error of the user.

    Raises:
        SystemExit: with the exit code, unless the command succeeded.
    """
    try:
        cli.main(prog_name="pipeline", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), UsageFailure.code)
    except Failure as error:
        _fail(str(error), error.code)
    except OSError as error:
        if error.errno not in _PATH_ERRORS:
            raise
        from pipeline.system.text import clip

        _fail(f"cannot use {clip(error.filename, 200)!r}: {error.strerror}", UsageFailure.code)
    except click.Abort:
        sys.exit(130)


def _fail(message: str, code: int) -> None:
    """Print each line of a message as an error, and exit."""
    for line in message.splitlines() or [""]:
        print_message(f"error: {line}", err=True)
    sys.exit(code)
