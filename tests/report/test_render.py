"""A report in every format: table, CSV, JSON and Markdown, with hostile names."""

import csv
import dataclasses
import io
import json
import random
import re
import shlex

import pytest
from rich.console import Console
from support.records import first_right, make_epoch, make_result, with_bits
from support.reports import hostile_study, report_study, report_trial, report_winner

from pipeline.report import render, terminal, winner
from pipeline.report.checks.registry import run_checks
from pipeline.report.formats import markdown_with_code
from pipeline.report.ranked import ranked_table
from pipeline.system.errors import NothingComplete
from pipeline.system.text import clean, clip
from sweeps.analysis.facts import StoredSpec, StudyFacts
from sweeps.spec.reference import Reference
from sweeps.trial import FAILED, PAUSED, PRUNED, RUNNING


def parsed_csv(text):
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def printed(record, width, *, colours=False):
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colours,
        color_system="truecolor" if colours else None,
    )
    console.print(terminal.table(record, width=width))
    return console.file.getvalue()


def test_rows_rank_configurations_and_blank_what_does_not_apply():
    """A row has its rank, best repeat, searched fields (None where they do not apply), value, cost and state."""
    record = report_study(
        report_trial(0, 0.8, family="mlp", lr=0.02, dropout=0.25),
        report_trial(1, 0.9, family="cnn", optimizer="sgd", momentum=0.75, seconds=3.0),
    )
    first, second = ranked_table(record).rows
    assert list(first) == ranked_table(record).columns
    assert ranked_table(record).columns == [
        *(
            "rank",
            "trial",
            "family",
            "lr",
            "dropout",
            "batch_norm",
            "layer_order",
            "optimizer",
            "momentum",
        ),
        *("val_acc", "epoch", "trained", "parameters", "seconds", "state"),
    ]
    assert (
        first["rank"],
        first["trial"],
        first["family"],
        first["momentum"],
        first["seconds"],
    ) == (
        1,
        1,
        "cnn",
        0.75,
        3,
    )
    assert (
        second["rank"],
        second["lr"],
        second["dropout"],
        second["val_acc"],
        second["epoch"],
    ) == (
        2,
        0.02,
        0.25,
        0.8,
        2,
    )
    assert second["layer_order"] is None
    assert second["momentum"] is None
    assert second["parameters"] == 1_234_567
    assert ranked_table(record).rows[:1] == [first]


def test_rows_name_how_a_trial_failed_and_end_with_what_runs():
    """Complete before pruned before failed before running; a failed one's state is how it failed."""
    record = report_study(
        report_trial(0, state=RUNNING, lr=0.1),
        report_trial(1, state=FAILED, end="diverged", lr=0.2),
        report_trial(2, 0.99, state=PRUNED, lr=0.3),
        report_trial(3, 0.5),
    )
    rows = ranked_table(record).rows
    assert [row["state"] for row in rows] == ["complete", "pruned", "diverged", "running"]
    assert [row["rank"] for row in rows] == [1, 2, None, None]


def test_repeats_are_one_row_with_mean_and_spread():
    """Repeats show mean, spread, their number and the sum of seconds, in columns that are otherwise absent."""
    record = report_study(*(report_trial(n, v, seed=n) for n, v in enumerate((0.8, 0.9, 0.85))))
    (row,) = ranked_table(record).rows
    assert row["val_acc"] == pytest.approx(0.85)
    assert row["spread"] == pytest.approx(0.05)
    assert (row["repeats"], row["trial"]) == (3, 1)
    assert row["seconds"] == pytest.approx(3 * 12.345)
    assert "spread" not in ranked_table(report_study(report_trial(0, 0.8))).columns
    assert "mean of 3 repeats 85.00 %, spread 5.00 points" in render.render_winner(record, "table")


