"""Helper processes start wherever temporary files are."""

import multiprocessing
import os
import subprocess
import sys
import tempfile

import pytest
from support.sourcecode import ROOT

from pipeline.system import forkserver
from pipeline.system.errors import UsageFailure
from pipeline.system.files import temporary_parent

HELPER = """
from pipeline.system import forkserver
if __name__ == "__main__":
    forkserver.warm_up("pipeline.none")
    helper = forkserver.CONTEXT.Process(target=print, args=("it runs",))
    helper.start()
    helper.join()
    forkserver.stop_server()
"""


INTERRUPTED = """
import os, signal, sys, time
from multiprocessing import forkserver as python
from pipeline.system import forkserver
forkserver.warm_up("slow_to_import")
while not os.path.exists("begun"):
    time.sleep(0.01)
os.kill(python._forkserver._forkserver_pid, signal.SIGINT)
if __name__ == "__main__":
    helper = forkserver.start(print, ("it runs",), "helper")
    helper.join()
    forkserver.stop_server()
"""


def run_script(folder):
    """Run `script.py` of a folder, with the folder's modules; it prints no errors."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    command = [sys.executable, "script.py"]
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stderr == ""
    return ran.stdout


def test_an_interrupt_does_not_end_the_server_in_its_imports(tmp_path):
    """A terminal's Ctrl-C reaches the server, too: it shows no traceback, and forks what is asked for."""
    slow = "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(0.3)\n"
    (tmp_path / "slow_to_import.py").write_text(slow)
    (tmp_path / "script.py").write_text(INTERRUPTED)
    assert run_script(tmp_path) == "it runs\n"


LATER = """
from pipeline.system import forkserver
forkserver.warm_up("first")
if __name__ == "__main__":
    import time
    while True:
        helper = forkserver.start(exec, ("import sys; sys.exit('second' in sys.modules)",), "helper")
        helper.join()
        if helper.exitcode:
            break
        time.sleep(0.02)
    forkserver.stop_server()
    print("it has both")
"""


def test_the_server_imports_another_module_later(tmp_path):
    """Helpers that begin before do without it."""
    later = "from pipeline.system import forkserver\n"
    later += "forkserver.import_later(lambda: __import__('second'), 0.1)\n"
    (tmp_path / "first.py").write_text(later)
    (tmp_path / "second.py").touch()
    (tmp_path / "script.py").write_text(LATER)
    assert run_script(tmp_path) == "it has both\n"


def test_the_name_of_the_folder_may_be_too_long_for_a_socket(tmp_path):
    """A helper starts with a TMPDIR of any length, and nothing is left there."""
    folder = tmp_path / ("x" * 150)
    folder.mkdir()
    script = tmp_path / "helper.py"
    script.write_text(HELPER)
    environment = {**os.environ, "TMPDIR": str(folder)}
    ran = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "it runs\n"
    assert ran.stderr == ""
    folder.rmdir()


def test_without_a_folder_that_is_short_enough_a_line_says_so(tmp_path, monkeypatch):
    """The line has the limit, what was given, and what to do."""
    folder = tmp_path / ("x" * 150)
    folder.mkdir()
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {})
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(forkserver, "_USUAL_PARENTS", ())
    with pytest.raises(UsageFailure, match=r"of at most 57 .*: set TMPDIR to one, got '.*xxx'$"):
        forkserver.warm_up("pipeline.none")


def test_without_any_folder_for_temporary_files_a_line_says_so(monkeypatch):
    """Python's own error names folders only."""
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(UsageFailure, match=r"set TMPDIR to one, got '/nowhere'$"):
        temporary_parent()


def test_without_a_server_none_is_started(monkeypatch):
    """Where helpers are spawned, as on Windows, there is nothing to warm up."""
    monkeypatch.setattr(forkserver, "CONTEXT", multiprocessing.get_context("spawn"))
    monkeypatch.setattr(forkserver, "_place_sockets", pytest.fail)
    forkserver.warm_up("pipeline.none")
