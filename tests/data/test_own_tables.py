"""Images of one's own that a table or a function names: as spreadsheets and people write them, or refused in a line."""

import shutil
from unicodedata import normalize

import pytest
from support.datasets import save, write_folder

from pipeline.data.datasets import describe_state, get_source, listing_files
from pipeline.data.own.csv_files import scan_csv
from pipeline.data.search_data import load
from pipeline.data.test_split import load_test
from pipeline.system.errors import UsageFailure
from sweeps.trial import DATA_VERSION


def write_photos(root, count=12, names=("cat", "caf\u00e9")):
    """Write photos, and return the lines of a table of them: path and label."""
    lines = []
    for place, name in enumerate(names):
        for number in range(count):
            save(root / "photos" / name / f"{number}.png", 100 * place + number, (6, 6))
            lines.append((f"photos/{name}/{number}.png", name))
    return lines


def write_table(root, lines, header="path,label", separator=",", encoding="utf-8", start=""):
    text = start + "\r\n".join([header.replace(",", separator), *map(separator.join, lines)])
    (root / "photos.csv").write_bytes(text.encode(encoding))
    return root / "photos.csv"


@pytest.mark.parametrize(
    ("separator", "encoding", "start"),
    [
        (",", "utf-8", ""),
        (";", "utf-8-sig", ""),
        ("\t", "utf-16", ""),
        (";", "cp1252", ""),
        (";", "cp1252", "sep=;\r\n"),
        ("|", "utf-8", ""),
    ],
)
def test_as_spreadsheets_write_it(tmp_path, separator, encoding, start):
    """Any separator and encoding that a spreadsheet writes is read, and Windows' paths, and synonyms of the columns."""
    lines = [(path.replace("/", "\\"), name) for path, name in write_photos(tmp_path)]
    lines += [("", ""), ()]
    header = "Filename,CLASS" if separator == "|" else "path,label"
    listing = scan_csv(str(write_table(tmp_path, lines, header, separator, encoding, start)))
    assert listing.classes == ("caf\u00e9", "cat")
    assert len(listing.files) == 24
    assert listing.files[0].path == "photos/caf\u00e9/0.png"
    assert listing.groups is None
    assert set(listing.parts) == {"train"}


def test_accents_of_another_system(tmp_path):
    """Files whose names have accents as characters of their own are found by a table that has them as one."""
    lines = [(normalize("NFC", path), name) for path, name in write_photos(tmp_path)]
    (tmp_path / "photos" / "caf\u00e9").rename(tmp_path / "photos" / "cafe\u0301")
    listing = scan_csv(str(write_table(tmp_path, lines, "File Name,Class")))
    assert len(listing.files) == 24


def test_as_a_folder(tmp_path):
    """A table of a folder's images is the same data set as the folder."""
    root = write_folder(tmp_path / "photos", ("",))
    lines = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in root.rglob("*.png")]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines[::-1]]))
    by_table = load(f"csv:{tmp_path / 'list.csv'}", tmp_path, data_version=DATA_VERSION)
    by_folder = load(f"folder:{root}", tmp_path, data_version=DATA_VERSION)
    assert by_table.digest == by_folder.digest
    assert by_table.classes == by_folder.classes


def test_splits_and_groups(tmp_path, capsys):
    """Splits in any usual word are official parts; a missing one is held out, and groups stay together."""
    parts = ("Training", "training", "test")
    lines = [
        (path, name, parts[index % 3], f"person {index // 6}", "noise")
        for index, (path, name) in enumerate(write_photos(tmp_path))
    ]
    table = write_table(tmp_path, lines, "path,label,split,group,note", ";", "cp1252")
    found = load(f"csv:{table}", tmp_path, data_version=DATA_VERSION)
    assert len(load_test(f"csv:{table}", tmp_path, data_version=DATA_VERSION)) == 8
    assert len(found.val) == 8  # a group of each class, since none is smaller
    assert len(set(found.groups[: len(found.train)]) & set(found.groups[len(found.train) :])) == 0
    assert found.copies.groups_apart == 4
    said = capsys.readouterr().err
    assert "train 8 in photos.csv, val 8 held out of train, test 8 in photos.csv" in said
    assert "4 groups are in several splits" in said