def test_csv_reads_back():
    """The CSV holds a header and every row: scores with 4 decimals, seconds with 1, other fractions with 4 digits."""
    record = report_study(
        report_trial(0, 0.963888, lr=1e-5, batch_norm=False), report_trial(1, state=FAILED, lr=0.2)
    )
    text = render.render(record, "csv", None)
    first, second = parsed_csv(text)
    assert list(first) == ranked_table(record).columns
    assert (first["val_acc"], first["seconds"], first["lr"]) == ("0.9639", "12.3", "1e-05")
    assert (first["parameters"], first["batch_norm"], first["momentum"]) == ("1234567", "false", "")
    assert (second["rank"], second["val_acc"]) == ("", "")
    assert text.count("\r\n") == text.count("\n") == 2


def test_json_holds_the_study_and_exact_values():
    """The JSON has the study's facts, where its trials went, exact values and the errors of failed trials."""
    failed = report_trial(
        1, state=FAILED, end="error:ValueError", error="bad\nvalue " + "y" * 999, lr=0.2
    )
    data = json.loads(render.render(report_study(report_trial(0, 1 / 3), failed), "json", 1))
    assert (data["study"], data["dataset"], data["objective"], data["split"]) == (
        "demo",
        "digits",
        "val_acc",
        "validation",
    )
    assert data["ended"] == "2 ended: 1 complete, 1 failed (error:ValueError)"
    assert (data["configurations"], data["shown"], len(data["rows"])) == (2, 1, 1)
    assert data["rows"][0]["val_acc"] == 1 / 3
    assert data["failed"][0]["trial"] == 1
    assert data["failed"][0]["error"].startswith("bad value yyy")
    assert len(data["failed"][0]["error"]) == 300


def test_markdown_is_a_table_with_the_failures_below():
    """Every line of the Markdown table has the same columns; numbers are aligned right; errors are listed."""
    record = report_study(
        report_trial(0, 0.5), report_trial(1, state=FAILED, end="oom", error="no | memory", lr=0.2)
    )
    text = render.render(record, "md", None)
    complete, failed = (part for part in text.split("\n\n") if part.startswith("|"))
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in complete.splitlines()} == {
        len(ranked_table(record).columns) + 1
    }
    assert complete.splitlines()[1].startswith("| --: | --: | :-- | --: |")
    assert r"| 1 | oom | no \| memory |" in failed


@pytest.mark.parametrize("fmt", ["table", "md"])
def test_headline(fmt):
    """The headline names study, study file and data set, where the trials went, the split, and what is cut."""
    trials = [report_trial(n, 0.5 + n / 100, lr=0.001 + n / 1000) for n in range(24)]
    text = render.render(report_study(*trials, study="quick", trials=30), fmt, 20, width=200)
    assert "Study demo (study file quick) on digits" in text
    assert "24 ended: 24 complete; 30 planned" in text
    assert "val_acc on the validation split; showing 20 of 24" in text
    assert "showing" not in render.render(report_study(*trials), fmt, None)


@pytest.mark.parametrize("width", [60, 80, 130])
def test_table_drops_columns_rather_than_squeezing_them(width):
    """No line is wider than the terminal, what is shown is uncut, and the caption names what is left out."""
    trials = [
        report_trial(n, 0.9 - n / 1000, lr=0.00012 + n / 1000, family="resnet")
        for n in range(100, 140)
    ]
    text = printed(report_study(*trials), width)
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= width
    assert "…" not in text
    body = [line for line in lines if "resnet" in line]
    assert [line.split()[:3] for line in body] == [
        [str(i + 1), str(100 + i), "resnet"] for i in range(40)
    ]
    assert [f"{80 - i / 10:.2f}" in line for i, line in enumerate(body)] == [True] * 40
    _, _, caption = " ".join(lines).partition("no room for ")
    left_out = set(caption.partition(":")[0].split(", ")) - {""}
    header = re.sub(r"_ ", "_", text.split("─")[0])
    assert left_out < set(ranked_table(report_study(*trials)).columns)
    assert not [name for name in left_out if name in header.split()]
    assert ("parameters" in left_out) == (width < 130)


