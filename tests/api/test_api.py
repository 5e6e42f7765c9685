"""The public functions: they do what the commands do, in a script and in a thread."""

import functools
import importlib
import inspect
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.commands import Sweep, wait_until
from support.endtoend import draw_one_plot, furnish
from support.endtoend import pipeline as command

import pipeline
from pipeline.api.definitions import Definitions
from pipeline.api.search import sweep as sweep_function
from pipeline.cli.program import cli
from pipeline.jobs import studies
from pipeline.stores import access, locations
from sweeps.trial import config_fields

STUDY = {
    "dataset": "digits",
    "trials": 2,
    "epochs": 1,
    "search": {"family": ["mlp", "cnn"], "lr": {"low": 1e-3, "high": 1e-2, "log": True}},
    "fixed": {"width": np.int64(8), "depth": 1},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, template):
    """A folder in which a study was searched from Python, in a thread."""
    folder = furnish(tmp_path_factory.mktemp("api"), template)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PIPELINE_CACHE_DIR", str(folder / "cache"))
        draw_one_plot(patch)
        found = []
        thread = threading.Thread(
            target=lambda: found.append(pipeline.sweep(STUDY, name="mine", progress=False))
        )
        thread.start()
        thread.join()
        assert len(found) == 1
    return folder


@pytest.fixture
def study(folder, monkeypatch):
    """The study of `folder`, read back there."""
    monkeypatch.chdir(folder)
    return pipeline.load_study("mine")


def test_all_public_names_are_there():
    """`__all__` lists what `dir` shows, and each name is importable and described."""
    for name in pipeline.__all__:
        assert getattr(pipeline, name).__doc__, name
    assert set(pipeline.__all__) <= set(dir(pipeline))
    with pytest.raises(AttributeError, match="swep"):
        _ = pipeline.swep


def test_the_import_is_quick():
    """`import pipeline` imports none of the libraries that take seconds."""
    code = (
        "import pipeline, sys; "
        "print([name for name in ('torch', 'mlflow', 'optuna', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_its_arguments_are_the_options_of_the_command():
    """What `pipeline sweep` takes, `pipeline.sweep` takes; a field of a trial is for `set`."""
    options = {param.name for param in cli.get_command(None, "sweep").params}
    arguments = set(inspect.signature(sweep_function).parameters)
    fields = set(config_fields()) - {"epochs", "dataset", "seed"}
    of_a_terminal = {"study_option", "dry_run", "debug", "as_json", "settings", "then"}
    assert options - fields - of_a_terminal == arguments - {"set", "progress"}
    options = {param.name for param in cli.get_command(None, "finalists").params}
    arguments = set(inspect.signature(pipeline.StudyResults.finalists).parameters)
    of_the_study = {"name", "name_option", "storage", "data_dir", "then"}
    assert options - of_the_study == arguments - {"self", "progress"}


def test_a_study_and_its_trials(study):
    """The winner, the trials and the table say what the store says."""
    record = access.read_record(locations.locate(), "mine")
    assert study.best.value == record.best_trial.value
    assert study.best.number == record.best_trial.number
    assert [trial.value for trial in study.trials] == [one.value for one in record.results]
    assert study.trials[0].history[0]["val/acc"] == record.results[0].history[0].metrics["val/acc"]
    frame = study.trials.to_frame()
    assert list(frame["val_acc"]) == [one.value for one in record.results]
    assert frame.loc[1, "lr"] == record.results[1].config.lr
    assert "2 complete" in repr(study)
    assert "2 complete" in repr(study.trials)


def test_the_cheapest_that_is_hardly_worse(study):
    """With much room the cheapest trial is taken, with none the best, as the command does."""
    operations = {one.number: one.mflops for one in access.read_record(locations.locate()).results}
    assert study.best_within(1).number == min(operations, key=operations.get)
    assert study.best_within(0) == study.best
    with pytest.raises(pipeline.UsageFailure, match="within must be a number from 0: got -1"):
        study.best_within(-1)


def test_what_a_notebook_shows(study):
    """A study shows its headline and its ranking; a name in it cannot be HTML."""
    html = study._repr_html_()
    assert f"Trial {study.best.number}" in html
    assert html.count("<tr>") == 3


def test_the_command_goes_on(study, capsys):
    """A study from a file is the same study for the command and for the call."""
    Path("same.yaml").write_text(studies.read_study(STUDY, {})[1])
    assert command("sweep", "same.yaml", "--name", "mine") == 0
    assert "2 of 2 trials ended" in capsys.readouterr().out
    assert pipeline.sweep(Path("same.yaml"), name="mine", progress=False).best == study.best
    spec = studies.read_study(STUDY, {})[2]
    assert pipeline.sweep(spec, name="mine", progress=False).best == study.best


@pytest.mark.parametrize("name", studies.shipped_studies())
def test_a_checked_study_is_what_its_file_is(name):
    """A `StudySpec` that is written down again is the same study."""
    spec = studies.read_shipped(name)[2]
    assert studies.read_study(spec, {})[2] == spec


def test_models(study):
    """A model takes raw pixels, and is found by study, trial, run and checkpoint."""
    pixels = np.zeros((2, 8, 8), np.uint8)
    best = study.best
    sources = (study, "mine", best, f"mine#{best.number}", best.run_id, Path(best.checkpoint))
    answers = [pipeline.load_model(source)(pixels) for source in sources]
    assert answers[0].shape == (2, 10)
    assert all(answer.equal(answers[0]) for answer in answers)
    predictions = pipeline.predict(pixels, study, top=2)
    assert [one.label for one in predictions] == [
        str(index) for index in answers[0].argmax(dim=1).tolist()
    ]
    assert len(predictions[0].top) == 2


NET = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, num_classes, hidden=4):
        super().__init__(nn.Flatten(), nn.LazyLinear(hidden), nn.LazyLinear(num_classes))
