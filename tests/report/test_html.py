"""The HTML report: its sections, tables and thumbnails, and what it keeps out of a page."""

import base64
import csv
import dataclasses
import hashlib
import io
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from support import pages
from support.records import (
    first_right,
    make_record,
    make_result,
    mixed_study,
    repeated_study,
    with_bits,
)
from support.reports import (
    PICTURE,
    PIXEL,
    hostile_study,
    report_study,
    report_trial,
    report_winner,
    study_with_thumbnails,
)

from pipeline.cli import program
from pipeline.report import answer, html, render
from pipeline.report.contents import ReportContents
from pipeline.report.html import MAX_ROWS, VISIBLE_ROWS, NoPlot, page
from sweeps.analysis.facts import StoredSpec, StudyFacts
from sweeps.analysis.importance import importance
from sweeps.analysis.record import Promotions
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import MAX_TRIALS
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING

ROOT = Path(__file__).parents[2]


def made(record, *pictures):
    """The page of a study, checked and read."""
    return pages.check(page(ReportContents(record), pictures))


def section(found, name):
    """A section of a page; None where it has none."""
    return next((e for e in found.all("section") if e.attributes["id"] == name), None)


def ranked(found):
    """The ranked table of a page: its columns, and a mapping for each row."""
    (table,) = (e for e in found.all("table") if e.attributes.get("class") == "sortable")
    names, *rows = table.cells()
    return names, [dict(zip(names, row, strict=True)) for row in rows]


def test_rows_are_those_of_the_csv():
    """The ranked table has the rows, columns and figures of trials.csv, in its order, accuracies in per cent."""
    record = mixed_study(40)
    names, rows = ranked(made(record))
    expected = list(csv.DictReader(io.StringIO(render.render(record, "csv"), newline="")))
    for row in rows:
        percent = row.pop("val_acc (%)")
        row["val_acc"] = percent and f"{float(percent) / 100:.4f}"
        row["parameters"] = row["parameters"].replace(",", "")
    assert len(names) == len(expected[0])
    assert rows == expected


def test_ties_and_rules_of_the_ranking_are_said():
    """A shared rank is marked, and below the table stand the rules that ranked trials of different epochs."""
    trials = [
        make_result(0, 0.9, lr=0.1),
        make_result(1, 0.9, lr=0.2),
        make_result(2, 0.8, lr=0.3, state=PRUNED, epochs=1),
        make_result(3, 0.7, lr=0.4, state=PRUNED, epochs=2),
    ]
    found = made(make_record(trials, facts=StudyFacts(selection=2)))
    _, rows = ranked(found)
    assert [(row["rank"], row["trained"]) for row in rows] == [
        ("1=", "3"),
        ("1=", "3"),
        ("3", "2"),
        ("4", "1"),
    ]
    text = section(found, "trials").text
    assert "by value only among those of as many epochs" in text
    assert "A rank with = is a tie" in text


def test_a_page_lets_nothing_in():
    """The policy admits data: images, and our own style and script by their digests."""
    found = made(report_winner(), PICTURE)
    (policy,) = (e.attributes["content"] for e in found.all("meta") if "http-equiv" in e.attributes)
    digests = {
        tag: base64.b64encode(
            hashlib.sha256("".join(found.all(tag)[0].texts).encode()).digest()
        ).decode()
        for tag in ("style", "script")
    }
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digests['style']}'; "
        f"script-src 'sha256-{digests['script']}'; base-uri 'none'; form-action 'none'"
    )
    assert len(found.all("style")) == len(found.all("script")) == 1
    assert "http" not in found.text
    assert "url(" not in "".join(found.all("style")[0].texts)


