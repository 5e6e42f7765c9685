"""The house keeps its rules: who imports whom, where a library may be imported, what nobody may do."""

import ast
from collections.abc import Iterator

import pytest
from support.sourcecode import PRODUCT, TOPS, sources

# What all rooms of the pipeline may import: what is trained, what is searched, and the operating system.
_BASE = {
    *("models", "sweeps", "sweeps.trial", "sweeps.spec", "sweeps.analysis", "sweeps.search"),
    *("pipeline", "pipeline.system"),
}

# Each room, and the other rooms that it may import. A room is a module or a package, with all that is in it.
ROOMS: dict[str, set[str]] = {
    "models": set(),
    "sweeps": set(),
    "sweeps.studies": set(),
    "sweeps.trial": {"models"},
    "sweeps.spec": {"models", "sweeps.trial"},
    "sweeps.analysis": {"models", "sweeps.trial", "sweeps.spec"},
    "sweeps.search": {"models", "sweeps.trial", "sweeps.spec", "sweeps.analysis"},
    "pipeline": set(),
    "pipeline.system": {"pipeline"},
    "pipeline.data": _BASE,
    "pipeline.checkpoints": _BASE,
    "pipeline.report": _BASE,
    "pipeline.tracking": _BASE,
    "pipeline.training": _BASE | {"pipeline.data", "pipeline.checkpoints"},
    "pipeline.stores": _BASE | {"pipeline.tracking", "pipeline.checkpoints"},
    "pipeline.engines": _BASE | {"pipeline.data", "pipeline.checkpoints", "pipeline.training"},
    "pipeline.inference": _BASE
    | {
        "pipeline.data",
        "pipeline.checkpoints",
        "pipeline.training",
        "pipeline.tracking",
        "pipeline.stores",
    },
}
_EVERYTHING = set(ROOMS)
ROOMS["pipeline.jobs"] = _EVERYTHING
ROOMS["pipeline.cli"] = _EVERYTHING | {"pipeline.jobs"}
ROOMS["pipeline.api"] = _EVERYTHING | {"pipeline.jobs"}
ROOMS["pipeline"] = {"pipeline.api", "pipeline.inference", "pipeline.system", "sweeps.spec"}
ROOMS["pipeline.__main__"] = {"pipeline.cli"}
ROOMS["benchmarks"] = set(ROOMS)
ROOMS["tests"] = set(ROOMS) - {"benchmarks"}

# Modules that are not for every room that may import their package.
ONLY_FOR = {"pipeline.data.test_split": {"pipeline.inference.evaluate"}}

# Each library, and the folders or files of the product that may import it.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "torch": ("models/", "pipeline/"),
    "torchvision": ("models/vision.py",),
    "timm": ("models/libraries.py",),
    "huggingface_hub": ("models/libraries.py",),
    "optuna": ("sweeps/",),
    "alembic": ("pipeline/stores/sqlite.py",),
    "requests": ("pipeline/inference/remote.py",),
    "mlflow": (
        "pipeline/tracking/",
        "pipeline/inference/registry.py",
        "pipeline/inference/served_model.py",
        "pipeline/stores/mlflow_tables.py",
    ),
    "click": ("pipeline/cli/",),
    "rich": (
        "pipeline/system/console.py",
        "pipeline/jobs/progress.py",
        "pipeline/report/terminal.py",
        "pipeline/cli/",
    ),
    "jinja2": ("pipeline/report/html.py",),
    "matplotlib": ("pipeline/report/plots/", "pipeline/api/results.py"),
    "psycopg": ("pipeline/stores/postgresql.py",),
    "ray": ("pipeline/engines/on_ray/",),
    "pickle": (),
    "cloudpickle": (),
    "dill": (),
}