"""


@pytest.fixture
def net(folder, monkeypatch):
    """The class of a module of the folder."""
    monkeypatch.chdir(folder)
    Path("lazy_net.py").write_text(NET)
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module("lazy_net").Net


def test_a_class_is_a_family(net):
    """A class among the arguments stands for the file that the command would name, also as a key."""
    given = {"search": {"family": [net, "mlp"], "hidden": {"choices": (3,), "when": {net: 1}}}}
    name = "lazy_net.py:Net"
    assert Definitions().named(given) == {
        "search": {"family": [name, "mlp"], "hidden": {"choices": [3], "when": {name: 1}}}
    }


def test_a_file_that_sweeps_when_it_is_imported(folder, net):
    """A file that begins a sweep when it is imported is refused, and not trained without an end."""
    Path("endless.py").write_text(
        f"{NET}\nimport pipeline\npipeline.sweep(set={{'family': 'endless.py:Net'}})\n"
    )
    with pytest.raises(pipeline.UsageFailure, match=r"while this file is imported.* in line 10 of"):
        pipeline.sweep(set={"family": "endless.py:Net"}, progress=False)


def test_files_of_definitions_are_put_back(tmp_path, monkeypatch):
    """What is written for a call that is refused goes again, and a file of the user's stays."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(NET)
    main = ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(NET, script, "exec"), vars(main))
    file = tmp_path / "own_code/Net.py"
    with pytest.raises(pipeline.UsageFailure, match="own_code/Net.py:Net takes hidden"):
        pipeline.sweep(set={"family": main.Net, "hiden": 3}, progress=False)
    assert list(tmp_path.iterdir()) == [script]
    file.parent.mkdir()
    file.write_text(NET)
    with pytest.raises(pipeline.UsageFailure, match="own_code/Net.py is no file that pipeline"):
        pipeline.sweep(set={"family": main.Net}, progress=False)
    assert file.read_text() == NET


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 0}, "arguments: trials must be"),
        ({"set": {"lr": -1}}, "arguments: lr must be from"),
        ({"set": {"rate": 1}}, "rate"),
        ({"workers": 0}, "workers must be a whole number above 0: got 0"),
        ({"timeout": float("nan")}, "timeout must be a time above 0"),
        ({"engine": "slurm"}, "engine is unknown: 'slurm'"),
        ({"study": "defalt"}, "default"),
        ({"study": {"search": {"lr": [object()]}}}, "text, numbers, lists and mappings"),
        ({"set": {"family": functools.partial(dict, a=1)}}, "a partial cannot be named: give dict"),
        ({"study": {"searc": {}}}, "study:1: .*searc"),
    ],
)
def test_wrong_arguments(tmp_path, monkeypatch, arguments, message):
    """A wrong argument is an exception of one line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pipeline.UsageFailure, match=message):
        pipeline.sweep(**arguments)
    assert not list(tmp_path.iterdir())


def test_plots(study):
    """A plot is a figure; one that has nothing to show, or is unknown, is refused in one line."""
    assert study.plot("learning_curves").get_axes()
    with pytest.raises(pipeline.UsageFailure, match="nothing to show"):
        study.plot("finalists")
    with pytest.raises(pipeline.UsageFailure, match="learning_curves"):
        study.plot("learning_curve")


SCRIPT = """
import pipeline

try:
    pipeline.sweep("tiny.yaml", set={"epochs": 3}, workers=2)
except KeyboardInterrupt:
    print("stopped")
    print(pipeline.sweep("tiny.yaml", set={"epochs": 3}, workers=2))
"""


@pytest.mark.slow
def test_a_script_is_interrupted_and_goes_on(tmp_path, template):
    """A script without a guard for its main module has workers; Ctrl-C stops it, and the next call goes on."""
    folder = furnish(tmp_path / "script", template)
    (folder / "script.py").write_text(SCRIPT)
    script = Sweep(folder, program=(sys.executable, "script.py"))
    wait_until(lambda: "#0" in script.log.read_text())
    os.kill(script.process.pid, signal.SIGINT)
    said = script.wait(0)
    assert "interrupted; the same call goes on" in said
    assert "stopped" in said
    assert "5 ended: " in said
