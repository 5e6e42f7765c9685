"""Times commands on a large study: help, a report's table, the next trial, and asking for it.

    python -m benchmarks.commands --trials 1000 --out commands.json

The benchmark makes a study of trials that train nothing, with the code that `pipeline sweep` runs;
a thousand trials take a few minutes. Each command is then a process of its own, timed from the
start of the interpreter.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.overhead import SPACE, Ended, Null, null_sweep, search, timed
from pipeline.engines.base import Task
from pipeline.jobs import sweep
from pipeline.training.epochs import Hooks
from sweeps.search.study import Study

# Like the command, this imports without collecting garbage, and exits at once.
RESUME = """
import sys
sys.path.insert(0, {root!r})
from pipeline.cli import program as leaving
from pipeline.system import garbage
end = leaving.Leaving()
with garbage.freeze_loaded():
    from benchmarks.commands import Path, resume
resume(Path("."))
end.code = 0
"""


class First(Null):
    """An engine that ends the sweep when its first trial begins."""

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Train nothing."""
        del task, hooks
        raise Ended


def run(home: Path, *command: str) -> dict[str, float]:
    """Run a command; return its wall and CPU time in seconds, and its peak memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        command, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command} ended with {status}")
    wall, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return {"wall_s": wall, "cpu_s": cpu, "peak_mb": usage.ru_maxrss / 1024}


def resume(home: Path) -> None:
    """Continue the study until its next trial begins; write the seconds of asking to a file."""
    spent: dict[str, list[float]] = defaultdict(list)
    with timed(spent, "ask", Study, "_draw"):
        search(home, sweep.Request(study="null.yaml", workers=1), lambda *_: First())
    (home / "ask.json").write_text(json.dumps(spent))


def measure(home: Path, trials: int) -> dict[str, Any]:
    """Make the study, and run the commands on it."""
    null_sweep(home, trials, "tpe")
    figures: dict[str, Any] = {"trials": trials}
    python, root = sys.executable, str(Path(__file__).parents[1])
    figures["interpreter"] = run(home, python, "-c", "import click")
    figures["help"] = run(home, python, "-m", "pipeline", "--help")
    read = "from pipeline.report import render; from pipeline.stores import access, locations; "
    read += "record = access.read_record(locations.locate()); "
    table = (
        read + "print(render.render(record, 'table', 20))"
    )  # which is printed before a file is written
    figures["report's table"] = run(home, python, "-c", table)
    figures["report with its files"] = run(home, python, "-m", "pipeline", "report")
    (home / "null.yaml").write_text(SPACE.format(epochs=10, trials=trials + 1, method="tpe"))
    figures["resume to the next trial"] = run(home, python, "-c", RESUME.format(root=root))
    figures["ask_s"] = json.loads((home / "ask.json").read_text())["ask"]
    return figures


def main() -> None:
    """Print all, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(measure(Path(folder), options.trials), indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
