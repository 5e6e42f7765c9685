"""Reads study files, and has the text of one with conditions."""

from __future__ import annotations

import re

from sweeps.spec.configurations import total_trials
from sweeps.spec.studyfile import StudyFileError, parse_study

# A study with dimensions that depend on others, two of them of one field.
CONDITIONAL = """
trials: 5
fixed: {optimizer: sgd}
search:
  momentum: [0.5, 0.9]
  family: [mlp, cnn, resnet]
  width:
    - {choices: [64, 128], when: {family: mlp}}
    - {low: 8, high: 16, step: 8, when: {family: [cnn, resnet]}}
  residual: [true, false]
  shortcut: [conv, pad]
"""


def outcome(text, **options):
    """What came of a text: a study that can be laid out, or a list of errors with lines."""
    try:
        spec = parse_study(text, "file", **options)
    except StudyFileError as error:
        return [
            re.fullmatch(r"(file:\d+|command line): .+", line) for line in str(error).splitlines()
        ]
    return [total_trials(spec) >= 1, bool(spec.identity()), bool(spec.dimensions)]
