"""Image files in, classes out: what training saw, in every format, whatever the files are."""

import csv
import dataclasses
import io
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.datasets import HOSTILE, save, write_folder, write_nasty
from support.endtoend import children, client, pipeline
from support.networks import make_found, save_checkpoint

from pipeline.checkpoints import load_model
from pipeline.data import decode, search_data
from pipeline.data.own import folders
from pipeline.inference import evaluate, networks, predict
from pipeline.stores import locations
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.training.prepare import Prepare

CLASSES = tuple("0123456789")


def judge(batch=1000, shape=(1, 8, 8), classes=CLASSES):
    """One that takes every image for the class of its mean brightness, and keeps what it was given."""
    seen = []

    def classify(raw):
        seen.append(raw)
        rows = raw.float().mean(dim=(1, 2, 3)) / 256 * len(classes)
        scores = torch.nn.functional.one_hot(rows.long(), len(classes)).float()
        return scores, scores

    return predict.Predictor(shape=shape, classes=classes, batch=batch, classify=classify), seen


def never(path, message):
    raise AssertionError(message)


def trained(folder, *options):
    """Train on a folder of images of unequal sizes; the run's id, and the folder."""
    root = folder / "pets"
    for part, count in (("train/", 12), ("val/", 5), ("test/", 5)):
        write_folder(root, (part,), ("cat", "dog", "=cmd()"), count, size=(9, 12))
    save(root / "train" / "cat" / "wide.png", 1, (30, 10))
    words = [
        "--dataset",
        f"folder:{root}",
        "--epochs",
        "1",
        "--image-size",
        "16",
        "--width",
        "4",
        "--depth",
        "1",
    ]
    assert pipeline("train", *words, "--eval-batch-size", "4", *options) == 0
    (run,) = client(folder).search_runs(["0"])
    return root, run.info.run_id


@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_predictions_are_what_the_trial_scored(folder, family, capsys):
    """Files of the validation split are predicted as the trial itself scored them, to the last bit."""
    root, run = trained(folder, "--family", family)
    scores = evaluate.evaluate(locations.locate(), folder, split="val", run_id=run).scores
    capsys.readouterr()
    assert (
        pipeline("predict", "--run", run, "--format", "json", "--top", "9", str(root / "val")) == 0
    )
    rows = json.loads(capsys.readouterr().out)
    network, card = load_model(next(folder.glob("mlruns/**/checkpoint")))
    names = list(card.classes)
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    for row in rows:
        confusion[names.index(row["path"].split("/")[-2]), names.index(row["class"])] += 1
    assert torch.equal(confusion, scores.confusion)
    split = search_data.load_for(card.config, folder).val
    prepare = Prepare(card.mean, card.std, torch.device("cpu"), card.config.precision)
    with torch.no_grad(), prepare.autocast():
        channels_last = network.to(memory_format=torch.channels_last)
        logits = torch.cat([channels_last(prepare(some)) for some in split.images.split(4)]).float()
    by_file = {
        row["path"]: {one["class"]: one["probability"] for one in row["top"]} for row in rows
    }
    files = [file for name in names for file in sorted((root / "val" / name).iterdir())]
    expected = [dict(zip(names, shares, strict=True)) for shares in logits.softmax(1).tolist()]
    assert [by_file[str(file)] for file in files] == expected


def test_every_mode_and_size_is_brought_to_pixels_as_in_training(tmp_path):
    """Grey, RGB, RGBA, palette, CMYK, one bit, 16 bits, turned by EXIF: as the data set itself would hold them."""
    root = write_nasty(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "train" / "[red]" / "turned.jpg", 5, (9, 17), exif=exif)
    listing = folders.scan_folder(str(root))
    expected = decode.load_images(
        "it", listing, range(len(listing.files)), lambda: (3, 16, 16), None
    )
    one, seen = judge(shape=tuple(expected.shape[1:]))
    files = predict.find_images([root / file.path for file in listing.files])
    assert len(list(predict.predict(one, files, 1, never))) == len(files) == 41
    assert torch.equal(torch.cat(seen).permute(0, 3, 1, 2), expected)


def test_files_are_read_a_batch_at_a_time(tmp_path):
    """A hundred thousand files take no more memory than one batch: the next is read when it is wanted."""
    files = [save(tmp_path / f"{number}.png", number, mode="L") for number in range(5)]
    one, seen = judge(batch=2)
    found = predict.predict(one, files, 1, never)
    assert next(found).path == files[0]
    assert [len(raw) for raw in seen] == [2]
    assert [row.path for row in found] == files[1:]
    assert [len(raw) for raw in seen] == [2, 2, 1]


