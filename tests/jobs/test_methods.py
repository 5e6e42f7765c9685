"""What a study file can ask for, end to end: duplicates, constraints, stops, ablation, kept weights, test scores."""

import json

import pytest
from support.endtoend import STUDY, check_invariant, children, client, furnish, pipeline, record

from pipeline.checkpoints import load, load_model
from pipeline.data import search_data, test_split
from pipeline.inference import find
from pipeline.stores import access, locations

TINY = (
    "dataset: digits\nepochs: 2\npruner: none\nfixed: {family: mlp, width: 8, batch_norm: false}\n"
)


@pytest.fixture
def sweep(folder):
    """Sweep a study file written here; its exit code."""

    def run(text, *arguments, name="own"):
        (folder / f"{name}.yaml").write_text(TINY + text)
        return pipeline("sweep", f"{name}.yaml", *arguments)

    return run


def test_a_duplicate_has_a_run_with_the_first_ones_figures(folder, sweep):
    """A configuration drawn twice is trained once; its second run is finished, tagged, and has the same value."""
    assert sweep("method: random\ntrials: 4\nsearch: {lr: [0.01, 0.02]}\n") == 0
    check_invariant(folder, "own-digits", total=4)
    results, runs = record(folder, "own-digits").results, children(folder, "own-digits")
    again = [result for result in results if result.duplicate_of is not None]
    assert len(again) == 2
    for result in again:
        tags = runs[result.number].data.tags
        assert (tags["sweep.end"], tags["sweep.duplicate_of"]) == (
            "duplicate",
            str(result.duplicate_of),
        )
        first = runs[result.duplicate_of].data.metrics
        assert runs[result.number].data.metrics["best/val_acc"] == first["best/val_acc"]
        assert (
            find.trial_with_weights(locations.locate(), f"own-digits#{result.number}").number
            == result.duplicate_of
        )
        assert pipeline("evaluate", "--run", f"own-digits#{result.number}", "--split", "val") == 0
        assert pipeline("evaluate", "--run", result.run_id) == 2


def test_a_network_over_its_constraints_is_not_trained(folder, sweep, capsys):
    """Larger networks end as infeasible, without an epoch; the others are trained, and only they can win."""
    assert (
        sweep(
            "method: grid\nsearch: {dropout: [0.0], depth: [1, 9]}\nconstraints: {parameters: 1000}\n"
        )
        == 0
    )
    small, large = record(folder, "own-digits").results
    assert (small.end, large.end, large.history, large.value) == (
        "complete",
        "infeasible",
        (),
        None,
    )
    assert large.error == "parameters 1,186, allowed 1,000"
    runs = children(folder, "own-digits")
    assert (runs[1].info.status, runs[1].data.tags["sweep.end"]) == ("FINISHED", "infeasible")
    assert "2 ended: 1 complete, 1 infeasible" in capsys.readouterr().out


def test_a_study_stops_at_its_target(folder, sweep, capsys):
    """Once the target is reached no further trial is begun, the code is 0, and the reason is said."""
    assert sweep("method: grid\nsearch: {lr: [0.01, 0.02, 0.03]}\nstop: {target: 0.2}\n") == 0
    assert len(record(folder, "own-digits").results) == 1
    assert "stopped by the study's own rule: target 0.2 reached" in capsys.readouterr().err


def test_an_ablation_starts_from_another_studys_best(folder, sweep):
    """The best of a study, and it again with each searched choice at its default, is a study of its own."""
    assert sweep("method: grid\nsearch: {lr: [0.01], dropout: [0.0]}\n", name="first") == 0
    ablation = _write(folder, "method: ablate\nof: first-digits\n")
    assert pipeline("sweep", ablation, all_plots=True) == 0
    found = record(folder, "ablation-digits")
    assert [(r.config.lr, r.config.dropout) for r in found.results] == [
        (0.01, 0.0),
        (0.01, 0.2),
        (0.001, 0.0),
    ]
    assert {r.config.width for r in found.results} == {8}
    assert (
        folder / "reports" / "ablation-digits" / "plots" / "factors.png"
    ).stat().st_size > 10_000


