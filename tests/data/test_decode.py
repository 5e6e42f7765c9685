"""How image files of every size and mode become pixels of one shape, and what is said of those that cannot be read."""

import os
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from PIL import Image
from support.datasets import HOSTILE, noise, save, write_folder, write_nasty

from pipeline.data import decode
from pipeline.data.cache import LOCK_FILE
from pipeline.data.own.folders import scan_folder
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.files import cache_folder


def read(root, image_size=None):
    """All images of a folder."""
    listing = scan_folder(str(root))
    return load(listing, range(len(listing.files)), image_size)


def load(listing, rows, image_size=None):
    """Some images of a folder, of the shape that all of them have in common."""
    every = range(len(listing.files))
    return decode.load_images(
        "folder", listing, rows, lambda: decode.common_shape(listing, every, image_size), image_size
    )


def of(image, *shape):
    """The pixels of one image."""
    return torch.frombuffer(bytearray(decode.fit_to_shape(image, shape)), dtype=torch.uint8).view(
        shape
    )


@pytest.fixture
def photos(tmp_path):
    """A folder of 24 images of 8x8."""
    return write_folder(tmp_path / "photos")


def test_one_size_is_kept(tmp_path):
    """Images that have one size keep it, pixel by pixel, in planes of red, green and blue."""
    root = write_folder(tmp_path, size=(7, 5))
    found = read(root)
    assert found.shape == (24, 3, 5, 7)
    assert found.dtype == torch.uint8
    with Image.open(root / "train" / "cat" / "03.png") as image:
        assert found[3].permute(1, 2, 0).flatten().tolist() == list(image.tobytes())


@pytest.mark.parametrize("image_size", [None, 24])
def test_nasty(tmp_path, image_size):
    """Images of all sizes and modes are brought to the side that is given, or to 64."""
    side = image_size or 64
    assert read(write_nasty(tmp_path), image_size).shape == (8 * len(HOSTILE), 3, side, side)


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("I;16", 1), ("P", 3)]
)
def test_channels(tmp_path, mode, channels):
    """Greys alone, of any depth and with or without alpha, have one channel; a single other image makes it three."""
    root = write_folder(tmp_path, mode=mode)
    assert read(root).shape == (24, channels, 8, 8)
    save(root / "train" / "dog" / "x.png")
    assert read(root).shape == (25, 3, 8, 8)


def test_deep_greys_are_scaled():
    """Greys of 16 bits are scaled to 8, not clipped, whether read as 16 or as 32 bits."""
    values = [0, 128, 129, 257, 30_000, 65_535]
    image = Image.frombytes("I;16", (6, 1), struct.pack("<6H", *values))
    scaled = [(value + 128) // 257 for value in values]
    assert of(image, 1, 1, 6).flatten().tolist() == scaled
    assert of(image.convert("I"), 1, 1, 6).flatten().tolist() == scaled
    assert of(image, 3, 1, 6)[2].flatten().tolist() == scaled


@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_is_white(channels):
    """What is transparent is white, also where it is a colour of a palette or a key colour, and half of it is half."""
    assert of(Image.new("LA", (1, 1), (0, 0)), channels, 1, 1).unique().tolist() == [255]
    assert of(Image.new("RGBA", (1, 1), (0, 0, 0, 128)), channels, 1, 1).unique().tolist() == [127]
    for mode, key in (("P", 0), ("L", 0), ("RGB", (0, 0, 0)), ("P", b"\x00")):
        image = Image.new(mode, (1, 1))
        image.info["transparency"] = key
        assert of(image, channels, 1, 1).unique().tolist() == [255]


def test_orientation(tmp_path):
    """A photo taken sideways is turned upright, before its size counts."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.fromarray(noise(0, 4, 6).numpy())
    for name in ("cat", "dog"):
        save(tmp_path / "train" / name / "1.png", size=(6, 4), mode="L")
    upright.transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "train" / "dog" / "2.png", exif=exif
    )
    found = read(tmp_path)
    assert found.shape == (3, 1, 4, 6)
    assert torch.equal(found[2, 0], noise(0, 4, 6))


def test_cut_not_squeezed():
    """A side that is too long is cut at both ends alike."""
    image = Image.new("L", (90, 30), 255)
    image.paste(0, (30, 0, 60, 30))
    assert int(of(image, 1, 10, 10)[:, :, 1:-1].max()) == 0


def test_antialiased():
    """What shrinks is averaged, not picked: a fine chequerboard is grey."""
    board = (
        torch.arange(64)
        .view(1, -1)
        .add(torch.arange(64).view(-1, 1))
        .remainder(2)
        .mul(255)
        .to(torch.uint8)
    )
    small = of(Image.fromarray(board.numpy()), 1, 8, 8)
    assert 120 <= int(small.min()) <= int(small.max()) <= 135


def test_a_large_jpeg_looks_like_its_png(tmp_path):
    """A JPEG far larger than the images wanted, which is decoded at less than its size, shows the same."""
    picture = Image.linear_gradient("L").resize((1600, 1200))
    picture.save(tmp_path / "x.jpg", quality=95)
    with Image.open(tmp_path / "x.jpg") as image:
        difference = of(image, 1, 32, 32).int() - of(picture, 1, 32, 32).int()
    assert int(difference.abs().max()) <= 2


def truncated(path):
    path.write_bytes(path.read_bytes()[:-30])


def corrupt(path):
    path.write_bytes(b"no image at all")


def bomb(path):
    """A PNG that says it is of 100,000 x 100,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(path.read_bytes()[:8] + chunk + path.read_bytes()[33:])


def floating(path):
    Image.new("F", (8, 8)).save(path, format="TIFF")


@pytest.mark.parametrize("extension", ["png", "jpg"])
@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (truncated, "truncated"),
        (corrupt, "it is no image of a known format"),
        (bomb, "decompression bomb"),
        (floating, "floating"),
    ],
)
def test_damaged(photos, damage, why, extension):
    """An image that is truncated, corrupt, a bomb or without a scale is named with its row, and nothing is cached."""
    path = photos / "train" / "dog" / f"03x.{extension}"
    save(path, size=(40, 40))
    if damage is bomb:
        path = save(photos / "train" / "dog" / "03x.png", size=(40, 40))
        (photos / "train" / "dog" / "03x.jpg").unlink(missing_ok=True)
    damage(path)
    with pytest.raises(IntegrityFailure) as failure:
        read(photos)
    assert failure.value.code == 6
    assert str(failure.value).startswith(f"image 16, train/dog/{path.name}, cannot be read (")
    assert why in str(failure.value)
    assert str(failure.value).endswith("): remove or replace it")
    assert [path.name for path in cache_folder().iterdir()] == [LOCK_FILE]


