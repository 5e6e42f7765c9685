"""What commands print fits a terminal of 80 characters, and stays a line each where it is piped."""

import pathlib
import sys

import pytest
from support.records import make_record, mixed_study
from support.terminals import terminal

from pipeline.cli import program
from pipeline.jobs import studies
from pipeline.jobs.estimate import describe_plan, plan_text
from pipeline.report import terminal as report_terminal
from pipeline.report.winner import winner_detail
from pipeline.system.console import print_message, stream_width
from pipeline.system.text import wrap_words

WIDTH = 80


def run(patch, *words):
    """Run a command as the program does, with its lines for errors; its exit code."""
    patch.setattr(sys, "argv", ["pipeline", *words])
    try:
        program.main()
    except SystemExit as exit_:
        return exit_.code
    return 0


def too_long(lines):
    """The lines that a terminal would break, but for those of one long word or command."""
    return [line for line in lines if len(line) > WIDTH and len(line.split()) > 2]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("sweep", "--set", "lr=0.1,foo=3"), 2),
        (("sweep", "--dataset", "folder:" + "far/" * 20 + "away", "--dry-run"), 2),
        (("report", "nothing"), 2),
        (("evaluate",), 2),
        (("train", "--resume", "a" * 32, "--set", "lr=1"), 2),
        (("data", "--data-dir", "none"), 0),
        (("list",), 2),
    ],
)
def test_commands_fit_a_terminal(words, code, tmp_path, monkeypatch, capfd):
    """Lines break between words, and none is too long; piped, the same words stand on fewer lines."""
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *words) == code
    out, err = capfd.readouterr()
    with terminal(WIDTH) as screen:
        assert run(monkeypatch, *words) == code
    assert too_long(screen.lines) == []
    assert " ".join(screen.lines).split() == (out + err).split()


def test_an_error_is_one_line_where_it_is_piped(tmp_path, monkeypatch, capfd):
    """So that `grep` finds it whole; on a terminal its further lines stand below its beginning."""
    monkeypatch.chdir(tmp_path)
    words = ("sweep", "--dataset", "folder:nothing", "--dry-run")
    run(monkeypatch, *words)
    (line,) = capfd.readouterr().err.splitlines()
    with terminal(40) as screen:
        run(monkeypatch, *words)
    assert len(screen.lines) > 1
    assert screen.lines[0].startswith("error: ")
    assert all(further.startswith("  ") for further in screen.lines[1:])
    assert " ".join(screen.lines).split() == line.split()


def test_the_winner_fits_a_terminal():
    """The sentences of `report --best` break between words."""
    detail = winner_detail(make_record(mixed_study(24).results))
    with terminal(WIDTH) as screen:
        print(report_terminal.render_winner(detail))
    assert too_long(screen.lines) == []
    whole = report_terminal.render_winner(detail, 10_000)
    assert " ".join(screen.lines).split() == whole.split()


def test_a_plan_fits_a_terminal():
    """Long lists of choices go on below their beginning, and sentences break between words."""
    _, _, spec = studies.read_shipped("networks")
    plan = describe_plan("networks-few_digits", spec, None)
    lines = plan_text(plan, WIDTH).splitlines()
    assert too_long(lines) == []
    assert " ".join(lines).split() == plan_text(plan).split()
    assert len(lines) > len(plan_text(plan).splitlines())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two three", ["one two", "  three"]),
        ("see `pipeline report a b` now", ["see", "  `pipeline report a b`", "  now"]),
        (
            "go on with: pipeline sweep a --trials 3",
            ["go on", "  with:", "  pipeline sweep a --trials 3"],
        ),
        ("run: A=1 mlflow ui --port 5", ["run:", "  A=1 mlflow ui --port 5"]),
        ("it is 'a b' there", ["it is", "  'a b'", "  there"]),
        ("is 'a b c d e f' there", ["is 'a b", "  c d e", "  f'", "  there"]),
        ("in /a/long/path/to/it now", ["in", "  /a/long/path/to/it", "  now"]),
        ("it's the cat's own", ["it's the", "  cat's", "  own"]),
    ],
)
def test_what_may_be_copied_stays_whole(text, lines):
    """Words, paths and commands hold no line break; a quotation only if it is wider than the terminal."""
    assert wrap_words(text, 8, hang=2) == lines


def test_the_width_of_a_terminal(monkeypatch):
    """COLUMNS has the last word; a file has no width, and a terminal that does not tell has 80."""
    with terminal(33):
        assert stream_width(sys.stdout) == 33
        monkeypatch.setenv("COLUMNS", "50")
        assert stream_width(sys.stderr) == 50
    monkeypatch.delenv("COLUMNS")
    with terminal(0):
        assert stream_width(sys.stdout) == 80
    with pathlib.Path("/dev/null").open("w") as file:
        assert stream_width(file) is None


def test_messages_are_safe(capsys):
    """A message from elsewhere is one line without control characters."""
    print_message("a\x1b[31m b\nc")
    assert capsys.readouterr().out == "a b c\n"
