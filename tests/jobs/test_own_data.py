"""A study of one's own images keeps the rules it was begun with, and goes on wherever the images are."""

import shutil
from types import SimpleNamespace

import pytest
from support.datasets import write_folder
from support.endtoend import furnish, pipeline, record

from pipeline.data import search_data
from pipeline.jobs.own_data import keep_name, with_data_version
from pipeline.stores import access
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import DATA_VERSION

SEARCH = """
trials: 2
epochs: 1
pruner: none
fixed: {family: mlp, width: 8, depth: 1}
search: {lr: {low: 1.0e-3, high: 1.0e-2, log: true}}
"""


def spec_of(dataset, **fixed):
    return StudySpec.model_validate(
        {"dataset": dataset, "fixed": fixed, "search": {"lr": [0.1, 0.2]}, "method": "grid"}
    )


def test_rules_of_a_study_stay():
    """A new study of one's own images has the newest rules; one of 0.1.0 has none; data sets known here neither."""
    new = with_data_version(spec_of("folder:x"), None)
    assert new.fixed.data_version == DATA_VERSION
    assert with_data_version(spec_of("folder:x"), new.identity()).identity() == new.identity()
    old = spec_of("folder:x")
    assert with_data_version(new, old.identity()).identity() == old.identity()
    assert "data_version" not in with_data_version(spec_of("digits"), None).identity()["fixed"]


def test_equal_images_keep_their_name(monkeypatch):
    """Another spelling of the folder is the study's own if the images are equal, and else another data set."""
    spec = spec_of("folder:y/")
    data = SimpleNamespace(name="folder:y/", digest="a", classes=("x",))
    same = SimpleNamespace(digest="a", classes=("x",))
    for facts, begun, expected in (
        (same, "folder:x", "folder:x"),
        (SimpleNamespace(digest="b", classes=("x",)), "folder:x", "folder:y/"),
        (SimpleNamespace(digest="a", classes=("z",)), "folder:x", "folder:y/"),
        (same, "digits", "folder:y/"),
    ):
        identity = spec_of(begun).identity()
        monkeypatch.setattr(access, "read_identity", lambda *_, identity=identity: identity)
        monkeypatch.setattr(access, "read_facts", lambda *_, facts=facts: facts)
        assert keep_name(spec, data, None, "pets").dataset == expected


def test_a_study_with_the_same_images_is_named_if_it_goes_on(monkeypatch, capsys):
    """Its name is offered where the definition is the same: another one would be refused under that name."""
    begun = with_data_version(spec_of("folder:x"), None)
    earlier = spec_of("folder:x")  # of version 0.1.0, which goes on by its rules
    other = with_data_version(spec_of("folder:x", seed=3), None)
    stored = {"newest": other, "begun": begun, "earlier": earlier, "digits": spec_of("digits")}
    monkeypatch.setattr(access, "read_facts", lambda *_: None)
    monkeypatch.setattr(
        access, "read_identity", lambda _, name: stored[name].identity() if name in stored else None
    )
    data = SimpleNamespace(name="folder:y", digest="a", classes=("x",))
    for names, offered in (
        (["newest"], None),
        (["digits"], None),
        (["begun", "newest"], "begun"),
        (["begun", "earlier"], "earlier"),
        ([], None),
    ):
        monkeypatch.setattr(access, "read_names_by_digest", lambda *_, names=names: names)
        asked = with_data_version(spec_of("folder:y"), None)
        assert keep_name(asked, data, None, "new") == asked
        said = capsys.readouterr().err
        assert (f"--name {offered} goes on" in said) == (offered is not None)
        assert bool(said) == (offered is not None)


@pytest.mark.slow
def test_a_study_goes_on_wherever_its_images_are(tmp_path, template, monkeypatch, capsys):
    """After its folder was renamed and spelt otherwise, a study goes on, and its networks are evaluated there."""
    folder = furnish(tmp_path / "work", template, SEARCH)
    monkeypatch.chdir(folder)
    write_folder(folder / "photos", ("Train/", "Test/"), count=8)
    sweep = ("sweep", "tiny.yaml", "--name", "pets")
    assert pipeline(*sweep, "--dataset", "folder:photos") == 0
    (folder / "photos").rename(folder / "pictures")
    (folder / "pictures" / "Test").rename(folder / "pictures" / "testing")
    assert pipeline(*sweep, "--dataset", f"folder:{folder}/pictures/", "--trials", "3") == 0
    found = record(folder, "pets")
    assert {result.config.dataset for result in found.results} == {"folder:photos"}
    assert len({result.config.signature for result in found.results}) == 3
    assert found.facts.copies.different == 32
    capsys.readouterr()
    search_data.load.cache_clear()
    assert pipeline("evaluate", "--best") == 0
    assert pipeline("finalists", "pets", "--top", "1", "--seeds", "1") == 0
    assert "images of 2 classes" not in capsys.readouterr().err  # which the sweep has said
    search_data.load.cache_clear()
    assert pipeline("train", "--from-run", "pets#0") == 0
    assert "equal to pets#0" in capsys.readouterr().out
    shutil.move(folder / "pictures", tmp_path / "away")
    assert pipeline("evaluate", "--best", "--dataset", f"folder:{tmp_path}/away") == 0
    capsys.readouterr()
    assert pipeline("sweep", "tiny.yaml", "--dataset", f"folder:{tmp_path}/away", "--dry-run") == 0
    assert "'pets' has the same images: --name pets goes on" in capsys.readouterr().err
    (tmp_path / "away" / "Train" / "cat" / "00.png").unlink()
    assert pipeline(*sweep, "--dataset", f"folder:{tmp_path}/away/") == 2
    assert "go back to it (dataset: " in capsys.readouterr().err
