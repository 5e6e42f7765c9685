"""What ends a command other than success: one line for the user, and the exit code."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818 - its subclasses say what failed
    """Ends a command with one line (the rule, the value, the remedy) and an exit code, without a traceback."""

    code = 1


class UsageFailure(Failure):
    """The command or its configuration is wrong; nothing was written."""

    code = 2


class NothingComplete(Failure):
    """It ended, but no trial is complete, or too many failed."""

    code = 3


class StudyBusy(Failure):
    """Another live sweep holds this study."""

    code = 4


class StorageFailure(Failure):
    """A store is locked, unreachable, full, read-only or of another schema."""

    code = 5


class ServerAway(StorageFailure):
    """The tracking server does not answer now; what it was to be sent can be sent later."""


class EngineFailure(Failure):
    """The cluster that trials are trained on cannot be used."""

    code = 5


class IntegrityFailure(Failure):
    """A file is not what it was, or not to be trusted."""

    code = 6


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM asked to stop. A KeyboardInterrupt, so that nothing takes it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.code = 128 + signum
        self.run_id: str | None = None  # of the run that can go on, where it is one of its own


class Diverged(Exception):  # noqa: N818 - an outcome of a trial
    """The loss is no longer a finite number."""

    end = "diverged"


class Infeasible(Exception):  # noqa: N818 - an outcome of a trial
    """The network has more of something than the study allows."""

    end = "infeasible"


class TimedOut(Exception):  # noqa: N818 - an outcome of a trial
    """The trial took longer than it may."""

    end = "timeout"

    def __init__(self, seconds: float | None) -> None:
        super().__init__(f"it took longer than {seconds or 0:g} s")
