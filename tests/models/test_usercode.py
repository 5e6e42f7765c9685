"""Code of the user's own: loaded from files and modules, with the imports of its folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models import usercode

NET = """
import random

from models.blocks import width
from random import helper
from .sibling import SIBLING
import sweeps.deep.inner as inner
import pipeline

class Net:
    width = width()
    drawn = random.Random(0).random()
    helper = helper
    sibling = SIBLING
    inner = inner.INNER
    pipeline = pipeline.OWN
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder whose files are called as modules of this project and of Python."""
    monkeypatch.chdir(tmp_path)
    write("net.py", NET)
    write(
        "models/blocks.py",
        "def width():\n    from sibling import SIBLING\n    return SIBLING + 1\n",
    )
    write("sweeps/deep/inner.py", "INNER = 'inner'\n")
    write("pipeline/__init__.py", "OWN = 'own'\n")
    write("random.py", "helper = 'helper'\n")
    write("sibling.py", "SIBLING = 4\n")
    write("unused.py", "raise RuntimeError\n")
    return tmp_path


def write(name, text):
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_file_among_namesakes(folder):
    """A file's imports mean its neighbours, whatever they are called, and ours stay as they are."""
    ours = {name: sys.modules.get(name) for name in ("models", "sweeps", "pipeline", "random")}
    loaded = usercode.load("net.py:Net")
    net = loaded.value
    assert (net.width, net.helper, net.sibling, net.inner) == (5, "helper", 4, "inner")
    assert net.pipeline == "own"
    assert net.drawn == pytest.approx(0.8444218515250481)  # random is Python's
    assert {name: sys.modules.get(name) for name in ours} == ours
    assert str(folder) not in sys.path
    assert loaded.source.place == str(folder / "net.py")
    assert [name for name, _ in loaded.source.files] == [
        "models/blocks.py",
        "net.py",
        "pipeline/__init__.py",
        "random.py",
        "sibling.py",
        "sweeps/deep/inner.py",
    ]
    assert not list(folder.rglob("__pycache__"))


def test_module_of_working_folder(folder):
    """A module of the working folder is found without PYTHONPATH; with one of our names, it is not."""
    write("mine/parts.py", "PART = 1\n")
    write("mine/net.py", "from mine.parts import PART\nfrom sibling import SIBLING\n")
    loaded = usercode.load("mine.net:PART")
    assert loaded.value == 1
    assert loaded.source.place == str(folder / "mine" / "net.py")
    assert usercode.load("mine.net:SIBLING").value == 4
    with pytest.raises(ValueError, match=r"name the file: models/blocks\.py:width"):
        usercode.load("models.blocks:width")


def test_file_of_package(folder):
    """A file inside a package of the user's may import relatively, absolutely, and as a script."""
    write("lib/pkg/__init__.py", "")
    write("lib/pkg/part.py", "PART = 2\n")
    write(
        "lib/pkg/net.py",
        "from .part import PART as A\nfrom pkg.part import PART as B\nfrom part import PART as C\n"
        "from models.blocks import width\nALL = (A, B, C)\n",
    )
    assert usercode.load("lib/pkg/net.py:ALL").value == (2, 2, 2)
    assert usercode.load(str(folder / "lib/pkg/net.py:width")).value() == 5


def test_a_copy_of_a_package_can_be_imported(folder, monkeypatch):
    """The files that are kept load where nothing else is, also where imports are relative."""
    write("lib/pkg/__init__.py", "")
    write("lib/pkg/parts/__init__.py", "")
    write("lib/pkg/parts/deep.py", "from ..width import WIDTH\n")
    write("lib/pkg/width.py", "WIDTH = 7\n")
    write("lib/pkg/net.py", "from .parts.deep import WIDTH\nclass Net:\n    width = WIDTH\n")
    source = usercode.load("lib/pkg/net.py:Net").source
    for name, text in source.files:
        write(f"copy/lib/{name}", text)
    monkeypatch.chdir("copy")
    usercode.forget()
    loaded = usercode.load("lib/pkg/net.py:Net")
    assert (loaded.value.width, loaded.source.digest) == (7, source.digest)


def test_odd_file_names(folder):
    """Spaces, dots and dashes in a file's name are no obstacle, and neither is a nested class."""
    write("my nets/net-2.1.py", "from sibling import S\nclass A:\n    class B:\n        s = S\n")
    write("my nets/sibling.py", "S = 7\n")
    assert usercode.load("my nets/net-2.1.py:A.B").value.s == 7


