"""The files of a trial's run, with hostile class names."""

import csv

from support.records import make_result

from pipeline.tracking import run_contents


def test_class_names_cannot_become_formulas_or_break_lines(tmp_path):
    """Each hostile class name is one cell of a file, and no spreadsheet reads it as a formula."""
    names = [
        "=cmd()",
        "+1",
        "a,b",
        'say "x"',
        "two\nlines",
        "\x1b[31mred",
        "<b>",
        "../../etc",
        "-2",
        "café",
    ]
    result = make_result(0, 0.5, with_confusion=True)
    run_contents.write_artifacts(tmp_path, result, names)
    with (tmp_path / "confusion.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    expected = [
        "'=cmd()",
        "'+1",
        "a,b",
        'say "x"',
        "two lines",
        "red",
        "<b>",
        "../../etc",
        "'-2",
        "café",
    ]
    assert header[1:] == expected == [row[0] for row in rows]
    assert [list(map(int, row[1:])) for row in rows] == [list(row) for row in result.confusion]
