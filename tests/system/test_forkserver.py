"""Helper processes start wherever temporary files are."""

import multiprocessing
import os
import subprocess
import sys
import tempfile

import pytest

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