def test_order_and_contents():
    """The sections stand in the order of a reader's questions, and the contents name them all."""
    found = made(report_winner(), PICTURE)
    ids = [e.attributes["id"] for e in found.all("section")]
    assert ids == [
        "result",
        "next",
        "checks",
        "trials",
        "plots",
        "winner",
        "mistakes",
        "troubles",
        "methods",
        "origin",
    ]
    links = [e.attributes["href"] for nav in found.all("nav") for e in nav.all("a")]
    assert links == [f"#{name}" for name in ids]


def test_a_plot_has_its_text():
    """A plot stands in a figure with its figures as text, how to read it, and its size."""
    (figure,) = section(made(report_winner(), PICTURE), "plots").all("figure")
    (image,) = figure.all("img")
    assert image.attributes["alt"] == "Best 0.9 at trial 3."
    assert base64.b64decode(image.attributes["src"].partition(",")[2]) == PIXEL
    assert figure.all("figcaption")[0].text == "History. How it rose."


def test_a_line_instead_of_a_plot_that_would_show_nothing():
    """Where a plot would show nothing, one line says why."""
    no_plot = NoPlot(title="Importance", why="too few to say (4 of 20)")
    found = pages.read(page(ReportContents(report_winner()), [], no_plots=[no_plot]))
    assert "Importance: too few to say (4 of 20)." in section(found, "plots").text
    assert not section(found, "plots").all("figure")


def test_columns_stand_by_importance_and_the_last_are_folded():
    """The result and its state come first, then searched fields by importance; what has no room is folded."""
    record = mixed_study(60)
    found = made(record)
    table = section(found, "trials").all("table")[0]
    names = [e.text for e in table.all("th")]
    told = next(share.key for share in importance(record).shares)
    assert names[:6] == ["rank", "trial", "val_acc (%)", "state", "family", told]
    folds = ["fold" in e.attributes.get("class", "") for e in table.all("tr")[1].all("td")]
    assert folds == sorted(folds)
    assert any(folds)
    assert not any(folds[:6])


@pytest.mark.parametrize(
    ("results", "changes", "said"),
    [
        ([], {}, "Nothing yet: none of its 24 planned trials was begun."),
        ([(COMPLETE, 0.9)], {"trials": 1}, "Finished: 1 of 1 planned trial. 1 ended: 1 complete."),
        ([(COMPLETE, 0.9), (PRUNED, 0.5)], {"trials": 2}, "Finished: 2 of 2 planned trials."),
        (
            [(COMPLETE, 0.9), (RUNNING, None)],
            {},
            "A snapshot as of trial 1, with 1 of 24 planned trials running.",
        ),
        (
            [(COMPLETE, 0.9), (RUNNING, "interrupted")],
            {},
            "goes on. 1 ended: 1 complete; 1 interrupted.",
        ),
        ([(COMPLETE, 0.9)], {}, "Interrupted before the end of its 24 planned trials"),
        ([(COMPLETE, 0.9)], {"reason": "until"}, "Stopped by --timeout before the end"),
        (
            [(COMPLETE, 0.9)],
            {"reason": "target 0.9 reached"},
            "Stopped by a rule of the study, target 0.9 reached,",
        ),
        ([(FAILED, None)] * 5, {"reason": "failures"}, "Given up after too many failures in a row"),
        ([(FAILED, None)] * 3, {"trials": 3}, "Finished: 3 of 3 planned trials. 3 ended: 3 failed"),
    ],
)
def test_standing(results, changes, said):
    """However far a study has come, its page says so, and where its trials went."""
    trials = [
        make_result(
            number,
            value if isinstance(value, float) else None,
            state=state,
            end=value if isinstance(value, str) else None,
            lr=0.001 * (number + 1),
        )
        for number, (state, value) in enumerate(results)
    ]
    found = made(dataclasses.replace(make_record(trials), **changes))
    assert said in section(found, "result").text
    won = any(state == COMPLETE for state, _ in results)
    assert (section(found, "winner") is not None) == won
    assert ("Nothing has won: no trial is complete." in found.text) != won


