"""Every benchmark, one after the other: ``python -m benchmarks --pairs 3 --out results``.

Sizes are moderate; each can be run alone with its own. Options are passed on to each. With ``--table`` the tables of
what was measured before are printed, and nothing is measured.
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
