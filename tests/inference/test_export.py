"""Exported networks: files that need nothing of this project, and answer as the network does."""

import io
import json
import re
import sys
import zipfile
from pathlib import Path

import onnxruntime
import pytest
import torch
from support.endtoend import pipeline
from support.networks import make_found, save_checkpoint

import models
from pipeline.inference import export, predict
from pipeline.system.errors import IntegrityFailure, UsageFailure

NOWHERE = Path("nowhere")
NETWORKS = [(family, channels) for family in models.FAMILIES for channels in (1, 3)]


def images(count, side=16, channels=1):
    """Random raw images."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(
        0, 256, (count, side, side, channels), dtype=torch.uint8, generator=generator
    )


def check(made, answers, found):
    """A file's answers for one image and for many are those of the network as its trial scored it."""
    channels, height, _ = found.card.shape
    raw = images(7, height, channels)
    ours = predict.network_predictor(found).classify(raw)[1]
    assert (answers(raw) - ours).abs().max() <= export.TOLERANCE
    assert (answers(raw[:1]) - ours[:1]).abs().max() <= export.TOLERANCE
    assert 0 <= made.difference <= export.TOLERANCE


def onnx_answers(content):
    """Answers of onnxruntime, given a file's bytes."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda raw: torch.from_numpy(session.run(["probabilities"], {"images": raw.numpy()})[0])


def is_replaced(content, folder):
    """Whether an export may replace a file of this content."""
    (folder / "there").write_bytes(content)
    export.check_target(folder / "there")
    return True


@pytest.mark.parametrize(("family", "channels"), NETWORKS)
def test_pt2(family, channels, tmp_path):
    """Every family, grey and colour, as torch.export's file: read by torch alone, for a batch of any size."""
    found = make_found(family, (channels, 16, 16))
    made = export.export(found, NOWHERE, "pt2")
    extra = {"card.json": ""}
    program = torch.export.load(io.BytesIO(made.content), extra_files=extra)
    check(made, program.module(), found)
    about = json.loads(extra["card.json"])
    assert about["classes"] == list(found.card.classes)
    assert about["shape"] == [16, 16, channels]
    assert is_replaced(made.content, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "channels"), NETWORKS)
def test_onnx(family, channels):
    """Every family, grey and colour, as ONNX, in onnxruntime."""
    found = make_found(family, (channels, 16, 16))
    made = export.export(found, NOWHERE, "onnx")
    check(made, onnx_answers(made.content), found)


def test_onnx_says_what_it_is(tmp_path):
    """Class names, the shape and what goes in are in the file's metadata."""
    found = make_found("mlp", classes=("猫", "<b>", "=cmd()"))
    made = export.export(found, NOWHERE, "onnx")
    check(made, onnx_answers(made.content), found)
    about = onnxruntime.InferenceSession(made.content).get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["猫", "<b>", "=cmd()"]
    assert json.loads(about["shape"]) == [8, 8, 1]
    assert "uint8" in about["input"]
    assert is_replaced(made.content, tmp_path)


def test_weights_are_not_pickled():
    """No tensor of a pt2 file is kept as a pickle."""
    made = export.export(make_found(), NOWHERE, "pt2")
    archive = zipfile.ZipFile(io.BytesIO(made.content))
    configs = [name for name in archive.namelist() if name.endswith("_config.json")]
    assert len(configs) == 2
    kept = [
        entry for name in configs for entry in json.loads(archive.read(name))["config"].values()
    ]
    assert kept
    assert not any(entry["use_pickle"] for entry in kept)


def test_a_file_says_nothing_of_the_machine_that_made_it():
    """Neither a path of the source, nor an image of the data set, is in it."""
    source = str(Path(models.__file__).parents[1]).encode()
    made = export.export(make_found(), NOWHERE, "pt2")
    archive = zipfile.ZipFile(io.BytesIO(made.content))
    contents = {name: archive.read(name) for name in archive.namelist()}
    assert not [name for name, content in contents.items() if source in content]
    kept = torch.export.load(io.BytesIO(made.content)).example_inputs
    assert [int(value.max()) for value in kept[0]] == [0]


def test_it_is_checked_on_real_images():
    """The images of the data set's validation split where they are there; else random ones, and it says so."""
    made = export.export(make_found(), NOWHERE, "pt2")
    assert made.checked_on == "100 validation images of digits"
    made = export.export(make_found(dataset="mnist", shape=(1, 28, 28)), NOWHERE, "pt2")
    assert made.checked_on == "100 images of random pixels (the data set is not there)"