def test_the_likeliest_classes_come_first(tmp_path):
    """As many as asked for, or as there are, in the order of the network's outputs."""
    white = tmp_path / "white.png"
    Image.new("L", (3, 3), 255).save(white)
    one, _ = judge()
    (row,) = predict.predict(one, [white], 2, never)
    assert row.top == (("9", 1.0), ("0", 0.0))
    (row,) = predict.predict(one, [white], 99, never)
    assert len(row.top) == 10


def test_folders_are_walked_in_order(tmp_path):
    """Files as they are named, whatever they are called; of folders the images, by path, hidden ones left out."""
    for name in ("b/2.png", "b/1.jpg", "a/deep/3.png", ".hidden/4.png"):
        save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("none")
    odd = save(tmp_path / "photo.png").rename(tmp_path / "photo")
    found = predict.find_images([odd, tmp_path / "in"])
    names = ["photo", "in/a/deep/3.png", "in/b/1.jpg", "in/b/2.png"]
    assert [path.relative_to(tmp_path).as_posix() for path in found] == names


def test_a_list_of_paths_may_be_separated_by_nul():
    """As `find -print0` writes it, for names that hold a line break."""
    assert [str(path) for path in predict.parse_path_list("a b\nc\n")] == ["a b", "c"]
    assert [str(path) for path in predict.parse_path_list("a\nb\0c\0")] == ["a\nb", "c"]


def test_a_list_of_paths_is_split_at_line_breaks_alone(monkeypatch):
    """Of any system; other characters that end a line of text, and bytes that are no text, are of a name."""
    names = "a\u2028b", "c\x85d", "e\x0bf\x0cg", "h\ri"
    given = "\r\n".join(names).encode() + b"\n\xff\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert [str(path) for path in predict.read_path_list()] == [*names, "\udcff"]


@pytest.mark.parametrize("name", ["nothing.png", "empty", None])
def test_what_is_not_there_is_refused(tmp_path, name):
    """A path that is not there, a folder without images, and nothing at all, are refused."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageFailure, match="no "):
        predict.find_images([tmp_path / name] if name else [])


def test_only_files_are_read(tmp_path):
    """To read a pipe or a device could take for ever: it is refused by its name."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UsageFailure, match=f"'{path}' is no file"):
            predict.find_images([path])


BAD_URLS = (
    *(
        "http://[::1",
        "http://127.0.0.1:abc",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://a b/",
    ),
    *("http://a\n/", " http://a", "http://", "http://:80", "ftp://a", "a:80", "file:///etc/hosts"),
)


