"""The command line: help, one-line errors, exit codes, plans, and the end of the process."""

import gzip
import json
import socket
import subprocess
import sys

import click
import pytest
from support.endtoend import STUDY, pipeline
from support.sourcecode import ROOT, sources

from pipeline.cli import program


def run_main(monkeypatch, *arguments):
    """Run the program's entry point; its exit code."""
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    with pytest.raises(SystemExit) as ended:
        program.main()
    return ended.value.code


@pytest.mark.parametrize("name", list(program.cli.commands))
def test_every_command_has_help_with_an_example(name):
    """`pipeline COMMAND --help` describes each option and shows a whole command."""
    command = program.cli.commands[name]
    text = command.get_help(click.Context(command, info_name=f"pipeline {name}"))
    assert f"Example: pipeline {name}" in text
    undescribed = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert undescribed == []


def test_the_help_lists_every_command_in_one_section(monkeypatch):
    """Each command has its place and its line, which is whole in 80 columns."""
    listed = [name for names in program.SECTIONS.values() for name in names]
    assert len(set(listed)) == len(listed)
    assert set(program.cli.commands) <= set(listed)
    monkeypatch.setenv("COLUMNS", "80")
    text = program.cli.get_help(click.Context(program.cli, info_name="pipeline"))
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.partition("Search:")[2]


def test_an_option_of_another_tool_is_understood(monkeypatch, capsys):
    """A word that other tools have for an option is answered with ours."""
    assert run_main(monkeypatch, "train", "--learning-rate", ".1") == 2
    assert "Did you mean '--lr'?" in capsys.readouterr().err
    assert run_main(monkeypatch, "sweep", "--n-trials", "3") == 2
    assert "Did you mean '--trials'?" in capsys.readouterr().err


