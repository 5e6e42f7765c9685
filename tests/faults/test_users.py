"""A project folder of another user, or carried to one, and a store that may only be read."""

import re
import shutil

import pytest
from support import users
from support.datasets import save
from support.endtoend import NAME, TWO_TRIALS, digests, furnish, pipeline, record
from support.users import run_as_other


@pytest.fixture
def place():
    """A folder that all users may enter."""
    with users.common_folder() as folder:
        yield folder


@pytest.mark.slow
def test_another_user_reads_a_folder_and_goes_on_in_a_copy(place, template, monkeypatch):
    """What writes refuses in one line with exit code 5; in a copy of the user's own it goes on.

    The original stays as it is, though the copy drops weights. A copy with a read-only store is
    read, and not written.
    """
    picture = save(place / "it.png")
    original = furnish(place / "original", template, TWO_TRIALS)
    monkeypatch.chdir(original)
    assert pipeline("sweep", "tiny.yaml") == 0
    before = digests(original)
    copies = [place / "copy", place / "mlflow.db", place / "optuna.db"]
    for copy in copies:
        shutil.copytree(original, copy)
        users.give(copy)
    own, *read_only = copies
    for copy in read_only:
        (copy / copy.name).chmod(0o444)

    home = place / "home"
    sweep = ("sweep", "tiny.yaml", "--trials", "3", "--keep-checkpoints", "best")
    evaluate = ("evaluate", "--best")
    works = [
        (original, "status"),
        (original, "predict", "--best", picture),
        *((copy, "report") for copy in read_only),
        (own, *sweep),
        (own, *evaluate),
        (own, "sync", "--check"),
    ]
    writes = [sweep, evaluate, ("sync",), ("finalists",), ("train", "--epochs", "1")]
    refused = [(original, *command) for command in writes]
    refused += [(copy, *command) for copy in read_only for command in (sweep, evaluate)]
    answers = run_as_other(home, *works, *refused)
    assert [code for code, _ in answers] == [0] * len(works) + [5] * len(refused), answers
    for (folder, *_), (_, said) in zip(refused, answers[len(works) :], strict=True):
        assert re.match(rf"cannot (use|write) {folder}/\S+(:|,) ", said.splitlines()[-1]), said
    assert len(record(own, NAME).results) == 3
    assert digests(original) == before
