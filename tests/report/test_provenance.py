"""How a study was made is told: here, how often its networks were scored on the test split."""

import json

import pytest
from support import pages
from support.records import make_record, make_result

from pipeline.report import render
from pipeline.report.contents import ReportContents
from pipeline.report.html import page
from pipeline.report.provenance import looks_text
from sweeps.analysis.facts import StudyFacts

NEW = StudyFacts(selection=2)


def study(counted, *, facts=NEW, **changes):
    """Fifteen configurations, scored so often."""
    results = [make_result(n, 0.9 - n / 100, lr=0.01 + n / 100) for n in range(15)]
    return make_record(results, counted_looks=counted, facts=facts, **changes)


TWELVE = "#0, #1, #2, #3, #4, #5, #6, #7, #8, #9, #10, #11"
IN_FINALISTS = "2 times in the study's finalists (trials #0, #1)"
OPTIMISTIC = (
    " configurations have test scores, and to choose among them by these would make the score of "
    "the chosen one optimistic."
)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (study({}), "The test split was never scored in this study."),
        (study({"2": 1}), "The test split was scored once in this study (trial #2)."),
        (study({"2": 3}), "The test split was scored 3 times in this study (trial #2)."),
        (
            study({"10": 1, "2": 2}),
            f"The test split was scored 3 times in this study (trials #2, #10): 2{OPTIMISTIC}",
        ),
        (
            study({str(n): 1 for n in range(15)}),
            f"The test split was scored 15 times in this study (trials {TWELVE} and 3 more): 15{OPTIMISTIC}",
        ),
        (
            study({"2": 1}, facts=StudyFacts()),
            "The test split was scored at least once in this study (trial #2).",
        ),
        (
            study({}, finalists=study({"0": 2, "refit": 1})),
            "The test split was scored 3 times in the study's finalists (trial #0 and the refit).",
        ),
        (
            study({"1": 1}, finalists=study({"0": 1, "1": 1})),
            f"The test split was scored once in this study (trial #1) and {IN_FINALISTS}: 2{OPTIMISTIC}",
        ),
    ],
)
def test_looks_at_the_test_split(record, said):
    """How often it was scored is said, of which trials, and what a choice among several of them would do."""
    assert looks_text(record) == said


def test_every_report_says_it():
    """The page, the winner in detail in each format, and the data have the sentence, the page once."""
    record = study({"2": 3})
    said = looks_text(record)
    for fmt in ("table", "json", "csv", "md"):
        assert said in render.render_winner(record, fmt)
    values = json.loads(render.render(record, "json"))["test_looks"]
    assert values == {
        "count": 3,
        "trials": [2],
        "at_least": False,
        "finalists_count": None,
        "text": said,
    }
    of_the_page_and_its_methods = 2
    text = pages.check(page(ReportContents(record), ())).text
    assert text.count(said) == of_the_page_and_its_methods
