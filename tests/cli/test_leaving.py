"""The end of a command: at once, with nothing left undone."""

import subprocess
import sys

CODE = """
import atexit, sys
from pipeline.cli.program import Leaving
leaving = Leaving()
import pipeline.stores.sqlite, sqlalchemy
atexit.register(lambda: print("done at the end"))
engine = sqlalchemy.create_engine("sqlite:///file.db")
with engine.begin() as database:
    database.exec_driver_sql("PRAGMA journal_mode=WAL")
    database.exec_driver_sql("CREATE TABLE kept (value)")
class Cycle:
    def __del__(self):
        print("the interpreter's own end")
endless = Cycle()
endless.itself = endless
print("printed")
leaving.code = {code}
"""


def run(folder, code):
    """Run it in a process of its own."""
    command = [sys.executable, "-c", CODE.format(code=code)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_all_is_done_before_and_nothing_after(tmp_path):
    """With its code, when all is printed, all is done that waits for the end, and a database's log is in its file."""
    done = run(tmp_path, 3)
    assert (done.returncode, done.stdout.split("\n"), done.stderr) == (
        3,
        ["printed", "done at the end", ""],
        "",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["file.db"]


def test_without_a_code_the_interpreter_ends_it(tmp_path):
    """As after an error that nobody expected."""
    done = run(tmp_path, None)
    assert (done.returncode, done.stdout.split("\n")[2]) == (0, "the interpreter's own end")


def test_the_server_of_helpers_ends_with_it(tmp_path):
    """Also where it is still importing: whoever reads what is printed does not wait for that."""
    (tmp_path / "endless.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(600)\n"
    )
    code = "from pipeline.cli import program as leaving; from pipeline.system import forkserver as forking\n"
    code += "end = leaving.Leaving(); forking.warm_up('endless'); end.code = 0"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0
