"""The end of a command: at once, with nothing left undone."""

import subprocess
import sys

CODE = """
import atexit, sys
from pipeline.leaving import Leaving
leaving = Leaving()
import pipeline.databases, sqlalchemy
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
    assert (done.returncode, done.stdout.split("\n"), done.stderr) == (3, ["printed", "done at the end", ""], "")
    assert [path.name for path in tmp_path.iterdir()] == ["file.db"]


def test_without_a_code_the_interpreter_ends_it(tmp_path):
    """As after an error that nobody expected."""
    done = run(tmp_path, None)
    assert (done.returncode, done.stdout.split("\n")[2]) == (0, "the interpreter's own end")
