"""`pipeline data show`: what is counted, what is drawn, and that no test image is."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from support.endtoend import pipeline
from support.records import make_record, make_result

from pipeline.data.overview import class_sheet, class_strip, look_at, sheet_of_all
from pipeline.data.search_data import SearchData, Split, load
from pipeline.jobs.show_data import warnings
from pipeline.report import render
from pipeline.report.data_page import folder_name

TEST_GREY = 77  # of test images alone


@pytest.fixture
def photos(tmp_path):
    """Grey and coloured images of several sizes; those of the test part have a grey of their own."""
    for part, cats, dogs in (("train", 12, 3), ("val", 4, 2), ("test", 3, 5)):
        for name, count in (("cats", cats), ("<dogs>", dogs)):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                grey = TEST_GREY if part == "test" else 100 + number
                size = (10, 8) if number else (30, 20)
                mode = "L" if name == "cats" else "RGB"
                colour = grey if mode == "L" else (grey, 0, 0)
                Image.new(mode, size, colour).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_show_a_folder(photos, tmp_path, monkeypatch, capsys):
    """Images are counted by class and split; sizes, modes and sheets are of training and validation images."""
    monkeypatch.chdir(tmp_path)
    name = f"folder:{photos}"
    assert pipeline("data", "show", name, "--image-size", "16", "--out", "shown", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["classes"] == [
        {"class": "<dogs>", "train": 3, "val": 2, "test": 5},
        {"class": "cats", "train": 12, "val": 4, "test": 3},
    ]
    assert values["shape"] == [3, 16, 16]
    assert values["modes"] == {"L": 16, "RGB": 5}
    assert values["sizes"] == {"10x8": 17, "30x20": 4}
    assert values["warnings"][-1].startswith("classes of unequal size: cats has 80.0 %")
    assert any("copies of" in text for text in values["warnings"])  # the greys of val are of train
    page = (tmp_path / "shown" / "data.html").read_text()
    assert "&lt;dogs&gt;" in page
    assert "<dogs>" not in page
    sheets = [tmp_path / "shown" / "contact_sheet.png"]
    sheets += sorted((tmp_path / "shown" / "classes").iterdir())
    assert [sheet.name for sheet in sheets] == ["contact_sheet.png", "00.png", "01.png"]
    for sheet in sheets:
        names = 150 if sheet.name == "contact_sheet.png" else 0  # pixels of the names beside a row
        pixels = np.asarray(Image.open(sheet))[:, names:]
        assert not (pixels == TEST_GREY).any()
    assert page.count("data:image/png;base64,") == 2
    assert pipeline("data", "show", name, "--image-size", "16") == 0
    out, err = capsys.readouterr()
    assert "train 15, val 6, test 8" in out
    assert "30x20" in out
    assert "different pictures" in out
    assert "page: " in err


def drawn(png):
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_sheets():
    """A sheet has training images over validation images, in whole pixels, and spread over the class."""
    images = torch.arange(60, dtype=torch.uint8).view(60, 1, 1, 1).repeat(1, 1, 8, 8)
    labels = torch.arange(60) % 2
    train = Split(images[:40], labels[:40])
    val = Split(images[40:], labels[40:])
    data = SearchData("grey", ("even", "odd"), train, val, (0.5,), (0.2,), "digest")
    sheet = drawn(class_sheet(data, 0, 12))
    side = 48  # of an enlarged image
    rows = [sheet.getpixel((1, top))[0] for top in (1, 1 + side + 2, 1 + 2 * side + 2 + 10)]
    assert rows == [0, 34, 40]  # the first of each row of training images, then of validation
    assert sheet.width == 10 * (side + 2) - 2
    assert {sheet.getpixel((x * 50 + 1, 1))[0] % 2 for x in range(10)} == {0}
    everything = drawn(sheet_of_all(data))
    assert everything.getpixel((151, 1))[0] == 0
    assert everything.getpixel((151, side + 3))[0] == 1
    strip = class_strip(data, 1, 3, 4)
    assert [len(row) for row in strip] == [3 * 5 - 1] * 4
    assert [strip[0][place] for place in (0, 5, 10)] == [(1, 1, 1), (21, 21, 21), (39, 39, 39)]


def test_digits_have_no_files(tmp_path):
    """Arrays have counts, and neither sizes nor modes of files."""
    found = look_at("digits", tmp_path, 0, None, None)
    assert sum(one.total for one in found.classes) == 1797
    assert found.files == ()


def test_copies_in_a_published_data_set_are_counted_and_stay(mnist):
    """An overview counts copies across all parts of a published data set; its splits are those of a search."""
    raw = mnist / "MNIST" / "raw"
    train = bytearray((raw / "train-images-idx3-ubyte").read_bytes())
    test = bytearray((raw / "t10k-images-idx3-ubyte").read_bytes())
    header = len(train) - 60 * 28 * 28
    test[header : header + 784] = train[header : header + 784]
    train[header + 784 : header + 1568] = train[header : header + 784]
    (raw / "train-images-idx3-ubyte").write_bytes(train)
    (raw / "t10k-images-idx3-ubyte").write_bytes(test)
    found = look_at("mnist", mnist, 0, None, None)
    assert found.data.digest == load("mnist", mnist).digest
    assert found.data.groups is None
    copies = found.data.copies
    assert (copies.images, copies.different, copies.other_label) == (80, 78, 3)
    assert copies.test_of_train + copies.test_of_val >= 1
    said = warnings(found)
    assert "the published images stay as they are" in said[0]
    assert not any("remove" in text or "apart" in text for text in said)


def test_refusals(capsys):
    """Without a name nothing is shown, and options of showing are for nothing else."""
    assert pipeline("data", "show") == 2
    assert "show takes the name" in capsys.readouterr().err
    assert pipeline("data", "verify", "digits", "--split-seed", "1") == 2
    assert "are for: pipeline data show NAME" in capsys.readouterr().err


def test_a_report_names_its_images(tmp_path, monkeypatch):
    """A report says how its images are shown, and links to their page if that is there."""
    monkeypatch.setattr(render, "_begin_drawing", lambda _record, _folder: list)
    record = make_record([make_result(0, 0.5)], dataset="folder:my photos")
    render.write(record, tmp_path / "study")
    page = (tmp_path / "study" / "report.html").read_text()
    assert "pipeline data show &#39;folder:my photos&#39;" in page
    assert 'href="../' not in page
    images = tmp_path / folder_name("folder:my photos")
    images.mkdir()
    (images / "data.html").touch()
    render.write(record, tmp_path / "study")
    page = (tmp_path / "study" / "report.html").read_text()
    assert 'href="../data-folder-my-photos/data.html"' in page
