"""A lock file lets one thread of one process at a time into a block."""

import io
import sys
import threading

from pipeline.system.exclusive import exclusive


class Heard(io.StringIO):
    """What is said, and that something was."""

    def __init__(self):
        super().__init__()
        self.something = threading.Event()

    def write(self, text):
        written = super().write(text)
        self.something.set()
        return written


def test_threads_take_turns(tmp_path, monkeypatch):
    """A thread waits, after a notice, until the other has left the block; the lock file stays."""
    events, said = [], Heard()
    monkeypatch.setattr(sys, "stderr", said)

    def enter():
        with exclusive(tmp_path / "lock", "waiting"):
            events.append("second")

    with exclusive(tmp_path / "lock", "waiting"):
        thread = threading.Thread(target=enter)
        thread.start()
        assert said.something.wait(30)
        events.append("first")
    thread.join()
    assert events == ["first", "second"]
    assert said.getvalue() == "waiting\n"
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_holder_may_remove_the_lock_file(tmp_path, monkeypatch):
    """Whoever waits takes a new lock file then."""
    entered, said = threading.Event(), Heard()
    monkeypatch.setattr(sys, "stderr", said)

    def enter():
        with exclusive(tmp_path / "lock", "waiting"):
            entered.set()

    with exclusive(tmp_path / "lock", "waiting"):
        thread = threading.Thread(target=enter)
        thread.start()
        assert said.something.wait(30)
        (tmp_path / "lock").unlink()
        assert not entered.is_set()
    thread.join()
    assert entered.is_set()
