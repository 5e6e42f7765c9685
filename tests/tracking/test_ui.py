"""MLflow's real UI in a real browser: what `pipeline ui` opens, and that nothing of it is left afterwards."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from conftest import PREFIXES
from support.browser import browse
from support.commands import wait_until
from support.datasets import HOSTILE, write_folder
from support.endtoend import client, furnish, record

from pipeline.system.errors import UsageFailure
from pipeline.tracking import ui
from sweeps.analysis.ranking import rank

STUDY = """
description: A study that takes seconds.
dataset: digits
method: random
pruner: none
trials: 4
epochs: 2
search:
  family: [mlp, cnn]
  layer_order: [conv-norm-act-pool-drop, conv-act-norm-pool-drop]
  lr: {low: 1.0e-3, high: 1.0e-2, log: true}
  activation: [relu, tanh]
fixed: {width: 8, depth: 1, batch_size: 16}
start_with:
  - {family: cnn}
"""
NAME = "hostile"
CARD = "[data-testid=experiment-view-compare-runs-card]"
CURVE = f"document.querySelectorAll('{CARD} .js-plotly-plot')[0].data"
# From left to right, which in the document they are not; and they are put in order after they are shown.
COLUMNS = """names => {
  const left = cell => cell.getBoundingClientRect().left
  const cells = [...document.querySelectorAll(".ag-header-cell")].sort((a, b) => left(a) - left(b))
  const found = cells.map(cell => cell.getAttribute("col-id")).filter(name => names.includes(name))
  return found.join() == names.join()
}"""


def free_port():
    """A port that nobody listens on."""
    with contextlib.closing(socket.socket()) as place:
        place.bind((ui.HOST, 0))
        return place.getsockname()[1]


def test_a_port_in_use_is_named_before_anything_starts():
    """The rule, the port and another one that is free, in one line."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind((ui.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageFailure, match=rf"cannot use port {port} of 127.0.0.1: .*; try --port \d+$"
        ) as found:
            ui.check_port(port)
    ui.check_port(int(str(found.value).split()[-1]))
    ui.check_port(port)


class Served:
    """A finished study of images with hostile class names, and `pipeline ui` over it."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith(PREFIXES)
        }
        self.environment |= {
            "PIPELINE_CACHE_DIR": str(folder / "cache"),
            "BROWSER": f"{folder}/browser %s",
        }
        (folder / "browser").write_text(f'#!/bin/sh\necho "$1" > {folder}/opened.txt\n')
        (folder / "browser").chmod(0o755)
        write_folder(folder / "images", classes=HOSTILE, count=16)
        sweep = [f"--dataset=folder:{folder / 'images'}", f"--name={NAME}", "--device=cpu"]
        subprocess.run(
            self.command("sweep", "tiny.yaml", *sweep), cwd=folder, env=self.environment, check=True
        )
        self.record = record(folder, NAME)

    def command(self, *words):
        return [sys.executable, "-m", "pipeline", *words]

    def start(self):
        """Start the UI; the links that it prints once it answers."""
        self.log = (self.folder / "ui.txt").open("w+")
        command = self.command("ui", NAME, "--port", str(self.port), "--open")
        options = {
            "cwd": self.folder,
            "env": self.environment,
            "stdout": self.log,
            "stderr": subprocess.STDOUT,
        }
        self.process = subprocess.Popen(command, start_new_session=True, **options)
        end = time.monotonic() + 120
        while (text := (self.folder / "ui.txt").read_text()).count("http") < 3 or not text.endswith(
            "\n"
        ):
            assert time.monotonic() < end, text
            assert self.process.poll() is None, text
            time.sleep(0.1)
        return re.findall(r"http://\S+/#/\S+", text)

    def family(self):
        """The processes of the UI."""
        return [
            self.process.pid,
            *(child.pid for child in psutil.Process(self.process.pid).children(recursive=True)),
        ]


@pytest.fixture(scope="module")
def served(tmp_path_factory, template):
    """The study, and its UI, which is stopped hard if a test did not end it."""
    found = Served(furnish(tmp_path_factory.mktemp("ui"), template, STUDY))
    found.links = found.start()
    yield found
    if found.process.poll() is None:
        os.killpg(found.process.pid, signal.SIGKILL)
        found.process.wait()
    found.log.close()


@pytest.fixture(scope="module")
def page(served):
    """A page of a browser."""
    with browse(width=1600, height=1300) as found:
        yield found


def texts(page, selector):
    """What the elements of a page say, in order, without what is written in their pictures."""
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]


@pytest.mark.slow
def test_it_opens_on_the_comparison(served, page):
    """The link opens the study's view: the trials by their value, the searched parameters as axes, the curves."""
    page.goto(served.links[0])
    page.wait_for_selector(".parcoords .dimension")
    page.wait_for_function(f"document.querySelectorAll('{CARD} .js-plotly-plot').length == 6")
    # layer_order is none of an MLP's, and a run without it would be left out of the picture.
    assert page.locator(".parcoords .dimension .label").all_text_contents() == [
        "family",
        "lr",
        "activation",
        "best/val_acc",
    ]
    headers = page.locator(".du-bois-light-collapse-header").all()
    sections = [
        (h.inner_text().split("(")[0].strip(), h.get_attribute("aria-expanded")) for h in headers
    ]
    ours = ["What was searched", "Learning curves", "Results and what they took"]
    assert sections[:3] == [(name, "true") for name in ours]
    assert {expanded for _, expanded in sections[3:]} == {"false"}, (
        "what MLflow generates is collapsed"
    )
    titles = [text.split(" Showing")[0] for text in texts(page, CARD)]
    assert [title.split()[0] for title in titles[1:]] == [
        *(
            "val/acc",
            "val/loss",
            "train/loss",
            "best/val_acc",
            "cost/params_millions",
            "cost/seconds",
        )
    ]
    page.wait_for_function(f"{CURVE}.length == 8")  # each twice, once for the pointer
    curves = dict(page.evaluate(f"{CURVE}.map(line => [line.name, [...line.y]])"))
    for trial in served.record.results:
        name = f"{trial.number:04d} {trial.config.family} {trial.config.activation}"
        assert curves[name] == pytest.approx([row.metrics["val/acc"] for row in trial.history])
    ranked = [entry.value for entry in rank(served.record.results)]
    runs = texts(page, ".ag-row a")
    numbers = [int(name.split()[0]) for name in runs]
    assert [served.record.results[number].value for number in numbers] == ranked
    assert page.get_by_text("4 matching runs").count() == 1, "the parent is not among its trials"


