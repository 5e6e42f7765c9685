"""`pipeline data` from end to end: what is listed, what is verified, and with which exit codes."""

import json

import pytest
from support.datasets import write_tiny_imagenet
from support.endtoend import pipeline

from pipeline.data.datasets import DATASETS


def test_the_list_says_what_is_there(mnist, capsys):
    """Each data set is a line: bundled, there, or how to have it; looking writes nothing."""
    before = sorted(mnist.rglob("*"))
    assert pipeline("data", "--data-dir", str(mnist)) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == list(DATASETS)
    assert (lines["digits"], lines["mnist"]) == ("bundled with scikit-learn", "there")
    assert lines["cifar10"] == f"not in {mnist}: pipeline data download cifar10"
    assert lines["tiny_imagenet"] == f"not there: put it in {mnist / 'tiny-imagenet-200'}"
    assert sorted(mnist.rglob("*")) == before


def test_verify_all_that_is_there(mnist, capsys):
    """Without a name everything that is there is verified; the first time it is locked."""
    write_tiny_imagenet(mnist)
    assert pipeline("data", "verify", "--data-dir", str(mnist), "--json") == 0
    rows = {row["name"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == ["digits", "few_digits", "mnist", "tiny_imagenet"]
    assert rows["tiny_imagenet"].startswith("72 files read for the first time; lock file: ")
    assert pipeline("data", "verify", "--data-dir", str(mnist)) == 0
    assert "mnist            4 files are what they were" in capsys.readouterr().out


def test_a_difference_is_exit_6(mnist, capsys):
    """Another byte is one line that names the file, and exit code 6; so is a sweep on a truncated one."""
    assert pipeline("data", "verify", "mnist", "--data-dir", str(mnist)) == 0
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    capsys.readouterr()
    assert pipeline("data", "verify", "--name", "mnist", "--data-dir", str(mnist)) == 6
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert str(path) in err
    path.write_bytes(good[:-1])
    assert pipeline("sweep", "--dataset", "mnist", "--data-dir", str(mnist), "--dry-run") == 6


def test_download_of_what_is_there_reads_it(mnist, capsys):
    """Nothing is fetched that is there; the count is of both parts."""
    assert pipeline("data", "download", "mnist", "--data-dir", str(mnist)) == 0
    assert capsys.readouterr().out == f"mnist            80 images in {mnist}\n"
    assert pipeline("data", "download", "digits") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["download"],
        ["download", "tiny_imagenet"],
        ["download", "folder:nowhere"],
        ["verify", "mnist"],
        ["verify", "mnits"],
        ["verify", "tiny_imagenet"],
        ["mnist"],
        ["verify", "folder:"],
    ],
    ids=" ".join,
)
def test_a_wrong_name_is_exit_2(arguments, tmp_path, monkeypatch, capsys):
    """What is not there, not fetched, or not known is one line, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIPELINE_DATA_DIR", raising=False)
    assert pipeline("data", *arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
