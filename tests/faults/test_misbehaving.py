"""Trials that misbehave, each in its own way: every one ends as it should, and the sweep goes on to the others."""

import signal

import pytest
from support.endtoend import check_invariant, children, furnish, pipeline, record
from support.forks import Fork
from support.networks import MISBEHAVING

pytestmark = pytest.mark.slow

NAME = "tiny-digits"
ENDS = {
    "Fine": "complete",
    "Hang": "timeout",
    "Slow": "timeout",
    "Oom": "oom",
    "Huge": "oom",
    "Nan": "diverged",
    "Inf": "diverged",
    "Late": "diverged",
    "Stale": "lost",
    "Broken": "error:KeyError",
}


def study(*families):
    """A study file that trains each family once."""
    names = ", ".join(f"'mine:{name}'" for name in families)
    return f"""
dataset: digits
method: grid
epochs: 2
pruner: none
search:
  family: [{names}]
fixed: {{batch_size: 128, lr: 0.01}}
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory, template):
    """A folder in which each kind of trial was tried, a good one first and last; and what was printed."""
    folder = furnish(tmp_path_factory.mktemp("misbehaving"), template, study(*ENDS))
    (folder / "mine.py").write_text(MISBEHAVING)
    options = ("--trial-timeout", "3", "--max-failures", str(len(ENDS)))
    return folder, Fork(folder, "sweep", "tiny.yaml", *options).wait(0)


ALIKE = """
dataset: digits
trials: 9
epochs: 1
search:
  lr: {low: 1.0e-3, high: 1.0e-2, log: true}
fixed: {family: "mine:Broken"}
"""


def result(folder, family):
    """What came of the trial of a family."""
    return next(r for r in record(folder, NAME).results if r.config.family == f"mine:{family}")


@pytest.mark.parametrize(("family", "end"), ENDS.items())
def test_each_ends_as_it_should(swept, family, end):
    """It ends as what it is, in both stores; a failed one without a value, a rank or a figure for one."""
    folder, output = swept
    found = result(folder, family)
    run = children(folder, NAME)[found.number]
    assert (found.end, run.data.tags["sweep.end"]) == (end, end)
    if end == "complete":
        assert run.info.status == "FINISHED"
        return
    assert (found.state, found.value, run.info.status) == ("failed", None, "FAILED")
    assert f"failed: {end} ({found.error})" in output
    assert not [key for key in run.data.metrics if key.startswith("best/")]
    ranks = {entry.trials[0].number: entry.rank for entry in record(folder, NAME).ranked}
    assert (ranks[0], ranks[found.number]) == (1, None)


def test_the_sweep_goes_on_past_them(swept):
    """Every trial was trained once, in order; the stores agree, and nothing is left behind."""
    folder, _ = swept
    assert [r.config.family for r in record(folder, NAME).results] == [
        f"mine:{family}" for family in ENDS
    ]
    check_invariant(folder, NAME, total=len(ENDS))


def test_time_limits_are_kept(swept):
    """A trial over its limit ends at its next step; one that hangs inside a step is ended there."""
    folder, _ = swept
    for family in ("Slow", "Hang"):
        run = children(folder, NAME)[result(folder, family).number]
        assert run.info.end_time - run.info.start_time < 20_000


def test_poison(folder):
    """A trial that takes the command with it is then trained apart, and given up after three deaths there."""
    (folder / "tiny.yaml").write_text(study("Fine", "Poison", "Nan"))
    (folder / "mine.py").write_text(MISBEHAVING)
    Fork(folder, "sweep", "tiny.yaml", "--workers", "1").wait(-signal.SIGKILL)
    output = Fork(folder, "sweep", "tiny.yaml").wait(0)
    assert output.count("the process of trial #1 died after epoch 0; it begins again there") == 3
    assert "failed: poison (its process died 3 times without a new checkpoint)" in output
    assert [r.end for r in record(folder, NAME).results] == ["complete", "poison", "diverged"]
    check_invariant(folder, NAME, total=3)


@pytest.mark.parametrize(("options", "most"), [((), 5), (("--max-failures", "2"), 2)])
def test_trials_that_fail_alike_end_the_sweep(folder, monkeypatch, capsys, options, most):
    """After so many failures in a row it stops with code 3 and says once what is wrong."""
    (folder / "tiny.yaml").write_text(ALIKE)
    (folder / "mine.py").write_text(MISBEHAVING)
    monkeypatch.syspath_prepend(folder)
    assert pipeline("sweep", "tiny.yaml", *options) == 3
    assert len(record(folder, NAME).results) == most
    out, err = capsys.readouterr()
    assert "report: " in out
    assert "winner: " not in out
    assert (
        err.splitlines()[-1]
        == f"stopped after {most} failures in a row: {most} ended: {most} failed (error:KeyError); 'no such layer'"
    )
