"""The public functions: they do what the commands do, in a script and in a thread."""

import inspect
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from support.commands import Sweep, wait_until
from support.endtoend import draw_one_plot, furnish
from support.endtoend import pipeline as command

import pipeline
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
    of_a_terminal = {"study_option", "dry_run", "as_json", "sampler", "settings"}
    assert options - fields - of_a_terminal == arguments - {"method", "set", "progress"}


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 0}, "arguments: trials must be"),
        ({"set": {"lr": -1}}, "arguments: lr must be from"),
        ({"set": {"rate": 1}}, "rate"),
        ({"workers": 0}, "workers must be a whole number above 0: got 0"),
        ({"timeout": float("nan")}, "timeout must be a number of seconds"),
        ({"engine": "slurm"}, "engine is unknown: 'slurm'"),
        ({"study": "defalt"}, "default"),
        ({"study": {"search": {"lr": [object()]}}}, "text, numbers, lists and mappings"),
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