def test_table_shows_every_column_where_there_is_room():
    """Off a terminal nothing is left out, and parameters have separators."""
    text = render.render(report_study(report_trial(0, 0.5)), "table", None)
    heads = text.splitlines()[2].replace(" (%)", "").split()
    assert ranked_table(report_study()).columns == heads
    assert "1,234,567" in text
    assert "no room" not in text
    assert "\x1b" not in text


def test_table_marks_the_best_and_the_pruned():
    """On a terminal the best row is bold and a pruned one dim."""
    text = printed(
        report_study(report_trial(0, 0.5), report_trial(1, 0.4, state=PRUNED, lr=0.1)),
        160,
        colours=True,
    )
    best, pruned = text.splitlines()[-2:]
    assert "\x1b[1m" in best
    assert "\x1b[2m" in pruned


@pytest.mark.parametrize("fmt", render.FORMATS)
@pytest.mark.parametrize("results", [(), (FAILED,), (RUNNING,), (FAILED, RUNNING)], ids=str)
def test_studies_without_results_are_shown(fmt, results):
    """A study without a complete trial, or any, has its headline and its rows in every format."""
    record = report_study(
        *(report_trial(n, state=s, lr=0.1 + n) for n, s in enumerate(results)), trials=5
    )
    text = render.render(record, fmt, 20).replace("\\_", "_")
    assert "val_acc" in text
    assert all(str(state) in text for state in results)
    if fmt == "csv":
        assert len(parsed_csv(text)) == len(results)
    else:
        assert "demo" in text


@pytest.mark.parametrize("fmt", render.FORMATS)
def test_no_winner(fmt):
    """Without a complete trial there is no winner, and the error says where the trials went."""
    record = report_study(
        *(report_trial(n, state=FAILED, end="diverged", lr=0.1 + n) for n in range(5)), name="x"
    )
    with pytest.raises(render.NothingComplete) as error:
        render.render_winner(record, fmt)
    assert str(error.value) == "study 'x' has no complete trial: 5 ended: 5 failed (diverged)"


def test_best_detail_describes_the_winner():
    """The winner is complete, with its configuration, value, learning curve, cost, and how to go on."""
    detail = winner.winner_detail(report_winner())
    assert (detail["trial"], detail["value"], detail["best_epoch"], detail["epochs"]) == (
        7,
        0.96389,
        2,
        3,
    )
    assert detail["configuration"]["lr"] == 0.01
    assert "residual" not in detail["configuration"]
    assert [row["best"] for row in detail["curve"]] == [False, True, False]
    assert detail["curve"][1] == {
        "epoch": 2,
        "train_loss": 0.5,
        "train_acc": 0.96389 / 2,
        "val_loss": 2.0,
        "val_acc": 0.96389,
        "lr": 0.0005,
        "best": True,
    }
    assert (detail["parameters"], detail["mflops"], detail["seconds"], detail["run_id"]) == (
        1_234_567,
        3.25,
        12.345,
        "run7",
    )
    assert detail["next"] == ["pipeline evaluate --run demo#7 --split test"]
    assert "has not read the test split" in detail["test"]
    assert "mean" not in detail


def test_best_detail_scores_classes_worst_first():
    """Classes carry their true names, the worst first; those that are never predicted are named."""
    detail = winner.winner_detail(report_winner())
    assert [(row["class"], row["accuracy"]) for row in detail["classes"]] == [
        *(("class 1", 0.25), ("class 2", 0.4), ("class 0", 0.5))
    ]
    assert [row["images"] for row in detail["classes"]] == [20, 20, 20]
    assert [row["predicted"] for row in detail["classes"]] == [20, 0, 40]
    assert detail["never_predicted"] == ["class 2"]
    text = render.render_winner(report_winner(), "table")
    assert re.search(r"class 1 +25\.00 +20 +20 +20 +worst", text)
    assert re.search(r"class 2 +40\.00 +0 +20 +0 +never predicted", text)
    assert "Never predicted: class 2" in text


