"""Shared code of the benchmarks: measuring in pairs, storing results, and printing tables.

A result is a file ``NAME.json`` in the folder of ``--out``: settings, machine, versions, and every
run. A run is one pair: each side is measured once, one after the other. The same command with the
same settings measures only the missing pairs.
"""

import argparse
import datetime as dt
import importlib.metadata
import json
import math
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "torchvision", "mlflow", "optuna", "ray", "lightning")

Figures = dict[str, Any]  # of one side in one run; `rate` is what is compared, and more is better


def arguments(text: str, pairs: int = 5) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs", type=int, default=pairs, help=f"how often each side is measured [{pairs}]"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results"
    )
    data_dir = Path(os.environ.get("PIPELINE_DATA_DIR", "data"))
    parser.add_argument(
        "--data-dir", type=Path, default=data_dir, help="folder of data sets [$PIPELINE_DATA_DIR]"
    )
    parser.add_argument(
        "--table", action="store_true", help="print the table of the results, measure nothing"
    )
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the options; paths become absolute, so that they hold in any working folder."""
    options = parser.parse_args()
    options.out, options.data_dir = options.out.resolve(), options.data_dir.resolve()
    return options


def settings(options: argparse.Namespace) -> Figures:
    """Options that decide what is measured; runs with other settings are not comparable."""
    apart = ("pairs", "out", "data_dir", "table")
    return {name: value for name, value in vars(options).items() if name not in apart}


class Results:
    """The results of one benchmark, kept after every pair.

    A side may have several variants, such as ``by_hand/2 loader workers``. The first pair measures
    all variants, later pairs only the fastest. In comparisons, a side is a pair's fastest variant.
    """

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.file, self.pairs = options.out / f"{name}.json", options.pairs
        self.runs: list[dict[str, Any]] = []
        self.settings = settings(options)
        if self.file.exists():
            found = json.loads(self.file.read_text(encoding="utf-8"))
            if options.table or found["settings"] == json.loads(json.dumps(self.settings)):
                self.runs, self.settings = found["runs"], found["settings"]
            else:
                sys.exit(
                    f"{self.file} was measured with other settings: give another --out, or remove it"
                )
        elif options.table:
            sys.exit(f"{self.file} is not there")

    def measure(self, part: str, sides: Mapping[str, Callable[[], Figures]]) -> None:
        """Measure the pairs of a part that are missing; the sides take turns at being the first."""
        for pair in range(len(self.of(part)), self.pairs):
            names = self._chosen(part, list(sides))
            names = names[pair % len(names) :] + names[: pair % len(names)]
            load, figures = os.getloadavg()[0], {}
            for name in names:
                figures[name] = sides[name]()
                print(
                    f"{part}, pair {pair + 1}: {name} {figures[name]['rate']:,.1f}",
                    file=sys.stderr,
                    flush=True,
                )
            date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
            self.runs.append({"part": part, "date": date, "load": load, "figures": figures})
            self._save()

    def _chosen(self, part: str, names: list[str]) -> list[str]:
        """Return all sides for the first pair, then only the fastest variant of each side."""
        runs_of_part = self.of(part)
        if not runs_of_part:
            return names
        first, fastest = runs_of_part[0]["figures"], {}
        for name in (name for name in names if name in first):
            side = name.split("/")[0]
            if side not in fastest or first[name]["rate"] > first[fastest[side]]["rate"]:
                fastest[side] = name
        return list(fastest.values())

    def _save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "settings": self.settings,
            "machine": machine(),
            "versions": versions(),
            "runs": self.runs,
        }
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        new.replace(self.file)

    def of(self, part: str) -> list[dict[str, Any]]:
        """The runs of a part, in order."""
        return [run for run in self.runs if run["part"] == part]

    def parts(self) -> list[str]:
        """The parts that were measured, in order."""
        return list(dict.fromkeys(run["part"] for run in self.runs))

    def rates(self, part: str, side: str) -> list[float]:
        """The rate of a side's fastest variant in each pair; empty if it was not measured."""
        rates = []
        for run in self.of(part):
            variant_rates = [
                value["rate"]
                for name, value in run["figures"].items()
                if name.split("/")[0] == side
            ]
            rates += [max(variant_rates)] if variant_rates else []
        return rates

    def median(self, part: str, side: str) -> str:
        """A side's median rate, as a cell of a table."""
        rates = self.rates(part, side)
        return number(statistics.median(rates)) if rates else ""

    def ratio(self, part: str, ours: str, peer: str) -> str:
        """The median and range of the pairs' ratios, as a cell of a table.

        A ratio to a rate of 0 is infinite.
        """
        ratios = [
            a / b if b else math.inf
            for a, b in zip(self.rates(part, ours), self.rates(part, peer), strict=False)
        ]
        if not ratios:
            return ""
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
        return f"{statistics.median(ratios):.2f}{spread}"

    def variants(self, part: str, side: str) -> str:
        """The variant of a side that was the fastest in the first pair."""
        names = [name for name in self.of(part)[0]["figures"] if name.split("/")[0] == side]
        return next((name.partition("/")[2] for name in self._chosen(part, names)), "")


