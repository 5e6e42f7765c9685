"""Runs the benchmarks that compare with peers: ``python -m benchmarks --pairs 3 --out results``.

Sizes are moderate; each benchmark can be run alone with other sizes. Options are passed on to each.
With ``--table``, the tables of earlier results are printed and nothing is measured.
"""

import subprocess
import sys

from benchmarks.common import ROOT

ALL = ("null_trials", "throughput", "sweep", "time_to_accuracy", "time_to_best")


def main() -> None:
    failed = []
    for name in ALL:
        print(f"\n## {name}\n", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