def test_classes_without_images_stand_last():
    """A class without validation images has no accuracy and is not the worst."""
    detail = winner.winner_detail(report_study(report_trial(0, 0.5, accuracies=(None, 0.75, 0.25))))
    assert [row["class"] for row in detail["classes"]] == ["2", "1", "0"]
    assert detail["classes"][-1]["accuracy"] is None
    assert "no images" in render.render_winner(
        report_study(report_trial(0, 0.5, accuracies=(None, 0.75))), "md"
    )


def test_loading_snippet_and_command_are_valid_code():
    """The snippet compiles with any checkpoint path, and a shell takes the study's name as one word."""
    record = report_winner(name="my study; rm")
    detail = winner.winner_detail(record)
    compile(detail["load"], "snippet", "exec")
    assert json.dumps('a "b"/best') in detail["load"]
    assert shlex.split(detail["next"][0])[3] == "my study; rm#7"


def test_two_hundred_classes_show_the_extremes():
    """Of many classes the text shows the 10 worst and the 5 best, the JSON all."""
    record = report_winner(200)
    listed = re.findall(r"(class \d+) +\d+\.\d\d ", render.render_winner(record, "table"))
    ordered = json.loads(render.render_winner(record, "json"))["classes"]
    names = [row["class"] for row in ordered]
    assert len(set(names)) == 200
    assert listed == names[:10] + names[-5:]
    assert ordered == sorted(ordered, key=lambda row: row["accuracy"])


def test_long_curves_are_thinned():
    """Of 300 epochs the text shows some 20, with the first, the best and the last; the JSON has all."""
    record = report_study(report_trial(0, 0.5, epochs=300))
    block = render.render_winner(record, "table").split("Learning curve")[1].split("\n\n")[0]
    epochs = [int(line.split()[0]) for line in block.splitlines()[3:]]
    assert {1, 299, 300} <= set(epochs)
    assert 18 <= len(epochs) <= 23
    assert len(json.loads(render.render_winner(record, "json"))["curve"]) == 300


def test_best_csv_reads_back():
    """The winner as CSV has lines of section, name and value."""
    lines = parsed_csv(render.render_winner(report_winner(classes=2 + 1), "csv"))
    values = {(line["section"], line["name"]): line["value"] for line in lines}
    assert values["result", "value"] == "0.9639"
    assert values["configuration", "lr"] == "0.01"
    assert values["class", "class 1"] == "0.2500"
    assert values["epoch 2", "val_acc"] == "0.9639"


def test_lower_is_better_where_the_study_minimises():
    """With a loss as objective the lowest value wins, and the column bears its name."""
    record = report_study(
        *(report_trial(0, 0.7), report_trial(1, 0.3, lr=0.1)), objective="val_loss", maximize=False
    )
    assert [row["val_loss"] for row in ranked_table(record).rows] == [0.3, 0.7]
    assert "val_loss 0.3000 at epoch 2 of 3" in render.render_winner(record, "table")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[/foo]", "[/foo]"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
        ("open \x1b]0;end", "open 0;end"),
        ("a\r\n\tb\x00\x07\x9b", "a b"),
        ("abc\u202edef", "abcdef"),
        ("\udcff", "?"),
        ("é漢🙂", "é漢🙂"),
    ],
)
def test_clean(text, shown):
    """Text becomes one line without control characters; what is not ASCII stays."""
    assert clean(text) == shown
    assert len(clip("x" * 600, 40)) == 40


@pytest.mark.parametrize("fmt", render.FORMATS)
@pytest.mark.parametrize("renders", [render.render, render.render_winner], ids=["study", "best"])
def test_hostile_texts_reach_no_output(fmt, renders):
    """Whatever a user calls things, no format holds control characters, and all can be written as UTF-8."""
    text = (
        renders(hostile_study(), fmt, None)
        if renders is render.render
        else renders(hostile_study(), fmt)
    )
    assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]", text)
    text.encode()
    if fmt == "md":
        assert "<b>" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        assert r"a\|b" in text


