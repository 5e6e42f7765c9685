"""Studies as reports show them: trials, winners, hostile names."""

from __future__ import annotations

import base64

from pipeline.report.html import PlotImage
from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.trial import (
    COMPLETE,
    FAILED,
    PRUNED,
    Epoch,
    Mistake,
    TrialConfig,
    TrialResult,
    configure,
)

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCB2tbR4AAAAABJRU5ErkJggg=="
)
PICTURE = PlotImage(
    name="history", title="History", about="How it rose.", alt="Best 0.9 at trial 3.", png=PIXEL
)


def thumbnails_trial():
    """A study whose winner has mistakes with pictures, of classes with hostile names."""
    mistakes = (
        Mistake(7, 1, 0, 0.984, 5.0),
        Mistake(9, 0, 1, 0.5, 0.25),
        Mistake(3, 1, 0, 0.75, 2.0),
    )
    trial = report_trial(
        0, 0.9, mistakes=mistakes, confusion=((5, 1), (2, 4)), accuracies=(0.8, 0.7)
    )
    pictures = {7: base64.b64encode(PIXEL).decode(), 9: base64.b64encode(PIXEL).decode()}
    return report_study(trial, classes=("<b>cat</b>", "{{ 7*7 }}"), thumbnails=pictures)


def report_trial(
    number,
    value=None,
    *,
    state=COMPLETE,
    end=None,
    epochs=3,
    accuracies=(),
    confusion=None,
    **facts,
):
    """A trial; keywords that are fields of `TrialConfig` go there, the others are fields of `TrialResult`."""
    config = {k: facts.pop(k) for k in list(facts) if k in TrialConfig.__dataclass_fields__}
    return TrialResult(
        number=number,
        config=configure(config),
        state=state,
        end=end or state,
        value=value,
        best_epoch=None if value is None else max(epochs - 1, 1),
        history=tuple(report_epoch(e, value or 0.1, accuracies) for e in range(1, epochs + 1)),
        confusion=confusion,
        **{"seconds": 12.345, "parameters": 1_234_567, "run_id": f"run{number}", **facts},
    )


def report_study(*results, **changes):
    facts = {
        "name": "demo",
        "study": "demo",
        "dataset": "digits",
        "objective": "val_acc",
        "maximize": True,
        "trials": len(results),
        "dimensions": SEARCHED,
        "classes": tuple("0123456789"),
        "results": results,
    }
    return StudyRecord(**{**facts, **changes})


def report_winner(classes=3, **changes):
    """A study with a winner whose class 1 is the worst and whose last class is never predicted."""
    accuracies = [0.5 + c / classes / 2 if c != 1 else 0.25 for c in range(classes - 1)] + [0.4]
    confusion = tuple(
        tuple(20 if p == t % (classes - 1) else 0 for p in range(classes)) for t in range(classes)
    )
    won = report_trial(
        7,
        0.96389,
        lr=0.01,
        accuracies=accuracies,
        confusion=confusion,
        checkpoint='a "b"/best',
        mflops=3.25,
    )
    facts = {"classes": tuple(f"class {c}" for c in range(classes)), **changes}
    return report_study(
        won, report_trial(1, 0.9), report_trial(2, 0.99, state=PRUNED, lr=0.02), **facts
    )


def hostile_study():
    """A study in which every text that a user may choose is hostile."""
    text = " ".join(HOSTILE)
    bad = report_trial(
        3, state=FAILED, end="error:=X|[/foo]\x1b[2J", error=f"{text}\nline two", lr=0.5
    )
    won = report_trial(0, 0.5, accuracies=[0.5] * len(HOSTILE), checkpoint=f"/tmp/{text}")
    families = [
        TrialResult(
            number=10 + i, config=TrialConfig(family=name), state=COMPLETE, end=COMPLETE, value=0.1
        )
        for i, name in enumerate([*HOSTILE, "@a", "-1", "+1", "\t=cmd()", "\udcff"])
    ]
    return report_study(
        won, bad, *families, name=text, study=text, dataset=f"folder:{text}", classes=HOSTILE
    )


# The smallest picture there is: one grey pixel.


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


def report_epoch(epoch, value, accuracies):
    metrics = {
        "train/loss": 1 / epoch,
        "train/acc": value / 2,
        "train/lr": 1e-3 / epoch,
        "val/loss": 2.0,
        "val/acc": value,
    }
    return Epoch(epoch=epoch, time=epoch, metrics=metrics, per_class=tuple(accuracies))
