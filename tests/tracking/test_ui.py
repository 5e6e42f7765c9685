"""MLflow's real UI, as `pipeline ui` opens it in a real browser, and its end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from conftest import PREFIXES
from support.browser import browse
from support.commands import wait_until
from support.datasets import HOSTILE, write_folder
from support.endtoend import client, furnish, record
from support.ui import StudyUI, free_port

from pipeline.system.errors import UsageFailure
from pipeline.system.local_page import HOST, check_port
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
# The columns from left to right: the document has another order, and the grid sorts them only after
# it has shown them.
COLUMNS = """names => {
  const left = cell => cell.getBoundingClientRect().left
  const cells = [...document.querySelectorAll(".ag-header-cell")].sort((a, b) => left(a) - left(b))
  const shown = cells.map(cell => cell.getAttribute("col-id")).filter(name => names.includes(name))
  return shown.join() == names.join()
}"""


def test_port_in_use_is_an_error():
    """The error names the port and a free one, in one line."""
    with contextlib.closing(socket.socket()) as listener:
        listener.bind((HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        message = rf"cannot use port {port} of 127.0.0.1: .*; try --port \d+$"
        with pytest.raises(UsageFailure, match=message) as error:
            check_port(port)
    proposed = int(str(error.value).split()[-1])
    check_port(proposed)
    check_port(port)


class Served:
    """A finished study of images with hostile class names, and `pipeline ui` over it."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith(PREFIXES)
        }
        self.environment |= {
            "PIPELINE_CACHE_DIR": str(folder / "cache"),
            "BROWSER": f"{folder}/browser %s",
        }
        browser = folder / "browser"
        browser.write_text(f'#!/bin/sh\necho "$1" > {folder}/opened.txt\n')
        browser.chmod(0o755)
        write_folder(folder / "images", classes=HOSTILE, count=16)
        sweep = [f"--dataset=folder:{folder / 'images'}", f"--name={NAME}", "--device=cpu"]
        subprocess.run(
            self.command("sweep", "tiny.yaml", *sweep), cwd=folder, env=self.environment, check=True
        )
        self.record = record(folder, NAME)

    def command(self, *words):
        """The command line of a `pipeline` command."""
        return [sys.executable, "-m", "pipeline", *words]

    def start(self):
        """Start the UI, and return the links that it prints once it answers."""
        self.ui = StudyUI(self.folder, NAME, "--open", port=self.port, env=self.environment)
        self.process = self.ui.process
        return self.ui.links

    def processes(self):
        """The ids of the UI's processes."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [self.process.pid, *(child.pid for child in children)]


@pytest.fixture(scope="module")
def served(tmp_path_factory, template):
    """The study and its UI, which is killed if no test has ended it."""
    served = Served(furnish(tmp_path_factory.mktemp("ui"), template, STUDY))
    served.links = served.start()
    yield served
    served.ui.kill()


@pytest.fixture(scope="module")
def page(served):
    """A page of a browser."""
    with browse(width=1600, height=1300) as page:
        yield page


def texts(page, selector):
    """The texts of a page's elements, in order, without the texts in images."""
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]


@pytest.mark.slow
def test_link_opens_the_comparison(served, page):
    """The study's view has the trials by value, the searched parameters as axes, and the curves."""
    page.goto(served.links[0])
    page.wait_for_selector(".parcoords .dimension")
    page.wait_for_function(f"document.querySelectorAll('{CARD} .js-plotly-plot').length == 6")
    # An MLP has no layer_order, and the chart would drop a run without it.
    assert page.locator(".parcoords .dimension .label").all_text_contents() == [
        "family",
        "log10_lr",
        "activation",
        "best/val_acc",
    ]
    sections = []
    for header in page.locator(".du-bois-light-collapse-header").all():
        title = header.inner_text().split("(")[0].strip()
        sections.append((title, header.get_attribute("aria-expanded")))
    ours = ["What was searched", "Learning curves", "Results and what they took"]
    assert sections[:3] == [(name, "true") for name in ours]
    generated = {expanded for _, expanded in sections[3:]}
    assert generated == {"false"}, "the sections of MLflow are collapsed"
    titles = [text.split(" Showing")[0] for text in texts(page, CARD)]
    assert [title.split()[0] for title in titles[1:]] == [
        "val/acc",
        "val/loss",
        "train/loss",
        "best/val_acc",
        "cost/params_millions",
        "cost/seconds",
    ]
    page.wait_for_function(f"{CURVE}.length == 8")  # each twice, once for the pointer
    curves = dict(page.evaluate(f"{CURVE}.map(line => [line.name, [...line.y]])"))
    for trial in served.record.results:
        (name,) = [name for name in curves if name.startswith(f"{trial.number:04d} ")]
        assert f" lr={trial.config.lr:.4g}" in name
        assert curves[name] == pytest.approx([epoch.metrics["val/acc"] for epoch in trial.history])
    ranked = [entry.value for entry in rank(served.record.results)]
    runs = texts(page, ".ag-row a")
    numbers = [int(name.split()[0]) for name in runs]
    assert [served.record.results[number].value for number in numbers] == ranked
    assert page.get_by_text("4 matching runs").count() == 1, "the parent is not among its trials"