def test_hostile_texts_are_no_markup_on_a_terminal():
    """Rich takes no name for markup, and writes no escape sequence but its own."""
    text = printed(hostile_study(), 120, colours=True)
    assert "[/foo]" in text
    assert set(re.findall(r"\x1b\[([\d;]*)m", text)) <= {"0", "1", "2", "3", "31"}
    assert not re.search(r"\x1b(?!\[[\d;]*m)", text)


def test_csv_cells_are_no_formulas():
    """No text cell of the CSV starts like a formula; numbers keep their sign."""
    rows = parsed_csv(render.render(hostile_study(), "csv", None))
    families = [row["family"] for row in rows]
    assert {"'=cmd()", "'@a", "'-1", "'+1", "[/foo]", "a|b", "two lines", "?"} <= set(families)
    assert not [cell for row in rows for cell in row.values() if cell.startswith(tuple("=+-@\t\r"))]
    loss = report_study(report_trial(0, -0.5), objective="val_loss", maximize=False)
    assert parsed_csv(render.render(loss, "csv", None))[0]["val_loss"] == "-0.5000"
    classes = [
        line["name"]
        for line in parsed_csv(render.render_winner(hostile_study(), "csv"))
        if line["section"] == "class"
    ]
    assert "'=cmd()" in classes


def test_json_of_odd_numbers_is_valid():
    """A number that is none becomes null: NaN is not JSON."""
    record = report_study(
        report_trial(0, float("nan"), lr=0.1),
        report_trial(1, 0.5, lr=0.2, accuracies=(float("nan"), 0.5)),
    )
    rows = json.loads(render.render(record, "json", None))["rows"]
    assert [(row["rank"], row["trial"], row["val_acc"]) for row in rows] == [
        (1, 1, 0.5),
        (None, 0, None),
    ]
    assert json.loads(render.render_winner(record, "json"))["classes"][1]["accuracy"] is None


@pytest.mark.parametrize("fmt", render.FORMATS)
def test_a_study_of_trials_without_a_value_has_a_report(fmt):
    """Where no complete trial has a finite value, the table is there and nothing has won."""
    record = report_study(report_trial(0, float("nan")), report_trial(1, float("inf"), lr=0.1))
    assert "nan" not in render.render(record, fmt)
    with pytest.raises(NothingComplete, match="no complete trial with a value"):
        render.render_winner(record, fmt)


TIED = report_study(
    report_trial(0, 0.8, lr=0.1),
    report_trial(1, 0.9, lr=0.2),
    report_trial(2, 0.9, lr=0.3),
)


def test_a_tie_is_said():
    """Ranks that are shared are marked in text, also where the other is not shown; in data they are numbers."""
    grid = ranked_table(TIED).grid(ranked_table(TIED).rows[:1])
    assert grid.rows[0][0] == "1="
    lines = [line.split()[:2] for line in render.render(TIED, "table").splitlines()[4:7]]
    assert lines == [["1=", "1"], ["1=", "2"], ["3", "0"]]
    assert "| 1= | 2 |" in render.render(TIED, "md")
    for fmt in ("table", "md"):
        assert "A rank with = is a tie" in render.render(TIED, fmt)
    assert [row["rank"] for row in parsed_csv(render.render(TIED, "csv"))] == ["1", "1", "3"]
    rows = json.loads(render.render(TIED, "json"))["rows"]
    assert [row["rank"] for row in rows] == [1, 1, 3]


