"""Who trains, validates and tests: held out by class, given by official parts, or named in a file."""

import pytest
import torch

from pipeline.data.splits import divide, read_split_file, stratified
from pipeline.system.errors import UsageFailure

PATHS = ["train/a/1.png", "train/a/2, a.png", "train/é/3.png", "val/é/4.png", "test/b/\udce9.png"]


@pytest.mark.parametrize("share", [2, 5, 6])
def test_stratified(share):
    """Both parts are ascending, disjoint and complete, and classes too small to share stay in the first."""
    labels = torch.tensor([0] * 30 + [3] * 13 + [7])[torch.randperm(44)]
    rest, held_out = stratified(labels, share, 0)
    assert sorted(rest.tolist() + held_out.tolist()) == list(range(44))
    assert rest.tolist() == sorted(rest.tolist())
    assert held_out.tolist() == sorted(held_out.tolist())
    counts = [int((labels[held_out] == label).sum()) for label in (0, 3, 7)]
    assert counts == [round(30 / share), round(13 / share), 0]


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ({"train": 60}, (40, 8, 12)),
        ({"train": 60, "test": 5}, (50, 10, 5)),
        ({"train": 60, "val": 5}, (48, 5, 12)),
        ({"train": 60, "val": 5, "test": 7}, (60, 5, 7)),
    ],
)
def test_divide(parts, sizes):
    """An official part is a split as it is; without one a fifth tests, and a sixth of the rest validates."""
    rows = [part for part, count in parts.items() for _ in range(count)]
    labels = torch.arange(len(rows)).remainder(2)
    found = divide(labels, rows, 0, 6, has_test="test" in parts)
    assert tuple(len(found[part]) for part in ("train", "val", "test")) == sizes
    assert sorted(torch.cat(list(found.values())).tolist()) == list(range(len(rows)))
    for part in ("val", "test"):
        if part in parts:
            assert {rows[row] for row in found[part]} == {part}


def read(tmp_path, text, paths=PATHS, encoding="utf-8"):
    file = tmp_path / "split.csv"
    file.write_bytes(text.encode(encoding, "surrogateescape"))
    return {part: rows.tolist() for part, rows in read_split_file(file, 5, paths).items()}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("index,split\n4,test\n1,train\n0,train\n3,val\n", "utf-8"),
        ("split,index\r\ntest,4\r\n\r\ntrain,1\r\ntrain,0\r\nval,3", "utf-8-sig"),
        (
            ' split ,path\ntrain,./train/a/1.png\ntrain,"train/a/2, a.png"\nval,val/é/4.png\ntest,test/b/\udce9.png\n',
            "utf-8",
        ),
    ],
)
def test_split_file(tmp_path, text, encoding):
    """Rows are named by index or path, in any order of rows and columns, as spreadsheets of any system write them."""
    assert read(tmp_path, text, encoding=encoding) == {"train": [0, 1], "val": [3], "test": [4]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: the columns must be split, and path or index: got none"),
        ("index\n1\n", ":1: the columns must be split, and path or index: got index"),
        (
            "index,path,split\n",
            ":1: the columns must be split, and path or index: got index, path, split",
        ),
        ("split,split,path\n", ":1: the columns must be split, and path or index"),
        (
            "indx,split\n",
            ":1: column is unknown: 'indx'; did you mean index? known: path, index, split",
        ),
        ("index,split\n0,train\n\n1,trian\n", ":4: split is unknown: 'trian'; did you mean train?"),
        ("index,split\n5,train\n", ":2: index must be from 0 to 4: got '5'"),
        ("index,split\n-1,train\n", ":2: index must be from 0 to 4: got '-1'"),
        ("index,split\n²,train\n", ":2: index must be from 0 to 4: got '²'"),
        ("index,split\n" + "9" * 5000 + ",train\n", ":2: index must be from 0 to 4: got '999"),
        (
            "index,split\n0,train\n1,val\n0,test\n",
            ":4: the same image as in line 2: remove one of the two",
        ),
        (
            "path,split\ntrain/a/1.png,train\ntrain/a/9.png,val\n",
            ":3: path is unknown: 'train/a/9.png'; it counts from",
        ),
        ("path,split\n../train/a/1.png,train\n", ":2: path is unknown"),
        ("index,split\n0\n", ":2: 1 fields instead of 2"),
        ("index,split\n0,train,more\n", ":2: 3 fields instead of 2"),
        ('index,split\n0,"train\n', ":2: not CSV (unexpected end of data)"),
        (
            "index,split\n0,train\n1,val\n",
            ": no row is test: each of train, val, test needs at least one",
        ),
    ],
)
def test_bad_split_file(tmp_path, text, message):
    """What is wrong is said in one line, with the file and the line's number."""
    with pytest.raises(UsageFailure) as failure:
        read(tmp_path, text)
    assert str(failure.value).startswith(f"{tmp_path / 'split.csv'}{message}")
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 400


def test_split_file_of_other_encoding(tmp_path):
    """A file in UTF-16 is refused like any other that has not the columns."""
    with pytest.raises(UsageFailure, match=r"split.csv:1: "):
        read(tmp_path, "index,split\n0,train\n", encoding="utf-16")


def test_paths_of_a_data_set_without(tmp_path):
    """A data set that is not made of files is split by index only."""
    with pytest.raises(
        UsageFailure, match=r":1: this data set's images have no path: name them by index"
    ):
        read(tmp_path, "path,split\na,train\n", paths=None)


def test_missing_split_file(tmp_path):
    """A split file that is not there is named."""
    with pytest.raises(UsageFailure, match=r"cannot read the split file .*none.csv: No such file"):
        read_split_file(tmp_path / "none.csv", 5, None)
