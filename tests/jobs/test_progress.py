"""What is shown of trials at work: a bar for each on a terminal, a line for each event elsewhere."""

import io

import pytest
from rich.console import Console
from support.records import make_result
from support.searches import FACTS, SMALL, make_train, memory, run, spec

from pipeline.jobs.progress import ProgressDisplay
from sweeps.search.promotion import Standing
from sweeps.search.stored import open_storage
from sweeps.search.study import Pause, Study


def shown(terminal):
    """What shows a study of 4 trials, and what it has written."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=200, color_system=None)
    return ProgressDisplay(console, "val_acc", ("lr",), 4, 0), file


def test_off_a_terminal_each_trial_is_a_line():
    """Nothing is written but a line for each trial that ends: with the figures of all that are under way."""
    show, file = shown(terminal=False)
    results = [make_result(number, 0.8, lr=0.01 * (number + 1)) for number in range(2)]
    with show.live():
        for result in results:
            show.trial_began(result.number, result.config)
            show.step_ended(1, 9, 0.5, result.number)
            show.epoch_ended(result.history[0], result.number)
        assert file.getvalue() == ""
        show.trial_ended(results[1], results[1])
        show.trial_ended(results[0], results[1])
    first, second = file.getvalue().splitlines()
    assert first.startswith(
        "#1 cnn relu lr=0.02: val_acc 80.00 % at epoch 3, 4.5 s; 1/4, best 80.00 % (#1), about "
    )
    assert first.endswith(" left, 2,000 images/s")
    assert second.endswith(" left, 1,000 images/s")


def test_on_a_terminal_each_trial_under_way_has_a_bar():
    """Trials under way have a bar each, of their own epochs and loss, until they end; one begun again has one."""
    show, file = shown(terminal=True)
    results = [make_result(number, 0.8, lr=0.01) for number in range(2)]

    def bars():
        return [
            (task.description, task.completed, task.fields["note"]) for task in show._bars.tasks
        ]

    with show.live():
        for result in (*results, results[0]):
            show.trial_began(result.number, result.config)
        show.step_ended(3, 9, 0.25, 1)
        show.epoch_ended(results[1].history[1], 1)
        assert bars() == [
            ("trials", 0, "1,000 images/s"),
            ("#1 cnn relu", 2, "loss 0.2500, step 3/9"),
            ("#0 cnn relu", 0, ""),
        ]
        show.trial_ended(results[1], results[1])
        assert [description for description, _, _ in bars()] == ["trials", "#0 cnn relu"]
    assert "#1 cnn relu: val_acc 80.00 % at epoch 3, 4.5 s; lr=0.01" in file.getvalue()


def test_on_a_terminal_of_80_columns_a_trial_is_a_line():
    """What does not fit is cut at the end of the line, and lines of words break between words."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, color_system=None)
    show = ProgressDisplay(console, "val_acc", ("lr", "layer_order", "width", "batch_size"), 4, 0)
    result = make_result(0, 0.8, layer_order="conv-norm-act-pool-drop")
    show.trial_ended(result, result)
    words = "some words " * 12
    show.print_line(words)
    first, *rest = file.getvalue().splitlines()
    assert first.startswith("#0 cnn relu: val_acc 80.00 % at epoch 3, 4.5 s; lr=")
    assert first.endswith("…")
    assert [len(line) <= 80 for line in (first, *rest)] == [True] * 3
    assert " ".join(" ".join(rest).split()) == words.strip()


def test_one_training_needs_no_number():
    """What trains alone shows its steps and epochs without saying whose they are."""
    show, _ = shown(terminal=True)
    result = make_result(0, 0.5)
    with show.live():
        show.trial_began(0, result.config)
        show.step_ended(1, 2, 0.5)
        show.epoch_ended(result.history[0])
        assert [task.completed for task in show._bars.tasks] == [0, 1]


def promoting(terminal, total=4):
    """What shows a study with promotion, and what it has written."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=200, color_system=None)
    study = Study.open(
        memory(), "study", spec(SMALL, trials=total, epochs=12), {**FACTS, "scheduler": 2}
    )
    return ProgressDisplay.for_study(study, console), file


def paused(number, value, epochs=1, placed_by=None, **standing):
    """A trial that was paused after so many epochs."""
    facts = {
        "place": 1,
        "rivals": 3,
        "going_on": 1,
        "all_drawn": False,
        "value": placed_by or value,
    }
    result = make_result(number, value, state="paused", epochs=epochs)
    return Pause(result, Standing(**{**facts, **standing}))


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        ({"rivals": 1, "going_on": 0}, "val_acc 80.00 %, the first there"),
        ({}, "val_acc 80.00 %, 1st of 3 there; it may go on later"),
        ({"place": 2, "rivals": 2, "going_on": 0}, "val_acc 80.00 %, 2nd of 2 there"),
        ({"place": 2}, "val_acc 80.00 %, 2nd of 3 there; the best one goes on"),
        (
            {"place": 6, "rivals": 11, "going_on": 5, "placed_by": 0.81},
            "val_acc 80.00 %, counted as 81.00 %, 6th of 11 there; the best 5 go on",
        ),
        (
            {"place": 6, "rivals": 9, "all_drawn": True},
            "val_acc 80.00 %, 6th of 9 there; better ones go on first",
        ),
    ],
)
def test_why_a_trial_is_paused(standing, said):
    """The line of a pause tells the trial's place, by what it is placed, and which places go on."""
    show, file = promoting(terminal=False)
    with show.live():
        show.trial_paused(paused(3, 0.8, epochs=2, **standing))
    assert file.getvalue() == f"#3 cnn relu paused after epoch 2: {said}\n"