@pytest.mark.parametrize(
    ("selection", "order", "said"),
    [
        (1, [0, 1, 2], "are ranked by value, although"),
        (2, [0, 2, 1], "and by value only among those of as many epochs."),
    ],
)
@pytest.mark.parametrize("fmt", ["table", "md", "json"])
def test_trials_of_different_epochs_are_explained(selection, order, said, fmt):
    """How far each trial was trained stands in the table, and how those are ranked stands below it."""
    record = report_study(
        report_trial(0, 0.5, lr=0.1),
        report_trial(1, 0.9, lr=0.2, state=PRUNED, epochs=2),
        report_trial(2, 0.8, lr=0.3, state=PAUSED, epochs=6),
        facts=StudyFacts(selection=selection),
    )
    rows = ranked_table(record).rows
    assert [row["trial"] for row in rows] == order
    epochs = {row["trial"]: (row["epoch"], row["trained"]) for row in rows}
    assert epochs == {0: (2, 3), 1: (1, 2), 2: (5, 6)}
    assert said in render.render(record, fmt)
    alike = dataclasses.replace(record, results=record.results[:2])
    assert said not in render.render(alike, fmt)


def test_a_narrow_table_has_the_epochs():
    """At 80 columns the best epoch and the number of trained epochs stand beside the value."""
    header = printed(report_study(report_trial(0, 0.5)), 80).split("─")[0]
    assert {"val_acc", "(%)", "epoch", "trained", "state"} < set(header.split())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({0.1: (0.5, 0.5, 0.5), 0.2: (0.9,)}, "lack some of their 3 seeds are ranked after"),
        ({0.1: (0.5, 0.5), 0.2: (0.9,)}, "No configuration has all its 3 seeds yet"),
        ({0.1: (0.5, 0.5, 0.5)}, None),
    ],
)
@pytest.mark.parametrize("fmt", ["table", "md", "json"])
def test_configurations_that_lack_seeds_are_explained(values, said, fmt):
    """They stand last whatever their mean is, and this is said below the table."""
    trials = [(lr, seed, value) for lr in values for seed, value in enumerate(values[lr])]
    record = report_study(
        *(report_trial(i, value, lr=lr, seed=seed) for i, (lr, seed, value) in enumerate(trials)),
        facts=StudyFacts(selection=2),
        spec=StoredSpec(repeats=3),
    )
    assert [row["lr"] for row in ranked_table(record).rows] == list(values)
    text = render.render(record, fmt)
    assert said in text if said else "seeds are ranked" not in text


def repeated_study(**changes):
    """Two configurations with three seeds each, one of them far ahead."""
    values = {0.01: (0.9, 0.92, 0.91), 0.1: (0.7, 0.72, 0.71)}
    trials = [
        with_bits(
            report_trial(3 * i + seed, value, lr=lr, seed=seed, test=changes.pop("test", None)),
            first_right(value, 1000),
        )
        for i, (lr, scores) in enumerate(values.items())
        for seed, value in enumerate(scores)
    ]
    return report_study(*trials, **changes)


LINE = (
    "lr 0.01 91.00 ± 1.00 % (3 seeds) against lr 0.1 71.00 ± 1.00 % (3 seeds): "
    "difference +20.00 points (95 % interval +1"
)


@pytest.mark.parametrize("fmt", ["table", "md", "json"])
@pytest.mark.parametrize("renders", [render.render, render.render_winner], ids=["study", "best"])
def test_first_against_second(renders, fmt):
    """Under the table, and with the winner, it is said whether the first is known to be better than the second."""
    text = renders(repeated_study(), fmt)
    assert LINE in text
    assert "3 seeds, 1,000 images, of 2 configurations): better beyond chance" in text
    once = report_study(report_trial(0, 0.9, lr=0.01), report_trial(1, 0.8, lr=0.1))
    line = "difference +10.00 points of one seed each: which is better is not known"
    assert line in renders(once, fmt)


