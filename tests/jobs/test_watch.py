"""`pipeline report --watch`: a page on 127.0.0.1 that is renewed while a sweep runs."""

import contextlib
import dataclasses
import http.client

import pytest
from support.browser import browse, watch
from support.records import make_record, make_result

from pipeline.jobs import watch as watching
from pipeline.report import render
from pipeline.report.contents import ReportContents
from pipeline.report.html import Live
from pipeline.report.html import page as html
from pipeline.report.status import Status
from pipeline.system.errors import Interrupted, StorageFailure, UsageFailure
from pipeline.system.local_page import HOST, LivePage, check_port, first_free_port, serve
from pipeline.system.signals import StopRequest

FIRST = 5950


def status(*values):
    """A study under way whose trials have these values."""
    record = make_record([make_result(n, value) for n, value in enumerate(values)])
    return Status(record=record, running=(), holder="process 7", places={}, now=1.8e9)


def live_html(text, version):
    """A page that loads itself anew."""
    contents = ReportContents(status(0.5).record)
    return html(contents, [], live=Live(text, version)).encode()


def ask(port, path="/", method="GET", host=f"{HOST}:1"):
    """The status and the body of an answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_what_is_served():
    """The page and its version, to a browser of this machine or behind `ssh -L`, and nothing else."""
    page = LivePage(b"<p>new</p>", "v7")
    port = first_free_port(FIRST, 40)
    assert not page.was_asked_within(60)
    with serve(page, port):
        assert ask(port, host=f"localhost:{port}") == (200, "<p>new</p>")
        assert ask(port, "/version") == (200, "v7")
        assert ask(port, method="HEAD") == (200, "")
        assert ask(port, "/../optuna.db")[0] == 404
        # A site whose name points to this machine, so that its scripts may read the answer.
        assert ask(port, host="evil.example.org") == (403, "")
        assert first_free_port(port, 2) == port + 1
        with pytest.raises(UsageFailure, match=f"cannot use port {port} .* try --port"):
            check_port(port)
    assert page.was_asked_within(60)
    check_port(port)


def test_when_it_is_made_anew(monkeypatch):
    """Only if the study has changed, somebody reads the page, and the last look is long enough ago."""
    answers = [status(0.5)]
    monkeypatch.setattr(render, "live_page", lambda record, live: f"{live.text} {live.version}")
    now = [1000.0]
    monkeypatch.setattr(watching.time, "monotonic", lambda: now[0])
    looks = []

    def read():
        looks.append(now[0])
        now[0] += 10
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        return answers[-1]

    watched = watching.Watch(read)
    first = watched.page.version
    assert b"1 of 24 trials ended" in watched.page.content
    answers.append(status(0.5, 0.75))
    now[0] += 100
    watched.look_if_due()
    assert len(looks) == 1, "nobody reads it"
    watched.page.ask()
    watched.look_if_due()
    assert watched.page.version != first
    assert b"2 of 24 trials ended" in watched.page.content
    now[0] += watching.pause_after(10) - 1
    watched.page.ask()
    watched.look_if_due()
    assert len(looks) == 2, "a look took 10 s: the next one is later than that"
    now[0] += 1
    second = watched.page.version
    watched.look_if_due()
    assert (len(looks), watched.page.version) == (3, second), "nothing has changed"
    answers.append(StorageFailure("locked"))
    now[0] += 100
    watched.page.ask()
    watched.look_if_due()
    assert (len(looks), watched.page.version) == (4, second), "it is tried again later"


def test_it_ends_when_asked(monkeypatch):
    """The first page is made before the address is told, and a request to stop ends it."""
    monkeypatch.setattr(render, "live_page", lambda *_: "made")
    stop = StopRequest()
    port = first_free_port(FIRST, 40)
    seen = []

    def ready():
        seen.append(ask(port))
        stop.request()

    with pytest.raises(Interrupted):
        watching.watch(lambda: status(0.5), port, ready, stop)
    assert seen == [(200, "made")]


def test_only_a_served_page_asks_for_anything():
    """The policy of a page that is renewed lets it ask its own server; a file's page asks for nothing."""
    contents = ReportContents(status(0.5).record)
    file = html(contents, [])
    assert "connect-src" not in file
    assert "fetch(" not in file
    page = html(contents, [], live=Live("2 < 3 trials", "v1"))
    assert "connect-src &#39;self&#39;" in page
    assert "2 &lt; 3 trials" in page


def test_nothing_is_written(tmp_path, monkeypatch):
    """A page that is renewed leaves no file of a report behind."""
    monkeypatch.chdir(tmp_path)
    record = dataclasses.replace(status(0.5, 0.75).record, name="s")
    monkeypatch.setattr(
        render, "_begin_drawing", lambda _record, folder: list if folder.is_dir() else 1
    )
    assert 'data-version="v"' in render.live_page(record, Live("text", "v"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_in_a_browser():
    """The page loads itself anew when there is a newer one, and says when there will be none."""
    page = LivePage(live_html("1 of 2", "v1"), "v1")
    port = first_free_port(FIRST, 40)
    with browse() as shown:
        _, wrong = watch(shown)
        with serve(page, port):
            shown.goto(f"http://{HOST}:{port}/")
            page.content = live_html("2 of 2", "v2")
            page.version = "v2"
            shown.wait_for_selector("#live[data-version=v2]")
            assert not shown.locator("#live span").is_visible()
            assert wrong == []
        shown.evaluate("renew()")
        shown.wait_for_selector("#live.gone span", state="visible")
