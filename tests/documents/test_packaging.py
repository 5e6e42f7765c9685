"""The wheel and the sdist hold every file of the source tree, and the installed wheel runs."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from support.sourcecode import PRODUCT, ROOT

from pipeline import __version__

pytestmark = pytest.mark.slow

BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE")  # beside the packages


def source_files() -> set[str]:
    """Return the path of every file of the product's packages, from the root."""
    paths = (path for top in PRODUCT for path in (ROOT / top).rglob("*"))
    return {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    tree = tmp_path_factory.mktemp("tree")
    for name in PRODUCT:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, tree)
    # Without isolation nothing is downloaded: the dev extra has what builds.
    command = [sys.executable, "-m", "build", "--no-isolation"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "dist"


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(built):
    """Modules, templates and studies are all there; tests, benchmarks and documents are not."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        paths = set(archive.namelist())
    metadata = f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info/"
    assert {path for path in paths if not path.startswith(metadata)} == source_files()


def test_the_sdist_holds_every_file_of_the_packages(built):
    """The packages are complete there too, beside the files that a wheel is built from."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        paths = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert paths >= source_files() | set(BUILT_FROM)
    assert not {path for path in paths if path.startswith(("tests/", "benchmarks/"))}


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """An environment with the wheel, and with the libraries of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    environment = venv.EnvBuilder(symlinks=True, with_pip=False)
    environment.create(folder)
    (wheel,) = built.glob("*.whl")
    python = folder / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    # A folder that a .pth file names is searched for modules. Its own .pth files are not read, so an
    # editable installation of this project has no effect there.
    (site_packages,) = folder.glob("lib/python*/site-packages")
    libraries = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (site_packages / "libraries.pth").write_text("\n".join(libraries) + "\n", encoding="utf-8")
    return folder


def run_installed(installed: Path, folder: Path, *command: str) -> str:
    """Run a program of the environment in a folder and return its standard output."""
    program, *arguments = command
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    done = subprocess.run(
        [str(installed / "bin" / program), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_packages_are_those_of_the_wheel(installed, tmp_path):
    """Every package comes from the environment, and not from this checkout."""
    code = "import models, sweeps, pipeline, pipeline.checkpoints as checkpoints\n"
    code += "for module in (models, sweeps, pipeline, checkpoints): print(module.__file__)\n"
    code += "print(checkpoints.load_model.__module__)"
    *files, module = run_installed(installed, tmp_path, "python", "-c", code).splitlines()
    assert len(files) == 4
    assert all(Path(file).is_relative_to(installed) for file in files)
    assert module == "pipeline.checkpoints"


def test_the_installed_program_knows_its_version(installed, tmp_path):
    """`python -m pipeline --version` and `pipeline --version` print the version of the package."""
    expected = f"pipeline, version {__version__}\n"
    assert run_installed(installed, tmp_path, "python", "-m", "pipeline", "--version") == expected
    assert run_installed(installed, tmp_path, "pipeline", "--version") == expected


def test_the_installed_program_sweeps_in_an_empty_folder(installed, tmp_path):
    """The default study is searched, and its report drawn, from the files of the wheel alone."""
    options = ("--trials", "2", "--epochs", "1", "--no-finalists")
    run_installed(installed, tmp_path, "pipeline", "sweep", *options)
    assert (tmp_path / "mlflow.db").exists()
    (report,) = (tmp_path / "reports").glob("*/report.html")
    assert "networks-few_digits" in report.read_text(encoding="utf-8")
