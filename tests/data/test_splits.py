"""Who trains, validates and tests: held out by class, given by official parts, or named in a file."""

from fractions import Fraction

import pytest
import torch

from pipeline.data.split_file import read_split_file
from pipeline.data.splits import divide, redraw, stratified, take_part
from pipeline.system.errors import UsageFailure
from sweeps.trial import Redraw, parse_redraw

PATHS = ["train/a/1.png", "train/a/2, a.png", "train/é/3.png", "val/é/4.png", "test/b/\udce9.png"]


@pytest.mark.parametrize("share", [Fraction(1, 2), Fraction(1, 5), Fraction(1, 6), Fraction(4, 5)])
def test_stratified(share):
    """Both parts are ascending, disjoint and complete, and each class has its rounded share."""
    labels = torch.tensor([0] * 30 + [3] * 13 + [7])[torch.randperm(44)]
    rest, held_out = stratified(labels, share, 0)
    assert sorted(rest.tolist() + held_out.tolist()) == list(range(44))
    assert rest.tolist() == sorted(rest.tolist())
    assert held_out.tolist() == sorted(held_out.tolist())
    counts = [int((labels[held_out] == label).sum()) for label in (0, 3, 7)]
    assert counts == [round(30 * share), round(13 * share), round(share)]


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
    found = divide(labels, rows, 0, Fraction(1, 6), has_test="test" in parts)
    assert tuple(len(found[part]) for part in ("train", "val", "test")) == sizes
    assert sorted(torch.cat(list(found.values())).tolist()) == list(range(len(rows)))
    for part in ("val", "test"):
        if part in parts:
            assert {rows[row] for row in found[part]} == {part}


def mixed(counts=(31, 17, 8)):
    """So many images of each class, of which about every fourth validates."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    return labels, torch.rand(len(labels), generator=generator) < 0.25


@pytest.mark.parametrize("text", ["draw-0", "draw-7", "fold-1-of-3", "fold-8-of-8"])
def test_redrawn_splits_are_disjoint_and_complete(text):
    """Each image trains or validates, in ascending order; the same numbers draw the same, another split seed others."""
    labels, is_val = mixed()
    train, val = redraw(labels, is_val, parse_redraw(text), 3)
    assert sorted(train.tolist() + val.tolist()) == list(range(len(labels)))
    assert train.tolist() == sorted(train.tolist())
    assert val.tolist() == sorted(val.tolist())
    torch.rand(5)
    again = redraw(labels, is_val, parse_redraw(text), 3)
    assert torch.equal(train, again[0])
    assert redraw(labels, is_val, parse_redraw(text), 4)[1].tolist() != val.tolist()


def test_a_random_draw_keeps_the_share_of_each_class():
    """As many images of each class validate as before, also none; another number draws others."""
    labels, is_val = mixed()
    is_val[labels == 2] = False
    drawn = [redraw(labels, is_val, Redraw(number), 0)[1] for number in range(4)]
    for val in drawn:
        assert torch.equal(labels[val].bincount(minlength=3), labels[is_val].bincount(minlength=3))
    assert len({tuple(val.tolist()) for val in drawn}) == 4


@pytest.mark.parametrize("folds", [2, 5, 8])
def test_folds(folds):
    """Each image validates in one fold; folds differ by at most one image of each class, and one in all."""
    labels, is_val = mixed()
    vals = [redraw(labels, is_val, Redraw(k + 1, folds), 0)[1] for k in range(folds)]
    assert sorted(torch.cat(vals).tolist()) == list(range(len(labels)))
    counts = torch.stack([labels[val].bincount(minlength=3) for val in vals])
    assert int((counts.amax(0) - counts.amin(0)).max()) <= 1
    assert int(counts.sum(1).max() - counts.sum(1).min()) <= 1
    assert int(counts.min()) >= 1


def test_a_part_is_stratified_and_nested():
    """A part has each class's share of images, at least one, and lies within each larger part."""
    labels = torch.tensor([0] * 300 + [1] * 90 + [3] * 9 + [4])
    smaller = set()
    for count in (4, 40, 41, 200, 399, 400):
        part = take_part(labels, count, 5, "test")
        assert part.tolist() == sorted(set(part.tolist()))
        assert len(part) == count
        assert smaller <= set(part.tolist())
        smaller = set(part.tolist())
        for label, size in ((0, 300), (1, 90), (3, 9), (4, 1)):
            found = int((labels[part] == label).sum())
            assert found >= 1
            assert abs(found - size * count / 400) <= 2
    first = take_part(labels, 40, 5, "test").tolist()
    assert take_part(labels, 40, 5, "test").tolist() == first
    assert take_part(labels, 40, 6, "test").tolist() != first
    assert take_part(labels, 40, 5, "another draw").tolist() != first