@pytest.mark.slow
def test_the_list_has_the_columns_that_matter(served, page):
    """As a list, the trials stand with their value, how they ended, and what was searched, in this order."""
    page.goto("about:blank")
    page.goto(served.links[0].replace("compareRunsMode=CHART", "compareRunsMode=TABLE"))
    page.wait_for_selector(".ag-header-cell")
    page.wait_for_selector(".ag-row [col-id='params.`lr`']")
    ours = ["metrics.`best/val_acc`", "tags.`sweep.end`"]
    ours += [
        f"params.`{name}`" for name in dict.fromkeys(["family", "lr", *served.record.searched])
    ]
    page.wait_for_function(COLUMNS, arg=ours)
    assert "sweep.end" in texts(page, ".ag-header-cell")
    assert set(texts(page, ".ag-row [col-id='tags.`sweep.end`']")) == {"complete"}


@pytest.mark.slow
def test_the_description_reads_well(served, page):
    """The parent's page says first what won, links the report and the comparison, and shows names as they are."""
    page.goto("about:blank")
    page.goto(served.links[1])
    page.get_by_text("Show more").click()
    winner = rank(served.record.results)[0].trials[0]
    assert page.locator("strong", has_text=f"Trial {winner.number}").count() == 1
    assert page.locator("code", has_text=f"pipeline finalists {NAME}").count() == 1
    cells = texts(page, "table:has(th:has-text('val_class/')) td")
    assert sorted(cells[1::2]) == sorted(served.record.classes)
    assert cells[::2] == [f"{index:02}" for index in range(len(HOSTILE))]
    links = [
        a.get_attribute("href")
        for a in page.locator("a", has_text="the trials beside each other").all()
    ]
    assert [link in served.links[0] for link in links] == [True]


@pytest.mark.slow
def test_the_report_and_its_pictures_are_shown(served, page):
    """The description's link opens report.html inside MLflow, and a plot is a picture there."""
    page.goto("about:blank")
    page.goto(served.links[1])
    with page.context.expect_page() as opened:
        page.get_by_role(
            "link", name="The report"
        ).click()  # before the rest of the description is unfolded
    page = opened.value
    report = page.frame_locator("iframe")
    report.locator("h1").wait_for()
    assert NAME in report.locator("h1").inner_text()
    widths = report.locator("img").evaluate_all("all => all.map(image => image.naturalWidth)")
    assert widths
    assert min(widths) > 0
    page.get_by_text("plots", exact=True).click()
    page.get_by_text("learning_curves.png", exact=True).click()
    picture = page.locator(
        "img[src^=blob], .image-outer-container img, img[src*=learning_curves]"
    ).first
    picture.wait_for()
    page.wait_for_function("image => image.naturalWidth > 300", arg=picture.element_handle())


@pytest.mark.slow
def test_a_browser_is_opened_if_asked(served):
    """``--open`` hands the link to the browser that the environment names."""
    wait_until((served.folder / "opened.txt").exists)
    assert (served.folder / "opened.txt").read_text().strip() == served.links[0]


@pytest.mark.slow
def test_nothing_is_left_of_it(served):
    """Ctrl-C ends it with 0, the server with it, and nothing was changed in the store."""
    family = served.family()
    assert len(family) > 1
    os.killpg(served.process.pid, signal.SIGINT)
    assert served.process.wait(timeout=60) == 0
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in family))
    ui.check_port(served.port)
    assert not client(served.folder).search_runs(["0"], "attributes.status = 'RUNNING'")