def test_whole_numbers_are_sorted_as_numbers(tmp_path):
    """Labels 2 and 10 are in this order."""
    lines = [
        (path, {"cat": "10", "dog": "2"}[name])
        for path, name in write_photos(tmp_path, 2, ("cat", "dog"))
    ]
    assert scan_csv(str(write_table(tmp_path, lines))).classes == ("2", "10")


MISSING = (
    ": 6 of its 8 files are not there: 'photos/none1.png', 'photos/none2.png', 'photos/none3.png' "
    "and 3 more; paths count from "
)


@pytest.mark.parametrize(
    ("header", "change", "message"),
    [
        ("path,labels", {}, ":1: no column label: the first line names the columns path, label"),
        ("a,b", {}, ":1: no column path and none label"),
        ("path,file", {}, ":1: 'path' and 'file' are both path: remove one"),
        ("path,label", {3: ("photos/cat/3.png", "")}, ":5: label is empty"),
        ("path,label", {3: ("photos/cat/3.png", "x", "more")}, ":5: 3 fields instead of 2"),
        ("path,label", {3: ("photos/cat/2.png", "cat")}, ":5: the same image as in line 4"),
        ("path,label", {3: ("./photos//cat/2.png", "cat")}, ":5: the same image as in line 4"),
        ("path,label", {3: ("{root}/photos/cat/2.png", "cat")}, ":5: the same image as in line 4"),
        (
            "path,label",
            {n: (f"photos/none{n}.png", "cat") for n in range(1, 7)},
            MISSING,
        ),
        ("path,label", dict.fromkeys(range(4, 8)), "at least 2 labels: found 'cat'"),
    ],
)
def test_refused_tables(tmp_path, header, change, message):
    """What is wrong with a table is said in one line, with the file and the line's number."""
    lines = write_photos(tmp_path, 4, ("cat", "dog"))
    for number, line in change.items():
        lines[number] = line and (line[0].format(root=tmp_path), *line[1:])
    table = write_table(tmp_path, [line for line in lines if line is not None], header)
    with pytest.raises(UsageFailure) as failure:
        scan_csv(str(table))
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("header", "row"),
    [("id,label", "{}"), ("filename,label", "{}.png"), ("image_id,id,label", "{},7")],
)
def test_files_in_a_folder_below(tmp_path, header, row):
    """A table beside the folder of its images names them without that folder, and by ids without an ending."""
    for part, count in (("train", 12), ("test", 5)):
        for number in range(count):
            save(tmp_path / part / f"{number}.png", number, (6, 6))
    lines = [(*row.format(number).split(","), "ab"[number % 2]) for number in range(12)]
    listing = scan_csv(str(write_table(tmp_path, lines, header)))
    assert sorted(file.path for file in listing.files) == sorted(
        f"train/{number}.png" for number in range(12)
    )
    assert listing.notes == ("its files were found in train/",)
    shutil.copytree(tmp_path / "train", tmp_path / "more" / "train")
    with pytest.raises(UsageFailure, match=r"are in each of 'more/train', 'train': write"):
        scan_csv(str(tmp_path / "photos.csv"))


def test_tables_of_the_data_command(tmp_path):
    """A table is locked beside itself, under its own name; one that is not there is said so."""
    table = write_table(tmp_path, write_photos(tmp_path, 2))
    name = f"csv:{table}"
    files = listing_files(name, get_source(name).find(tmp_path), tmp_path)
    assert files.lock_path == tmp_path / ".photos.csv.sha256.json"
    assert describe_state(name, tmp_path) == "there"
    table.unlink()
    assert describe_state(name, tmp_path).startswith("not there")
    with pytest.raises(UsageFailure, match="no file .*photos.csv: csv:FILE takes a table"):
        scan_csv(str(table))