def test_pruned_trials_are_explained():
    """Where trials went is said in plain words, and why each was stopped."""
    trials = [
        make_result(n, 0.9 - n / 100, state=PRUNED if n else COMPLETE, lr=0.01 + n / 100)
        for n in range(5)
    ]
    found = made(make_record(trials))
    assert "5 ended: 1 complete, 4 pruned" in section(found, "result").text
    assert "stopped early, being behind the others" in section(found, "result").text
    rows = section(found, "troubles").all("table")[0].cells()
    assert rows[1] == ["pruned", "behind the others after epoch 3", "4", "#1, #2, #3, #4"]


def test_equal_errors_stand_once():
    """Failed trials are grouped by their error, the most frequent first, with their numbers."""
    trials = [
        make_result(n, state=FAILED, end="oom", error="no room", lr=0.01 + n / 1000)
        for n in range(30)
    ]
    trials.append(make_result(30, state=FAILED, end="error:ValueError", error="<script>x</script>"))
    found = made(make_record(trials))
    rows = section(found, "troubles").all("table")[0].cells()[1:]
    assert [row[:3] for row in rows] == [
        ["oom", "no room", "30"],
        ["error:ValueError", "<script>x</script>", "1"],
    ]
    assert rows[0][3].endswith("#11 and 18 more")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (((0.9,), (0.8,)), "one seed: which of them is better is not known."),
        (((0.9, 0.8), (0.8,)), "a difference with a single seed on one side: which is better"),
        (((0.90, 0.91), (0.80, 0.81)), "Better beyond chance (95 % interval +"),
        (((0.9, 0.8), (0.84, 0.85)), "Not told apart"),
        (((0.9, 0.9), (0.899, 0.899)), "Equal in practice, within 1 point (95 % interval -"),
        (((0.9,), (0.9,)), "a tie, in which the earlier trial stands first"),
        (((0.9,),), "there is nothing to compare it with"),
    ],
)
def test_how_sure(values, said):
    """Beside what won stands by how much, and whether that may be noise."""
    trials = [
        (lr, seed, value)
        for lr, seeds in enumerate(values, start=1)
        for seed, value in enumerate(seeds)
    ]
    results = [
        with_bits(make_result(n, value, lr=lr / 100, seed=seed), first_right(value, 1000))
        for n, (lr, seed, value) in enumerate(trials)
    ]
    assert said in section(made(make_record(results)), "result").text


def test_the_winner_flatters_itself():
    """Of equal networks the best is too high by what the images did for it, and the report says by how much."""
    rng = np.random.default_rng(0)
    results = [
        with_bits(make_result(n, 0.9, lr=(n + 1) / 100, optimism=0.004), rng.random(239) < 0.9)
        for n in range(12)
    ]
    text = section(made(make_record(results)), "result").text
    found = re.search(
        r"too high by about (\d\.\d\d) points as the best of 12 configurations and", text
    )
    # The mean of the best of twelve accuracies is 1.63 standard deviations above theirs.
    assert 0.5 < float(found[1]) / 100 / (1.63 * (0.09 / 239) ** 0.5) < 1.5
    assert (
        "0.40 points as the best of its epochs (estimated; of the epochs as the mean of 12 complete "
        "trials; together less than the sum)" in text
    )
    alone = [with_bits(make_result(0, 0.9), first_right(0.9, 239))]
    assert "too high" not in section(made(make_record(alone)), "result").text


def test_a_difference_is_said_in_images():
    """Where the validation images were counted, a lead in accuracy is told as how many of them it is."""
    results = [
        make_result(n, 0.9 - n / 100, lr=0.01 + n / 100, with_confusion=True) for n in range(2)
    ]
    assert (
        "It is 1.00 points ahead of the second (trial 1, lr 0.02): 3 of the 300 validation images."
        in section(made(make_record(results, dimensions=report_study().dimensions)), "result").text
    )


