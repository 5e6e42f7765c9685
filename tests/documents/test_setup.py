"""The files that set the project up agree with one another, and name no machine."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from support.sourcecode import PRODUCT, sources

from pipeline import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
CONDA = yaml.safe_load((ROOT / "conda.yaml").read_text(encoding="utf-8"))
READ_BY_USERS = [
    *sorted(ROOT.glob("*.md")),
    *(ROOT / n for n in ("Makefile", "MLproject", "conda.yaml", "pyproject.toml")),
]


def test_same_dependencies():
    """conda.yaml and pyproject.toml name the same dependencies with the same versions."""
    (pip,) = [d["pip"] for d in CONDA["dependencies"] if isinstance(d, dict)]
    assert sorted(pip) == sorted(PROJECT["dependencies"])


# Distributions whose name is not that of their package.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}


def imported_packages():
    """The packages of others that the product imports anywhere, also inside functions."""
    found = set()
    for path, text in sources().items():
        if path.startswith(tuple(f"{top}/" for top in PRODUCT)):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(str(node.module).partition(".")[0])
    # The names of types that the type checker itself brings are no package.
    return found - set(sys.stdlib_module_names) - set(PRODUCT) - {"_typeshed"}


def test_what_is_imported_is_declared():
    """Every package that the product imports is a dependency of its own, or of an extra."""
    declared = {Requirement(text).name for text in PROJECT["dependencies"]}
    for name in ("onnx", "postgres", "ray", "timm"):
        declared |= {Requirement(text).name for text in PROJECT["optional-dependencies"][name]}
    imported = {DISTRIBUTIONS.get(name, name) for name in imported_packages()}
    assert "optuna" in imported
    assert imported - declared == set()


def test_same_python():
    """conda.yaml names one minor version of Python, as every manager needs, that pyproject.toml accepts."""
    (python,) = [d for d in CONDA["dependencies"] if str(d).startswith("python")]
    version = re.fullmatch(r"python=(3\.\d+)", python)
    assert version
    assert version[1] in SpecifierSet(PROJECT["requires-python"])


def test_environment_file():
    """MLproject names conda.yaml, the one form that conda, virtualenv, uv and local all accept."""
    assert MLPROJECT["conda_env"] == "conda.yaml"
    assert not {"python_env", "docker_env"} & set(MLPROJECT)
    assert not (ROOT / "python_env.yaml").exists()


@pytest.mark.parametrize("entry", MLPROJECT["entry_points"])
def test_entry_point(entry):
    """An entry point runs the command of its name from the source tree, and declares no parameters."""
    facts = MLPROJECT["entry_points"][entry]
    assert set(facts) == {"command"}
    command = "sweep" if entry == "main" else entry
    assert re.match(rf"python -m pipeline {command}(?![\w-])", facts["command"])


def quoted_placeholders(command):
    """The placeholders that stand inside quotes, where a value would be run by the shell."""
    inside = re.findall(r"'[^']*'|\"[^\"]*\"", command)
    return [p for text in inside for p in re.findall(r"{\w+}", text)]


def test_no_quoted_placeholder():
    """No placeholder of MLproject stands inside quotes: MLflow quotes the values, and quotes would undo that."""
    assert quoted_placeholders("python a.py '{x}' \"b {y}\" {z}") == ["{x}", "{y}"]
    assert [
        quoted_placeholders(facts["command"]) for facts in MLPROJECT["entry_points"].values()
    ] == [[] for _ in MLPROJECT["entry_points"]]


# Options and addresses that choose a package index, and folders of one machine.
INDEX = re.compile(
    r"--(extra-|default-)?index(-url)?\b|--find-links|(PIP|UV)_\w*(INDEX|FIND_LINKS)|/simple\b"
    r"|https?://[^/\s]*(pypi|pythonhosted|conda|wheel|download)",
    re.IGNORECASE,
)
FOLDER = re.compile(r"(?<![\w.:/}$~<>-])/(home|root|Users|tmp|work|opt|mnt|usr|var)/")


@pytest.mark.parametrize("path", READ_BY_USERS, ids=lambda path: path.name)
def test_names_no_machine(path):
    """What users read and run names no host of a package index and no absolute path."""
    text = path.read_text(encoding="utf-8")
    assert INDEX.search(text) is None
    assert FOLDER.search(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "pip install --index-url x",
        "UV_INDEX=x",
        "https://pypi.example/x",
        "https://mirror.example/simple/",
    ],
)
def test_index_is_seen(text):
    """The search for package indexes finds a planted one."""
    assert INDEX.search(text)


@pytest.mark.parametrize("text", ["cd /home/me/x", "`/root/.cache`", "DATA=/opt/data"])
def test_folder_is_seen(text):
    """The search for absolute paths finds a planted one."""
    assert FOLDER.search(text)


def test_changelog():
    """The changelog has a heading for the version, with a date, below what is not released."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)", headings[1])