def number(value: float) -> str:
    """Format a value with three digits, or with all digits before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> Figures:
    """Describe the machine without naming it."""
    try:
        flags = (
            Path("/proc/cpuinfo")
            .read_text(encoding="utf-8")
            .partition("flags")[2]
            .split("\n")[0]
            .split()
        )
    except OSError:
        flags = []
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "has": [flag for flag in known if flag in flags],
        "memory_gib": round(gibibytes),
    }


def versions() -> dict[str, str]:
    """The versions of Python, of the installed packages, and of this project (the commit)."""
    found_versions = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        if has(package):
            found_versions[package] = importlib.metadata.version(package)
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)  # noqa: S603
    return found_versions | {"commit": done.stdout.strip() or "unknown"}


def has(package: str) -> bool:
    """Whether a package is installed."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@dataclass(frozen=True)
class Done:
    """A process that has ended."""

    seconds: float  # from its start to its end
    cpu_seconds: float  # its own and its children's
    printed: str


# Variables that would send a record elsewhere or change how fast Python starts: not passed on.
APART = (
    *(
        "MLFLOW_TRACKING_URI",
        "MLFLOW_RUN_ID",
        "MLFLOW_EXPERIMENT_ID",
        "MLFLOW_EXPERIMENT_NAME",
        "PIPELINE_STORAGE",
    ),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS"),
)


@cache
def compile_packages() -> None:
    """Compile the installed packages, as pip does and uv does not.

    Otherwise each process would compile them while it is measured.
    """
    for folder in (
        sysconfig.get_path("purelib"),
        *map(str, (ROOT / name for name in ("models", "sweeps", "pipeline"))),
    ):
        command = [sys.executable, "-m", "compileall", "-q", "-q", "-j", "0", folder]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - some files are templates


def process(module: str, *arguments: object, folder: Path) -> Done:
    """Run a module as a process of its own in a folder.

    Raises:
        SystemExit: if the process fails; the message holds its output.
    """
    began, used = time.perf_counter(), cpu_seconds()
    with begin(module, *arguments, folder=folder) as child:
        printed, errors = child.communicate()
    seconds, used = time.perf_counter() - began, cpu_seconds() - used
    if child.returncode:
        sys.exit(
            f"{module} {arguments} failed ({child.returncode}):\n{printed[-2000:]}\n{errors[-4000:]}"
        )
    return Done(seconds, used, re.sub(r"\x1b\[[0-9;]*m", "", printed))


def begin(module: str, *arguments: object, folder: Path) -> subprocess.Popen[str]:
    """Start a module as a process of its own in a folder."""
    compile_packages()
    environment = {name: value for name, value in os.environ.items() if name not in APART}
    environment |= {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(  # noqa: S603
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True
    )


def cpu_seconds() -> float:
    """CPU seconds of ended child processes, and of the children that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def split(file: Path, train: int, val: int, rows: int) -> tuple[list[int], list[int]]:
    """Draw training and validation rows of an official training part, and write a split file.

    Ours reads the split from the file. The file needs a test split, too: it gets the first rows of
    the test part, which no side reads.
    """
    drawn = random.Random(0).sample(range(rows), train + val)  # noqa: S311 - not for secrets
    parts = {
        "train": sorted(drawn[:train]),
        "val": sorted(drawn[train:]),
        "test": range(rows, rows + 10),
    }
    lines = [f"{row},{part}" for part, rows_of_part in parts.items() for row in rows_of_part]
    file.write_text("\n".join(["index,split", *lines]) + "\n", encoding="utf-8")
    return list(parts["train"]), list(parts["val"])


@dataclass(frozen=True)
class Images:
    """A data set that both sides read: torchvision names the folder of files; ours names the data set."""

    folder: str  # mnist, or the path of a folder of train/<class>/*
    name: str  # of our data set
    rows: int  # of its official training part


def find_images(dataset: str, data_dir: Path, work: Path) -> Images | None:
    """Find the images of mnist or cifar10; None if those of CIFAR-10 are not there."""
    if dataset == "mnist":
        return Images("mnist", "mnist", 60_000)
    folder = cifar10(data_dir, work)
    if folder is None:
        return None
    return Images(str(folder.resolve()), f"folder:{folder.resolve()}", 50_000)


def cifar10(data_dir: Path, work: Path) -> Path | None:
    """Return the folder of CIFAR-10's images, or None if there are none.

    If only ``cifar10-images.tar`` is present, it is unpacked into the work folder.
    """
    for place in (data_dir / "cifar10", work / "cifar10"):
        if (place / "train").is_dir():
            return place
    archive = data_dir / "cifar10-images.tar"
    if not archive.is_file():
        return None
    half = work / "unpacking"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    shutil.unpack_archive(archive, half, filter="data")
    (half / "cifar10").rename(work / "cifar10")
    half.rmdir()
    return work / "cifar10"