def test_test_scores():
    """A test score that was recorded is shown; else the command that obtains it."""
    record = report_study(report_trial(0, 0.9), name="my study")
    assert "pipeline evaluate --run 'my study'#0 --split test" in section(made(record), "next").text
    scored = dataclasses.replace(
        record, results=(dataclasses.replace(record.results[0], test={"acc": 0.8765}),)
    )
    found = made(scored)
    assert (
        "Test accuracy, scored after the choice: 87.65 % (1 seed)." in section(found, "result").text
    )
    assert "evaluate" not in section(found, "next").text


def test_every_command_is_one():
    """What the page tells a reader to type, the command line takes."""
    record = report_study(
        report_trial(0, 0.9, run_id="abc"), name="my study", command="pipeline sweep --trials 3"
    )
    steps = answer.answer(dataclasses.replace(record, trials=3)).steps
    assert len(steps) == 9
    for step in steps:
        command, name, *arguments = shlex.split(step.command)
        assert command == "pipeline"
        program.cli.commands[name].make_context(name, arguments)


def finalists(*values, **changes):
    """A study whose first two were trained again: the values of each with every fresh seed."""
    again = [
        with_bits(
            make_result(n, value, lr=lr / 100, seed=seed, test={"acc": value - 0.05, "loss": 0.1}),
            first_right(value, 1000),
        )
        for n, (lr, seed, value) in enumerate(
            (lr, s, v) for lr, vs in enumerate(values, 1) for s, v in enumerate(vs, 5)
        )
    ]
    own = [make_result(n, 0.9 - n / 100, lr=(n + 1) / 100) for n in range(2)]
    lr = (Dimension(field="lr", low=0.001, high=0.1),)
    found = dataclasses.replace(
        make_record(again, dimensions=lr),
        **{"name": "test.finalists", "trials": len(again), **changes},
    )
    return dataclasses.replace(make_record(own, dimensions=lr), finalists=found)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            ((0.8, 0.81), (0.9, 0.91)),
            "The winner is cnn, optimizer adam, lr 0.02: validation accuracy 90.50 ± 0.71 % (2 seeds), trained",
        ),
        (
            ((0.8, 0.81), (0.9, 0.91)),
            "It is ahead of the other finalist by more than chance: the 95 % intervals of all pairs",
        ),
        (
            ((0.8, 0.9), (0.9, 0.8)),
            "First by its mean is cnn, optimizer adam, lr 0.01: validation accuracy 85.00",
        ),
        (((0.8, 0.81), (0.9, 0.91)), "ahead of the second by10.00 points"),
        (((0.8, 0.9), (0.9, 0.8)), "Place 2 is not told apart from the winner by these runs."),
        (((0.8, 0.9), (0.9, 0.8)), "ahead of the second bya tie"),
        (((0.9, 0.8),), "It was the only finalist."),
        (
            ((0.8, 0.81), (0.9, 0.91)),
            "In the search: Trial 0 won, with cnn, optimizer adam, lr 0.01: validation accuracy 90.00 %",
        ),
        (
            ((0.8, 0.81), (0.9, 0.91)),
            "Test accuracy, scored after the choice: 85.50 ± 0.71 % (2 seeds).",
        ),
    ],
)
def test_finalists_decide(values, said):
    """Once the finalists have ended, their verdict stands first, and the winner is theirs."""
    found = made(finalists(*values))
    assert said in section(found, "result").text
    assert "pipeline finalists" not in section(found, "next").text
    assert "--run test.finalists#" in section(found, "next").text
    assert section(found, "finalists").all("table")