@pytest.mark.slow
def test_list_has_our_columns(served, page):
    """The list shows the trials' value, end and searched parameters, in this order."""
    page.goto("about:blank")
    page.goto(served.links[0].replace("compareRunsMode=CHART", "compareRunsMode=TABLE"))
    page.wait_for_selector(".ag-header-cell")
    page.wait_for_selector(".ag-row [col-id='params.`lr`']")
    ours = ["metrics.`sweep/rank`", "metrics.`best/val_acc`", "tags.`sweep.end`"]
    params = dict.fromkeys(["family", "lr", *served.record.searched])
    ours += [f"params.`{name}`" for name in params]
    page.wait_for_function(COLUMNS, arg=ours)
    assert "sweep.end" in texts(page, ".ag-header-cell")
    assert set(texts(page, ".ag-row [col-id='tags.`sweep.end`']")) == {"complete"}


@pytest.mark.slow
def test_description_reads_well(served, page):
    """The parent's page names the winner, links the comparison, and shows class names unchanged."""
    page.goto("about:blank")
    page.goto(served.links[1])
    page.get_by_text("Show more").click()
    winner = served.record.best_trial
    assert page.locator("strong", has_text=f"Trial {winner.number}").count() == 1
    assert page.locator("code", has_text=f"pipeline finalists {NAME}").count() == 1
    cells = texts(page, "table:has(th:has-text('val_class/')) td")
    assert sorted(cells[1::2]) == sorted(served.record.classes)
    assert cells[::2] == [f"{index:02}" for index in range(len(HOSTILE))]
    links = page.locator("a", has_text="the trials beside each other").all()
    assert [link.get_attribute("href") in served.links[0] for link in links] == [True]


@pytest.mark.slow
def test_report_and_plots_are_shown(served, page):
    """The description's link opens report.html inside MLflow, which also shows a plot's image."""
    page.goto("about:blank")
    page.goto(served.links[1])
    with page.context.expect_page() as opened:
        # The link stands before the part of the description that must be unfolded.
        page.get_by_role("link", name="The report").click()
    page = opened.value
    report = page.frame_locator("iframe")
    report.locator("h1").wait_for()
    assert NAME in report.locator("h1").inner_text()
    widths = report.locator("img").evaluate_all("all => all.map(image => image.naturalWidth)")
    assert widths
    assert min(widths) > 0
    page.get_by_text("plots", exact=True).click()
    page.get_by_text("learning_curves.png", exact=True).click()
    images = page.locator("img[src^=blob], .image-outer-container img, img[src*=learning_curves]")
    image = images.first
    image.wait_for()
    page.wait_for_function("image => image.naturalWidth > 300", arg=image.element_handle())


@pytest.mark.slow
def test_open_starts_the_browser(served):
    """``--open`` passes the link to the browser of the environment."""
    opened = served.folder / "opened.txt"
    wait_until(opened.exists)
    assert opened.read_text().strip() == served.links[0]


@pytest.mark.slow
def test_killed_it_leaves_nothing_and_starts_again(served):
    """`kill -9` of the command alone ends the server, too, and the same port serves again."""
    processes = served.processes()
    assert len(processes) > 2
    served.process.kill()
    served.process.wait(timeout=60)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in processes))
    served.ui.kill()
    assert served.start() == served.links


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(served):
    """Ctrl-C ends the command with 0 and all its processes, and the store has no running run."""
    processes = served.processes()
    assert len(processes) > 1
    os.killpg(served.process.pid, signal.SIGINT)
    assert served.process.wait(timeout=60) == 0
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in processes))
    check_port(served.port)
    assert not client(served.folder).search_runs(["0"], "attributes.status = 'RUNNING'")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_this_machines_own_addresses_are_open(host):
    """Addresses that only this machine reaches need no password."""
    ui.check_host(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "box.example.org"])
def test_other_addresses_only_behind_passwords(monkeypatch, host):
    """Others are refused in a line with the remedy, unless MLflow's server can ask for passwords."""
    values = {"MLFLOW_AUTH_ADMIN_PASSWORD": "secret", "MLFLOW_FLASK_SERVER_SECRET_KEY": "key"}
    for name in values:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageFailure) as refused:
        ui.check_host(host)
    assert str(refused.value).startswith(f"--host {host} would show the record to everyone")
    assert all(name in str(refused.value) for name in values)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ui, "find_spec", lambda _: None)
    with pytest.raises(UsageFailure, match="mlflow\\[auth\\]"):
        ui.check_host(host)
    monkeypatch.setattr(ui, "find_spec", lambda _: "there")
    ui.check_host(host)
