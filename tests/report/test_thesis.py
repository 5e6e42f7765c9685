"""What a thesis takes from a study: tables and a paragraph for LaTeX, and plots for print."""

import dataclasses
import re
import shutil
import subprocess

import pytest
from support.records import DROPOUT, LR, make_record, make_result, mixed_study, study_with_finalists
from support.reports import hostile_study, report_winner

from pipeline.cli import report
from pipeline.report import comparison, render
from pipeline.report.plots.base import FORMATS, Output
from pipeline.report.thesis.latex import label_name, latex_text, row_count
from pipeline.report.thesis.methods import methods_paragraphs
from pipeline.system.errors import UsageFailure
from sweeps.analysis.facts import StoredSpec, StudyFacts
from sweeps.spec.dimension import Dimension

DOCUMENT = r"""\documentclass{article}
\usepackage{array,booktabs,graphicx}
\begin{document}
\input{all}
\includegraphics[width=\linewidth]{figures/edf.pdf}
\end{document}
"""


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("val_acc 97 %", r"val\_acc 97 \%"),
        ("a & b #1 $x$", r"a \& b \#1 \$x\$"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("97.6 ± 0.2", r"97.6 $\pm$ 0.2"),
        ("café", "café"),
        ("猫", "U+732B"),
        ("a\nb", "a b"),
    ],
)
def test_names_are_escaped(text, escaped):
    """LaTeX prints names as they are, and runs nothing in them."""
    assert latex_text(text) == escaped


def test_tables_have_the_rules_of_booktabs():
    """The ranked table and the finalists are tables with a caption, a label, and per cent in the result."""
    text = render.render(study_with_finalists(), "latex")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:ranked-test}"):
        assert part in text
    assert r"\label{tab:finalists-test}" in text
    assert r"val\_acc (\%)" in text
    assert r"89.00 $\pm$" in text


def test_methods_say_what_was_done():
    """Search, selection, finalists and test scores are told as they were; what was not done is not claimed."""
    text = " ".join(methods_paragraphs(study_with_finalists()))
    assert "were trained again, with 3 new seeds each" in text
    assert "on the test split" in text
    alone = " ".join(methods_paragraphs(mixed_study(24)))
    assert "No configuration was trained again" in alone
    assert "The test split was never scored in this study." in alone
    assert "intervals" not in alone
    nothing = make_record([make_result(0, None, state="failed")])
    assert "The first in the ranking" not in " ".join(methods_paragraphs(nothing))


def given_study(*numbers):
    """A study by TPE with a baseline and a start, of whose configurations the first few were tried."""
    points = [{"lr": 0.1}, {"lr": 0.01, "dropout": 0.1}, {"lr": 0.01, "dropout": 0.3}]
    results = [make_result(number, 0.9 - 0.1 * number, **points[number]) for number in numbers]
    return make_record(
        results,
        dimensions=(LR, DROPOUT, Dimension(field="residual", choices=(True, False))),
        spec=StoredSpec(fixed={"data_version": 2}, start_with=({"lr": 0.01},)),
        facts=StudyFacts(baselines=({"lr": 0.1},)),
    )


def test_methods_name_what_was_given():
    """A baseline and a start are told as such, and a search that drew nothing is not said to have searched."""
    text = " ".join(methods_paragraphs(given_study(0, 1)))
    assert "No configuration was drawn by the search" in text
    assert "1 baseline to compare with (cnn" in text
    assert "1 configuration given to begin with (cnn" in text
    assert "The first in the ranking was the baseline cnn" in text
    assert "data_version" not in text
    assert "residual" not in text  # a CNN has none
    drawn = " ".join(methods_paragraphs(given_study(0, 1, 2)))
    assert "Configurations were searched by the tree-structured" in drawn
    assert "The search then drew 1 configuration." in drawn


def test_labels_differ_by_study():
    """The tables of two studies in one document have different labels, of characters that LaTeX takes."""
    assert label_name("networks-few_digits") == "networks-few_digits"
    assert label_name("a b") != label_name("a{b") != label_name("a-b")
    assert not set("{}#%~\\ ") & set(label_name("a}#%~\\ b"))


def test_tables_of_winners_and_comparisons_have_labels_of_their_own(tmp_path):
    """So that they stand beside those of other studies in one document; a comparison is a file, too."""
    records = [report_winner(), dataclasses.replace(report_winner(), name="other")]
    texts = [render.render_winner(record, "latex") for record in records]
    texts.append(comparison.write_latex(records, tmp_path).read_text())
    labels = [label for text in texts for label in re.findall(r"\\label\{(.*?)\}", text)]
    assert len(set(labels)) == len(labels) > 6
    assert {"tab:winner-demo-1", "tab:winner-other-1", "tab:comparison-demo-and-other-1"} < set(
        labels
    )


def test_a_renewed_table_is_as_long_as_before(tmp_path):
    """After a study was renamed, its ranked table for LaTeX has its new name, and as many rows as were asked for."""
    record = mixed_study(24)
    render.write_latex(record, tmp_path, 4)
    render.renew_latex(dataclasses.replace(record, name="renamed"), tmp_path)
    text = (tmp_path / "ranked.tex").read_text()
    assert "renamed" in text
    assert row_count(text) == 4


def test_files_for_print(tmp_path):
    """Plots for print are drawn in each format, without a title on paper, with fonts and text as text."""
    record = dataclasses.replace(mixed_study(24), finalists=None)
    files = render.write_figures(record, tmp_path, Output(formats=("pdf", "svg"), paper=True))
    assert {path.suffix for path in files} == {".pdf", ".svg"}
    picture = (tmp_path / "figures/edf.svg").read_text()
    assert ">all trials (" in picture
    assert "Distribution of the values" not in picture
    assert b"FontFile2" in (tmp_path / "figures/edf.pdf").read_bytes()
    assert report.PLOT_FORMATS == FORMATS
    with pytest.raises(UsageFailure, match="'gif' is no format of a plot; choose from png, svg"):
        render.write_figures(record, tmp_path, Output(formats=("gif",)))


def test_finalists_as_csv(tmp_path, monkeypatch):
    """The finalists are a CSV of exact values beside the report, and an earlier study's are not left there."""
    monkeypatch.setattr(render, "_begin_drawing", lambda _record, _folder: list)
    render.write(study_with_finalists(), tmp_path)
    header, first, *_ = (tmp_path / "finalists.csv").read_text().splitlines()
    assert header.startswith("place,finalist,mean,mean_spread,mean_seeds,test_acc")
    assert first.startswith("1,lr 0.1")
    render.write(report_winner(), tmp_path)
    assert not (tmp_path / "finalists.csv").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on the PATH")
def test_latex_takes_it(tmp_path):
    """PdfLaTeX sets the tables and the paragraphs of a study in which every name is hostile, and a figure."""
    record = dataclasses.replace(hostile_study(), finalists=study_with_finalists().finalists)
    (tmp_path / "all.tex").write_text(render.render(record, "latex"))
    render.write_figures(mixed_study(24), tmp_path, Output(formats=("pdf",), paper=True))
    (tmp_path / "page.tex").write_text(DOCUMENT)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
