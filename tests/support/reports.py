"""Makes studies for reports: with round figures, a winner, thumbnails, and hostile names."""

from __future__ import annotations

import base64

from pipeline.report.html import PlotImage
from support.records import make_epoch, make_record, make_result
from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.trial import FAILED, PRUNED, Mistake, TrialConfig, TrialResult

# The smallest PNG there is: one grey pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCB2tbR4AAAAABJRU5ErkJggg=="
)
PICTURE = PlotImage(
    name="history", title="History", about="How it rose.", alt="Best 0.9 at trial 3.", png=PIXEL
)

SEARCHED = (
    Dimension(field="family", choices=("mlp", "cnn", "resnet")),
    Dimension(field="lr", low=1e-5, high=0.1, log=True),
    Dimension(field="dropout", low=0.0, high=0.5),
    Dimension(field="batch_norm", choices=(True, False)),
    Dimension(field="layer_order", choices=("conv-norm-act-drop-pool", "conv-act-norm-drop-pool")),
    Dimension(field="optimizer", choices=("sgd", "adam")),
    Dimension(field="momentum", low=0.5, high=0.99, when={"optimizer": ("sgd",)}),
)

HOSTILE = (
    "[/foo]",
    "\x1b[31mred\x1b[0m",
    "<b>",
    "a|b",
    "two\nlines",
    "x" * 600,
    "=cmd()",
    "\x1b]0;title\x07",
    "C++",
)


def report_trial(number, value=None, *, epochs=3, accuracies=(), **facts) -> TrialResult:
    """Make a trial with round figures, which a test can compare with a report's text.

    Args:
        number: of the trial.
        value: of the objective, which every epoch has. The best epoch is the last but one.
        epochs: how many epochs the history has.
        accuracies: of the classes, in every epoch.
        facts: what `make_result` takes.
    """
    rows = []
    for epoch in range(1, epochs + 1):
        metrics = {
            "train/loss": 1 / epoch,
            "train/acc": (value or 0.1) / 2,
            "train/lr": 1e-3 / epoch,
            "val/loss": 2.0,
            "val/acc": value or 0.1,
        }
        rows.append(make_epoch(epoch, metrics, per_class=tuple(accuracies)))
    figures = {
        "history": tuple(rows),
        "best_epoch": None if value is None else max(epochs - 1, 1),
        "seconds": 12.345,
        "parameters": 1_234_567,
    }
    if facts.get("state") == FAILED:
        figures["end"] = FAILED
    return make_result(number, value, **{**figures, **facts})


def report_study(*results, **facts) -> StudyRecord:
    """Make a study over `SEARCHED`, which has ended; ``facts`` are fields of `StudyRecord`."""
    defaults = {
        "name": "demo",
        "study": "demo",
        "trials": len(results),
        "dimensions": SEARCHED,
    }
    return make_record(results, **{**defaults, **facts})


def report_winner(classes=3, **facts) -> StudyRecord:
    """Make a study whose winner has its worst class in 1, and never predicts its last class."""
    accuracies = [0.5 + number / classes / 2 for number in range(classes - 1)] + [0.4]
    accuracies[1] = 0.25
    confusion = [[0] * classes for _ in range(classes)]
    for true, row in enumerate(confusion):
        row[true % (classes - 1)] = 20
    winner = report_trial(
        7,
        0.96389,
        lr=0.01,
        accuracies=accuracies,
        confusion=tuple(map(tuple, confusion)),
        checkpoint='a "b"/best',
        mflops=3.25,
    )
    pruned = report_trial(2, 0.99, state=PRUNED, lr=0.02)
    facts = {"classes": tuple(f"class {number}" for number in range(classes)), **facts}
    return report_study(winner, report_trial(1, 0.9), pruned, **facts)


def study_with_thumbnails() -> StudyRecord:
    """Make a study with hostile class names, whose winner has three mistakes and two thumbnails."""
    mistakes = (
        Mistake(7, 1, 0, 0.984, 5.0),
        Mistake(9, 0, 1, 0.5, 0.25),
        Mistake(3, 1, 0, 0.75, 2.0),
    )
    trial = report_trial(
        0, 0.9, mistakes=mistakes, confusion=((5, 1), (2, 4)), accuracies=(0.8, 0.7)
    )
    thumbnails = dict.fromkeys((7, 9), base64.b64encode(PIXEL).decode())
    return report_study(trial, classes=("<b>cat</b>", "{{ 7*7 }}"), thumbnails=thumbnails)


def hostile_study() -> StudyRecord:
    """Make a study in which every text that a user may choose is hostile."""
    text = " ".join(HOSTILE)
    failed = report_trial(
        3, state=FAILED, end="error:=X|[/foo]\x1b[2J", error=f"{text}\nline two", lr=0.5
    )
    winner = report_trial(0, 0.5, accuracies=[0.5] * len(HOSTILE), checkpoint=f"/tmp/{text}")
    families = [*HOSTILE, "@a", "-1", "+1", "\t=cmd()", "\udcff"]
    trials = [
        make_result(number, 0.1, config=TrialConfig(family=name), epochs=0)
        for number, name in enumerate(families, start=10)
    ]
    names = {"name": text, "study": text, "dataset": f"folder:{text}", "classes": HOSTILE}
    return report_study(winner, failed, *trials, **names)
