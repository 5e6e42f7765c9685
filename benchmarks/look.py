"""Times what a user waits for when a sweep has ended: its report, and commands that look at it.

    python -m benchmarks.look --trials 24 --pairs 5 --roots . ../before

Each pair sweeps in an empty folder with each build in turn, and then looks at the study. Times are
of the whole process, from the start of the interpreter; the end of a sweep counts from the end of
its last trial, as the store of studies has it.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

STUDY = """
description: Small networks.
dataset: digits
method: random
pruner: none
trials: {trials}
epochs: 3
fixed: {{family: mlp, depth: 2}}
search:
  lr: {{low: 1.0e-3, high: 1.0e-1, log: true}}
  width: [16, 32, 64]
  dropout: {{low: 0.0, high: 0.5}}
"""
END = "from the last trial's end to the prompt"
COMMANDS = {
    "report": ["report"],
    "report --format csv": ["report", "--format", "csv"],
    "report --best --format json": ["report", "--best", "--format", "json"],
    "list": ["list"],
    "status": ["status"],
    "--help": ["--help"],
}


def run(root: Path, home: Path, arguments: list[str]) -> tuple[float, float]:
    """Run a command of a build; return its seconds of wall time, and of CPU time of its process."""
    environment = {**os.environ, "PYTHONPATH": str(root), "MLFLOW_DISABLE_TELEMETRY": "true"}
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=home,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{arguments} ended with {status}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def last_end(home: Path) -> float:
    """When the last trial ended, in seconds since 1970."""
    with closing(sqlite3.connect(home / "optuna.db")) as database:
        (text,) = database.execute("SELECT MAX(datetime_complete) FROM trials").fetchone()
    return datetime.fromisoformat(text).timestamp()


def measure(root: Path, trials: int) -> dict[str, tuple[float, float]]:
    """Sweep in an empty folder, and look at the study: the wall and CPU seconds of each command."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "look.yaml").write_text(STUDY.format(trials=trials))
        _, cpu = run(root, home, ["sweep", "look.yaml", "--workers", "2"])
        figures = {END: (time.time() - last_end(home), cpu)}
        for name, arguments in COMMANDS.items():
            figures[name] = run(root, home, arguments)
    return figures


def main() -> None:
    """Print the median and the extremes of each figure, and write all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--roots", type=Path, nargs="+", default=[Path(__file__).parents[1]])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    roots = [root.resolve() for root in options.roots]
    found: dict[str, list[dict[str, tuple[float, float]]]] = {str(root): [] for root in roots}
    for _ in range(options.pairs):
        for root in roots:
            found[str(root)].append(measure(root, options.trials))
    for root, figures in found.items():
        print(f"{root}, {options.trials} trials, load {os.getloadavg()[0]:.1f}")
        for name in (END, *COMMANDS):
            walls = [each[name][0] for each in figures]
            cpus = [each[name][1] for each in figures]
            print(
                f"  {name}: {statistics.median(walls):.2f} s "
                f"({min(walls):.2f} to {max(walls):.2f}), CPU {statistics.median(cpus):.2f} "
                f"({min(cpus):.2f} to {max(cpus):.2f})"
            )
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
