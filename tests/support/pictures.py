"""Makes the pictures of README and docs from the default study, and compares them with those shown.

`make pictures` makes them anew. The slow tests fail where the product would show something else.
"""

from pathlib import Path

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure
from PIL import Image

from pipeline.report.plots.style import BLUE, GREY, ORANGE
from support.browser import CHROMIUM, browse
from support.endtoend import record
from support.ui import study_ui
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE

SHOWN = Path(__file__).parents[2] / "docs" / "images"
_PLOTS = {"pruning.png": 1040, "parallel_coordinates.png": 1236}  # with their widths in pixels
_PAGE_SIZE = (1000, 1010)  # of the report's first screen, in CSS pixels
_UI_SIZE = (1400, 1180)  # of MLflow's UI, in CSS pixels
_CURVES = "[data-testid=experiment-view-compare-runs-card] .js-plotly-plot"
_CHARTS = 3  # of the first screen, besides the parallel coordinates
# MLflow opens a panel for questions at the first visit, which takes a quarter of the page.
_NO_ASSISTANT = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""
_SETTLED = 2000  # milliseconds until charts have come to rest
_FRAMES = 24
_LAST_FRAME = 8  # times the last frame is repeated, so that the result can be looked at
_SECONDS_A_FRAME = 0.25
# Of 0 to 255, the mean difference of two pictures in small: fonts and rounding differ by less, and a
# moved title or another layout by more.
_MAX_DIFFERENCE = 6.0
_SMALL = (48, 48)


def make_pictures(folder: Path, name: str, out: Path) -> list[Path]:
    """Make the pictures of a study that has its report.

    Args:
        folder: its working folder.
        name: the study.
        out: the folder for the pictures.

    Returns:
        The files that were made: without Chromium neither the report's page nor MLflow's UI.
    """
    report = folder / "reports" / name
    made = [_make_plot(report / "plots" / plot, out, width) for plot, width in _PLOTS.items()]
    made.append(_make_animation(record(folder, name), out / "sweep.gif"))
    if CHROMIUM is not None:
        made.append(_make_page(report / "report.html", out / "report.png"))
        made.append(_make_ui(folder, name, out / "ui.png"))
    return made


def difference(one: Path, other: Path) -> float:
    """The mean difference of two pictures in small, of 0 to 255; the last frames of animations."""
    return float(np.abs(_small(one) - _small(other)).mean())


def check_picture(made: Path) -> None:
    """Fail if a picture that was made is unlike the one of the same name that the docs show."""
    shown = SHOWN / made.name
    found = difference(made, shown)
    assert found < _MAX_DIFFERENCE, (
        f"{shown.name} is not what the product shows today: it differs by {found:.1f} of 255; "
        "`make pictures` makes it anew"
    )


def _small(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    with Image.open(path) as image:
        image.seek(getattr(image, "n_frames", 1) - 1)
        return np.asarray(image.convert("L").resize(_SMALL, Image.Resampling.BOX), dtype=np.float64)


def _save(image: Image.Image, path: Path) -> Path:
    # 256 colours are a third of the bytes; of the ways to choose them, this keeps colour bars smooth.
    few = image.convert("RGB").quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    return path


def _make_plot(plot: Path, out: Path, width: int) -> Path:
    with Image.open(plot) as image:
        height = round(image.height * width / image.width)
        return _save(image.convert("RGB").resize((width, height)), out / plot.name)


def _make_page(page: Path, path: Path) -> Path:
    width, height = _PAGE_SIZE
    with browse(width=width, height=height) as browser:
        browser.goto(page.resolve().as_uri())
        browser.screenshot(path=str(path))
    with Image.open(path) as image:
        return _save(image.copy(), path)


def _make_ui(folder: Path, name: str, path: Path) -> Path:
    """Look at the prepared comparison of a study in MLflow's UI."""
    width, height = _UI_SIZE
    with study_ui(folder, name) as shown, browse(width=width, height=height) as browser:
        browser.add_init_script(_NO_ASSISTANT)
        browser.goto(shown.links[0])
        browser.wait_for_selector(".parcoords .dimension")
        browser.wait_for_function(f"document.querySelectorAll('{_CURVES}').length >= {_CHARTS}")
        browser.wait_for_timeout(_SETTLED)
        browser.screenshot(path=str(path))
    with Image.open(path) as image:
        return _save(image.copy(), path)


def _make_animation(study: StudyRecord, path: Path) -> Path:
    """Draw the trials of a study while they are trained, epoch by epoch, in the order of time."""
    trials = list(study.results)
    steps = sorted(
        (epoch.time, trial.number, epoch.epoch, epoch.metrics["val/acc"])
        for trial in trials
        for epoch in trial.history
    )
    ended = {trial.number: trial.state == COMPLETE for trial in trials}
    figure = Figure(figsize=(7.2, 3.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0.5, max(step[2] for step in steps) + 0.5)
    axes.set_ylim(0.7, 1.0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy")
    axes.spines[["top", "right"]].set_visible(False)
    caption = axes.set_title("", loc="left", fontsize=10)
    lines = {number: axes.plot([], [], linewidth=1, antialiased=False)[0] for number in ended}

    def draw(frame: int) -> None:
        count = round(len(steps) * min(1.0, (frame + 1) / _FRAMES))
        seen = steps[:count]
        running = seen[-1][1]
        for number, line in lines.items():
            points = [(epoch, value) for _, trial, epoch, value in seen if trial == number]
            line.set_data([point[0] for point in points], [point[1] for point in points])
            done = ended[number] and frame >= _FRAMES
            line.set_color(BLUE if done else ORANGE if number == running else GREY)
            line.set_zorder(3 if done or number == running else 2)
            line.set_marker("o" if len(points) == 1 else "")
            line.set_markersize(2.5)
        started = len({trial for _, trial, _, _ in seen})
        caption.set_text(f"{started} trials begun, {count} epochs trained")

    animation = FuncAnimation(figure, draw, frames=_FRAMES + _LAST_FRAME)
    animation.save(path, writer=PillowWriter())
    return _shrink(path)


def _shrink(path: Path) -> Path:
    """Save an animation with few colours."""
    with Image.open(path) as image:
        frames = []
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(image.convert("RGB").quantize(8, dither=Image.Dither.NONE))
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 * _SECONDS_A_FRAME),
        loop=0,
        optimize=True,
    )
    return path
