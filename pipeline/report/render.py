"""Writes a study's report: as text in several formats, and as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.report import finalists, front, published, terminal
from pipeline.report.contents import ReportContents
from pipeline.report.data_page import PAGE, folder_name
from pipeline.report.formats import (
    csv_cell,
    csv_table,
    escape_markdown,
    json_text,
    markdown_section,
    markdown_table,
    markdown_with_code,
)
from pipeline.report.grid import Row, Section, make_grid
from pipeline.report.html import Live, NoPlot, PlotImage, compile_templates, page
from pipeline.report.manifest import current_files, keep_manifest
from pipeline.report.plots.base import FORMATS as PLOT_FORMATS
from pipeline.report.plots.base import DrawnPlot, Output
from pipeline.report.problems import trial_problems
from pipeline.report.provenance import looks_values
from pipeline.report.ranked import failures, ranking_notes, study_facts, table_notes, title_lines
from pipeline.report.scores import lead_sentences, lead_values
from pipeline.report.thesis import latex
from pipeline.report.thesis.methods import methods_paragraphs
from pipeline.report.winner import headline, remarks, sections, winner_detail
from pipeline.system.errors import NothingComplete, UsageFailure
from pipeline.system.files import temporary_folder, write_text_atomically
from pipeline.system.text import clean
from sweeps.analysis.importance import importance
from sweeps.analysis.record import StudyRecord

FORMATS = ("table", "json", "csv", "md", "latex")
_MARKDOWN_ROWS = 50  # rows of a table in report.md; the CSV and JSON files have all
_PROBLEM_CLIP = 200  # characters of a cell of the problems
RANKED_FILE = "ranked.tex"
_LATEX_FILES = ("methods.tex", RANKED_FILE, "finalists.tex")
_FINALIST_COLUMNS = (
    "place",
    "finalist",
    "mean",
    "mean_spread",
    "mean_seeds",
    "test_acc",
    "test_acc_spread",
    "test_acc_seeds",
    "parameters",
    "mflops",
    "in_search",
)


# The ranked table, and what belongs to it


def render(
    record: StudyRecord, fmt: str, top: int | None = None, *, width: int | None = None
) -> str:
    """Write the ranked table and the findings as text, without a line break at the end.

    The findings are the lead of the first configuration, the finalists and the published figures;
    in JSON and Markdown also all health checks and problems, on a terminal only the warnings. A CSV
    has the table alone. LaTeX has the methods, the table and the finalists.

    Args:
        record: the study.
        fmt: ``table``, ``json`` (exact values), ``csv``, ``md`` or ``latex``.
        top: the most configurations; None for all.
        width: of the table, as for `pipeline.report.terminal.table`.
    """
    contents = ReportContents(record)
    if fmt == "table":
        return terminal.render_study(contents, top, width)
    if fmt == "json":
        return json_text(study_values(contents, top))
    if fmt == "csv":
        return _csv(contents, top)
    if fmt == "latex":
        return latex.study_latex(record, contents.table, top)
    return _markdown(contents, top)


def _csv(contents: ReportContents, top: int | None) -> str:
    columns = contents.table.columns
    rows = contents.table.rows[:top]
    lines = [[csv_cell(name, row[name]) for name in columns] for row in rows]
    return csv_table([columns, *lines])


def study_values(contents: ReportContents, top: int | None = None) -> Row:
    """The table, the findings and the problems of a study, as exact values.

    Args:
        contents: of the study's report.
        top: the most configurations; None for all.
    """
    record = contents.record
    rows = contents.table.rows[:top]
    values = study_facts(record)
    values |= {
        "configurations": len(contents.table.rows),
        "shown": len(rows),
        "columns": contents.table.columns,
        "rows": rows,
        "ranking": ranking_notes(record),
        "first_against_second": lead_values(record),
        "front": front.front_values(record),
        "checks": contents.checks,
        "what_went_wrong": trial_problems(record),
        "test_looks": looks_values(record),
        "methods": methods_paragraphs(record),
    }
    if record.finalists is not None:
        values["finalists"] = finalists.finalist_values(record)
    if contents.comparison is not None:
        values["published"] = published.rows(record, contents.comparison)
    values["failed"] = failures(record)
    return values


def _markdown(contents: ReportContents, top: int | None) -> str:
    table = contents.table
    rows = table.rows[:top]
    title, subtitle = title_lines(contents.record, len(rows), len(table.rows))
    return "\n\n".join(
        [
            f"# {escape_markdown(title)}",
            escape_markdown(subtitle),
            markdown_table(table.grid(rows, thousands=False)),
            *_note_blocks(contents),
            *_lead_blocks(contents.record),
            *_front_blocks(contents.record),
            *_check_blocks(contents),
            *_published_blocks(contents),
            *_problem_blocks(contents.record),
        ]
    )


def _note_blocks(contents: ReportContents) -> list[str]:
    """The sentences under the ranked table."""
    notes = table_notes(contents.record, contents.table)
    return ["\n".join(f"- {escape_markdown(note)}" for note in notes)] if notes else []


def _lead_blocks(record: StudyRecord) -> list[str]:
    """The lead of the search and the finalists; decided finalists come first."""
    lead = [escape_markdown(sentence) for sentence in lead_sentences(record)]
    section = finalists.section(record)
    if section is None:
        return lead
    blocks = markdown_section(section)
    return blocks + lead if record.decided_finalists else lead + blocks


def _front_blocks(record: StudyRecord) -> list[str]:
    section = front.section(record)
    return [] if section is None else markdown_section(section)


def _check_blocks(contents: ReportContents) -> list[str]:
    if not contents.checks:
        return []
    lines = [
        f"- **{check['level']}** {markdown_with_code(str(check['text']))}"
        for check in contents.checks
    ]
    return ["## Health checks", "\n".join(lines)]


def _published_blocks(contents: ReportContents) -> list[str]:
    if contents.comparison is None:
        return []
    blocks = []
    for section in published.sections(contents.record, contents.comparison):
        blocks += markdown_section(section)
    return blocks


def _problem_blocks(record: StudyRecord) -> list[str]:
    rows = trial_problems(record)
    if not rows:
        return []
    lines = []
    if len(rows) > _MARKDOWN_ROWS:
        lines.append(f"{len(rows) - _MARKDOWN_ROWS} more are in the JSON.")
    grid = make_grid(list(rows[0]), rows[:_MARKDOWN_ROWS], limit=_PROBLEM_CLIP)
    return markdown_section(Section(title="What went wrong", grid=grid, lines=tuple(lines)))


# The winner


def render_winner(record: StudyRecord, fmt: str, *, within: float | None = None) -> str:
    """Write the winner in detail as text in a format of `FORMATS`.

    Args:
        record: the study.
        fmt: the format.
        within: as for `winner_detail`.

    Raises:
        NothingComplete: if no trial is complete; the message tells how the trials ended.
    """
    detail = winner_detail(record, within=within)
    if fmt == "table":
        return terminal.render_winner(detail)
    if fmt == "json":
        return json_text(detail)
    if fmt == "csv":
        return _winner_csv(detail)
    if fmt == "latex":
        said = [latex.latex_text(text) for text in (headline(detail), *remarks(detail))]
        label = f"winner-{latex.label_name(str(detail['study']))}"
        return "\n\n".join([latex.sections_latex(sections(detail), label), *said])
    return _winner_markdown(detail)


def _winner_csv(detail: dict[str, Any]) -> str:
    """The winner as lines of section, name and value."""
    lines = [["section", "name", "value"]]
    for key, value in detail.items():
        if key == "first_against_second":
            lines.append([key, "", csv_cell("", value and value["text"])])
        elif key in ("configuration", "test_scores"):
            lines += [[key, name, csv_cell(name, item)] for name, item in (value or {}).items()]
        elif key == "classes":
            lines += [
                ["class", csv_cell("", row["class"]), csv_cell("accuracy", row["accuracy"])]
                for row in value
            ]
        elif key == "curve":
            lines += [
                [f"epoch {row['epoch']}", name, csv_cell(name, item)]
                for row in value
                for name, item in row.items()
            ]
        elif isinstance(value, list):
            lines += [[key, "", csv_cell("", item)] for item in value]
        else:
            lines.append(["result", key, csv_cell(key, value)])
    return csv_table(lines)


def _winner_markdown(detail: dict[str, Any]) -> str:
    blocks = [f"# {escape_markdown(headline(detail))}"]
    for section in sections(detail):
        blocks += markdown_section(section)
    blocks += [escape_markdown(remark) for remark in remarks(detail)]
    code = []
    if detail["load"]:
        code.append(_code_block("python", [detail["load"]]))
    if detail["next"]:
        code.append(_code_block("sh", detail["next"]))
    if code:
        blocks += ["## How to go on", *code]
    return "\n\n".join(blocks)


def _code_block(language: str, lines: Sequence[str]) -> str:
    return "\n".join([f"```{language}", *map(clean, lines), "```"])


# The files


def prepare() -> None:
    """Load and compile what `write` needs, which somebody would wait for at the end of a sweep."""
    import scipy.special  # noqa: F401 - for the importance of the fields, and their order

    from pipeline.report.plots import draw  # noqa: F401

    compile_templates()


def write(
    record: StudyRecord, folder: Path, *, beside: Callable[[], object] = lambda: None
) -> list[Path]:
    """Write ``report.html``, ``report.md``, ``trials.csv``, ``trials.json`` and ``plots/*.png``.

    There is a ``best.json`` if a trial is complete, a ``finalists.csv`` if there are finalists, and
    a ``published.csv`` if the study has published figures. The same study gives the same bytes.
    Each text file appears whole or not at all. Nothing is written if the files are there, whole
    and as they would be written, which `pipeline.report.manifest` tells.

    Args:
        record: the study.
        folder: for the files; created if missing.
        beside: called once, when other processes draw what there is to draw.

    Returns:
        The files.
    """
    links = _links(record, folder)
    files = current_files(record, folder, links)
    if files is not None:
        beside()
        return files
    folder.mkdir(parents=True, exist_ok=True)
    drawn_plots = _begin_drawing(record, folder / "plots")
    beside()
    contents = ReportContents(record)
    texts = {
        "trials.csv": _csv(contents, None),
        "trials.json": json_text(study_values(contents)),
    }
    try:
        detail = winner_detail(record)
    except NothingComplete as error:
        winner = escape_markdown(str(error))
    else:
        texts["best.json"] = json_text(detail)
        winner = _winner_markdown(detail)
    if contents.comparison is not None:
        texts["published.csv"] = _published_csv(published.rows(record, contents.comparison))
    if record.finalists is not None:
        texts["finalists.csv"] = _finalists_csv(record)
    for name in ("best.json", "published.csv", "finalists.csv"):
        if name not in texts:
            (folder / name).unlink(missing_ok=True)  # of an earlier study of this name
    paths = [write_text_atomically(folder / name, text) for name, text in texts.items()]

    blocks = [_markdown(contents, _MARKDOWN_ROWS), winner]
    methods = [escape_markdown(text) for text in methods_paragraphs(record)]
    compile_templates()
    drawn = drawn_plots()
    plots, no_plots = _shown_plots(drawn)
    if plots:
        blocks.append("# Plots")
        blocks += [f"![{escape_markdown(plot.alt)}](plots/{plot.name}.png)" for plot in plots]
    blocks += [escape_markdown(f"{plot.title}: {plot.why}.") for plot in no_plots]
    blocks += ["# Methods", *methods]
    paths.append(write_text_atomically(folder / "report.md", "\n\n".join(blocks)))
    text = page(contents, plots, "".join(links), no_plots)
    paths.append(write_text_atomically(folder / "report.html", text))
    paths += [path for plot in drawn for path in plot.paths]
    return [*paths, keep_manifest(record, folder, links, paths)]


def is_current(record: StudyRecord, folder: Path) -> bool:
    """Whether `write` has nothing to write."""
    return current_files(record, folder, _links(record, folder)) is not None


def _links(record: StudyRecord, folder: Path) -> list[str]:
    """The pages that the page links to, if they are there: that of the images."""
    images_page = Path("..", folder_name(record.dataset), PAGE)
    return [images_page.as_posix()] if (folder / images_page).is_file() else []


def live_page(record: StudyRecord, live: Live) -> str:
    """Write the page of a study that is under way, and no other file.

    Args:
        record: the study.
        live: how the page tells its reader that there is a newer one.
    """
    with temporary_folder() as folder:
        plots, no_plots = _shown_plots(_begin_drawing(record, folder)())
    return page(ReportContents(record), plots, no_plots=no_plots, live=live)


def _begin_drawing(record: StudyRecord, folder: Path) -> Callable[[], list[DrawnPlot]]:
    """Begin to draw the plots of the page into a folder, and return what waits for them."""
    from pipeline.report.plots import (
        draw,
    )  # which starts processes: most of it is not needed to print

    importance(record)  # once for the page and all processes that draw
    return draw.begin_drawing(record, folder)


def _shown_plots(drawn: Sequence[DrawnPlot]) -> tuple[list[PlotImage], list[NoPlot]]:
    """Read the plots for the page, and the lines in the place of those that would show nothing."""
    plots = [_plot_image(plot) for plot in drawn if plot.paths]
    no_plots = [NoPlot(title=plot.title, why=plot.instead) for plot in drawn if not plot.paths]
    return plots, no_plots


def _plot_image(plot: DrawnPlot) -> PlotImage:
    """Read a plot for the page."""
    return PlotImage(
        name=plot.name,
        title=plot.title,
        about=plot.about,
        alt=plot.alt,
        png=plot.paths[0].read_bytes(),
        marks=plot.marks,
    )


def _finalists_csv(record: StudyRecord) -> str:
    """The finalists as CSV, a row each, with exact values."""
    rows: list[Row] = []
    for finalist in finalists.finalist_rows(record):
        difference = finalist["winner_less_this"] or {}
        low, high = finalist["test_acc_interval"] or (None, None)
        rows.append(
            {
                **{name: finalist[name] for name in _FINALIST_COLUMNS},
                "test_acc_low": low,
                "test_acc_high": high,
                **{
                    f"winner_less_this_{name}": difference.get(name)
                    for name in ("difference", "low", "high", "outcome")
                },
            }
        )
    if not rows:
        return csv_table([_FINALIST_COLUMNS])
    lines = [[csv_cell(name, value) for name, value in row.items()] for row in rows]
    return csv_table([list(rows[0]), *lines])


def write_figures(record: StudyRecord, folder: Path, output: Output) -> list[Path]:
    """Draw the plots for print: each into ``figures/NAME.pdf``, ``NAME.svg`` or ``NAME.png``.

    Args:
        record: the study.
        folder: of the report.
        output: the formats, and the look.

    Returns:
        The files.

    Raises:
        UsageFailure: if a format is unknown.
    """
    unknown = [one for one in output.formats if one not in PLOT_FORMATS]
    if unknown:
        choices = ", ".join(PLOT_FORMATS)
        raise UsageFailure(f"{unknown[0]!r} is no format of a plot; choose from {choices}")
    from pipeline.report.plots import draw

    drawn = draw.draw_plots(record, folder / "figures", output)
    return [path for plot in drawn for path in plot.paths]


def write_latex(record: StudyRecord, folder: Path, top: int | None = None) -> list[Path]:
    """Write ``methods.tex``, ``ranked.tex`` and, if there are finalists, ``finalists.tex``.

    Args:
        record: the study.
        folder: of the report; made if it is missing.
        top: the most configurations of the ranked table; None for some.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = (
        latex.methods_latex(record),
        latex.ranked_latex(record, ReportContents(record).table, top),
        latex.finalists_latex(record),
    )
    texts = dict(zip(_LATEX_FILES, contents, strict=True))
    paths = []
    for name, text in texts.items():
        if text:
            paths.append(write_text_atomically(folder / name, f"{latex.PREAMBLE}\n{text}"))
        else:
            (folder / name).unlink(missing_ok=True)  # of an earlier study of this name
    return paths


def renew_latex(record: StudyRecord, folder: Path) -> list[Path]:
    """Write the files of `write_latex` anew where an earlier report has them; returns the files.

    The ranked table stays as long as it was.

    Args:
        record: the study, which has changed since, or its name.
        folder: of the report.
    """
    if not any((folder / name).exists() for name in _LATEX_FILES):
        return []
    ranked = folder / RANKED_FILE
    top = latex.row_count(ranked.read_text("utf-8")) if ranked.exists() else None
    return write_latex(record, folder, top or None)


def _published_csv(rows: Sequence[Row]) -> str:
    """The rows of published figures as CSV: all numbers but counts with 4 decimals."""
    columns = published.COLUMNS
    formats = {name: "" if name.endswith("_seeds") else "mean" for name in columns}
    lines = [[csv_cell(formats[name], row[name]) for name in columns] for row in rows]
    return csv_table([columns, *lines])