def test_an_ablation_of_no_study_makes_nothing(folder, capsys):
    """An unknown study to ablate is refused before anything is made."""
    assert pipeline("sweep", _write(folder, "method: ablate\nof: nosuch\n")) == 2
    assert "no study" in capsys.readouterr().err
    assert not (folder / "checkpoints").exists()


@pytest.mark.slow
def test_a_study_begins_from_an_earlier_one(folder, sweep, capsys):
    """Its best are tried first, plan and report say so, and nothing changes when the earlier study is gone."""
    space = "search: {lr: [0.001, 0.003, 0.01, 0.03], dropout: [0.0, 0.1, 0.2, 0.3]}\n"
    assert sweep(f"method: zip\n{space}", name="first") == 0
    best = record(folder, "first-digits").best_trial.config
    warm = f"warm_start: [first-digits]\nseed: 3\n{space}"
    capsys.readouterr()
    assert sweep(f"trials: 3\n{warm}", "--dry-run") == 0
    plan = capsys.readouterr().out
    source = "first-digits on digits (4 configurations; the sampler learns from 4)"
    assert source in plan
    assert f"  dropout {best.dropout:g}, lr {best.lr:g}" in plan
    assert sweep(f"trials: 3\n{warm}") == 0
    output = capsys.readouterr().out
    said = f"begun from {source}; tried first: 3 configurations"
    assert said in output
    assert said in (folder / "reports" / "own-digits" / "report.html").read_text("utf-8")
    results = record(folder, "own-digits").results
    assert (results[0].config.lr, results[0].config.dropout) == (best.lr, best.dropout)
    with access.read_studies(locations.locate()) as storage:
        storage.delete_study(storage.get_study_id_from_name("first-digits"))
    assert sweep(f"trials: 4\n{warm}") == 0
    assert record(folder, "own-digits").results[:3] == results


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--warm-start", "nosuch"), "no study in "),
        (("--warm-start", "tiny-digits"), "names the study itself: leave out 'tiny-digits'"),
        (("--warm-start", "a,b", "--warm-start", "a"), "warm_start names 'a' twice: leave one out"),
    ],
)
def test_no_warm_start(folder, arguments, error, capsys):
    """An earlier study that is not there, is the study itself, or is named twice, is refused."""
    assert pipeline("sweep", "tiny.yaml", *arguments) == 2
    assert error in capsys.readouterr().err
    assert not (folder / "checkpoints").exists()


def _write(folder, text):
    (folder / "ablation.yaml").write_text(f"dataset: digits\n{text}")
    return "ablation.yaml"


def test_every_epochs_checkpoint_is_kept_and_scored(folder, sweep, capsys):
    """With all checkpoints kept, each epoch's scores to its recorded value; test scores are kept with the study."""
    assert sweep("method: grid\nsearch: {lr: [0.01]}\nkeep_checkpoints: all\n") == 0
    (result,) = record(folder, "own-digits").results
    assert [p.path for p in client(folder).list_artifacts(result.run_id, "checkpoint/epochs")] == [
        f"checkpoint/epochs/{file}" for file in _files(2)
    ]
    capsys.readouterr()
    assert pipeline("evaluate", "--best", "--each-epoch", "--split", "val", "--format", "json") == 0
    epochs = json.loads(capsys.readouterr().out)["epochs"]
    assert [row["acc"] for row in epochs] == [row.metrics["val/acc"] for row in result.history]
    assert [row["epoch"] for row in epochs if row["best"]] == [result.best_epoch]
    by_class = [list(row["per_class"].values()) for row in epochs]
    assert by_class == [list(row.per_class) for row in result.history]
    assert pipeline("evaluate", "--best", "--split", "train", "--format", "json") == 0
    trained = json.loads(capsys.readouterr().out)
    images = sum(trained["images_by_class"].values())
    assert images == record(folder, "own-digits").facts.images["train"]
    assert trained["acc"] == sum(trained["right_by_class"].values()) / images
    assert record(folder, "own-digits").results[0].test is None
    assert pipeline("evaluate", "--all", "--each-epoch") == 0
    assert "  best" in capsys.readouterr().out
    assert set(record(folder, "own-digits").results[0].test) == {"acc@1", "acc@2"}
    for key in ("test_epochs/acc", "test_epochs_class/09"):
        curve = client(folder).get_metric_history(result.run_id, key)
        assert [metric.step for metric in curve] == [1, 2]
    files = [file.path for file in client(folder).list_artifacts(result.run_id)]
    assert {"val_epochs.csv", "test_epochs.csv"} <= set(files)