# What changes the whole process, and the folders or files of the product that may do so. The command
# line and the start of a worker set up their process; a function that other programs may call leaves
# the process as it is, or restores it.
PROCESS_EFFECTS: dict[str, tuple[str, ...]] = {
    "signal.signal": (
        "pipeline/system/signals.py",  # for the command line, see below
        "pipeline/system/alarm.py",  # restores the handler of SIGALRM
        "pipeline/system/forkserver.py",  # the start of a helper process
        "pipeline/tracking/guard.py",  # a script, in a process of its own
        "pipeline/engines/on_ray/task.py",  # restores the handlers that Ray replaces
        "pipeline/cli/then.py",  # while a command of the user's runs
    ),
    "signal.setitimer": (
        "pipeline/system/alarm.py",
        "pipeline/system/forkserver.py",  # in the server of helpers, for its own work
    ),
    "stop_requests": ("pipeline/cli/", "pipeline/system/signals.py", "pipeline/tracking/ui.py"),
    "SignalStopRequest": ("pipeline/cli/", "pipeline/system/signals.py"),
    "InterruptStopRequest": ("pipeline/api/", "pipeline/system/signals.py"),
    "gc.freeze": ("pipeline/system/garbage.py",),
    "gc.disable": ("pipeline/system/garbage.py",),
    "gc.enable": ("pipeline/system/garbage.py",),
    "freeze_loaded": (
        "pipeline/cli/",
        "pipeline/engines/preload.py",
        "pipeline/report/plots/draw.py",  # the start of a helper process
    ),
    "socket.setdefaulttimeout": (),
    "os.environ": (
        "pipeline/__init__.py",  # defaults for MLflow and OpenMP, before they are imported
        "pipeline/training/distributed.py",  # the start of a process that trains with others
        "pipeline/engines/on_ray/cluster.py",  # defaults for Ray, before it starts
        "pipeline/system/environment.py",  # for the next entry
        "pipeline/tracking/server.py",  # around a call of MLflow
    ),
    "changed_environment": (
        "pipeline/system/import_path.py",  # around the start of a Python process
        "pipeline/tracking/projects.py",  # the command that runs MLflow projects
        "pipeline/inference/registry.py",  # around a call of MLflow
    ),
    "os.putenv": (),
    "prepare_process": (
        "pipeline/training/process.py",
        "pipeline/engines/base.py",  # before a trial, in the process that trains
    ),
    "torch.set_num_threads": ("pipeline/training/process.py",),
}
_CHANGES_OF_A_DICT = ("setdefault", "update", "pop", "popitem", "clear")

# Folders that are registries, one file an entry, may hold more modules.
MODULES_OF_A_FOLDER = 20
REGISTRIES = ("pipeline/cli", "pipeline/report/plots")

COLUMNS = 100  # of a line of the product


def violations(files: dict[str, str]) -> list[str]:
    """What breaks a rule, each as ``path: what``."""
    trees = {path: ast.parse(text, path) for path, text in files.items()}
    modules = {module_of(path): path for path in files}
    edges = {module: imported_modules(trees[path], modules) for module, path in modules.items()}
    broken = [f"{path}: {what}" for path, tree in trees.items() for what in _of_one(path, tree)]
    broken += _rings(edges)
    broken += _crowded(files)
    broken += _wide(files)
    return list(dict.fromkeys(broken))


def module_of(path: str) -> str:
    """The dotted name of a file's module."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room_of(module: str) -> str:
    """The innermost room that a module belongs to."""
    parts = module.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((name for name in names if name in ROOMS), parts[0])


def _of_one(path: str, tree: ast.Module) -> Iterator[str]:
    top = path.split("/", maxsplit=1)[0]
    module = module_of(path)
    for node in ast.walk(tree):
        for names in _imports(node):
            yield from _of_import(path, module, names)
        if isinstance(node, ast.ImportFrom) and node.level:
            yield "relative import"
        if top in PRODUCT:
            yield from _of_product(node)
            asks_system = isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.platform"
            if asks_system and not path.startswith("pipeline/system/"):
                yield "asks for sys.platform"
            for effect in _process_effects(node):
                if not path.startswith(PROCESS_EFFECTS[effect] or ("nowhere",)):
                    yield f"changes the process: {effect}"


def _of_import(path: str, module: str, names: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with importing a module, given by its names: of ``from a import b`` those of ``a.b`` and ``a``."""
    room = room_of(module)
    first = names[-1].split(".")[0]
    if first in TOPS:
        target = room_of(names[0])
        if target != room and target not in ROOMS[room]:
            yield f"{room} imports {target}"
        for name in names:
            if module.startswith(PRODUCT) and name in ONLY_FOR and module not in ONLY_FOR[name]:
                yield f"imports {name}"
    if module.startswith("tests.") and first not in PRODUCT and "test_" in names[-1]:
        yield f"imports {names[-1]}"
    if module.startswith(PRODUCT) and not path.startswith(LIBRARIES.get(first, (path,))):
        yield f"imports {first}"


def _of_product(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Assert):
        yield "assert"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
        yield "print"
    if (
        isinstance(node, ast.keyword)
        and node.arg == "weights_only"
        and ast.unparse(node.value) != "True"
    ):
        yield "weights_only is not True"