def test_rewritten_in_secret(tmp_path):
    """Images of the same sizes and times as before, but of another content, are read anew."""
    photos = write_folder(tmp_path / "photos", count=2, compress_level=0)
    paths = sorted(photos.rglob("*.png"))
    for path in paths:
        os.utime(path, (1e9, 1e9))
    before = read(photos)
    facts = [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    for number, path in enumerate(paths):
        save(path, seed=1000 + number, compress_level=0)
        os.utime(path, (1e9, 1e9))
    assert [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths] == facts
    assert not torch.equal(read(photos), before)


def test_said_before_memory_is_taken(photos, capsys):
    """One line tells what is decoded; what is in the cache is not told of, and off a terminal there is no bar."""
    read(photos)
    assert capsys.readouterr().err == "folder: 24 images of 3x8x8, 0 MB; decoding\n"
    read(photos)
    assert capsys.readouterr().err == ""


def test_too_large_for_memory(photos, monkeypatch):
    """Images that need more than the memory available are refused, with what they need and what to do."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2_000_000_000))
    with pytest.raises(UsageFailure) as failure:
        read(photos, 6000)
    what, _, remedy = str(failure.value).partition(": make them smaller: ")
    assert what == "folder: 24 images of 3x6000x6000 need 2,592 MB of 2,000 MB of memory available"
    assert remedy == "--image-size"


@pytest.fixture
def decoded(monkeypatch):
    """How many images were decoded."""
    count, pixels = [], decode.fit_to_shape

    def counted(*args):
        count.append(1)
        return pixels(*args)

    monkeypatch.setattr(decode, "fit_to_shape", counted)
    return count


def test_decoded_once(photos, decoded):
    """A second reading decodes nothing and sees the same."""
    first = read(photos)
    assert torch.equal(first, read(photos))
    assert len(decoded) == 24


@pytest.mark.parametrize(
    "change",
    [
        lambda root: save(root / "train" / "cat" / "00.png", 7),
        lambda root: (root / "train" / "cat" / "00.png").touch(),
        lambda root: (root / "train" / "cat" / "00.png").rename(root / "train" / "cat" / "000.png"),
        lambda root: save(root / "train" / "dog" / "99.png"),
    ],
)
def test_decoded_anew(photos, decoded, change):
    """A file that is changed, touched, renamed or added has all decoded anew."""
    read(photos)
    change(photos)
    found = read(photos)
    assert len(decoded) == 24 + len(found)
    with Image.open(Path(photos, scan_folder(str(photos)).files[0].path)) as image:
        assert torch.equal(found[0], of(image, 3, 8, 8))


def test_decoded_for_each_size(photos, decoded):
    """Each image size has its own cache."""
    assert [read(photos, size).shape[2] for size in (4, None, 4)] == [4, 8, 4]
    assert len(decoded) == 48


def test_some_rows(photos):
    """Only the rows that are wanted are there, in their order."""
    listing = scan_folder(str(photos))
    assert torch.equal(load(listing, [7, 2]), read(photos)[[7, 2]])


def test_an_image_of_another_format_is_refused(photos, monkeypatch):
    """An EPS named as a PNG starts no program: Pillow is not asked to try its format."""
    path = photos / "train" / "dog" / "x.png"
    Image.new("RGB", (8, 8)).save(path, format="EPS")
    started = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *given: started.append(given))
    with pytest.raises(IntegrityFailure, match=r"x\.png cannot be read"):
        decode.decode_file(path, (3, 8, 8))
    assert not started
