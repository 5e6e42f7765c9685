"""The numbered decisions of a study: which trial is trained, and until which epoch.

A study with promotion keeps a log. A decision draws a new trial or goes on with a paused one, and
each is written to the store at once: a draw with the trial itself, a promotion as an attribute of
the study. A decision knows the results of earlier decisions only, with as many of the newest left
out as may be in training at the time. It is therefore the same each time, however long trainings
take, and whoever is killed meanwhile.

When all trials are drawn, or the budget leaves no room for the next step, the study ends with
decisions that a larger total would not take. They are kept apart: when the total is raised, later
decisions do not know of them, so that 3 trials and then 8 equal 8.

A study whose trials are trained in one go has one decision for each trial, and needs no log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.search.tables import TrialData

PROMOTING = 2  # the version of the scheduler since which a paused trial may go on
HEAD_STARTS = 3  # the version of it since which starts first pause later if a budget decides
WHOLE = 1 << 30  # stands for the last epoch of any trial
DRAWN_BY = "decision"  # attribute of a drawn trial: the number of its decision, and the epoch
_PROMOTION = "go "  # attribute of the study, followed by the number of the decision


@dataclass(frozen=True)
class Decision:
    """A trial is trained until an epoch."""

    trial: int  # number of the trial
    until: int  # the epoch


def finishing_key(trial: int, goal: str) -> str:
    """The attribute of a study for a trial that is finished before finalists are chosen.

    It is a promotion that no decision of the search knows of. Its value is as for any promotion.

    Args:
        trial: the number of the trial.
        goal: as for a log.
    """
    return f"{_PROMOTION}{trial} of finalists of {goal}"


def count_promotions(study_attrs: Mapping[str, Any]) -> int:
    """Count the promotions of a study, those of the ends of all its totals included.

    Several decisions may let a trial go on until the same epoch, if the total was raised. It is
    trained once, and counts once.

    Raises:
        DamagedStudyError: if an attribute is no decision.
    """
    promotions = {
        _two_numbers(key, value) for key, value in study_attrs.items() if key.startswith(_PROMOTION)
    }
    return len(promotions)


class DamagedStudyError(Exception):
    """A study in the store does not hold what a study holds; the message says where."""

    def __init__(self, problem: str, study: str | None = None) -> None:
        """Say what is wrong.

        Args:
            problem: names the attribute, and its trial.
            study: the study's name; None where it is not known yet.
        """
        super().__init__(problem if study is None else f"study {study!r}: {problem}")
        self.problem = problem
        self.study = study


@contextmanager
def named(study: str) -> Iterator[None]:
    """Name the study in an error for damage that is found in the block."""
    try:
        yield
    except DamagedStudyError as error:
        if error.study is not None:
            raise
        raise DamagedStudyError(error.problem, study) from error


class DecisionLog:
    """The decisions of a study, in order: those of any total, then those of the end."""

    def __init__(self, goal: str) -> None:
        """Make an empty log.

        Args:
            goal: names the total or budget of the study; the decisions of its end belong to it.
        """
        self._goal = goal
        self._decisions: list[Decision] = []
        self._drawn: list[int] = []
        self._until: dict[int, int] = {}
        self.at_end = False  # whether the end has begun

    @staticmethod
    def read(goal: str, trials: Iterable[TrialData], study_attrs: Mapping[str, Any]) -> DecisionLog:
        """Read the log of a study.

        Args:
            goal: as for a new log.
            trials: of the study.
            study_attrs: the attributes of the study.

        Raises:
            DamagedStudyError: if a decision is missing, or is none.
        """
        decisions = _read_draws(trials)
        drawn = {decision.trial for decision in decisions.values()}
        of_the_end: dict[int, Decision] = {}
        for key, value in study_attrs.items():
            if not key.startswith(_PROMOTION):
                continue
            number, _, its_goal = key.removeprefix(_PROMOTION).partition(" of ")
            promoted, until = _two_numbers(key, value)
            if not number.isdecimal() or promoted not in drawn:
                raise DamagedStudyError(f"attribute {key!r} goes on with no trial of the study")
            if not its_goal:
                decisions[int(number)] = Decision(promoted, until)
            elif its_goal == goal:
                of_the_end[int(number)] = Decision(promoted, until)
        log = DecisionLog(goal)
        for index in range(len(decisions)):
            if index not in decisions:
                raise DamagedStudyError(f"decision {index} is missing")
            log.add(decisions[index])
        for index in sorted(of_the_end):
            log.add(of_the_end[index], at_end=True)
        return log

    @property
    def decisions(self) -> Sequence[Decision]:
        """All decisions, in order."""
        return self._decisions

    @property
    def drawn(self) -> Sequence[int]:
        """The numbers of the drawn trials, in the order of drawing."""
        return self._drawn

    def add(self, decision: Decision, *, at_end: bool = False) -> None:
        """Add a decision; after a decision of the end, only such."""
        self.at_end = self.at_end or at_end
        self._decisions.append(decision)
        if decision.trial not in self._until:
            self._drawn.append(decision.trial)
        self._until[decision.trial] = max(decision.until, self.until(decision.trial))

    def promotion_key(self, *, at_end: bool) -> str:
        """The attribute of the study for the next decision, if it goes on with a trial.

        Its value is the trial's number, and the epoch until which the trial is trained.
        """
        key = f"{_PROMOTION}{len(self._decisions)}"
        return f"{key} of {self._goal}" if at_end else key

    def until(self, trial: int) -> int:
        """The last epoch until which a trial was told to train; 0 if it was not."""
        return self._until.get(trial, 0)


def _read_draws(trials: Iterable[TrialData]) -> dict[int, Decision]:
    """Read the decisions that drew a trial, by their numbers.

    Raises:
        DamagedStudyError: if an attribute is no decision.
    """
    decisions: dict[int, Decision] = {}
    for trial in trials:
        # A trial of another program that a dead process was about to take has no configuration.
        if DRAWN_BY in trial.user_attrs and "config" in trial.user_attrs:
            name = f"{DRAWN_BY} of trial {trial.number}"
            index, until = _two_numbers(name, trial.user_attrs[DRAWN_BY])
            if index in decisions:
                raise DamagedStudyError(f"decision {index} is there twice")
            decisions[index] = Decision(trial.number, until)
    return decisions


def _two_numbers(name: str, value: object) -> tuple[int, int]:
    """Read the value of an attribute that is two whole numbers.

    Raises:
        DamagedStudyError: if it is anything else.
    """
    match value:
        case [int(first), int(second)] if first >= 0 and second > 0:
            return first, second
    raise DamagedStudyError(f"attribute {name!r} must be two numbers: got {str(value)[:80]!r}")


def window(workers: int) -> int:
    """Return how many decisions, with the present one, may not know of one another's results.

    With as many as there are workers, each worker would often wait for the slowest. With more than
    twice as many, or many workers, too little is known.
    """
    if workers == 1:
        return 1
    return max(workers, min(2 * workers, 8))