def _files(epochs):
    return [
        f"{epoch:04d}.safetensors{ending}"
        for epoch in range(1, epochs + 1)
        for ending in ("", ".sha256")
    ]


def test_each_epoch_needs_every_checkpoint(folder, sweep, capsys):
    """A run that kept only its best epoch cannot be scored epoch by epoch: one line says how it could."""
    assert sweep("method: grid\nsearch: {lr: [0.01]}\n") == 0
    assert pipeline("evaluate", "--best", "--each-epoch") == 2
    assert (
        "kept only its best epoch: train it with --keep-checkpoints all" in capsys.readouterr().err
    )


@pytest.mark.parametrize(("policy", "kept"), [("each", 3), ("top:2", 2), ("best", 1)])
def test_only_the_best_trials_weights_stay(folder, sweep, policy, kept):
    """With top:K or best, the weights of the other trials are gone in the end; their runs stay."""
    assert (
        sweep("method: grid\nsearch: {lr: [0.00001, 0.01, 0.001]}\n", "--keep-checkpoints", policy)
        == 0
    )
    results = sorted(record(folder, "own-digits").results, key=lambda result: -result.value)
    has = [
        "checkpoint" in {file.path for file in client(folder).list_artifacts(result.run_id)}
        for result in results
    ]
    assert has == [True] * kept + [False] * (3 - kept)
    check_invariant(folder, "own-digits", total=3)


def test_a_wrong_policy_is_refused(folder, sweep, capsys):
    """A misspelt policy is one line, and nothing is made."""
    assert sweep("search: {lr: [0.01]}\n", "--keep-checkpoints", "top") == 2
    assert "keep_checkpoints must be each, all, best or top:K: got 'top'" in capsys.readouterr().err
    assert not (folder / "checkpoints").exists()


def test_test_scores_of_all_trials_stand_in_the_report(folder, sweep, capsys):
    """`evaluate --all` scores every complete trial once, and the report sets the scores beside the published figure."""
    study = (
        "method: grid\nsearch: {lr: [0.01, 0.02]}\nreference: [{when: {lr: 0.01}, test_acc: 0.9}]\n"
    )
    assert sweep(study) == 0
    assert "pipeline evaluate --all --name own-digits" in capsys.readouterr().out
    assert pipeline("evaluate", "--all", "--name", "own-digits") == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in out] == [["test", "accuracy"]] * 2
    tests = [result.test for result in record(folder, "own-digits").results]
    assert set(tests[0]) == {"acc", "loss", "images", *(f"class@{index}" for index in range(10))}
    run = children(folder, "own-digits")[0]
    assert client(folder).get_run(run.info.run_id).data.metrics["test/acc"] == tests[0]["acc"]
    assert pipeline("report", "own-digits", "--format", "json") == 0
    published = json.loads(capsys.readouterr().out)["published"]
    assert json.dumps(tests[0]["acc"]) in json.dumps(published)


