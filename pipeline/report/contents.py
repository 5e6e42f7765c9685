"""What several formats of a study's report show, made once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pipeline.report.checks.registry import run_checks
from pipeline.report.grid import Row
from pipeline.report.published import compare_published
from pipeline.report.ranked import RankedTable, ranked_table
from pipeline.system.text import clean
from sweeps.analysis.published import Comparison
from sweeps.analysis.record import StudyRecord

_CHECK_CLIP = 600  # characters of a health check's text


@dataclass(frozen=True)
class ReportContents:
    """A study with its ranked table, health checks and published figures.

    Each is made when it is first used: for thousands of trials that takes seconds.
    """

    record: StudyRecord

    @cached_property
    def table(self) -> RankedTable:
        """The ranked table."""
        return ranked_table(self.record)

    @cached_property
    def checks(self) -> list[Row]:
        """The health checks, warnings first: ``level``, ``check`` and ``text``."""
        return [
            {"level": check.level, "check": check.name, "text": clean(check.text, _CHECK_CLIP)}
            for check in run_checks(self.record)
        ]

    @cached_property
    def comparison(self) -> Comparison | None:
        """The study beside the published figures; None if there are none."""
        return compare_published(self.record)
