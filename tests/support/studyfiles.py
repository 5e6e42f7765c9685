"""How tests read study files."""

from __future__ import annotations

import re

from sweeps.spec.configurations import total_trials
from sweeps.spec.studyfile import StudyFileError, parse_study


def outcome(text, **options):
    """What came of a text: a study that can be laid out, or a list of errors with lines."""
    try:
        spec = parse_study(text, "file", **options)
    except StudyFileError as error:
        return [
            re.fullmatch(r"(file:\d+|command line): .+", line) for line in str(error).splitlines()
        ]
    return [total_trials(spec) >= 1, bool(spec.identity()), bool(spec.dimensions)]
