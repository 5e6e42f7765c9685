"""Random changes move or hide pixels, each image's its own, and invent nothing."""

import itertools

import pytest
import torch

from pipeline.training.augment import Augmentation, augment, jitter_colors, turn
from sweeps.trial import AUGMENTATIONS, configure, parse_augmentation

PARTS = [parts for n in range(1, 4) for parts in itertools.combinations(AUGMENTATIONS, n)]
SHAPES = [(1, 1), (1, 9), (2, 2), (3, 5), (7, 8), (8, 8), (28, 28), (33, 17)]

every_part = pytest.mark.parametrize("part", AUGMENTATIONS)


def images(count=16, channels=3, height=16, width=16):
    """Images without a black pixel, each row and column of its own."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(
        1, 200, (count, channels, height, width), dtype=torch.uint8, generator=generator
    )


def colour(channels=3):
    """A colour that no image has."""
    return torch.arange(201, 201 + channels).to(torch.uint8)


def changed(x, *parts, seed=0):
    torch.manual_seed(seed)
    return augment(x, parts, colour(x.shape[1]))


def shifted(image, down, right):
    """The image moved, black where nothing was."""
    height, width = image.shape[1:]
    padded = torch.nn.functional.pad(image, (8, 8, 8, 8))
    return padded[:, 8 + down : 8 + down + height, 8 + right : 8 + right + width]


def filled(image):
    """The rows and the columns of an image where the colour is."""
    places = (image == colour(len(image)).view(-1, 1, 1)).all(dim=0)
    return (
        places.any(dim=1).nonzero().flatten().tolist(),
        places.any(dim=0).nonzero().flatten().tolist(),
        places,
    )


@pytest.mark.parametrize("parts", PARTS, ids="-".join)
@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shape(parts, height, width, channels):
    """Images of any shape, down to one pixel, keep shape and type, and those given are left as they are."""
    x = images(5, channels, height, width)
    before = x.clone()
    y = changed(x, *parts)
    assert (y.shape, y.dtype) == (x.shape, torch.uint8)
    assert x.equal(before)


@pytest.mark.parametrize("parts", PARTS, ids="-".join)
def test_seed(parts):
    """Torch's global seed decides the change, and another seed makes another."""
    x = images()
    assert changed(x, *parts, seed=1).equal(changed(x, *parts, seed=1))
    assert not changed(x, *parts, seed=1).equal(changed(x, *parts, seed=2))


@every_part
def test_each_image_its_own(part):
    """Copies of one image in one batch are changed differently."""
    y = changed(images(1).expand(32, -1, -1, -1), part)
    assert len({bytes(image.flatten().tolist()) for image in y}) > 1


@pytest.mark.parametrize("parts", PARTS, ids="-".join)
def test_no_new_colours(parts):
    """Every pixel is one of the image's own, black, or the colour of cut-outs, in all its channels together."""
    x = images()
    for image, other in zip(x, changed(x, *parts), strict=True):
        own = {tuple(pixel) for pixel in image.flatten(1).T.tolist()}
        allowed = own | ({(0, 0, 0)} if "crop" in parts else set())
        allowed |= {tuple(colour().tolist())} if "cutout" in parts else set()
        assert {tuple(pixel) for pixel in other.flatten(1).T.tolist()} <= allowed


