"""What a report says of the front of two objectives, and of the trial that is taken as the best."""

import csv
import io
import json

import pytest
from support.records import make_result
from support.reports import SEARCHED, report_study

from pipeline.cli.options import check_within
from pipeline.report import front
from pipeline.report.contents import ReportContents
from pipeline.report.html import page
from pipeline.report.plots.pareto import draw_pareto, pareto_alt, pareto_info
from pipeline.report.render import render, render_winner
from pipeline.system.errors import UsageFailure
from sweeps.analysis.facts import StoredSpec, StudyFacts
from sweeps.trial import PRUNED

POINTS = [(0.9, 1000), (0.5, 100), (0.904, 20_000), (0.8, 2000), (0.3, 50_000)]


def two_objectives(cost="parameters", points=POINTS, **facts):
    """A study with two objectives: trials 1, 0 and 2 are its front, 0 is the knee."""
    results = [
        make_result(number, value, lr=0.01 * (1 + number), **{cost: price})
        for number, (value, price) in enumerate(points)
    ]
    results.append(make_result(len(points), 0.99, lr=0.5, state=PRUNED, **{cost: 10}))
    facts = {"spec": StoredSpec(objectives=("val_acc", cost)), "dimensions": SEARCHED, **facts}
    return report_study(*results, **facts)


def test_every_format_shows_the_front():
    """The terminal, JSON, CSV, Markdown and the page have the members and the knee."""
    record = two_objectives()
    knee = "The knee is trial 0, val_acc 90.00 % (1 seed) with 1,000 parameters"
    text = render(record, "table")
    assert "The front of val_acc and parameters" in text
    assert knee in text
    assert "With one seed of each, which of two neighbours is better is not known" in text
    values = json.loads(render(record, "json"))
    assert values["objectives"] == ["val_acc", "parameters"]
    assert values["front"]["knee"] == 0
    members = values["front"]["members"]
    assert [(one["trial"], one["value"], one["cost"]) for one in members] == [
        (1, 0.5, 100),
        (0, 0.9, 1000),
        (2, 0.904, 20_000),
    ]
    assert [one["gain"] and one["gain"]["outcome"] for one in members] == [None, "open", "open"]
    rows = csv.DictReader(io.StringIO(render(record, "csv")))
    marks = {row["trial"]: row["front"] for row in rows}
    assert marks == {"2": "front", "0": "knee", "3": "", "1": "front", "4": "", "5": ""}
    assert "## The front of val_acc and parameters" in render(record, "md")
    html = page(ReportContents(record), [])
    assert 'href="#front"' in html
    assert knee.replace(" %", "\N{NO-BREAK SPACE}%") in html
    assert "its knee is trial 0" in html
    assert '<span class="unbroken">--within</span> 0.005</code></li>' in html


def test_a_study_with_one_objective_has_no_front():
    """Nothing of it is shown."""
    record = two_objectives(spec=StoredSpec())
    assert front.section(record) is None
    values = json.loads(render(record, "json"))
    assert values["front"] is None
    assert "front" not in values["columns"]
    assert 'href="#front"' not in page(ReportContents(record), [])


def test_a_latency_is_shown_and_said_to_be_a_measurement():
    """Its column is there, and how it was measured is told."""
    facts = StudyFacts(workers=2, runtime={"threads": 1})
    record = two_objectives("latency_ms", [(0.9, 0.5), (0.5, 0.25)], facts=facts)
    text = render(record, "table")
    assert "the median of 30 forward passes of one image, 1 thread, beside the trainings" in text
    assert "There is no knee: the front has fewer than three members" in text
    columns = json.loads(render(record, "json"))["columns"]
    assert columns[-4:] == ["parameters", "latency_ms", "seconds", "state"]


def test_the_knee_is_drawn():
    """The searched cost comes first, on a logarithmic axis, with its knee and the line below it."""
    info = pareto_info(two_objectives())
    panel = info.panels[0]
    assert panel.log
    assert panel.knee.name == "#0 cnn"
    assert "; the knee is #0 cnn" in pareto_alt(info)
    figure = draw_pareto(info)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "knee, the farthest above the line" in labels
    assert pareto_info(two_objectives(spec=StoredSpec())).panels[0].knee is None


def chosen(record, within):
    """What is said of the best trial, and its number."""
    detail = json.loads(render_winner(record, "json", within=within))
    return detail["chosen"], detail["trial"]


def test_why_a_trial_is_taken():
    """It is the best, or the cheapest of those that are hardly worse, and what is not known is said."""
    record = two_objectives()
    whole = "the best of 5 complete configurations, val_acc 90.40 % (1 seed)"
    assert chosen(record, None) == (f"Trial 2 of demo, run run2: {whole}.", 2)
    text, number = chosen(record, 0.005)
    assert number == 0
    assert text == (
        "Trial 0 of demo, run run0: the cheapest by parameters of the 2 whose val_acc is worse than the best's "
        "by no more than 0.005, val_acc 90.00 % (1 seed) with 1,000 parameters. The best is trial 2, "
        "90.40 % (1 seed) with 20,000 parameters; difference +0.40 points of one seed each: which is better "
        "is not known."
    )
    text, number = chosen(record, 0.001)
    assert number == 2
    assert text.endswith("; none other is worse than the best's by no more than 0.001.")
    assert text in render_winner(record, "table", within=0.001)


def test_a_margin_is_of_the_best():
    """--within without --best would choose nothing."""
    check_within(None, is_best=False)
    check_within(0.0, is_best=True)
    with pytest.raises(UsageFailure, match=r"give both: got 0\.005 alone"):
        check_within(0.005, is_best=False)
    with pytest.raises(UsageFailure, match="got nan"):
        check_within(float("nan"), is_best=True)