def test_scores_of_all_trials_are_one_json_list(sweep, capsys):
    """`evaluate --all --format json` prints one list, epoch by epoch as well."""
    assert sweep("method: grid\nsearch: {lr: [0.01, 0.02]}\nkeep_checkpoints: all\n") == 0
    for arguments in ([], ["--each-epoch"]):
        capsys.readouterr()
        assert pipeline("evaluate", "--all", "--split", "val", "--format", "json", *arguments) == 0
        assert len(json.loads(capsys.readouterr().out)) == 2


def test_other_images_are_no_test_of_a_network(folder, sweep, capsys):
    """After a change of the split file, its test images may have trained the network: that is refused, not scored."""
    (folder / "split.csv").write_text(
        _split(train=range(1000), val=range(1000, 1200), test=range(1200, 1500))
    )
    assert sweep("method: grid\nsearch: {lr: [0.01]}\n", "--split-file", "split.csv") == 0
    assert pipeline("evaluate", "--best") == 0
    (folder / "split.csv").write_text(
        _split(train=range(500, 1000), val=range(1000, 1200), test=range(500))
    )
    search_data.load.cache_clear()
    test_split.load_test.cache_clear()
    assert pipeline("evaluate", "--best") == 2
    assert "the network was trained on other images of digits" in capsys.readouterr().err


def _split(**parts):
    rows = [f"{index},{part}" for part, indices in parts.items() for index in indices]
    return "index,split\n" + "\n".join(rows)


def test_a_collapsed_trial_is_tagged_and_named(folder, sweep, capsys):
    """A trial that takes all images for one class says so in its tags and in the report."""
    settings = (
        "fixed: {family: mlp, width: 8, depth: 3, batch_norm: false, "
        "optimizer: sgd, momentum: 0.9, init: torch}\n"
    )
    text = (
        f"dataset: digits\nepochs: 3\nmethod: grid\npruner: none\n{settings}search: {{lr: [30]}}\n"
    )
    (folder / "own.yaml").write_text(text)
    pipeline("sweep", "own.yaml", "--set", "grad_clip=1")
    (result,) = record(folder, "own-digits").results
    tags = children(folder, "own-digits")[0].data.tags
    assert result.state == "complete"
    assert tags["sweep.collapsed"] in map(str, range(10))
    assert len(tags["sweep.dead_classes"].split(", ")) == 9
    assert "collapsed" in capsys.readouterr().out


def test_other_images_under_the_same_study_are_refused(folder, tmp_path, monkeypatch, capsys):
    """A study goes on only with the images that it was begun with."""
    monkeypatch.setattr("pipeline.jobs.sweep.load_for", _with_digest("one"))
    assert pipeline("sweep", "tiny.yaml", "--trials", "1") == 0
    monkeypatch.setattr("pipeline.jobs.sweep.load_for", _with_digest("two"))
    assert pipeline("sweep", "tiny.yaml", "--trials", "2") == 2
    assert "begun with other images of digits" in capsys.readouterr().err
    assert len(record(folder, "tiny-digits").results) == 1


def _with_digest(digest):
    import dataclasses

    from pipeline.data.search_data import load_for

    return lambda config, data_dir: dataclasses.replace(load_for(config, data_dir), digest=digest)


def test_training_can_keep_every_epoch(folder):
    """`pipeline train --keep-checkpoints all` leaves the weights of each epoch beside the best."""
    arguments = ("--family", "mlp", "--width", "8", "--epochs", "2", "--keep-checkpoints", "all")
    assert pipeline("train", *arguments) == 0
    (run,) = client(folder).search_runs(["0"])
    kept = folder / "mlruns" / "0" / run.info.run_id / "artifacts" / "checkpoint"
    assert sorted(path.name for path in (kept / "epochs").iterdir()) == _files(2)
    _, card = load_model(kept / "epochs" / "0002.safetensors")
    assert card.epoch == 2
    assert load(kept / "best.safetensors")[1]["epoch"] == run.data.metrics["best/epoch"]


