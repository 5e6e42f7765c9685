"""The documents: their commands parse and run in order, and their code works where it says it belongs."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import nbclient
import nbformat
import pytest
from support.datasets import write_folder
from support.endtoend import draw_one_plot, furnish, pipeline
from support.pictures import SHOWN, check_picture, make_pictures

from pipeline.cli.program import cli

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
)
RUN = (  # in order, in one folder
    "README.md",
    "docs/tutorial.md",
    "docs/searching.md",
    "docs/data.md",
    "docs/one-network.md",
    "docs/records.md",
)
PROGRAMS = {
    "make",
    ".",
    "cd",
    "git",
    "pip",
    "find",
    "tar",
    "sed",
    "curl",
    "ssh",
    "tmux",
    "export",
    "pipeline",
    "mlflow",
    "python",
    "optuna",
    "optuna-dashboard",
    ".venv/bin/pytest",
}
# What needs a network, another program's environment, or a server that goes on: tested elsewhere, parsed here.
APART = ({"ui"}, {"--watch"}, {"run"}, {"data", "download"}, {"predict", "--url"})
WIDTH_OF_A_CELL = 115  # characters: a longer line is cut off
MOST_BYTES = 150_000  # of a picture
DEFAULT = "networks-few_digits"  # the study of `make sweep`


def blocks(page, *languages):
    """The page's blocks of code, in order: language and text."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [(language, code) for language, code in found if language in languages]


def lines(code):
    """The commands of a block of shell code, without comments; a backslash goes on in the next line."""
    for line in code.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s)#.*", "", line).strip()  # shlex would cut NAME#0 too
        if command:
            yield command


def parts(command):
    """The commands that a line joins with ``&&`` or ``|``, as words."""
    words, found = shlex.split(command), [[]]
    for word in words:
        if word in ("&&", "|"):
            found.append([])
        else:
            found[-1].append(word)
    return [part for part in found if part]


EVERY = [(page, c) for page in PAGES for _, code in blocks(page, "sh") for c in lines(code)]
OURS = [
    (page, part)
    for page, command in EVERY
    for part in parts(command)
    if part[0] == "pipeline"
    and page != "docs/extend.md"  # whose options are not there yet: it is run
]


