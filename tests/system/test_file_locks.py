"""A lock file is locked by one process, which Windows' locks tell like those of this system.

For Windows, the module is loaded as there, with a stand-in for `msvcrt` that locks by `lockf`.
"""

import fcntl
import importlib.util
import os
import subprocess
import sys
import types

import pytest
from support.sourcecode import ROOT

from pipeline.system import file_locks

# What holds a file locked until its input ends: its arguments are the system and the file.
HOLD = """
import os, sys
sys.path[:0] = [{tests!r}]
from system.test_file_locks import load
locks = load(sys.argv[1])
descriptor = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | locks.OPEN_FLAGS)
locks.lock(descriptor)
os.write(descriptor, b"mine")
print("held", flush=True)
sys.stdin.read()
"""


def _locking(descriptor, mode, count):
    """Stand in for `msvcrt.locking`: lock or unlock some bytes from the present position."""
    if mode == _MSVCRT.LK_UNLCK:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, count, 0, os.SEEK_CUR)
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, count, 0, os.SEEK_CUR)
    except OSError:
        raise PermissionError(13, "Permission denied") from None


_MSVCRT = types.SimpleNamespace(LK_NBLCK=2, LK_UNLCK=0, locking=_locking)


def load(system):
    """The module of locks, as it is on a system."""
    if system == sys.platform:
        return file_locks
    spec = importlib.util.spec_from_file_location("windows_locks", file_locks.__file__)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "platform", system)
        patch.setattr(os, "O_BINARY", 0, raising=False)
        patch.setitem(sys.modules, "msvcrt", _MSVCRT)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(params=[sys.platform, "win32"])
def locks(request):
    """The locks of this system, and those of Windows."""
    return load(request.param)


def test_one_process_holds_a_file(locks, tmp_path):
    """Another is refused, and told that it is locked, until the holder ends."""
    path = tmp_path / "a.lock"
    system = sys.platform if locks is file_locks else "win32"
    command = [sys.executable, "-c", HOLD.format(tests=str(ROOT / "tests")), system, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        descriptor = os.open(path, os.O_RDWR | locks.OPEN_FLAGS)
        assert locks.is_locked(descriptor)
        with pytest.raises((BlockingIOError, PermissionError)) as refused:
            locks.lock(descriptor)
        assert refused.value.filename is None, "as of a file that cannot be opened"
        holder.kill()
    assert not locks.is_locked(descriptor)
    locks.lock(descriptor)
    os.close(descriptor)


def test_asking_leaves_a_file_as_it_was(locks, tmp_path):
    """It is read from its start, and nobody has locked it."""
    (tmp_path / "a.lock").write_text("a holder")
    with (tmp_path / "a.lock").open() as file:
        if locks is file_locks:
            assert not locks.is_locked(file.fileno())
        else:  # a lock of Windows needs no right to write, and one of this system does
            with (tmp_path / "a.lock").open("r+") as writable:
                assert not locks.is_locked(writable.fileno())
                assert writable.read() == "a holder"
        assert file.read() == "a holder"
