"""The parts of a study's report shared by several formats, each made once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pipeline.report.checks.registry import run_checks
from pipeline.report.grid import Row
from pipeline.report.published import compare_published
from pipeline.report.ranked import RankedTable, ranked_table
from pipeline.system.text import clip
from sweeps.analysis.published import Comparison
from sweeps.analysis.record import StudyRecord

_CHECK_CLIP = 600  # characters of a health check's text


@dataclass(frozen=True)
class ReportContents:
    """A study with its ranked table, health checks and published figures.

    Each part is made on first use: thousands of trials take seconds.
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
            {"level": check.level, "check": check.name, "text": clip(check.text, _CHECK_CLIP)}
            for check in run_checks(self.record)
        ]

    @cached_property
    def comparison(self) -> Comparison | None:
        """The study beside the published figures; None if there are none."""
        return compare_published(self.record)