def _process_effects(node: ast.AST) -> Iterator[str]:
    """The effects on the whole process that a node has, by their names in `PROCESS_EFFECTS`."""
    names = [f".{name}" for name in _effective_names(node)]
    for effect in PROCESS_EFFECTS:
        if any(name.endswith(f".{effect}") for name in names):
            yield effect


def _effective_names(node: ast.AST) -> list[str]:
    """The dotted names that a node calls, imports, or changes the items of."""
    if isinstance(node, ast.Call):
        owner, _, method = ast.unparse(node.func).rpartition(".")
        return [owner] if method in _CHANGES_OF_A_DICT else [f"{owner}.{method}"]
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return [ast.unparse(node.value)]
    if isinstance(node, ast.ImportFrom):  # calls by the bare name could not be recognised
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Attribute) and node.attr == "freeze_loaded":  # also if it is passed on
        return [node.attr]
    return []


def _imports(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """The modules that a node imports. ``from a import b`` may import the module ``a.b``, or a name of ``a``."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.name,)
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for alias in node.names:
            yield (f"{node.module}.{alias.name}", node.module)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in {
        "importlib.import_module",
        "import_module",
        "__import__",
    }:
        for argument in node.args[:1]:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield (argument.value,)


def imported_modules(tree: ast.Module, modules: dict[str, str]) -> set[str]:
    """The modules of the project that a module imports at any time, also inside functions."""
    imported = set()
    for node in _not_for_types_only(tree):
        for names in _imports(node):
            known = [name for name in names if name in modules]
            imported |= set(known[:1])
    return imported


def _not_for_types_only(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node that can run: not those that only type checkers see."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _rings(edges: dict[str, set[str]]) -> list[str]:
    """The rings of imports, each named once, from its first member.

    A package's ``__init__`` that imports only inside functions offers names and makes no ring: `edges` of such a
    package are left out.
    """
    rings = []
    done: set[str] = set()

    def follow(trail: list[str]) -> None:
        for module in sorted(edges.get(trail[-1], ())):
            if module in trail:
                ring = trail[trail.index(module) :]
                first = ring.index(min(ring))
                ring = ring[first:] + ring[:first]
                rings.append(f"{ring[0]}: ring {' -> '.join([*ring, ring[0]])}")
            elif module not in done:
                follow([*trail, module])
        done.add(trail[-1])

    for module in sorted(edges):
        if module not in done:
            follow([module])
    return rings


def _crowded(files: dict[str, str]) -> Iterator[str]:
    """The folders that hold too many modules to be read at a glance."""
    folders: dict[str, int] = {}
    for path in files:
        folder = path.rpartition("/")[0]
        folders[folder] = folders.get(folder, 0) + (not path.endswith("__init__.py"))
    for folder, count in folders.items():
        if folder.startswith(PRODUCT) and folder not in REGISTRIES and count > MODULES_OF_A_FOLDER:
            yield f"{folder}: {count} modules"


def _wide(files: dict[str, str]) -> Iterator[str]:
    """The lines of the product that are too long: the formatter wraps code, but neither prose nor text."""
    for path, text in files.items():
        if path.startswith(PRODUCT):
            for number, line in enumerate(text.splitlines(), start=1):
                if len(line) > COLUMNS:
                    yield f"{path}: line {number} has {len(line)} columns"


def test_house():
    """Every file of the project keeps every rule."""
    assert violations(sources()) == []


GUARDED = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sweeps.spec.b\n"

PLANTED = {
    "models/a.py: models imports sweeps.trial": {
        "models/a.py": "def f():\n    import sweeps.trial\n"
    },
    "models/a.py: models imports pipeline.data": {"models/a.py": "from pipeline import data\n"},
    "sweeps/trial.py: sweeps.trial imports sweeps.spec": {
        "sweeps/trial.py": "from sweeps.spec import space\n"
    },
    "sweeps/spec/a.py: sweeps.spec imports sweeps.analysis": {
        "sweeps/spec/a.py": "import sweeps.analysis.ranking\n"
    },
    "sweeps/analysis/a.py: sweeps.analysis imports sweeps.search": {
        "sweeps/analysis/a.py": "def f():\n    from sweeps.search.study import Study\n"
    },
    "sweeps/search/a.py: sweeps.search imports pipeline": {
        "sweeps/search/a.py": "import pipeline\n"
    },
    "pipeline/system/a.py: pipeline.system imports sweeps.trial": {
        "pipeline/system/a.py": "from sweeps.trial import TrialConfig\n"
    },
    "pipeline/data/a.py: pipeline.data imports pipeline.training": {
        "pipeline/data/a.py": "def f():\n    from pipeline.training.train import train\n"
    },
    "pipeline/checkpoints.py: pipeline.checkpoints imports pipeline.data": {
        "pipeline/checkpoints.py": "from pipeline.data import cache\n"
    },
    "pipeline/report/a.py: pipeline.report imports pipeline.tracking": {
        "pipeline/report/a.py": "from pipeline.tracking.tracker import Tracker\n"
    },
    "pipeline/tracking/a.py: pipeline.tracking imports pipeline.report": {
        "pipeline/tracking/a.py": "from pipeline.report.plots import registry\n"
    },
    "pipeline/training/a.py: pipeline.training imports pipeline.engines": {
        "pipeline/training/a.py": "from pipeline.engines import local\n"
    },
    "pipeline/stores/a.py: pipeline.stores imports pipeline.report": {
        "pipeline/stores/a.py": "import pipeline.report.render\n"
    },
    "pipeline/engines/a.py: pipeline.engines imports pipeline.stores": {
        "pipeline/engines/a.py": "from pipeline.stores import access\n"
    },
    "pipeline/engines/on_ray/a.py: pipeline.engines imports pipeline.jobs": {
        "pipeline/engines/on_ray/a.py": "from pipeline.jobs import sweep\n"
    },
    "pipeline/inference/a.py: pipeline.inference imports pipeline.jobs": {
        "pipeline/inference/a.py": "from pipeline.jobs import sweep\n"
    },
    "pipeline/jobs/a.py: pipeline.jobs imports pipeline.cli": {
        "pipeline/jobs/a.py": "import pipeline.cli.options\n"
    },
    "pipeline/cli/a.py: pipeline.cli imports tests": {"pipeline/cli/a.py": "import tests\n"},
    "pipeline/cli/a.py: pipeline.cli imports benchmarks": {
        "pipeline/cli/a.py": "import benchmarks\n"
    },
    "pipeline/cli/a.py: relative import": {"pipeline/cli/a.py": "from . import data\n"},
    "tests/a.py: imports tests.data.test_b": {"tests/a.py": "from tests.data.test_b import x\n"},
    "sweeps/spec/a.py: imports torch": {"sweeps/spec/a.py": "import torch.nn as nn\n"},
    "models/a.py: imports optuna": {"models/a.py": "import optuna\n"},
    "pipeline/jobs/a.py: imports optuna": {
        "pipeline/jobs/a.py": "from optuna.trial import Trial\n"
    },
    "pipeline/training/a.py: imports torchvision": {
        "pipeline/training/a.py": "import torchvision\n"
    },
    "pipeline/report/a.py: imports mlflow": {
        "pipeline/report/a.py": "def f():\n    from mlflow import MlflowClient\n"
    },
    "sweeps/search/a.py: imports mlflow": {
        "sweeps/search/a.py": "import importlib\nimportlib.import_module('mlflow')\n"
    },
    "pipeline/jobs/a.py: imports click": {"pipeline/jobs/a.py": "import click\n"},
    "pipeline/training/a.py: imports rich": {
        "pipeline/training/a.py": "from rich.table import Table\n"
    },
    "pipeline/engines/a.py: imports ray": {"pipeline/engines/a.py": "def f():\n    import ray\n"},
    "pipeline/stores/a.py: imports psycopg": {"pipeline/stores/a.py": "import psycopg\n"},
    "pipeline/report/a.py: imports jinja2": {"pipeline/report/a.py": "import jinja2\n"},
    "pipeline/report/a.py: imports matplotlib": {
        "pipeline/report/a.py": "import matplotlib.pyplot as plt\n"
    },
    "pipeline/checkpoints.py: imports pickle": {"pipeline/checkpoints.py": "import pickle\n"},
    "pipeline/data/a.py: weights_only is not True": {
        "pipeline/data/a.py": "torch.load(f, weights_only=False)\n"
    },
    "pipeline/jobs/a.py: imports pipeline.data.test_split": {
        "pipeline/jobs/a.py": "def f():\n    from pipeline.data.test_split import load_test\n"
    },
    "pipeline/inference/a.py: imports pipeline.data.test_split": {
        "pipeline/inference/a.py": "from pipeline.data import test_split\n"
    },
    "pipeline/jobs/b.py: assert": {"pipeline/jobs/b.py": "assert True\n"},
    "pipeline/cli/b.py: print": {"pipeline/cli/b.py": "print('hello')\n"},
    "pipeline/jobs/a.py: changes the process: signal.signal": {
        "pipeline/jobs/a.py": "import signal\ndef f(): signal.signal(2, signal.SIG_IGN)\n"
    },
    "pipeline/jobs/a.py: changes the process: stop_requests": {
        "pipeline/jobs/a.py": "from pipeline.system import signals\nstop = signals.stop_requests()\n"
    },
    "pipeline/jobs/a.py: changes the process: SignalStopRequest": {
        "pipeline/jobs/a.py": "def f(): return SignalStopRequest()\n"
    },
    "pipeline/stores/a.py: changes the process: gc.freeze": {
        "pipeline/stores/a.py": "gc.freeze()\n"
    },
    "pipeline/stores/a.py: changes the process: gc.disable": {
        "pipeline/stores/a.py": "from gc import disable\n"
    },
    "pipeline/stores/a.py: changes the process: freeze_loaded": {
        "pipeline/stores/a.py": "from pipeline.system import garbage\nload = garbage.freeze_loaded\n"
    },
    "pipeline/data/a.py: changes the process: socket.setdefaulttimeout": {
        "pipeline/data/a.py": "socket.setdefaulttimeout(9)\n"
    },
    "pipeline/data/a.py: changes the process: os.environ": {
        "pipeline/data/a.py": "os.environ['A'] = os.environ['B']\n"
    },
    "pipeline/data/b.py: changes the process: os.environ": {
        "pipeline/data/b.py": "os.environ.setdefault('A', 'B')\n"
    },
    "pipeline/data/c.py: changes the process: os.environ": {
        "pipeline/data/c.py": "del os.environ['A']\n"
    },
    "pipeline/data/d.py: changes the process: os.putenv": {
        "pipeline/data/d.py": "os.putenv('A', 'B')\n"
    },
    "pipeline/stores/a.py: asks for sys.platform": {
        "pipeline/stores/a.py": "import sys\nif sys.platform == 'win32':\n    import msvcrt\n"
    },
    "models/a.py: changes the process: torch.set_num_threads": {
        "models/a.py": "import torch\ntorch.set_num_threads(2)\n"
    },
    "sweeps.spec.a: ring sweeps.spec.a -> sweeps.spec.b -> sweeps.spec.a": {
        "sweeps/spec/a.py": "from sweeps.spec import b\n",
        "sweeps/spec/b.py": "try:\n    from sweeps.spec.a import x\nexcept ImportError:\n    pass\n",
    },
    "sweeps.spec.c: ring sweeps.spec.c -> sweeps.spec.d -> sweeps.spec.c": {
        "sweeps/spec/c.py": "def f():\n    import sweeps.spec.d\n",
        "sweeps/spec/d.py": "import sweeps.spec.c\n",
    },
    "models: ring models -> models.a -> models": {
        "models/__init__.py": "from models.a import x\n",
        "models/a.py": "import models\n",
    },
    "models/a.py: line 1 has 101 columns": {"models/a.py": "#" * 101 + "\n"},
    "pipeline/jobs: 21 modules": {f"pipeline/jobs/m{number}.py": "" for number in range(21)},
}


@pytest.mark.parametrize("expected", PLANTED)
def test_planted_violation(expected):
    """A planted violation is reported, alone and once."""
    assert violations(PLANTED[expected]) == [expected]


@pytest.mark.parametrize(
    "files",
    [
        {
            "pipeline/tracking/tracker.py": "import mlflow\n",
            "pipeline/stores/mlflow_tables.py": "import mlflow\n",
        },
        {
            "models/a.py": "from torch import nn\n",
            "pipeline/report/plots/a.py": "import matplotlib\n",
        },
        {"tests/test_a.py": "import mlflow\nassert print('pickle')\n"},
        {"sweeps/spec/a.py": GUARDED, "sweeps/spec/b.py": "import sweeps.spec.a\n"},
        {"pipeline/data/a.py": "torch.load(f, weights_only=True)\n"},
        {"pipeline/cli/a.py": "with garbage.freeze_loaded():\n    stop = SignalStopRequest()\n"},
        {"pipeline/jobs/a.py": "os.environ.get('A', os.environ['B'])\nsignal.getsignal(2)\n"},
        {"pipeline/inference/evaluate.py": "from pipeline.data.test_split import load_test_for\n"},
        {f"pipeline/cli/m{number}.py": "" for number in range(21)},
    ],
)
def test_permitted(files):
    """What the rules permit is not reported: an import for type checkers only makes no ring."""
    assert violations(files) == []
