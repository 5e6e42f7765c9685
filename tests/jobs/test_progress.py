"""What is shown of trials at work: a bar for each on a terminal, a line for each elsewhere."""

import io

from rich.console import Console
from support.records import make_result

from pipeline.jobs.progress import ProgressDisplay


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
        "#1 cnn relu lr=0.02: val_acc 0.8000 at epoch 3, 4.5 s; 1/4, best 0.8000 (#1), about "
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
    assert "#1 cnn relu lr=0.01: val_acc 0.8000" in file.getvalue()


def test_one_training_needs_no_number():
    """What trains alone shows its steps and epochs without saying whose they are."""
    show, _ = shown(terminal=True)
    result = make_result(0, 0.5)
    with show.live():
        show.trial_began(0, result.config)
        show.step_ended(1, 2, 0.5)
        show.epoch_ended(result.history[0])
        assert [task.completed for task in show._bars.tasks] == [0, 1]
