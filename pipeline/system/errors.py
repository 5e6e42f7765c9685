"""The errors that end a command, with their exit codes, and those that end a trial."""

from __future__ import annotations

# The number of SIGKILL, of which Windows has no name. `os.kill` ends a process by it there, too.
KILL = 9


class Failure(Exception):  # noqa: N818 - its subclasses say what failed
    """Ends a command with an exit code and a message of one line, without a traceback.

    The message names the rule, the value and the remedy.
    """

    code = 1


class UsageFailure(Failure):
    """The command or its configuration is wrong; nothing was written."""

    code = 2


class CodeFailure(UsageFailure):
    """The code of the user's own network cannot be loaded: it is not there, or it raises."""


class NothingComplete(Failure):
    """The command ended, but no trial is complete, or too many failed."""

    code = 3


class StudyBusy(Failure):
    """Another running sweep holds the lock of this study."""

    code = 4


class StudyTaken(StudyBusy):
    """Another command has taken over the study of this one, which must write nothing more."""


class StorageFailure(Failure):
    """A store is locked, unreachable, full, read-only or of another schema."""

    code = 5


class ServerAway(StorageFailure):
    """The tracking server does not answer now. Everything can be sent later, so nothing is lost."""


class EngineFailure(Failure):
    """The cluster for training trials cannot be used."""

    code = 5


class IntegrityFailure(Failure):
    """A file has changed, or is not to be trusted."""

    code = 6


class Interrupted(KeyboardInterrupt):
    """A signal, or another thread, asked to stop.

    A KeyboardInterrupt, so that no ``except Exception`` takes the request for a failure.
    """

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.code = 128 + signum
        self.run_id: str | None = None  # the run to resume, where a job trains a single run


class Diverged(Exception):  # noqa: N818 - an outcome of a trial
    """The loss is no longer a finite number."""

    end = "diverged"


class Infeasible(Exception):  # noqa: N818 - an outcome of a trial
    """The network exceeds a limit that the study sets."""

    end = "infeasible"


class TimedOut(Exception):  # noqa: N818 - an outcome of a trial
    """The trial exceeded its time limit."""

    end = "timeout"

    def __init__(self, seconds: float | None) -> None:
        super().__init__(f"it took longer than {seconds or 0:g} s")
