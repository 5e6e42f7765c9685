"""From a command to its first training step, beside an interpreter that imports torch alone.

    PIPELINE_DATA_DIR=data python -m benchmarks.start --pairs 5 --out results

Every command begins in an empty folder, with caches that the first pair has filled. It is killed
when some process of it has made the first step of an optimiser. With ``--root`` another build is
measured, and with both builds' results the way before and after a change.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil

from benchmarks import common
from benchmarks.common import Figures, Results

COMMANDS = {
    "sweep, the default study": ["sweep"],
    "sweep of MNIST, two workers": ["sweep", "--dataset", "mnist", "--trials", "8"],
    "train, the digits": ["train"],
}
TORCH = "torch alone"
_POLL_INTERVAL = 0.003  # seconds
_LONGEST = 300  # seconds

# A module that Python imports at every start. It has the training loop write the time of the first
# step into a file, and imports nothing for that.
SITE = '''
import os
import sys


class Marking:
    """Finds the training loop, and marks its first step."""

    def find_spec(self, name, path=None, target=None):
        if name != "pipeline.training.epochs":
            return None
        from importlib.machinery import PathFinder

        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def load_and_wrap(module):
            load(module)
            pausing = module._pausing

            def marked(hooks, clock):
                from dataclasses import replace

                found = pausing(hooks, clock)

                def step(*figures):
                    with open(os.environ["FIRST_STEP"], "a") as file:
                        file.write("step\\n")
                    found.step(*figures)

                return replace(found, step=step)

            module._pausing = marked

        spec.loader.exec_module = load_and_wrap
        return spec


sys.meta_path.insert(0, Marking())
'''


def torch_alone() -> Figures:
    """Time an interpreter that imports torch, from its start to its end."""
    common.compile_packages()
    began = time.perf_counter()
    used = common.cpu_seconds()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return figures(time.perf_counter() - began, common.cpu_seconds() - used)


def first_step(command: list[str], root: Path, data_dir: Path) -> Figures:
    """Time a command until its first step, and then kill it.

    Args:
        command: of the program, with its options.
        root: the folder of the build.
        data_dir: the folder of data sets.

    Raises:
        SystemExit: if it ends before.
    """
    with tempfile.TemporaryDirectory() as folder:
        site, work, mark = Path(folder, "site"), Path(folder, "work"), Path(folder, "mark")
        site.mkdir()
        work.mkdir()
        (site / "sitecustomize.py").write_text(SITE, encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if k not in common.APART}
        environment |= {
            "PYTHONPATH": f"{site}{os.pathsep}{root}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "FIRST_STEP": str(mark),
        }
        with Path(folder, "output").open("w+", encoding="utf-8") as output:
            began = time.perf_counter()
            process = psutil.Popen(
                [sys.executable, "-m", "pipeline", *command, "--data-dir", str(data_dir)],
                cwd=work,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            while not mark.exists() and process.poll() is None:
                time.sleep(_POLL_INTERVAL)
                if time.perf_counter() - began > _LONGEST:
                    break
            seconds = time.perf_counter() - began
            is_there = mark.exists()
            own, all_of_them = cpu_times(process)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not is_there:
                output.seek(0)
                sys.exit(f"{command} made no step:\n{output.read()[-4000:]}")
    return figures(seconds, all_of_them) | {"own_cpu_s": own}


def cpu_times(process: psutil.Process) -> tuple[float, float]:
    """The CPU seconds of a process, and those with its children's."""
    each = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            each.append(times.user + times.system)
    return (each[0] if each else 0.0), sum(each)


def figures(seconds: float, cpu_seconds: float) -> Figures:
    """What is kept of a run; more of the rate is better."""
    return {"rate": 1 / seconds, "wall_s": seconds, "cpu_s": cpu_seconds}


def report(results: Results) -> str:
    """The table: medians of the seconds, and of the pairs' ratios to torch alone."""
    rows = []
    for part in results.parts():
        runs = [run["figures"] for run in results.of(part)]
        for name in runs[0]:
            cells = [part, name]
            for key in ("wall_s", "cpu_s", "own_cpu_s"):
                values = sorted(run[name][key] for run in runs if key in run[name])
                cells.append(f"{values[len(values) // 2]:.2f}" if values else "")
            ratio = results.ratio(part, TORCH, name)
            rows.append([*cells, "" if name == TORCH else ratio])
    head = ["part", "what", "wall s", "CPU s", "of the command's process", "times torch alone"]
    return common.table(head, rows)


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = common.arguments(__doc__)
    parser.add_argument(
        "--root", type=Path, default=common.ROOT, help="folder of the build to measure"
    )
    parser.add_argument("--commands", nargs="*", default=list(COMMANDS), choices=list(COMMANDS))
    options = common.parse(parser)
    options.root = str(options.root.resolve())
    results = Results("start", argparse.Namespace(**vars(options)))
    if not options.table:
        first_step(COMMANDS[options.commands[0]], Path(options.root), options.data_dir)  # caches
        for name in options.commands:
            ours = partial(first_step, COMMANDS[name], Path(options.root), options.data_dir)
            results.measure(name, {TORCH: torch_alone, name: ours})
    print(report(results))


if __name__ == "__main__":
    main()