GOOD = """
import numpy as np

def load():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 5, 7, 3), np.uint8)
    labels = np.arange(40) % 2
    return {"Training": (images[:30], labels[:30]), "test": (images[30:], labels[30:])}

def names():
    images = load()["Training"][0][..., 0]
    return {"train": (images, ["cat", "dog"] * 15), "classes": ["dog", "cat"]}

def copied():
    images, labels = load()["Training"]
    return {"train": (images, labels), "val": (images[:3], labels[:3])}
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.py").write_text(GOOD)
    return tmp_path


def test_functions(code, capsys):
    """Arrays of a function are parts as folders are; a missing one is held out, and copies are told."""
    found = load("data.py:load", code, data_version=DATA_VERSION)
    assert found.shape == (3, 5, 7)
    assert (len(found.train), len(found.val)) == (26, 4)
    assert len(load_test("data.py:load", code, data_version=DATA_VERSION)) == 10
    named = load("data.py:names", code, data_version=DATA_VERSION)
    assert named.classes == ("dog", "cat")
    assert named.shape == (1, 5, 7)
    load("data.py:copied", code, data_version=DATA_VERSION)
    said = capsys.readouterr().err
    assert "data.py:load: 40 images of 2 classes: 0 20, 1 20" in said
    assert "3 validation images are copies of training images" in said
    assert describe_state("data.py:load", code) == "a function of your own"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", "it must return a dict of parts, such as {'train': (images, labels)"),
        ("return {'test': (x, y)}", "got no train"),
        ("return {'train': x}", "train must be a pair (images, labels)"),
        ("return {'train': (x / 255, y)}", "images must be of uint8, 0 to 255: got float64"),
        ("return {'train': (x[0], y)}", "got the shape 4x4"),
        ("return {'train': (x[:, 0, 0], y)}", "got the shape 20"),
        (
            "return {'train': (x, y[1:])}",
            "labels must be one for each of 20 images: got the shape 19",
        ),
        (
            "return {'train': (x, y + 0.5)}",
            "labels must be whole numbers from 0, or names: got 0.5",
        ),
        ("return {'train': (x, y - 1)}", "labels must be whole numbers from 0, or names: got -1"),
        ("return {'train': (x, y * 0)}", "train needs images of at least 2 classes"),
        ("return {'train': (x, y), 'test': (x, y + 7)}", "label 8 is of no class: there are 2"),
        ("return {'train': (x, y), 'test': (x[:, 1:], y)}", "train has 1x4x4, and test 1x3x4"),
        (
            "return {'train': (x, y), 'more': (x, y)}",
            "parts are train, val and test, each once: got 'more'",
        ),
        ("raise KeyError('gone')", "raised KeyError: 'gone'"),
        (
            "return {'train': (x, [['a']])}",
            "labels must be one for each of 20 images: got the shape 1x1",
        ),
    ],
)
def test_refused_functions(code, body, message):
    """What a function returns is checked, and what is wrong is said in one line."""
    (code / "bad.py").write_text(
        "import numpy as np\nx = np.arange(320, dtype=np.uint8).reshape(20, 4, 4)\n"
        f"y = np.arange(20) % 2\ndef load():\n    {body}\n"
    )
    shutil.rmtree(code / "__pycache__", ignore_errors=True)
    with pytest.raises(UsageFailure) as failure:
        load("bad.py:load", code, data_version=DATA_VERSION)
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.py:load", "cannot load 'none.py:load'"),
        ("data.py:nothing", "cannot load 'data.py:nothing'"),
        ("os:abort", "os:abort must be a function written in Python"),
    ],
)
def test_what_is_no_function(code, name, message):
    """A missing file or function is named, and nothing but a function of Python's is called."""
    with pytest.raises(UsageFailure, match=message):
        load(name, code, data_version=DATA_VERSION)
