"""Names from anywhere (of classes, folders, studies) in every output: shown everywhere, keys nowhere, run never."""

import csv
import json
import re
from pathlib import Path

import pytest
from support.datasets import write_folder
from support.endtoend import check_invariant, children, client, pipeline, record
from support.records import make_record, make_result

from pipeline.checkpoints import load_model
from pipeline.report import render
from pipeline.stores.locations import check_name
from pipeline.system.errors import UsageFailure
from pipeline.tracking import run_contents

# What a folder's name can hold: anything but a slash and NUL, up to 255 bytes.
CLASSES = [
    "C++",
    "<b>x<b>",
    "<script>alert(1)",
    "<img src=x onerror=alert(1)>",
    "a$b^$c",
    "[bold]",
    "[red on blue]x",
    "[link](javascript:x)",
    "=cmd()",
    "+1",
    "-1",
    "@x",
    "\x1b]0;title\x07titled",
    "\x1b[31mred",
    "\x9b31mred too",
    "\u202egnp.exe",
    "x" * 250,
    "new\nline",
    "tab\there",
    "\r\n=cmd()",
    "😀",
    "a|b`c*d_",
    "%s{}{x}",
    "$(touch x)",
    "\udcff",
]
# What other sources of names, such as a list of titles, can hold besides.
TITLES = [
    *CLASSES,
    "../../etc",
    "[/foo]",
    "</b>",
    "/",
    "",
    " ",
    "\0",
    "y" * 600,
    "\x1b",
    "'\"; DROP TABLE runs; --",
]

STUDY = """
description: "A description: <script>alert(1)</script> [red] =cmd() | $x$"
trials: 2
epochs: 1
search: {lr: [0.001, 0.01]}
fixed: {family: mlp, width: 8, depth: 1, batch_size: 32}
"""
NAME = "hostile"
PLACE = "a b%20{x}é"

# Control characters but the line feed, and what turns the direction of writing.
UNPRINTABLE = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
FORMULA = re.compile(r"[=+\-@\t\r]")


def check_cells(text, count=None):
    """No cell of a CSV is a formula or leaves its line; a number may be below nothing."""
    rows = list(csv.reader(text.splitlines()))
    assert len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows for cell in row):
        assert not FORMULA.match(cell) or re.fullmatch(r"-?[\d.e-]+", cell), cell
        assert not UNPRINTABLE.search(cell)
    assert count is None or len(rows) == count


def check_markdown(text):
    """No HTML, no link but to our own pictures, and tables of as many columns as their header has."""
    assert "<" not in text
    assert not UNPRINTABLE.search(text)
    links = re.findall(r"(?<!\\)\]\(([^)]*)\)", text)
    assert all(re.fullmatch(r"plots/\w+\.png", link) for link in links)
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert blocks
    for lines in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


@pytest.mark.parametrize(
    "name",
    [
        "",
        " a",
        "../../etc",
        "a/b",
        "a\0b",
        "a" * 101,
        "a'b",
        "a`b",
        "-a",
        ".a",
        "=a",
        "a\n",
        "a\x1b[31m",
        "a%20",
        "{a}",
    ],
)
def test_such_names_of_studies_are_refused(name):
    """A name that could not be a folder's, a filter's and a file's is refused by one rule."""
    with pytest.raises(UsageFailure, match="a study's name must be up to 100 letters"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "Größe 3", "学習", "a.b-c_d", "7", "a" * 100])
def test_such_names_of_studies_are_taken(name):
    """Letters and digits of any script are."""
    assert check_name(name) == name


@pytest.fixture
def hostile():
    """A study whose classes have the worst names that there can be."""
    predicted = (0, *[1] * (len(TITLES) - 1))
    results = [
        make_result(0, 0.9, classes=len(TITLES), with_confusion=True, predicted=predicted),
        make_result(1, state="failed", error="<b>\x1b[31m=cmd()|\nline", classes=len(TITLES)),
    ]
    return make_record(results, classes=TITLES)


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_a_report_shows_any_title(hostile, tmp_path):
    """Every file of a report is written, escaped, whatever the classes are called."""
    paths = render.write(hostile, tmp_path / "report")
    check_markdown((tmp_path / "report" / "report.md").read_text())
    check_cells((tmp_path / "report" / "trials.csv").read_text())
    json.loads((tmp_path / "report" / "best.json").read_text())
    pictures = [path for path in paths if path.suffix == ".png"]
    assert len(pictures) > 3
    assert all(path.stat().st_size > 3_000 for path in pictures)
    assert {path.name for path in tmp_path.iterdir()} == {"report"}