def test_a_seed_that_is_paused_before_the_others_has_no_place():
    """A configuration is placed when all its seeds have come to the epoch."""
    show, file = promoting(terminal=False)
    with show.live():
        show.trial_paused(Pause(make_result(0, 0.8, state="paused"), None))
    assert file.getvalue() == "#0 cnn relu paused after epoch 3: val_acc 80.00 %\n"


def test_a_trial_that_goes_on_says_so_unless_it_does_at_once():
    """Of a trial that goes on where it was, neither the pause nor the going on is told."""
    show, file = promoting(terminal=False)
    config = make_result(0, 0.8).config
    with show.live():
        show.trial_began(0, config, 1)
        show.trial_paused(paused(0, 0.8))
        show.trial_goes_on(0, config, 1, 2)
        assert file.getvalue() == ""
        show.trial_paused(paused(0, 0.8, epochs=2))
        show.trial_began(1, config, 1)
        show.trial_paused(paused(1, 0.7))
        show.trial_goes_on(0, config, 2, 3)
        show.trial_goes_on(1, config, 1, 10)
    assert [line.partition(":")[0] for line in file.getvalue().splitlines()] == [
        "#0 cnn relu paused after epoch 2",
        "#1 cnn relu paused after epoch 1",
        "#0 cnn relu goes on after epoch 2, until epoch 3",
        "#1 cnn relu goes on after epoch 1, to its end",
    ]


def test_paused_trials_end_in_one_line():
    """The trials that are left when nothing goes on have one line together; a complete one has its own."""
    show, file = promoting(terminal=False)
    with show.live():
        for number in range(4):
            show.trial_began(number, make_result(number).config, 1)
            show.trial_paused(paused(number, 0.5))
        best = make_result(0, 0.9, epochs=12)
        show.trial_goes_on(0, best.config, 1, 12)
        show.trial_ended(best, best)
        for number in (1, 2, 3):
            show.trial_ended(make_result(number, 0.5, epochs=1, state="pruned"), best)
    *_, complete, last = file.getvalue().splitlines()
    assert complete.startswith("#0 cnn relu lr=0.001 width=32")
    assert "4 of 4 drawn, 3 paused, best 90.00 % (#0)" in complete
    assert last == "the 3 paused trials that are left end as pruned"


def test_the_bar_of_a_study_with_promotion_counts_epochs():
    """It advances by epochs, towards those that the study is expected to take."""
    show, _ = promoting(terminal=True)

    def bar():
        task = show._bars.tasks[0]
        return task.description, task.completed, task.total

    first = make_result(0, 0.8)
    with show.live():
        expected = 3 * 12 + 1  # three are trained to their end, and one for an epoch
        assert bar() == ("epochs", 0, expected)
        show.trial_began(0, first.config, 1)
        assert show._bars.tasks[1].fields["rung"] == "until 1"
        show.epoch_ended(first.history[0], 0)
        show.trial_paused(paused(0, 0.8))
        assert bar() == ("epochs", 1, expected)
        assert show._bars.text.startswith("1 of 4 drawn, 1 paused, leading 80.00 % (#0), about ")
        for number in range(4):  # more than expected
            show.trial_began(number, first.config, 12)
        assert bar() == ("epochs", 1, 4 * 12)


def test_an_extended_study_counts_what_goes_on_again(tmp_path):
    """Trials that had ended as pruned are paused again once a larger total lets them go on."""
    storage = open_storage(f"sqlite:///{tmp_path / 'optuna.db'}", timeout=5)
    study = Study.open(storage, "study", spec(SMALL, trials=4), {**FACTS, "scheduler": 2})
    run(study, make_train(study))
    study = Study.open(storage, "study", spec(SMALL, trials=6), FACTS)
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    show = ProgressDisplay.for_study(study, console)
    asked = next(one for one in study.trials_to_train() if one is not None)
    show.trials_reopened()
    show.trial_began(asked.number, asked.config, 1)
    assert show._tally.texts() == ["5 of 6 drawn", "1 paused"]