@pytest.mark.parametrize(("height", "width"), [(16, 16), (7, 24), (9, 8)])
def test_crop(height, width):
    """A crop moves an image by at most an eighth of each side, every such move occurring; black comes in behind it."""
    x = images(400, 2, height, width)
    most = (height // 8, width // 8)
    moves = list(itertools.product(*(range(-m, m + 1) for m in most)))
    seen = set()
    for image, other in zip(x, changed(x, "crop"), strict=True):
        fits = [move for move in moves if other.equal(shifted(image, *move))]
        assert len(fits) == 1
        seen.update(fits)
    assert seen == set(moves)


def test_flip():
    """A flip is the exact mirror image, left and right; about half of the images are mirrored, the others untouched."""
    x = images(1000, 3, 5, 7)
    y = changed(x, "flip")
    mirrored = [other.equal(image.flip(2)) for image, other in zip(x, y, strict=True)]
    same = [other.equal(image) for image, other in zip(x, y, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 430 < sum(mirrored) < 570


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 9), (6, 20), (3, 3), (2, 2)])
def test_cutout(height, width):
    """A cut-out fills half the height and width with the colour around any place, cut off at the borders, no more."""
    x = images(400, 3, height, width)
    sides = set()
    for image, other in zip(x, changed(x, "cutout"), strict=True):
        rows, columns, places = filled(other)
        assert other[:, ~places].equal(image[:, ~places])
        assert places.sum() == len(rows) * len(columns)
        assert rows == list(range(rows[0], rows[-1] + 1))
        assert columns == list(range(columns[0], columns[-1] + 1))
        sides.add((len(rows), len(columns)))
    assert max(sides) == (height // 2, width // 2)
    assert max(columns for _, columns in sides) == width // 2
    assert (min(sides) < max(sides)) == (max(height, width) > 3)


def test_one_pixel_is_not_cut_out():
    """An image of one pixel, half of which is none, keeps it."""
    x = images(50, 3, 1, 1)
    assert changed(x, "crop", "cutout").equal(x)


def test_together():
    """A cropped and flipped image is a mirror image of a moved one; the cut-out lies over that."""
    x = images(60)
    for image, other in zip(x, changed(x, "crop", "flip", "cutout"), strict=True):
        _, _, hidden = filled(other)
        moves = itertools.product(range(-2, 3), range(-2, 3), (False, True))
        moved = (
            shifted(image.flip(2) if mirror else image, down, right)
            for down, right, mirror in moves
        )
        assert any(other[:, ~hidden].equal(candidate[:, ~hidden]) for candidate in moved)


def test_nothing():
    """Without parts an image is left as it is, and no random number is drawn."""
    x = images()
    torch.manual_seed(0)
    expected = torch.rand(1)
    assert changed(x).equal(x)
    assert torch.rand(1).equal(expected)


@pytest.mark.parametrize("parts", PARTS, ids="-".join)
def test_order_of_the_parts(parts):
    """The order in which the parts are named does not count."""
    x = images()
    for order in itertools.permutations(parts):
        assert changed(x, *parse_augmentation("-".join(order))).equal(changed(x, *parts))


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_turned_and_coloured_images_keep_their_shape(height, width, channels):
    """Images of any shape can be turned and coloured; those given stay as they are."""
    x = images(5, channels, height, width)
    before = x.clone()
    for y in (turn(x, 30, 0.2), jitter_colors(x, 0.4)):
        assert (y.shape, y.dtype) == (x.shape, torch.uint8)
    assert x.equal(before)


def test_no_turn_and_no_jitter_change_nothing():
    """At zero degrees, zoom and strength, the pixels are those that were given."""
    x = images()
    assert turn(x, 0, 0).equal(x)
    assert jitter_colors(x, 0).equal(x)


def test_a_quarter_turn(monkeypatch):
    """Turned by 90 degrees, a square image is what `rot90` makes of it; an oblong one is not sheared."""
    monkeypatch.setattr(torch, "rand", lambda *size: torch.ones(size))
    x = images(2, 3, 9, 9)
    assert turn(x, 90, 0).equal(torch.rot90(x, -1, (2, 3))) or turn(x, 90, 0).equal(
        torch.rot90(x, 1, (2, 3))
    )
    oblong = torch.zeros(1, 1, 21, 41, dtype=torch.uint8)
    oblong[:, :, 10, 15:26] = 255  # a line of 11 pixels
    assert (turn(oblong, 90, 0) > 127).sum() == 11


def test_jitter_stays_within_its_strength(monkeypatch):
    """The largest change of brightness is the strength; a grey image stays grey."""
    monkeypatch.setattr(torch, "rand", lambda *size: torch.ones(size))
    x = torch.full((1, 3, 4, 4), 100, dtype=torch.uint8)
    assert jitter_colors(x, 0.2).unique().tolist() == [120]


FUNCTION = """
import torch


def darker(images, generator):
    return images // 2


def noisy(images, generator):
    noise = torch.randint(0, 50, images.shape, generator=generator)
    return (images + noise).clamp(0, 255).to(torch.uint8)


def floats(images, generator):
    return images / 255


def smaller(images, generator):
    return images[:, :, 1:]
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """A folder with a file of functions."""
    (tmp_path / "changes.py").write_text(FUNCTION)
    monkeypatch.chdir(tmp_path)


def by_function(name, x, seed=0):
    torch.manual_seed(seed)
    return Augmentation(configure({"augment": f"changes.py:{name}"}), colour())(x)


@pytest.mark.usefixtures("functions")
def test_a_function_of_ones_own():
    """A function of the user's changes the images, by a generator that the epoch's seed decides."""
    x = images()
    assert by_function("darker", x).equal(x // 2)
    assert by_function("noisy", x).equal(by_function("noisy", x))
    assert not by_function("noisy", x).equal(by_function("noisy", x, seed=1))


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize(
    ("name", "message"),
    [("floats", "uint8 images.*float32"), ("smaller", "shape"), ("missing", "missing")],
)
def test_a_function_that_returns_something_else(name, message):
    """What a function returns is checked."""
    with pytest.raises(ValueError, match=message):
        by_function(name, images())
