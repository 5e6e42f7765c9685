"""A lock file lets one thread of one process at a time into a block."""

import threading

from pipeline.system.exclusive import exclusive


def test_threads_take_turns(tmp_path, capsys):
    """A thread waits, after a notice, until the other has left the block; the lock file stays."""
    events = []

    def enter():
        with exclusive(tmp_path / "lock", "waiting"):
            events.append("second")

    with exclusive(tmp_path / "lock", "waiting"):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(0.2)
        events.append("first")
    thread.join()
    assert events == ["first", "second"]
    assert capsys.readouterr().err == "waiting\n"
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_holder_may_remove_the_lock_file(tmp_path):
    """Whoever waits takes a new lock file then."""
    entered = threading.Event()

    def enter():
        with exclusive(tmp_path / "lock", "waiting"):
            entered.set()

    with exclusive(tmp_path / "lock", "waiting"):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(0.2)
        (tmp_path / "lock").unlink()
        assert not entered.is_set()
    thread.join()
    assert entered.is_set()