@pytest.mark.parametrize(
    ("page", "words"), OURS, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_every_command_parses(page, words, tmp_path, monkeypatch):
    """Each `pipeline` line names a command that there is, with options that it has."""
    monkeypatch.chdir(tmp_path)
    for _, code in blocks(page, "python"):
        if re.match(r"# \w+\.py\n", code):  # a network of the reader's own
            _use(code, "python", tmp_path)
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None
    command.make_context(words[1], words[2:])


def test_every_other_line_is_a_known_program():
    """What else the pages tell to type is one of a few programs."""
    firsts = {part[0] for _, command in EVERY for part in parts(command) if "=" not in part[0]}
    assert firsts <= PROGRAMS


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    """Each file that a page links or shows is there; a picture is neither empty nor heavy, and is described."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for picture, alt, target in re.findall(r"(!?)\[([^]]*)\]\(([^)#]+)[^)]*\)", text):
        if "://" in target:
            continue
        file = (ROOT / page).parent / target
        assert file.is_file(), target
        if picture:
            assert 10_000 < file.stat().st_size < MOST_BYTES, target
            assert len(alt) > 20, target


def test_every_benchmark_is_described():
    """benchmarks/README.md says of each program what it answers."""
    described = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    programs = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py"))
    assert "portfolio.py" in programs
    assert [name for name in programs if f"`{name}`" not in described] == []


def test_every_picture_is_shown():
    """No picture is left over from an earlier text."""
    shown = {
        p
        for page in PAGES
        for p in re.findall(
            r"images/([\w-]+\.(?:png|gif))", (ROOT / page).read_text(encoding="utf-8")
        )
    }
    assert {path.name for path in (ROOT / "docs" / "images").iterdir()} == shown


def apart(words):
    """Whether a command is tested elsewhere."""
    return any(words_ <= set(words[1:]) for words_ in APART)


@pytest.mark.slow
def test_the_commands_run(folder, tmp_path, real_data, monkeypatch):
    """A newcomer who types all lines of the README, and then of the pages that go on from it, gets through them."""
    monkeypatch.setenv("PIPELINE_DATA_DIR", str(real_data))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    write_folder(folder / "photos", classes=("cat", "dog"), count=30)  # the reader's own
    typed: set[str] = set()  # a line that a later page repeats finds what it did the first time
    for page in RUN:
        for language, code in blocks(page, "sh", "yaml", "python"):
            if language == "sh":
                for command in lines(code):
                    if command in typed:
                        continue
                    typed.add(command)
                    _type(command, folder)
                    if command == "make sweep":
                        _look(folder, tmp_path)
            else:
                _use(code, language, folder)


def _look(folder, out):
    """Compare the pictures of the pages with those of the default study, or make them anew."""
    summary = out / "performance.png"
    subprocess.run([sys.executable, "-m", "benchmarks.summary", summary], check=True, cwd=ROOT)
    for picture in [*make_pictures(folder, DEFAULT, out), summary]:
        if "REMAKE_PICTURES" in os.environ:
            shutil.copy(picture, SHOWN)
        else:
            check_picture(picture)


def _type(command, folder):
    """Run a line that is ours; `make sweep` sets up what is there, and then sweeps."""
    found = parts("pipeline sweep" if command == "make sweep" else command)
    if found[-1][0] != "pipeline" or apart(found[-1]):
        return
    if found[0][0] == "find":
        subprocess.run(["bash", "-ec", command], check=True, cwd=folder)
    else:
        pictured = command == "make sweep"
        assert pipeline(*found[-1][1:], all_plots=pictured) == 0, command


def _use(code, language, folder):
    """Write down a file that the page names in its first line, or run a piece of Python."""
    named = re.match(r"# (\S+\.(?:ya?ml|py))\n", code)
    if named:
        (folder / named[1]).write_text(code, encoding="utf-8")
    elif language == "python" and "<" not in code:
        subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)


def place(tree, code):
    """Put a block of code where its first line says."""
    first, rest = code.split("\n", 1)
    whole = re.fullmatch(r"# (\S+)", first)
    if whole:
        assert not (tree / whole[1]).exists()
        (tree / whole[1]).write_text(code if whole[1].endswith(".yaml") else rest, encoding="utf-8")
        return
    path, how = re.fullmatch(r"# (\S+): (.+)", first).groups()
    text = (tree / path).read_text(encoding="utf-8").splitlines(keepends=True)
    text.insert(_line(text, how), rest)
    (tree / path).write_text("".join(text), encoding="utf-8")


def _line(text, how):
    """After how many lines of a file a block goes."""
    where, _, what = how.partition(" ")
    if where in ("after", "before"):
        found = [number for number, line in enumerate(text) if what.strip('"') in line]
        assert len(found) == 1, f"{how}: {len(found)} such lines"
        return found[0] + (where == "after")
    name, _, field = what.partition(", after ")
    tree = ast.parse("".join(text))
    if field:  # of a class
        (owner,) = [
            node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name
        ]
        (one,) = [
            node
            for node in owner.body
            if isinstance(node, ast.AnnAssign) and node.target.id == field
        ]
        return one.end_lineno
    (one,) = [
        node for node in tree.body if isinstance(node, ast.AnnAssign) and node.target.id == name
    ]
    return one.end_lineno - 1  # before the closing bracket


@pytest.mark.slow
def test_the_examples_of_extending_work(tmp_path, template):
    """Each block goes where its first line says in a copy of the project; then the page's commands run there."""
    tree = tmp_path / "copy"
    for room in ("models", "sweeps", "pipeline", "docs"):
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    furnish(tree, template)
    found = blocks("docs/extend.md", "python", "yaml", "sh")
    for language, code in found:
        if language != "sh":
            place(tree, code)
    for language, code in found:
        for command in lines(code) if language == "sh" else ():
            words = [sys.executable, "-m", *shlex.split(command)]
            done = subprocess.run(
                words,
                cwd=tree,
                env={**os.environ, "PYTHONPATH": str(tree)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (command, done.stderr)
    assert (tree / "reports" / "noisy" / "plots" / "pace.png").stat().st_size > 5000
    assert (
        "pace" in (tree / "reports" / "noisy" / "report.html").read_text(encoding="utf-8").lower()
    )
    checked = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--config",
        ROOT / "pyproject.toml",
        "models",
        "sweeps",
        "pipeline",
    ]
    done = subprocess.run(checked, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_examples_of_the_python_interface(tmp_path, template, monkeypatch):
    """The examples of docs/api.md run in order, as one program."""
    monkeypatch.chdir(furnish(tmp_path, template))
    draw_one_plot(monkeypatch)
    script = tmp_path / "examples.py"
    script.write_text("\n".join(code for _, code in blocks("docs/api.md", "python")))
    main = ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(script.read_text(), script, "exec"), vars(main))


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """docs/notebook.ipynb runs from top to bottom, and shows a ranking, bars and a plot."""
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=240, resources=resources).execute()
    shown = [
        {kind for output in cell.outputs for kind in output.get("data", {})}
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    assert "application/vnd.jupyter.widget-view+json" in shown[0]
    assert "text/html" in shown[1]
    assert "text/html" in shown[2]
    assert "image/png" in shown[3]
    assert (tmp_path / "own_code" / "TinyNet.py").is_file()
    said = "\n".join(
        output["data"]["text/plain"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "display_data"
    )
    assert "#0 own_code/TinyNet.py:TinyNet" in said
    assert max(map(len, said.splitlines())) <= WIDTH_OF_A_CELL
