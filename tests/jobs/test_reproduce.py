"""`pipeline train --from-run`: any trial again, to the same number, and a line that says so."""

import optuna
import pytest
from support.endtoend import children, client, furnish, pipeline, record, studies

NAME = "own-digits"
FIXED = "fixed: {width: 8, depth: 1, batch_size: 256}\n"


def sweep(folder, text):
    """Run a study of its own."""
    (folder / "own.yaml").write_text(f"dataset: digits\n{text}")
    return pipeline("sweep", "own.yaml")


@pytest.fixture(scope="module")
def swept(tmp_path_factory, template):
    """A study of an MLP and a CNN, and a duplicate."""
    folder = furnish(tmp_path_factory.mktemp("swept"), template)
    start = "start_with: [{family: mlp}, {family: cnn}, {family: cnn}]\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study = f"epochs: 2\ntrials: 3\nobjective: macro_f1\n{FIXED}{start}search: {{family: [mlp, cnn]}}\n"
        assert sweep(folder, study) == 0
    return folder


@pytest.fixture
def inside(swept, monkeypatch):
    """Be in that folder."""
    monkeypatch.chdir(swept)
    return swept


def newest(folder):
    """The run last begun."""
    return client(folder).search_runs(
        ["0"], order_by=["attributes.start_time DESC"], max_results=1
    )[0]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("by", ["name", "run"])
def test_a_trial_comes_to_the_same_number(inside, capsys, number, by):
    """An MLP and a CNN, named in their study or by their run: value, loss and epoch are equal, to the last bit."""
    trial = record(inside, NAME).results[number]
    named = f"{NAME}#{number}" if by == "name" else trial.run_id
    capsys.readouterr()
    assert pipeline("train", "--from-run", named) == 0
    out = capsys.readouterr().out
    assert (
        f"equal to {'' if by == 'name' else 'run '}{named}: macro_f1 {trial.value:.6g}, loss "
        in out
    )
    run = newest(inside)
    assert run.data.metrics["best/val_macro_f1"] == trial.value
    assert run.data.metrics["best/val_loss"] == trial.best.metrics["val/loss"]
    assert {key: run.data.params[key] for key in trial.config.to_dict()} == children(inside, NAME)[
        number
    ].data.params
    assert run.data.tags["sweep.repeats"].endswith(named)


def test_a_duplicate_names_the_first(inside, capsys):
    """A trial that was not trained itself says whose training is repeated."""
    trial = record(inside, NAME).results[2]
    assert trial.duplicate_of is not None
    for named in (f"{NAME}#2", trial.run_id):
        assert pipeline("train", "--from-run", named) == 0
        out, err = capsys.readouterr()
        assert f"a duplicate, of which {NAME}#{trial.duplicate_of} is the first: trains " in err
        assert "equal to " in out


def test_other_options_are_said_and_explain_the_difference(inside, capsys):
    """What is given with it is trained instead; the last line says by how much that differs, and why."""
    assert pipeline("train", "--from-run", f"{NAME}#0", "--lr", "0.5", "--seed", "9") == 0
    out, err = capsys.readouterr()
    assert f"trains {NAME}#0 again, with lr 0.5, seed 9" in err
    assert f"differs from {NAME}#0: macro_f1 " in out
    assert out.rstrip().endswith("it was trained with another lr 0.5, seed 9")


def test_a_pruned_trial_ends_where_it_ended(folder, capsys):
    """It is stopped after as many epochs, and comes to its value at that moment."""
    values = ", ".join(str(0.01 + number / 1000) for number in range(8))
    search = f"search: {{lr: [{values}, 1.0e-7, 2.0e-7]}}\n"
    study = f"method: grid\nepochs: 4\npruner: median\n{FIXED}{search}"
    assert sweep(folder, study) == 0
    pruned = [trial for trial in record(folder, NAME).results if trial.state == "pruned"]
    assert pruned
    for named in (f"{NAME}#{pruned[0].number}", pruned[0].run_id):
        assert pipeline("train", "--from-run", named) == 0
        assert "equal to " in capsys.readouterr().out
        assert len(client(folder).get_metric_history(newest(folder).info.run_id, "val/acc")) == len(
            pruned[0].history
        )


@pytest.mark.slow
def test_ties_of_epochs_are_decided_as_the_trial_was(folder, capsys):
    """A study of 0.1.0 goes on by its own rule, the first of equal epochs, and a trial is repeated by its own."""
    # So slow that no prediction changes, while the loss falls.
    fixed = "fixed: {family: mlp, width: 8, depth: 1, batch_norm: false, batch_size: 256}"
    study = f"method: grid\nepochs: 3\n{fixed}\nsearch: {{lr: [1.0e-7, 2.0e-7]}}\n"
    assert sweep(folder, f"{study}trials: 1\n") == 0
    stored_study = optuna.load_study(storage=studies(folder), study_name=NAME)
    facts = stored_study.user_attrs["facts"]
    assert facts.pop("selection") == 2
    stored_study.set_user_attr("facts", facts)
    assert sweep(folder, f"{study}trials: 2\n") == 0
    new, old = record(folder, NAME).results
    for trial, best in ((new, 3), (old, 1)):
        rows = [(row.metrics["val/acc"], row.metrics["val/loss"]) for row in trial.history]
        assert rows == sorted(rows, reverse=True)
        assert rows[0][0] == rows[-1][0]
        assert trial.best_epoch == best
        assert client(folder).get_run(trial.run_id).data.metrics["best/epoch"] == best
        assert pipeline("train", "--from-run", trial.run_id) == 0
        assert "equal to " in capsys.readouterr().out
    assert pipeline("train", "--from-run", f"{NAME}#1") == 0
    assert "equal to " in capsys.readouterr().out
    client(folder).set_tag(new.run_id, "sweep.selection", "x")
    assert pipeline("train", "--from-run", new.run_id) == 2
    assert "must be a whole number" in capsys.readouterr().err
    client(folder).delete_tag(new.run_id, "sweep.selection")  # as on a run of 0.1.0
    assert pipeline("train", "--from-run", new.run_id) == 0
    assert "epoch 1 instead of 3" in capsys.readouterr().out


def test_what_was_never_trained(folder, capsys):
    """A network over its study's constraints has no training to be repeated."""
    search = "method: grid\nepochs: 1\nsearch: {depth: [1, 9]}\nconstraints: {parameters: 50000}\n"
    assert sweep(folder, f"fixed: {{family: mlp, width: 100}}\n{search}") == 0
    ends = {trial.end: trial for trial in record(folder, NAME).results}
    for named in (f"{NAME}#{ends['infeasible'].number}", ends["infeasible"].run_id):
        assert pipeline("train", "--from-run", named) == 2
        assert "was not trained" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--from-run", "nosuch#0"],
        ["--from-run", f"{NAME}#9"],
        ["--from-run", "f" * 32],
        ["--from-run", f"{NAME}#0", "--resume", "x"],
        ["--from-run", f"{NAME}#0", "--residual", "true"],
        ["--from-run", f"{NAME}#0", "--family", "nosuch"],
    ],
)
def test_bad_input(inside, words):
    """No such trial, both ways at once, or an option that does not apply: exit 2, and no run is made."""
    before = len(client(inside).search_runs(["0"]))
    assert pipeline("train", *words) == 2
    assert len(client(inside).search_runs(["0"])) == before


def test_the_parent_is_no_trial(inside, capsys):
    """A study's own run has nothing to be trained."""
    assert pipeline("train", "--from-run", record(inside, NAME).parent_run_id) == 2
    assert "is no trial" in capsys.readouterr().err