def test_a_finalist_that_did_better_is_not_beaten():
    """One placed behind for a failed seed is said to have done better, and the figures say behind, not ahead."""
    record = finalists((0.90, 0.901, 0.902), (0.95, 0.952, 0.951))
    failed = dataclasses.replace(record.finalists.results[-1], state=FAILED, value=None)
    again = dataclasses.replace(record.finalists, results=(*record.finalists.results[:-1], failed))
    text = section(made(dataclasses.replace(record, finalists=again)), "result").text
    assert "Placed first is cnn, optimizer adam, lr 0.01" in text
    assert "Place 2 did better than the winner, and is placed behind because not all" in text
    assert "ahead of the second bybehind by 5.00 points" in text
    assert "by more than chance" not in text


def test_confusion_and_mistakes_are_of_the_same_trial(tmp_path):
    """Once finalists have decided, the picture of the confusion and the pairs that are confused are their winner's."""
    record = finalists((0.8, 0.81), (0.9, 0.91))
    own = tuple(dataclasses.replace(t, confusion=((9, 0), (0, 9))) for t in record.results)
    counts = {0.01: ((5, 4), (0, 9)), 0.02: ((9, 0), (2, 7))}
    fresh = tuple(
        dataclasses.replace(t, confusion=counts[t.config.lr]) for t in record.finalists.results
    )
    names = ("cat", "dog")
    again = dataclasses.replace(record.finalists, results=fresh, classes=names)
    record = dataclasses.replace(record, results=own, finalists=again, classes=names)
    render.write(record, tmp_path)
    found = pages.check((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "dog taken for cat: 2 of 9 images" in section(found, "mistakes").text
    (alt,) = (e.attributes["alt"] for e in found.all("img") if "right" in e.attributes["alt"])
    assert alt.startswith(
        "Trial #3 cnn relu of test.finalists: 16 of 18 images right; dog taken for cat (2 times)"
    )


def test_finalists_under_way():
    """As long as finalists are trained, the search's own winner stands, and the command that goes on."""
    found = made(finalists((0.8, 0.81), trials=4))
    assert section(found, "result").all("p")[0].text.startswith("Trial 0 won, with cnn")
    assert "pipeline finalists test" in section(found, "next").text


def test_mistakes_are_pictured():
    """The most confused pairs and the worst images stand with their pictures, names and probabilities."""
    found = section(made(study_with_thumbnails()), "mistakes")
    pairs = [item.text for item in found.all("ul")[0].children]
    assert pairs[0].startswith("{{ 7*7 }} taken for <b>cat</b>: 2 of 6 images")
    alts = [image.attributes["alt"] for image in found.all("img")]
    assert (
        alts
        == [
            "true {{ 7*7 }}, predicted <b>cat</b> with probability 0.98",
            "true <b>cat</b>, predicted {{ 7*7 }} with probability 0.50",
        ]
        * 2
    )  # for a pair each, and as the worst: image 3 has no picture
    assert {image.attributes["class"] for image in found.all("img")} == {"pixels"}


def test_a_winner_without_mistakes():
    """Where the winner gets every validation image right, the page says so."""
    found = made(
        report_study(report_trial(0, 1.0, confusion=((5, 0), (0, 6)), accuracies=(1.0, 1.0)))
    )
    assert "It gets all 11 validation images right." in section(found, "mistakes").text


def test_published_figures_have_their_section():
    """Published figures stand against ours where the study has any."""
    trials = [make_result(n, 0.9 - n / 100, lr=0.01 + n / 100) for n in range(2)]
    found = made(
        make_record(
            trials, reference=[{"name": "<i>a</i>", "when": {"lr": 0.01}, "test_acc": 0.97}]
        )
    )
    assert "<i>a</i>" in section(found, "published").text
    assert section(made(make_record(trials)), "published") is None


def test_how_it_was_made():
    """Data, plan, settings and search space are told, and when the last trial ended."""
    facts = {
        "digest": "0123abcd",
        "shape": [1, 8, 8],
        "images": {"train": 1199, "val": 239},
        "runtime": {"device": "cpu", "threads": 1},
        "versions": {"python": "3.11.7", "torch": "2.15"},
        "description": "What <i>it</i> is.",
    }
    spec = {
        "method": "tpe",
        "pruner": "asha",
        "seed": 3,
        "fixed": {"optimizer": "sgd"},
        "constraints": {"mflops": 9.0},
    }
    found = made(
        report_study(
            report_trial(0, 0.9),
            facts=StudyFacts(**facts),
            spec=StoredSpec(**spec),
            parent_run_id="parent1",
        )
    )
    text = section(found, "origin").text
    for part in (
        *(
            "0123abcd",
            "1x8x8",
            "1,199 train, 239 val",
            "device cpu, threads 1",
            "python 3.11.7, torch 2.15",
        ),
        *(
            "method tpe",
            "pruner asha",
            "seed 3",
            "optimizer sgd",
            "mflops 9",
            "parent run parent1",
            "1e-05 to 0.1, log",
        ),
    ):
        assert part in text
    assert "What <i>it</i> is. Data set digits." in found.all("header")[0].text
    assert "the last trial ended 1970-01-01 00:00 UTC" in found.all("footer")[0].text


def test_hostile_names_are_shown_as_they_are():
    """Whatever a user calls things, nothing of it is markup, template or a control character."""
    record = dataclasses.replace(
        hostile_study(),
        name="<script>alert(1)</script>{{ 7*7 }}\x1b[31m",
        dataset='folder:"><img src=x onerror=alert(1)>',
        facts=StudyFacts(description="<style>*{display:none}</style>", digest="{% raw %}"),
    )
    text = page(ReportContents(record), [])
    found = pages.check(text)
    assert found.all("h1")[0].text == "<script>alert(1)</script>{{ 7*7 }}"
    assert "49" not in found.all("h1")[0].text
    assert "<style>*{display:none}</style>" in found.all("header")[0].text
    assert '"><img src=x onerror=alert(1)>' in found.all("header")[0].text
    assert len(found.all("script")) == len(found.all("style")) == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    text.encode()


def test_two_hundred_classes():
    """Of many classes the page lists the ten worst and the five best."""
    (table,) = (
        t
        for t in section(made(report_winner(200)), "winner").all("table")
        if t.cells()[0][:2] == ["index", "class"]
    )
    assert len(table.cells()) == 1 + 15


def test_many_trials():
    """Of thousands of trials the page has the first thousand, fifty of them at once, and says where the others are."""
    trials = [
        report_trial(n, 1 - n / 10_000, lr=0.001 + n / 100_000, epochs=1)
        for n in range(MAX_ROWS + 200)
    ]
    text = page(ReportContents(report_study(*trials)), [])
    found = pages.check(text)
    bodies = section(found, "trials").all("tbody")
    assert [len(body.all("tr")) for body in bodies] == [VISIBLE_ROWS, MAX_ROWS - VISIBLE_ROWS]
    assert "The first 1,000 of 1,200 are here, trials.csv has all." in section(found, "trials").text
    assert "Show all 1000 rows" in section(found, "trials").all("label")[0].text
    assert len(text) < 1_000_000


def test_the_same_study_gives_the_same_page():
    """A page holds nothing of the moment it is made."""
    record = repeated_study([({"lr": 0.1}, 0.9), ({"lr": 0.2}, 0.8)], report_study().dimensions)
    assert page(ReportContents(record), [PICTURE]) == page(ReportContents(record), [PICTURE])


def luminance(colour):
    """Relative luminance of a colour like #1b2631 (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme):
    """Every colour of text stands out from both grounds by 4.5 to 1, as WCAG's level AA asks."""
    style = (ROOT / "pipeline" / "report" / "templates" / "page.css").read_text()
    palette = re.search(rf"color-scheme: {scheme};(.*?)}}", style, re.DOTALL)[1]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", palette))
    assert len(colours) == 10
    for ground in ("ground", "raised"):
        for name in set(colours) - {"ground", "raised", "line"}:
            dark, light = sorted((luminance(colours[ground]), luminance(colours[name])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{name} on {ground}"


def test_templates_are_shipped():
    """Every file of the templates is among the package's data, and a value that a template lacks is an error."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]["pipeline.report"]
    files = [
        path.relative_to(ROOT / "pipeline" / "report").as_posix()
        for path in (ROOT / "pipeline" / "report" / "templates").iterdir()
    ]
    assert len(files) >= 6
    assert all(any(fnmatch(file, pattern) for pattern in data) for file in files)
    with pytest.raises(Exception, match="is undefined"):
        html.render_template("report.html", {})


def test_written_with_the_rest(tmp_path):
    """`write` puts the page beside the other files, with the plots that it drew inside."""
    record = dataclasses.replace(mixed_study(8), name="demo")
    paths = render.write(record, tmp_path)
    assert tmp_path / "report.html" in paths
    found = pages.check((tmp_path / "report.html").read_text())
    inside = [
        base64.b64decode(e.attributes["src"].partition(",")[2])
        for e in section(found, "plots").all("img")
    ]
    assert inside == [path.read_bytes() for path in paths if path.suffix == ".png"]
    assert len(inside) > 3


PROMOTED = Promotions(promotions=4, pauses=6, expected_epochs=100)


def promoting(*states, **facts):
    """The page of a study with promotion, whose trials are in these states after 3 of 10 epochs."""
    trials = [
        make_result(n, 0.9 - n / 100, state=state, lr=0.01 + n / 100, epochs=3)
        for n, state in enumerate(states)
    ]
    return made(make_record(trials, promoted=PROMOTED, **facts))


def test_what_promotion_cost_and_spared():
    """The page tells the epochs trained, how many are complete, and how often trials were paused."""
    found = promoting(COMPLETE, PRUNED, PRUNED, trials=3)
    text = section(found, "result").text
    assert "asha trained 9 of 23 epochs (39 %): 1 of 3 trials to its end" in text
    assert "6 pauses, 4 promotions." in text
    assert "paused, being behind the others, until nothing was left to train" in text
    assert "asha trained" not in made(make_record([make_result(0, 0.9)])).text


def test_paused_trials_are_told():
    """An interrupted study tells its paused trials, which go on, and shows no failure."""
    found = promoting(COMPLETE, PAUSED, PAUSED, trials=4)
    text = section(found, "result").text
    assert "Interrupted before the end of its 4 planned trials: the command" in text
    assert "goes on, with 2 paused trials. 1 ended: 1 complete; 2 paused." in text
    assert "asha trained 9 of 23 epochs (39 %) so far: " in text
    assert "it goes on if its place among the others allows" in text
    assert section(found, "troubles") is None
    running = promoting(COMPLETE, PAUSED, RUNNING, trials=4)
    text = section(running, "result").text
    assert "with 1 of 4 planned trials running and 1 paused." in text


def test_a_budget_says_how_far():
    """Where a budget alone says how many trials are drawn, no total is told."""
    facts = {"trials": MAX_TRIALS, "budget": "12", "reason": "done"}
    text = section(promoting(COMPLETE, PRUNED, **facts), "result").text
    assert "Finished: 2 trials within its budget of 12 whole trainings." in text
    drawn = promoting(COMPLETE, PRUNED, **{**facts, "trials": 24, "budget": "1"})
    said = "Finished: 2 of 24 planned trials, within its budget of 1 whole training."
    assert said in section(drawn, "result").text
    facts |= {"budget": "1.5h", "reason": None}
    text = section(promoting(COMPLETE, PAUSED, **facts), "result").text
    assert "Interrupted before the end of its budget of 1.5 hours" in text
    facts |= {"budget": "100min"}  # no short number of hours
    text_of_minutes = section(promoting(COMPLETE, PAUSED, **facts), "result").text
    assert "before the end of its budget of 100min of training" in text_of_minutes
    assert str(MAX_TRIALS) not in text