def test_digest_follows_imports(folder):
    """The digest changes with the file and what it imports, and with nothing else."""
    command = "from models import usercode; print(usercode.load('net.py:Net').source.digest)"

    def digest():
        environment = {"PYTHONPATH": str(Path(usercode.__file__).parents[1])}
        words = [sys.executable, "-P", "-c", command]
        return subprocess.check_output(words, cwd=folder, env=environment)

    first = digest()
    write("unused.py", "changed\n")
    assert digest() == first
    write("sweeps/deep/inner.py", "INNER = 'other'\n")
    assert digest() != first


@pytest.mark.parametrize(
    ("reference", "names", "expected"),
    [
        ("net.py:Net", ["blocks.py", "net.py"], "."),
        ("./nets/net.py:Net", ["net.py", "nets/blocks.py"], "nets"),
        ("work/nets/net.py:Net", ["nets/__init__.py", "nets/net.py"], "work"),
        ("other/net.py:Net", ["nets/net.py"], None),
        ("my-net.py:Net", ["net.py"], None),
        ("nets.net:Net", ["nets/net.py"], "."),
        ("/nets/net.py:Net", ["net.py"], "/nets"),
    ],
)
def test_the_folder_that_a_copy_belongs_into(folder, reference, names, expected):
    """Put there, the files of a source are found by its reference, whether it is of a package or not."""
    found = usercode.folder_of_copy(reference, names)
    assert found == (None if expected is None else folder / expected)


def test_forget(folder):
    """Code is loaded once, until it is forgotten; what is in use of the old one goes on working."""
    write("late.py", "def late():\n    from sibling import SIBLING\n    return SIBLING\n")
    late = usercode.load("late.py:late").value
    write("sibling.py", "SIBLING = 5\n")
    write("late.py", "def late():\n    return 6\n")
    assert usercode.load("late.py:late").value is late
    usercode.forget()
    assert usercode.load("late.py:late").value() == 6
    assert late() == 5


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("gone.py:Net", r"cannot load 'gone.py:Net': there is no file gone.py in /"),
        ("folder/:Net", "there is no file folder"),
        ("net.py:Nut", r"cannot load 'net.py:Nut': /.*/net.py has no 'Nut'"),
        ("broken.py:Net", r"invalid syntax in line 2 of /.*/broken.py"),
        ("raising.py:Net", r"ZeroDivisionError: division by zero in line 3 of /.*/raising.py"),
        ("leaving.py:Net", "SystemExit: 3"),
        ("lacking.py:Net", r"No module named 'sibling.none'.* in line 1 of /.*/lacking.py"),
        ("gone_module:Net", "No module named 'gone_module'"),
        ("net.py:a b", r"must be FILE.py:NAME or MODULE:NAME: got 'net.py:a b'"),
        ("no-module:Net", "must be FILE.py:NAME or MODULE:NAME"),
    ],
)
def test_mistakes(folder, reference, message):
    """What cannot be loaded is told in one line that names the place."""
    write("broken.py", "x = 1\nclass Net(:\n")
    write("raising.py", "x = 1\n\ny = x / 0\n")
    write("leaving.py", "raise SystemExit(3)\n")
    write("lacking.py", "import sibling.none\n")
    with pytest.raises(ValueError, match=message) as caught:
        usercode.load(reference)
    assert "\n" not in str(caught.value)
    assert usercode._PREFIX not in str(caught.value)


def test_installed_module():
    """Of an installed package the version is its digest, and there are no files to keep."""
    source = usercode.load("torchvision.models:resnet18").source
    assert source.digest.startswith("torchvision ")
    assert source.files == ()


def test_files_outside(folder):
    """Files of code outside of the working folder are told from those inside, and from no code."""
    for inside in ("mine.net:Net", "a/../net.py:Net", f"{folder}/net.py:Net", "cnn"):
        assert not usercode.files_outside({"family": inside})
    for inside in ("digits", "folder:/photos/a:b", "csv:/photos/list.csv", "mine:images"):
        assert not usercode.files_outside({"dataset": inside, "augment": None})
    outside = {"family": "../net.py:Net", "dataset": "/data.py:images", "augment": "/tmp/a.py:blur"}
    files = [folder.parent / "net.py", Path("/data.py"), Path("/tmp/a.py")]
    assert list(usercode.files_outside(outside).values()) == files