TAKES_A_NAME = (
    ["report"],
    ["status"],
    ["ui"],
    ["finalists"],
    ["sync"],
    ["studies"],
    ["data", "verify"],
)
NAMED_TWICE = (
    *([*words, "a", "--name", "b"] for words in TAKES_A_NAME),
    ["sweep", "a", "--study", "b"],
)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["sweep", "--dataset", "mnits"],
            2,
            "error: command line: dataset is unknown: 'mnits'; did you mean mnist?",
        ),
        (["sweep", "nosuch"], 2, "error: no study file 'nosuch'; known: cifar10_batchnorm, "),
        (
            ["train", "--lr", "-1"],
            2,
            "error: Invalid value for '--lr': lr must be from 1e-08 to 100: got '-1'",
        ),
        (
            ["sweep", "--epochs", "-3"],
            2,
            "error: Invalid value for '--epochs': epochs must be from 1 to 10000: got '-3'",
        ),
        (
            ["sweep", "--trials", "4x"],
            2,
            "error: Invalid value for '--trials': must be a whole number from 1: got '4x'",
        ),
        (
            ["report", "--best", "--within", "4%"],
            2,
            "error: Invalid value for '--within': must be a number from 0: got '4%'",
        ),
        (
            ["ui", "--port", "70000"],
            2,
            "error: Invalid value for '--port': must be a whole number from 1 to 65,535: got",
        ),
        (
            ["sweep", "--set", "dropout=2"],
            2,
            "error: command line: dropout must be from 0 to 0.95: got 2",
        ),
        (["report"], 2, "error: no studies in "),
        (["sweep", "--trails", "1"], 2, "error: No such option"),
        (
            ["sweep", "--lr", "1"],
            2,
            "error: --lr is no option here: fix the value with --set lr=VALUE",
        ),
        (
            ["sweep", "--learning-rate", "1"],
            2,
            "error: --learning-rate is no option here: fix the value with --set lr=VALUE, or",
        ),
        *((words, 2, "error: name the ") for words in NAMED_TWICE),
        (["run", "-e", "nosuch"], 2, "error: unknown entry point 'nosuch': known are main, sweep"),
    ],
)
def test_a_users_error_is_one_line_with_its_exit_code(
    arguments, code, message, tmp_path, monkeypatch, capsys
):
    """Rule, value and remedy in one line on stderr; no traceback; nothing made."""
    monkeypatch.chdir(tmp_path)
    assert run_main(monkeypatch, *arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_every_broken_rule_of_a_study_file_is_a_line(tmp_path, monkeypatch, capsys):
    """All errors of a file are named at once, each with its line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("epochs: -3\nepocs: 1\nsearch: {lr: {low: 1, high: 1e-5}}\n")
    assert run_main(monkeypatch, "sweep", "bad.yaml") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["bad.yaml:1", "bad.yaml:2", "bad.yaml:3"]


def test_a_plan_is_printed_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    """`--dry-run` shows the space, the count and an estimate, and makes no file."""
    monkeypatch.chdir(tmp_path)
    assert pipeline("sweep", "--dry-run") == 0
    text = capsys.readouterr().out
    assert "  lr                      0.0001 to 0.1, log\n" in text
    assert "30 trials of at most 24 epochs, 337 in all on 287 images: at most about" in text
    assert pipeline("sweep", "--dry-run", "--json", "--families", "mlp") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["study"], plan["trials"], plan["search"]["family"]) == (
        "networks-few_digits",
        30,
        "mlp",
    )
    assert plan["seconds"] > 0
    assert pipeline("sweep", "--dry-run", "--budget", "6") == 0
    text = capsys.readouterr().out
    assert "of at most 24 epochs within a budget of 6 whole trainings, 144 in all on" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_a_dry_run_downloads_nothing(folder, monkeypatch, capsys, dataset):
    """Without its images, a plan lacks an estimate only: nothing is asked of the network."""

    def refuse(*_arguments, **_options):
        raise AssertionError("a plan needs no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = set(folder.rglob("*"))
    data = ("--dataset", dataset, "--data-dir", "nowhere")
    for words in (("sweep", *data, "--dry-run"), ("studies", "default", *data)):
        assert pipeline(*words) == 0
        assert "; no estimate without the images" in capsys.readouterr().out
    assert set(folder.rglob("*")) == before


def test_the_outcome_can_be_json(folder, capsys):
    """`--json` prints the outcome, and nothing else, to stdout."""
    assert pipeline("sweep", "--study", "tiny.yaml", "--trials", "1", "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["study"] == "tiny-digits"
    assert len(outcome["rows"]) == 1


def test_options_have_both_spellings_and_the_study_a_twin(folder):
    """What `mlflow run -P` appends is understood: underscores, and options instead of arguments."""
    (folder / "one.yaml").write_text(STUDY)
    assert (
        pipeline(
            "sweep",
            "--study",
            "one.yaml",
            "--trials=1",
            "--data_dir",
            "nowhere",
            "--dry_run",
            "true",
        )
        == 0
    )
    assert (
        pipeline(
            "sweep", "--study", "one.yaml", "--trials=1", "--data_dir", "nowhere", "--dry_run=false"
        )
        == 0
    )
    assert pipeline("report", "--name", "one-digits", "--best", "true") == 0


HEAVY = ("torch", "mlflow", "optuna", "pydantic", "rich", "numpy", "matplotlib", "yaml")
LIGHT_MODULES = [
    path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for path in sources()
    if path.startswith(("pipeline/cli/", "pipeline/system/"))
]


def heavy_imports(*modules):
    """Import modules in a process of its own; return which heavy packages they have imported."""
    code = f"import sys, {', '.join(modules)}; sys.exit(', '.join(sorted(set({HEAVY}) & set(sys.modules))))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip()


def test_help_imports_nothing_heavy():
    """`pipeline --help` is quick because it imports neither torch, mlflow, optuna, pydantic nor rich."""
    assert heavy_imports("pipeline.cli.program") == ""


def test_no_module_of_the_command_line_or_the_system_imports_anything_heavy():
    """Heavy packages are imported inside functions there, as the search for them finds them elsewhere."""
    assert len(LIGHT_MODULES) > 20
    assert heavy_imports(*LIGHT_MODULES) == ""
    assert heavy_imports("pipeline.jobs.progress") != ""


SLOW_TO_IMPORT = ("torch", "mlflow", "optuna", "sqlalchemy", "alembic", "matplotlib", "pandas")
DONE = ["report", "done-digits"]
LOOKING = (["list"], ["status"], [*DONE, "--format=csv"], [*DONE, "--best", "--format=md"])


def test_commands_that_look_import_no_library_of_training(tmp_path):
    """What shows a study in an SQLite file reads it without Optuna, whose import takes longer than all else."""
    stores = ROOT / "tests" / "fixtures" / "0.2.0"
    for name in ("optuna.db", "mlflow.db"):
        (tmp_path / name).write_bytes(gzip.decompress((stores / f"{name}.gz").read_bytes()))
    code = f"""
import sys
from pipeline.cli import program
for command in {LOOKING}:
    program.cli.main(command, prog_name="pipeline", standalone_mode=False)
print(*sorted(set({SLOW_TO_IMPORT}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "done-digits" in done.stdout


def test_the_command_line_can_be_run_without_ending_the_process():
    """Only the entry point ends its process at once: a program that calls `program.main` exits as it likes."""
    code = "import sys\nfrom pipeline.cli import program\nsys.argv = ['pipeline', 'report', 'nosuch']\n"
    code += "try:\n    program.main()\nexcept SystemExit as end:\n    print(end.code)\nsys.exit(7)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (7, "2")


# The end of the process

CODE = """
import atexit, sys
from pipeline.cli.program import Leaving
leaving = Leaving()
import pipeline.stores.sqlite, sqlalchemy
pipeline.stores.sqlite.remember_connections()
atexit.register(lambda: print("done at the end"))
engine = sqlalchemy.create_engine("sqlite:///file.db")
with engine.begin() as database:
    database.exec_driver_sql("PRAGMA journal_mode=WAL")
    database.exec_driver_sql("CREATE TABLE kept (value)")
class Cycle:
    def __del__(self):
        print("the interpreter's own end")
endless = Cycle()
endless.itself = endless
print("printed")
leaving.code = {code}
"""


def run_to_its_end(folder, code):
    """Run it in a process of its own."""
    command = [sys.executable, "-c", CODE.format(code=code)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_all_is_done_before_and_nothing_after(tmp_path):
    """With its code, when all is printed, all is done that waits for the end, and a database's log is in its file."""
    done = run_to_its_end(tmp_path, 3)
    assert (done.returncode, done.stdout.split("\n"), done.stderr) == (
        3,
        ["printed", "done at the end", ""],
        "",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["file.db"]


def test_without_a_code_the_interpreter_ends_it(tmp_path):
    """As after an error that nobody expected."""
    done = run_to_its_end(tmp_path, None)
    assert (done.returncode, done.stdout.split("\n")[2]) == (0, "the interpreter's own end")


def test_the_server_of_helpers_ends_with_it(tmp_path):
    """Also where it is still importing: whoever reads what is printed does not wait for that."""
    (tmp_path / "endless.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(600)\n"
    )
    code = "from pipeline.cli import program as leaving; from pipeline.system import forkserver as forking\n"
    code += "end = leaving.Leaving(); forking.warm_up('endless'); end.code = 0"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0


def test_the_list_of_studies_fits_a_terminal(monkeypatch, capsys):
    """Descriptions break between words, below their beginning; a file has a line for each study."""

    def listed():
        program.cli.commands["studies"].main([], standalone_mode=False)
        return capsys.readouterr().out

    whole = listed()
    monkeypatch.setattr("pipeline.report.terminal.terminal_width", lambda: 80)
    narrow = listed()
    assert max(map(len, narrow.splitlines())) <= 80 < max(map(len, whole.splitlines()))
    assert narrow.split() == whole.split()