def test_no_class_comes_first_in_a_part():
    """Where classes cannot have equally many images, chance decides which has one more."""
    labels = torch.arange(10).repeat(20)
    extra = {
        label
        for seed in range(8)
        for label in labels[take_part(labels, 15, seed, "test")].tolist()
        if (labels[take_part(labels, 15, seed, "test")] == label).sum() > 1
    }
    assert extra == set(range(10))


@pytest.mark.parametrize("count", [3, 401])
def test_impossible_parts(count):
    """A part has an image of each class, and no more images than there are."""
    labels = torch.tensor([0] * 300 + [1] * 90 + [3] * 9 + [4])
    rule = rf"train_images must be from 4, one of each class, to 400, .*: got {count}$"
    with pytest.raises(UsageFailure, match=rule):
        take_part(labels, count, 0, "test")


def test_too_many_folds():
    """There are no more folds than images of the smallest class that has any."""
    labels, is_val = mixed((9, 0, 8))
    rule = "folds must be at most 8, the training and validation images of the smallest class"
    with pytest.raises(UsageFailure, match=f"^{rule}: got 9$"):
        redraw(labels, is_val, Redraw(1, 9), 0)


def read(tmp_path, text, paths=PATHS, encoding="utf-8"):
    file = tmp_path / "split.csv"
    file.write_bytes(text.encode(encoding, "surrogateescape"))
    return {part: rows.tolist() for part, rows in read_split_file(file, 5, paths).splits.items()}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("index,split\n4,test\n1,train\n0,train\n3,val\n", "utf-8"),
        ("split,index\r\ntest,4\r\n\r\ntrain,1\r\ntrain,0\r\nval,3", "utf-8-sig"),
        (
            ' split ,path\ntrain,./train/a/1.png\ntrain,"train/a/2, a.png"\nval,val/é/4.png\ntest,test/b/\udce9.png\n',
            "utf-8",
        ),
        ("index;split\r\n4;test\r\n1;train\r\n0;train\r\n3;val\r\n", "utf-8-sig"),
        ("split\tindex\ntest\t4\ntrain\t1\ntrain\t0\nval\t3\n", "utf-16"),
        (
            "path;split\ntrain/a/1.png;train\ntrain/a/2, a.png;train\nval/e\u0301/4.png;val\ntest/b/\udce9.png;test\n",
            "utf-8",
        ),
        (  # as pandas writes it, with labels, and with the data set's folder in front
            ",File Name;Label;Subset\n".replace(",", ";")
            + "0;/data/pets/train/a/1.png;a;Train\n1;pets/train/a/2, a.png;a;Training\n"
            + "2;C:\\pets\\val\\é\\4.png;b;valid\n3;pets/test/b/\udce9.png;b;test\n",
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
        ("", ":1: the columns must be split, group or both, and path or index: got none"),
        (
            "index\n1\n",
            ":1: the columns must be split, group or both, and path or index: got index",
        ),
        (
            "index,path,split\n",
            ":1: the columns must be split, group or both, and path or index: got index, path, split",
        ),
        ("split,split,path\n", ":1: 'split' and 'split' are both split: remove one"),
        ("path,file,split\n", ":1: 'path' and 'file' are both path: remove one"),
        (
            "indx,split\n",
            ":1: column is unknown: 'indx'; did you mean index? known: path, index, split, group",
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
    """A file in UTF-32, or half of one in UTF-16, is refused in one line."""
    for text, encoding in (("index,split\n", "utf-32"), ("index,split\n0,train\n\udce9", "utf-16")):
        file = tmp_path / "split.csv"
        file.write_bytes(text.encode(encoding, "surrogatepass") + b"\0")
        with pytest.raises(UsageFailure, match=r"split.csv") as failure:
            read_split_file(file, 5, PATHS)
        assert "\n" not in str(failure.value)


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