def test_notes_have_a_column_where_there_are_any():
    """A collapsed configuration has its note in every format; without one there is no such column."""
    epoch = make_epoch(per_class=(0.0, 1.0), predicted=(0, 99))
    bad = make_result(1, 0.1, history=(epoch,))
    record = report_study(report_trial(0, 0.9, lr=0.1), bad, classes=("[/a]|\x1b[2J", "=b|\n<i>"))
    assert ranked_table(record).columns[-1] == "notes"
    assert ranked_table(record).rows[1]["notes"] == "collapsed: nearly all taken for '=b| <i>'"
    assert r"collapsed: nearly all taken for '=b\| &lt;i&gt;'" in render.render(record, "md")
    assert "Trial 1: collapsed: nearly all taken for '=b| <i>'" in render.render(
        record, "table", width=80
    )
    data = json.loads(render.render(record, "json"))
    assert [(row["trial"], row["what"]) for row in data["what_went_wrong"]] == [(1, "collapsed")]
    assert "notes" not in ranked_table(repeated_study()).columns


@pytest.mark.parametrize("fmt", render.FORMATS)
def test_infeasible_and_duplicates(fmt):
    """An infeasible trial shows as such; a duplicate is listed under what went wrong and in no row."""
    infeasible = report_trial(
        1, state=PRUNED, end="infeasible", epochs=0, lr=0.1, error="parameters 9, allowed 1"
    )
    record = report_study(report_trial(0, 0.9), infeasible, report_trial(2, 0.9, duplicate_of=0))
    assert [row["state"] for row in ranked_table(record).rows] == ["complete", "infeasible"]
    text = render.render(record, fmt)
    assert "infeasible" in text
    if fmt in ("md", "json"):
        assert "parameters 9, allowed 1" in text
        assert "reuses the result of trial 0" in text


def test_best_shows_recorded_test_scores():
    """Test scores that were recorded are shown with their mean over the seeds, instead of the command."""
    record = repeated_study()
    scored = [
        dataclasses.replace(result, test={"acc": 0.9 + result.number / 100, "loss": 0.25})
        for result in record.results
    ]
    detail = winner.winner_detail(dataclasses.replace(record, results=tuple(scored)))
    assert detail["test_scores"]["acc"] == 0.91
    assert detail["test_scores"]["acc_mean"] == pytest.approx(0.91)
    assert (detail["test_scores"]["seeds"], detail["next"]) == (3, [])
    assert detail["test"].startswith(
        "Test accuracy 91.00 %; test accuracy over its seeds 91.00 ± 1.00 % (3 seeds), sco"
    )
    assert winner.winner_detail(record)["test_scores"] is None
    for fmt in set(render.FORMATS) - {"latex"}:  # which is of tables alone
        assert "scored after the choice" in render.render_winner(
            dataclasses.replace(record, results=scored), fmt
        )