def test_why_it_is_checked_on_random_pixels(mnist):
    """A data set of another shape, and one that cannot be read, are not said to be away."""
    made = export.export(make_found(shape=(3, 8, 12)), NOWHERE, "pt2")
    why = "the data set's have the shape (1, 8, 8) now, and not (3, 8, 12)"
    assert made.checked_on == f"100 images of random pixels ({why})"
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:99])
    made = export.export(make_found(dataset="mnist", shape=(1, 28, 28)), mnist, "pt2")
    assert "of random pixels (data set MNIST in " in made.checked_on
    assert "is corrupt or incomplete" in made.checked_on


DRIFTING = """
from torch import nn
class Network(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)
        self.calls = 0
    def forward(self, images):
        self.calls += 1
        if {broken}:
            raise RuntimeError("no such thing\\x1b[31m")
        return self.layer(images.flatten(1)) * self.calls
"""


@pytest.mark.parametrize(("broken", "error"), [(False, IntegrityFailure), (True, UsageFailure)])
def test_what_answers_otherwise_is_not_written(tmp_path, monkeypatch, capsys, broken, error):
    """A network that cannot be told by a graph, or of which the graph says something else: refused, and no file."""
    name = f"drifting_{broken}".lower()
    (tmp_path / f"{name}.py").write_text(DRIFTING.format(broken=broken))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    checkpoint = save_checkpoint(tmp_path / "given", make_found(f"{name}:Network"))
    assert pipeline("export", "--checkpoint", str(checkpoint), "--out", "it.pt2") == error.code
    assert re.search("answers otherwise|cannot be brought into pt2", capsys.readouterr().err)
    assert not list(tmp_path.glob("*.pt2*"))


def test_a_checkpoint_alone_is_exported(tmp_path, monkeypatch, capsys):
    """`pipeline export` needs no store, takes the format from the file's name, and prints the difference."""
    checkpoint = save_checkpoint(tmp_path / "given", make_found())
    monkeypatch.chdir(tmp_path)
    assert pipeline("export", "--checkpoint", str(checkpoint), "--out", "out/it.pt2") == 0
    assert (
        "checked on 100 validation images of digits: the largest difference is "
        in capsys.readouterr().out
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["it.pt2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "out"]


@pytest.mark.parametrize(
    "words",
    [
        ["--out", "it.bin"],
        ["--out", "it"],
        [],
        ["--out", "it.pt2", "--best"],
        ["--out", "it.pt2", "--run", "x"],
    ],
)
def test_bad_input(tmp_path, monkeypatch, words):
    """No name for the file, one of no format, or two networks at once: exit 2, and nothing is made."""
    checkpoint = save_checkpoint(tmp_path / "given", make_found())
    monkeypatch.chdir(tmp_path)
    assert pipeline("export", "--checkpoint", str(checkpoint), *words) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


@pytest.mark.parametrize("out", ["mlflow.db", "notes.pt2", "empty.onnx", "archive.pt2", "folder"])
def test_another_file_is_not_replaced(tmp_path, monkeypatch, out):
    """A tracking store, a text, an empty file or an archive that is there stays as it is: exit 2."""
    checkpoint = save_checkpoint(tmp_path / "given", make_found())
    monkeypatch.chdir(tmp_path)
    contents = {
        "mlflow.db": b"SQLite format 3\0",
        "notes.pt2": b"probabilities (batch, classes)",
        "empty.onnx": b"",
        "archive.pt2": b"PK\3\4 anything else",
    }
    if out in contents:
        Path(out).write_bytes(contents[out])
    else:
        Path(out).mkdir()
    words = ("--checkpoint", str(checkpoint), "--out", out, "--format", "pt2")
    assert pipeline("export", *words) == 2
    assert out not in contents or Path(out).read_bytes() == contents[out]


def test_without_onnx_one_line_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    """The extra is missing: exit 2 with the command of pip."""
    checkpoint = save_checkpoint(tmp_path / "given", make_found())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert pipeline("export", "--checkpoint", str(checkpoint), "--out", "it.onnx") == 2
    assert (
        capsys.readouterr().err
        == "ONNX needs onnxscript: pip install onnx onnxscript onnxruntime\n"
    )
    assert not (tmp_path / "it.onnx").exists()