@pytest.mark.parametrize("url", BAD_URLS)
def test_what_is_no_url_of_a_server(alone, capsys, url):
    """Exit 2 with the rule, and nobody is asked."""
    _, pictures = alone
    assert pipeline("predict", "--url", url, str(pictures[0])) == 2
    assert capsys.readouterr().err.startswith("--url must be http(s)://HOST:PORT: got ")


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty working folder beside a checkpoint of hostile class names, and three images."""
    checkpoint = save_checkpoint(tmp_path / "given", make_found(classes=(*HOSTILE, "\x1b[2J猫")))
    pictures = [
        save(tmp_path / "pictures" / name, 7, (20, 9))
        for name in ("=1+1.png", "b\x1b[31m.png", "c.png")
    ]
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield ["--checkpoint", str(checkpoint)], pictures
    assert list((tmp_path / "work").iterdir()) == [], "nothing is made"


def test_a_checkpoint_alone_is_enough(alone, capsys):
    """Without any store: JSON holds exact paths, names and numbers, the likeliest class first."""
    which, pictures = alone
    assert pipeline("predict", *which, "--format", "json", *map(str, pictures)) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in rows] == list(map(str, pictures))
    for row in rows:
        assert list(row) == ["path", "class", "probability", "top"]
        assert row["top"][0] == {"class": row["class"], "probability": row["probability"]}
        shares = [one["probability"] for one in row["top"]]
        assert shares == sorted(shares, reverse=True)
        assert len(shares) == 3
        assert {one["class"] for one in row["top"]} <= {*HOSTILE, "\x1b[2J猫"}


def test_a_table_cannot_control_the_terminal(alone, capsys):
    """Paths and names are cleaned, and the columns stand under their heads."""
    which, pictures = alone
    assert pipeline("predict", *which, "--top", "6", str(pictures[0].parent)) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    head, *lines = out.splitlines()
    assert head.split() == ["path", "class", "probability", "top"]
    assert len(lines) == 3
    at = head.index("probability")
    assert all(
        line[at - 1] == " " and float(line[at : at + 11]) <= 1
        for line in lines
        if "猫" not in line[:at]
    )


def test_csv_begins_no_formula(alone, capsys, monkeypatch):
    """Paths of a list on standard input; no cell is taken for a formula."""
    which, pictures = alone
    monkeypatch.chdir(pictures[0].parent)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"=1+1.png\n")))
    assert pipeline("predict", *which, "--format", "csv", "-") == 0
    head, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["path", "class", "probability", "top"]
    assert row[0] == "'=1+1.png"
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


def test_an_unreadable_file_is_named_and_the_others_are_predicted(alone, capsys):
    """Exit 6 with the count and the file's name, after the rows of all that can be read."""
    which, pictures = alone
    broken = pictures[0].with_name("broken.png")
    broken.write_bytes(pictures[0].read_bytes()[:60])
    paths = [str(pictures[0]), "--path", str(broken), "--path", str(pictures[2])]
    assert pipeline("predict", *which, "--format", "json", *paths) == 6
    out, err = capsys.readouterr()
    assert [row["path"] for row in json.loads(out)] == [str(pictures[0]), str(pictures[2])]
    assert "1 of 3 files are not predicted" in err
    assert "broken.png cannot be read" in err
    assert pipeline("predict", *which, "--format", "json", str(broken)) == 6
    assert json.loads(capsys.readouterr().out) == []


def test_a_network_is_named_in_one_way(alone, capsys):
    """None, or two, or a study for what belongs to none: exit 2 with the ways there are."""
    which, pictures = alone
    for words in ([], [*which, "--best"], ["--run", "x", "--url", "http://127.0.0.1:1"]):
        assert pipeline("predict", *words, str(pictures[0])) == 2
        ways = "--run or --best or --model or --checkpoint or --url"
        assert capsys.readouterr().err.startswith(f"name a network in one way, {ways}: got ")
    assert pipeline("predict", *which, "--name", "x", str(pictures[0])) == 2


def test_probabilities_are_not_softened_twice(tmp_path):
    """A network that ends in a softmax of its own gives its outputs as they are."""
    found = make_found("lenet_resnet", (1, 16, 16), softmax_output=True)
    one = predict.network_predictor(found)
    scores, probabilities = one.classify(torch.randint(0, 256, (3, 16, 16, 1), dtype=torch.uint8))
    assert torch.equal(scores, probabilities)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(3))


def test_a_network_from_a_gpu_runs_here(tmp_path):
    """Where its device is not there, it predicts on the CPU, in float32."""
    found = make_found()
    elsewhere = networks.TrainedNetwork(found.network, make_card(found.card))
    raw = torch.randint(0, 256, (3, 8, 8, 1), dtype=torch.uint8)
    ours, theirs = (
        predict.network_predictor(found).classify(raw)[1],
        predict.network_predictor(elsewhere).classify(raw)[1],
    )
    assert torch.equal(ours, theirs)


def make_card(card):
    """The same, trained in bf16 on a device that this machine lacks."""
    return dataclasses.replace(
        card, config=dataclasses.replace(card.config, device="mps", precision="bf16")
    )


def test_the_best_of_a_study_and_a_trial_of_it(folder, capsys):
    """`--best`, `NAME#0` and the run's id name the same network of a study of one trial."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "1") == 0
    picture = str(save(folder / "it.png"))
    (run,) = children(folder, "tiny-digits").values()
    capsys.readouterr()
    outputs = set()
    for which in (
        ["--best"],
        ["--best", "--name", "tiny-digits"],
        ["--run", "tiny-digits#0"],
        ["--run", run.info.run_id],
    ):
        assert pipeline("predict", *which, "--format", "json", picture) == 0
        outputs.add(capsys.readouterr().out)
    assert len(outputs) == 1


def test_decode_names_the_file(tmp_path):
    """The error of a file that is no image says which."""
    (tmp_path / "no.png").write_text("none")
    with pytest.raises(IntegrityFailure, match=r"no\.png cannot be read"):
        decode.decode_file(tmp_path / "no.png", (1, 8, 8))