def test_published_figures_follow_the_ranked_table(tmp_path):
    """Published figures stand under the ranked table, and in a CSV that goes when the study has none."""
    hostile = Reference(
        name="=a|<b>\x1b[31m", when={"lr": 0.01}, test_acc=0.905, note="[x](y)|\x07"
    )
    record = repeated_study(
        reference=(hostile, Reference(name="none", when={"lr": 0.5}, test_acc=0.5))
    )
    assert tmp_path / "published.csv" in render.write(record, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert text.index("| rank") < text.index("## Published figures") < text.index("# Best of")
    assert r"=a\|&lt;b&gt;" in text
    assert r"\[x\](y)\|" in text
    rows = parsed_csv((tmp_path / "published.csv").read_bytes().decode())
    assert [(row["variant"], row["val_seeds"]) for row in rows] == [
        ("'=a|<b>", "3"),
        ("none", ""),
        ("lr 0.1", "3"),
    ]
    assert len(json.loads((tmp_path / "trials.json").read_text())["published"]) == 3
    shown = render.render(record, "table", width=80)
    assert "no trial" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", shown)
    render.write(repeated_study(), tmp_path)
    assert not (tmp_path / "published.csv").exists()


def test_write_leaves_a_folder_that_reads_back(tmp_path):
    """The folder holds tables, winner, report and pictures, each linked in the report."""
    record, folder = report_winner(), tmp_path / "new" / "demo"
    paths = render.write(record, folder)
    assert all(path.is_file() for path in paths)
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert sorted(files) == sorted(path.relative_to(folder).as_posix() for path in paths)
    assert {"trials.csv", "trials.json", "best.json", "report.md"} <= files.keys()
    assert [row["trial"] for row in parsed_csv(files["trials.csv"].decode())] == ["7", "1", "2"]
    assert json.loads(files["best.json"])["trial"] == 7
    text = files["report.md"].decode()
    assert "Study demo on digits" in text
    assert "Best of demo" in text
    pictures = [name for name in files if name.endswith(".png")]
    assert pictures
    assert re.findall(r"!\[[^]]*\]\(([^)]*)\)", text) == [
        p.relative_to(folder).as_posix() for p in paths if p.suffix == ".png"
    ]
    assert render.render(record, "md", None) in text


def test_write_without_a_winner(tmp_path):
    """A study without a complete trial has no best.json, not even an old one, and its report says why."""
    (tmp_path / "best.json").write_text("{}")
    paths = render.write(report_study(report_trial(0, state=FAILED, end="diverged")), tmp_path)
    assert not (tmp_path / "best.json").exists()
    assert tmp_path / "best.json" not in paths
    assert (
        "has no complete trial: 1 ended: 1 failed (diverged)"
        in (tmp_path / "report.md").read_text()
    )
    assert json.loads((tmp_path / "trials.json").read_text())["rows"][0]["state"] == "diverged"


def test_written_again_the_bytes_are_the_same(tmp_path):
    """The same study gives the same files, and no draft is left beside them."""
    record = report_study(
        report_trial(0, state=FAILED, end="diverged"),
        report_trial(1, state=FAILED, end="oom", lr=0.1),
    )
    first = {path: path.read_bytes() for path in render.write(record, tmp_path)}
    assert {path: path.read_bytes() for path in render.write(record, tmp_path)} == first
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(first)


def test_rows_grow_linearly():
    """Two thousand trials are ranked and written without comparing each with each."""
    rng = random.Random(0)
    trials = [
        report_trial(n, rng.random(), lr=float(f"{rng.uniform(1e-5, 0.1):.6g}"), epochs=1)
        for n in range(2000)
    ]
    rows = parsed_csv(render.render(report_study(*trials), "csv", None))
    values = [float(row["val_acc"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert [int(row["rank"]) for row in rows][:3] == [1, 2, 3]


def test_health_checks_stand_under_the_table():
    """The warnings of the health checks stand under the terminal's table, all checks in Markdown and JSON."""
    trials = [
        report_trial(n, 0.9 - n / 1000, lr=0.01 + n / 1000, accuracies=(0.5, 0.5)) for n in range(3)
    ]
    record = report_study(*trials, report_trial(3, state=FAILED, end="diverged", lr=0.09))
    found = [check for check in run_checks(record) if check.level == "warning"]
    assert found
    table = render.render(record, "table")
    assert [
        line.removeprefix("Warning: ")
        for line in table.splitlines()
        if line.startswith("Warning: ")
    ] == [clean(check.text) for check in found[:4]]
    assert "- **warning** " in render.render(record, "md").partition("## Health checks")[2]
    data = json.loads(render.render(record, "json"))
    assert [(check["level"], check["check"]) for check in data["checks"]] == [
        (c.level, c.name) for c in run_checks(record)
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see `pipeline report A_b`: <b>", "see `pipeline report A_b`: &lt;b&gt;"),
        ("one ` alone_", r"one \` alone\_"),
        ("`a\nb`", "`a b`"),
    ],
)
def test_commands_in_markdown(text, shown):
    """A command between back quotes is code in Markdown, and a back quote without its pair is text."""
    assert markdown_with_code(text) == shown