def test_studies_lists_and_shows(folder, capsys, monkeypatch):
    """`pipeline studies` lists every shipped study, and shows one with its file, count and, with images there, time."""
    assert pipeline("studies") == 0
    listed = capsys.readouterr().out
    assert "mnist_resnet_dropout      20 trials  " in listed
    assert pipeline("studies", "mnist_resnet_dropout", "--data-dir", "nowhere") == 0
    shown = capsys.readouterr().out
    assert "softmax_output: [true, false]" in shown
    said = "20 trials (4 configurations x 5 seeds) of at most 30 epochs; no estimate without the images\n"
    assert shown.endswith(said)
    assert pipeline("studies", "tiny.yaml", "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["trials"], described["images"]) == (5, 1199)
    assert described["seconds"] > 0
    assert not (folder / "nowhere").exists()


def test_the_study_file_is_the_one_that_was_swept(tmp_path, template, monkeypatch):
    """A study of every key runs: starts, repeats, conditions and a reference together."""
    text = STUDY + "repeats: 2\nreference: [{when: {family: cnn}, test_acc: 0.9}]\n"
    folder = furnish(tmp_path / "work", template, text)
    monkeypatch.chdir(folder)
    assert pipeline("sweep", "tiny.yaml", "--trials", "4") == 0
    found = record(folder, "tiny-digits")
    assert [result.config.seed for result in found.results] == [0, 1, 0, 1]
    assert found.results[0].config.group == found.results[1].config.group


def test_an_ablation_goes_on_from_the_best_it_was_begun_with(folder, sweep):
    """A better best of the other study, found since, changes nothing of an ablation that is under way."""
    study = "method: grid\nsearch: {lr: [0.0001, 0.03], dropout: [0.0]}\n"
    assert sweep(study, "--trials", "1", name="first") == 0
    ablation = _write(folder, "method: ablate\nof: first-digits\n")
    assert pipeline("sweep", ablation, "--trials", "1") == 0
    assert sweep(study, name="first") == 0
    assert pipeline("sweep", ablation) == 0
    assert {result.config.lr for result in record(folder, "ablation-digits").results} == {
        0.0001,
        0.001,
    }


def test_weights_are_dropped_only_once_nothing_can_change(folder, sweep):
    """What further repeats can change stays; weights dropped in the end are no trial's any more, the winner's stay."""
    study = (
        "method: grid\nrepeats: 2\nsearch: {lr: [0.011, 0.01, 0.00001]}\nkeep_checkpoints: best\n"
    )
    assert sweep(study, "--trials", "3") == 0
    assert (
        sum(result.checkpoint is not None for result in record(folder, "own-digits").results) == 3
    )
    assert sweep(study) == 0
    results = record(folder, "own-digits").results
    assert len(results) == 6
    assert sum(result.checkpoint is not None for result in results) == 2
    assert pipeline("evaluate", "--best", "--split", "val") == 0
    assert pipeline("evaluate", "--all", "--split", "val") == 0
    lost = next(result for result in results if result.checkpoint is None)
    assert pipeline("evaluate", "--run", f"own-digits#{lost.number}") == 2
    assert pipeline("evaluate", "--run", lost.run_id) == 2
    assert sweep(study) == 0, "and the same command again drops nothing twice"


def test_the_report_says_what_is_not_as_in_the_file(folder, sweep, capsys):
    """Where a study with published figures is swept otherwise, its report says in what."""
    study = "method: grid\nsearch: {lr: [0.01]}\nreference: [{when: {lr: 0.01}, test_acc: 0.9}]\n"
    assert sweep(study, "--epochs", "1", "--set", "width=16") == 0
    assert (
        "Not as in the study file: epochs 2 (now 1), fixed.width 8 (now 16)."
        in capsys.readouterr().out
    )
