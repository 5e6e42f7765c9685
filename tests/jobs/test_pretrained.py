"""Weights to begin with: had before anything is written, at the size that they want, the same to the end."""

import dataclasses
import hashlib
from types import SimpleNamespace

import pytest
import torch
from support.datasets import write_folder
from support.endtoend import furnish, pipeline

import models
from models import libraries
from pipeline.jobs import pretrained
from pipeline.jobs.pretrained import fetch, wanted_size, with_image_size
from pipeline.system.errors import UsageFailure
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import configure

FAMILY = "torchvision:shufflenet_v2_x0_5"
BODY = b"weights"


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Published weights of a few bytes, which are not on this machine yet."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    known = libraries.published(FAMILY)
    small = dataclasses.replace(known, sha256=hashlib.sha256(BODY).hexdigest()[:8])
    monkeypatch.setattr(libraries, "published", lambda _: small)
    return small


def test_weights_are_downloaded_once(published, monkeypatch):
    """The file is there as a whole, and the next command asks nobody for it."""
    asked = []

    def download(url, path, _):
        asked.append(url)
        path.write_bytes(BODY)

    monkeypatch.setattr(pretrained, "download_url", download)
    configs = [configure({"family": FAMILY, "pretrained": True, "freeze": n}) for n in (1, 2)]
    fetch([*configs, configure({})])
    fetch(configs, download=False)
    assert asked == [published.url]
    assert published.path.read_bytes() == BODY
    assert [path.name for path in published.path.parent.iterdir()] == [published.file]


@pytest.mark.parametrize("body", [None, b"another file"])
def test_without_a_network(published, body, monkeypatch):
    """One line says which file belongs where, and nothing is left there."""

    def download(_url, path, _):
        if body is None:
            raise OSError("no route to host")
        path.write_bytes(body)

    monkeypatch.setattr(pretrained, "download_url", download)
    config = configure({"family": FAMILY, "pretrained": True})
    with pytest.raises(UsageFailure, match=f"put {published.url} at {published.path}, or") as error:
        fetch([config])
    assert ("no route" in str(error.value)) == (body is None)
    with pytest.raises(UsageFailure, match="a sweep downloads them"):
        fetch([config], download=False)
    assert list(published.path.parent.iterdir()) == []


def spec_of(dataset, **fixed):
    return StudySpec.model_validate(
        {"dataset": dataset, "fixed": fixed, "search": {"lr": [0.1, 0.2]}, "method": "grid"}
    )


def test_size_of_images(tmp_path, monkeypatch):
    """Photos get the size of published weights; equally small images, given sizes and old studies keep theirs."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "small")
    sizes = {"folder:photos": None, "folder:wide": 500}
    monkeypatch.setattr(pretrained, "equal_side", lambda name, _: sizes.get(name, 16))
    fine = {"family": FAMILY, "pretrained": "true"}

    def size(dataset, identity=None, **fixed):
        return with_image_size(spec_of(dataset, **fixed), identity, tmp_path).fixed.image_size

    assert size("folder:photos", **fine) == 224
    assert size("folder:wide", **fine) == 224
    assert size("folder:small", **fine) is None
    assert size("cifar10", **fine) is None
    assert size("folder:photos", family=FAMILY) is None
    assert size("folder:photos", **fine, image_size=96) == 96
    assert size("folder:photos", spec_of("folder:photos").identity(), **fine) is None
    assert wanted_size("folder:photos", tmp_path, [("true", "cnn"), (None, "net.py:Net")]) is None


def test_changed_weights(tmp_path):
    """A change is told for the trials that began with the old file, and finalists refuse it."""
    file = tmp_path / "w.pt"
    file.write_bytes(b"1")
    values = {"pretrained": str(file)}
    trained = {n: configure({**values, "lr": 0.1 * (n + 1)}) for n in range(3)} | {3: configure({})}
    study = SimpleNamespace(fixed=spec_of("digits", **values).fixed, dimensions=())
    assert list(pretrained.describe_changes(study, trained)) == []
    pretrained.check_unchanged(trained.values(), "study 'a'")
    file.write_bytes(b"2")
    (line,) = pretrained.describe_changes(study, trained)
    assert f"pretrained {file} have changed since #0, #1, #2" in line
    with pytest.raises(UsageFailure, match="changed since study 'a' chose them"):
        pretrained.check_unchanged(trained.values(), "study 'a'")
    file.unlink()
    with pytest.raises(UsageFailure, match="there is no file"):
        pretrained.check_unchanged(trained.values(), "study 'a'")


WHEN = f', when: {{family: ["{FAMILY}"]}}'
STUDY = f"""
trials: 3
epochs: 1
method: grid
pruner: none
fixed: {{train_images: 40, batch_size: 20, width: 8, depth: 1}}
search:
  family: ["{FAMILY}", mlp]
  pretrained: {{choices: [false, w.pt]{WHEN}}}
"""


@pytest.mark.slow
def test_sweep(tmp_path, template, monkeypatch, capsys):
    """A study begins with a file's weights where it says so; its networks are used without that file."""
    monkeypatch.chdir(furnish(tmp_path, template))
    network = models.build(FAMILY, (3, 8, 8), 3, {"published": False, "resizes": False})
    torch.save(network.network.state_dict(), "w.pt")
    (tmp_path / "tune.yaml").write_text(STUDY)
    (tmp_path / "all.yaml").write_text(STUDY.replace(WHEN, ""))
    before = set(tmp_path.rglob("*"))
    assert pipeline("sweep", "all.yaml") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "w.pt does not fit mlp: it has no hidden.0.weight" in line
    assert "when: {family: [...]}" in line
    assert set(tmp_path.rglob("*")) == before
    assert pipeline("sweep", "tune.yaml", "--name", "tune", "--workers", "2") == 0
    assert "pretrained=w.pt" in capsys.readouterr().out
    (tmp_path / "w.pt").rename(tmp_path / "away.pt")
    assert pipeline("evaluate", "--run", "tune#1") == 0, capsys.readouterr().err
    assert pipeline("train", "--from-run", "tune#1") == 2
    assert "there is no file" in capsys.readouterr().err
    (tmp_path / "away.pt").rename(tmp_path / "w.pt")
    assert pipeline("train", "--from-run", "tune#1") == 0
    assert "equal to tune#1" in capsys.readouterr().out