@pytest.mark.parametrize("fmt", render.FORMATS)
def test_every_format_shows_any_title(hostile, fmt):
    """The ranking and the winner print without a control character, in each format."""
    for text in (render.render(hostile, fmt), render.render_winner(hostile, fmt)):
        assert fmt == "json" or not UNPRINTABLE.search(text.replace("\r\n", "\n"))
        assert "\x1b" not in text
        if fmt == "md":
            check_markdown(text)
        if fmt == "csv":
            check_cells(text)


def test_a_trials_files_hold_any_title(hostile, tmp_path):
    """per_class.csv and confusion.csv have a line for each class, and no formula."""
    run_contents.write_artifacts(tmp_path, hostile.results[0], TITLES)
    check_cells((tmp_path / "per_class.csv").read_text(), len(TITLES) + 1)
    check_cells((tmp_path / "confusion.csv").read_text(), len(TITLES) + 1)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep in a folder of a hostile name on a folder of hostile names, with stores made there; what it printed."""
    place = tmp_path_factory.mktemp("above") / PLACE
    place.mkdir()
    write_folder(place / PLACE, classes=CLASSES, count=6)
    (place / "study.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("PIPELINE_CACHE_DIR", str(tmp_path_factory.mktemp("cache") / PLACE))
        assert (
            pipeline("sweep", "study.yaml", "--dataset", f"folder:{PLACE}") == 2
        )  # no name is made of such a folder's
        assert sorted(path.name for path in place.iterdir()) == sorted([PLACE, "study.yaml"])
        arguments = ("study.yaml", "--dataset", f"folder:{PLACE}", "--name", NAME)
        assert pipeline("sweep", *arguments, all_plots=True) == 0
        yield place


@pytest.mark.slow
def test_the_whole_sweep_works_in_such_a_folder(swept):
    """Both stores, checkpoints and artifacts are in the folder, none beside it, and what is promised of them holds."""
    check_invariant(swept, NAME, total=2)
    assert [path.name for path in swept.parent.iterdir()] == [PLACE]
    assert {path.name for path in swept.iterdir()} >= {
        "mlflow.db",
        "optuna.db",
        "mlruns",
        "reports",
        PLACE,
    }
    kept = [result.checkpoint for result in record(swept, NAME).results]
    assert all(
        Path(place).is_relative_to(swept) and Path(place, "best.safetensors").is_file()
        for place in kept
    )
    load_model(kept[0])


@pytest.mark.slow
def test_nothing_that_is_printed_controls_the_terminal(swept, capfd, monkeypatch):
    """Every command prints its lines, a class a line, without a control character."""
    monkeypatch.chdir(swept)
    monkeypatch.setenv(
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"
    )  # as importing the product sets it
    commands = [
        ("sweep", "study.yaml", "--dataset", f"folder:{PLACE}", "--name", NAME),
        ("report", NAME),
        ("report", NAME, "--best"),
        ("report", NAME, "--best", "--format", "md"),
        ("evaluate", "--best", "--split", "test"),
        ("evaluate", "--run", f"{NAME}#0", "--split", "val"),
        ("evaluate", "--all", "--split", "val"),
        ("data", "verify", f"folder:{PLACE}"),
    ]
    for command in commands:
        assert pipeline(*command) == 0, command
        out, err = capfd.readouterr()
        assert not UNPRINTABLE.search(out + err), command
        if command[:2] in (("evaluate", "--best"), ("evaluate", "--run")):
            assert len(out.splitlines()) == 3 + len(
                CLASSES
            )  # a verdict, a head and a line under it
    assert pipeline("evaluate", "--best", "--format", "json") == 0
    assert list(json.loads(capfd.readouterr().out)["per_class"]) == sorted(CLASSES)


@pytest.mark.slow
def test_the_sweeps_report_is_escaped(swept):
    """The report that the sweep wrote holds no HTML and no formula, and its pictures are drawn."""
    folder = swept / "reports" / NAME
    check_markdown((folder / "report.md").read_text())
    check_cells((folder / "trials.csv").read_text())
    assert all(path.stat().st_size > 3_000 for path in (folder / "plots").iterdir())


@pytest.mark.slow
def test_in_mlflow_such_names_are_values_and_never_keys(swept):
    """No key of a metric, param or tag is made of a class's name; the files of the run have them all."""
    for run in children(swept, NAME).values():
        keys = [*run.data.metrics, *run.data.params, *run.data.tags]
        assert all(re.fullmatch(r"[\w./-]+", key) for key in keys)
        assert not [key for key in keys if any(name in key for name in CLASSES)]
        for file in ("per_class.csv", "confusion.csv"):
            path = Path(client(swept).download_artifacts(run.info.run_id, file))
            check_cells(path.read_text(encoding="utf-8"), len(CLASSES) + 1)
