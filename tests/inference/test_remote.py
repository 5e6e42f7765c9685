"""`pipeline predict --url` bounds what it waits for and reads, and checks what it is told."""

import contextlib
import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image
from support.endtoend import pipeline

from pipeline.inference import remote

JSON = {"Content-Type": "application/json"}
CARD = {"shape": [4, 4, 1], "classes": ["a", "b"]}


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's `answers` say: to the first question, and to later ones."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, headers, pieces = self.server.answers["params" not in asked]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        with contextlib.suppress(OSError):  # the client has had enough
            self.end_headers()
            for piece in pieces:
                if self.server.stopped.wait(0.05 if len(piece) == 1 else 0):
                    return
                self.wfile.write(piece)

    def log_message(self, *arguments):
        """Be quiet."""


@pytest.fixture
def server():
    """A server on a port of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.stopped = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ask(server, tmp_path, capsys, monkeypatch):
    """Has a server answer, asks it for an image, and returns the exit code and what is printed."""
    monkeypatch.setattr(remote, "_TIMEOUT", 1.0)
    monkeypatch.setattr(remote, "_DESCRIPTION_TIMEOUT", 1.0)
    image = tmp_path / "image.png"
    Image.new("L", (4, 4)).save(image)

    def run(*answers):
        server.answers = answers
        address = f"127.0.0.1:{server.server_port}"
        code = pipeline("predict", "--format", "json", "--url", f"http://{address}", str(image))
        out, err = capsys.readouterr()
        if code:
            assert len(err.splitlines()) == 1
            assert err.startswith(f"http://{address}/invocations ")
        return code, out, err

    return run


def plain(predictions):
    """An answer as MLflow's server gives it."""
    return 200, JSON, [json.dumps({"predictions": predictions}).encode()]


def test_a_served_model_is_asked(ask):
    """The classes of its description, in the order of its probabilities."""
    code, out, _ = ask(plain(CARD), plain([{"probabilities": [0.25, 0.75]}]))
    assert code == 0
    assert json.loads(out)[0]["class"] == "b"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param((200, JSON, itertools.repeat(b"1")), "within 1 s", id="drips"),
        pytest.param(
            (200, {"Content-Length": "9"}, [b"1", b"2"]), "IncompleteRead", id="breaks off"
        ),
        pytest.param(
            (200, JSON, itertools.repeat(b"1" * 100_000)), "more than 10,000,000 bytes", id="floods"
        ),
        pytest.param((200, JSON, [b"[" * 100_000]), "application/json", id="deep"),
        pytest.param((200, {"Content-Type": "text/html"}, [b"<html>"]), "text/html", id="a page"),
        pytest.param(
            (200, {"Content-Encoding": "gzip"}, [b"{}"]),
            "decompressing",
            id="not packed as it says",
        ),
        pytest.param(
            (302, {"Location": "http://a:b@x/y"}, []), "http://x/y, which", id="redirects"
        ),
        pytest.param((500, {}, [b"[" * 100_000]), "refused: 500", id="an error, deep"),
        pytest.param((200, JSON, [b"\xff\xfe"]), "application/json", id="no text"),
    ],
)
def test_another_server_is_refused(ask, answer, why):
    """Exit 5 in one line, which names the server, within seconds and with little memory."""
    code, out, err = ask(answer, answer)
    assert (code, out) == (5, "")
    assert why in err


def test_headers_that_drip_are_not_waited_for(ask, monkeypatch):
    """The time limit counts from the question to the end of the answer."""

    def drip(handler):
        with contextlib.suppress(OSError):
            while not handler.server.stopped.wait(0.05):
                handler.wfile.write(b"X")

    monkeypatch.setattr(Handler, "do_POST", drip)
    code, _, err = ask()
    assert code == 5
    assert "has not answered completely within 1 s" in err


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**6, 10**6, 1]},
        {"shape": [4, 4, 10**9]},
        {"shape": [-4, 4, 1]},
        {"shape": [4.5, 4, 1]},
        {"shape": [4, 4]},
        {"shape": "441"},
        {"shape": None},
        {"classes": {"a": 1}},
        {"classes": [1, 2]},
        {"classes": []},
    ],
)
def test_an_impossible_description_is_refused(ask, change):
    """No image is brought to an impossible shape, and none is called unreadable."""
    code, _, err = ask(plain({**CARD, **change}), plain([]))
    assert code == 5
    assert "serves no model that `pipeline register` made" in err


@pytest.mark.parametrize(
    "rows",
    [
        [],
        {"a": 1},
        [{"probabilities": [0.5]}],
        [{"probabilities": ["a", "b"]}],
        [{"probabilities": [float("nan"), 0.5]}],
        [{"probabilities": [10**400, 0]}],
        [{"probabilities": [-1, 2]}],
        [{"probabilities": [[[0.5]], 0.5]}],
        [{"probabilities": [0.5, 0.5]}] * 2,
    ],
)
def test_impossible_probabilities_are_refused(ask, rows):
    """There must be one from 0 to 1 for each class of each image."""
    code, _, err = ask(plain(CARD), plain(rows))
    assert code == 5
    assert "answered with no probabilities for 1 images" in err
