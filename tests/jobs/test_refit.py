"""The finalists' winner on all images of the search: how long, with nothing to choose by, scored on the test split."""

import dataclasses

import pytest
import torch
from support.endtoend import client, pipeline, record
from support.records import make_record, make_result

from pipeline.checkpoints import BEST, Folder, load, load_model
from pipeline.inference import find, networks
from pipeline.jobs.refit import join_splits, winner_config
from pipeline.stores import locations
from pipeline.training.epochs import Hooks
from pipeline.training.train import train
from sweeps.analysis.facts import StoredSpec
from sweeps.analysis.looks import Looks
from sweeps.trial import COMPLETE, FAILED, configure

FINALISTS = "tiny-digits.finalists"
CONFIG = configure(
    {"family": "cnn", "width": 4, "depth": 1, "epochs": 3, "device": "cpu", "precision": "fp32"}
)


def finalists(epochs, **config):
    """One finalist whose seeds were best after these epochs."""
    results = [
        make_result(n, 0.9, epochs=best, seed=5 + n, patience=2, **config)
        for n, best in enumerate(epochs)
    ]
    found = make_record(results)
    return dataclasses.replace(found, trials=len(results), spec=StoredSpec(seed=5))


@pytest.mark.parametrize(("epochs", "expected"), [((2, 9, 3), 3), ((4, 7), 6), ((8,), 8)])
def test_as_many_epochs_as_the_seeds_suggest(epochs, expected):
    """It is trained for the median of the best epochs, and no epoch of it is the last before its time."""
    config = winner_config(finalists(epochs, schedule="cosine", redraw="draw-5"))
    assert (config.epochs, config.patience, config.schedule) == (expected, 0, "cosine")
    assert config.redraw is None


def test_not_before_all_have_ended():
    """While runs are still to come, or where all failed, there is no winner to be trained."""
    unfinished = dataclasses.replace(finalists((3,)), trials=2)
    assert winner_config(unfinished) is None
    assert winner_config(make_record([make_result(0, None, state=FAILED)])) is None


def test_both_splits_are_trained_on(tiny):
    """All images of both, in order, and none left to be judged by; what they are normalised by stays."""
    data = join_splits(tiny)
    assert (len(data.train), len(data.val)) == (len(tiny.train) + len(tiny.val), 0)
    assert torch.equal(data.train.labels[-len(tiny.val) :], tiny.val.labels)
    assert (data.mean, data.std, data.digest) == (tiny.mean, tiny.std, tiny.digest)


@pytest.mark.parametrize("schedule", ["none", "plateau", "onecycle"])
def test_the_last_epochs_weights_are_taken(tiny, tmp_path, schedule):
    """Without validation images there is no validation figure, and the weights are those of the training's end."""
    config = dataclasses.replace(
        CONFIG, schedule=schedule, lr_patience=0, lr_factor=0.5, min_lr=0.0
    )
    result = train(0, config, join_splits(tiny), tmp_path, objective="val_acc", every_epoch=True)
    assert (result.state, result.value, result.best_epoch) == (COMPLETE, None, 3)
    assert not any(key.startswith("val") for row in result.history for key in row.metrics)
    assert (result.confusion, result.mistakes, result.best.per_class, result.best.predicted) == (
        None,
        (),
        (),
        (),
    )
    best, last = (load(path)[0] for path in (tmp_path / BEST, Folder(tmp_path).epoch(3)))
    assert all(torch.equal(best[name], last[name]) for name in last)
    _, card = load_model(tmp_path)
    assert not card.judged


def test_gone_on_with_it_is_the_same(tiny, tmp_path, monkeypatch):
    """Stopped between two epochs, it ends with the weights of a training that nothing disturbed."""
    monkeypatch.setattr("pipeline.training.epochs.SAVE_EVERY", 0)

    class Stop(KeyboardInterrupt):
        pass

    def stop(history):
        raise Stop

    with pytest.raises(Stop):
        train(
            0,
            CONFIG,
            join_splits(tiny),
            tmp_path / "a",
            objective="val_acc",
            hooks=Hooks(saved=stop),
        )
    for place in ("a", "b"):
        train(0, CONFIG, join_splits(tiny), tmp_path / place, objective="val_acc")
    ours, whole = (load(tmp_path / place / BEST)[0] for place in ("a", "b"))
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


@pytest.mark.slow
def test_refit(folder, capsys):
    """It is a run below the finalists', made once, and scored once: on the test split, and on nothing else."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "1") == 0
    assert pipeline("finalists", "--top", "1", "--seeds", "1", "--refit") == 0
    assert "trained once on training and validation images together" in capsys.readouterr().out
    found = record(folder, FINALISTS)
    run_id = found.refit.run_id
    run = client(folder).get_run(run_id)
    assert (run.data.tags["mlflow.parentRunId"], run.data.tags["sweep.role"]) == (
        found.parent_run_id,
        "refit",
    )
    assert run.info.status == "FINISHED"
    assert not any(key.startswith(("val", "best/val")) for key in run.data.metrics)
    assert pipeline("finalists", "--refit") == 0
    assert record(folder, FINALISTS).refit == found.refit
    assert len(client(folder).get_metric_history(run_id, "test/acc")) == 1
    assert len(client(folder).search_runs(["0"], "tags.`sweep.role` = 'refit'")) == 1
    capsys.readouterr()
    assert pipeline("evaluate", "--run", run_id, "--split", "val") == 2
    assert "trained on the validation split as well" in capsys.readouterr().err
    assert pipeline("train", "--from-run", run_id) == 2
    again = (
        "was trained on training and validation images together: "
        "`pipeline finalists tiny-digits --refit` trains it again"
    )
    assert capsys.readouterr().err == f"run {run_id} {again}\n"
    best = find.find_network(locations.locate(), networks.NetworkReference(best=True))
    assert best.run_id == run_id, "it is what --best means from now on"
    assert pipeline("evaluate", "--best", "--split", "train") == 0
    words = capsys.readouterr()
    assert f"The study last run: The refit of {FINALISTS}, run {run_id}: " in words.err
    assert f", run {run_id}\n" in words.out
    assert pipeline("evaluate", "--best", "--split", "val") == 0
    words = capsys.readouterr()
    selected = record(folder, FINALISTS).results[0].run_id
    assert f", run {selected}\n" in words.out
    assert f"Trial 0 of {FINALISTS}, run {selected}: " in words.err
    assert f"The refit of {FINALISTS}, run {run_id}, is not taken here.\n" in words.err
    assert {
        best.study,
        find.find_network(locations.locate(), networks.NetworkReference(run=run_id)).study,
    } == {"tiny-digits"}
    assert record(folder, FINALISTS).looks == Looks(trials={0: 1}, refit=1)
    assert pipeline("evaluate", "--run", run_id, "--split", "test") == 0
    assert record(folder, FINALISTS).looks == Looks(trials={0: 1}, refit=2)
    assert f"test accuracy {100 * found.refit.acc:.2f} % (" in capsys.readouterr().out
    assert not list((folder / "checkpoints").rglob("*.safetensors"))
