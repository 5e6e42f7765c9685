"""Pictures of what the best trial gets wrong: true to the pixels, kept with the study, and only of that trial."""

import base64
import io

import optuna
import pytest
import torch
from PIL import Image
from support.endtoend import pipeline, record
from support.searches import begin, make_train, memory, run

from pipeline.data.search_data import load
from pipeline.stores import access, locations
from pipeline.training.mistakes import THUMBNAIL_SIDE, encode_thumbnail, encode_thumbnails
from sweeps.analysis.ranking import find_best_trial
from sweeps.search.stored import read_record
from sweeps.trial import Mistake


def decoded(data):
    """The pixels of a PNG file: uint8 (channels, height, width)."""
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    pixels = torch.tensor(list(picture.tobytes()), dtype=torch.uint8)
    return pixels.view(picture.height, picture.width, -1).permute(2, 0, 1)


def noise(*shape):
    return torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "size",
    [(8, 8), (28, 28), (5, 9), (1, 1), (THUMBNAIL_SIDE, THUMBNAIL_SIDE), (THUMBNAIL_SIDE, 7)],
)
def test_png(channels, size):
    """A picture has the image's own pixels, grey or coloured, of any shape."""
    image = noise(channels, *size)
    assert torch.equal(decoded(encode_thumbnail(image)), image)


@pytest.mark.parametrize(
    ("size", "shown"), [((200, 100), (96, 48)), ((97, 97), (96, 96)), ((1, 4000), (1, 96))]
)
def test_a_large_image_is_shrunk(size, shown):
    """The picture of a large image is smaller, in its proportions."""
    assert decoded(encode_thumbnail(noise(3, *size))).shape == (3, *shown)


def test_pictures():
    """Each image that was mistaken has its picture under its own index, as text."""
    images = noise(9, 1, 8, 8)
    found = encode_thumbnails([Mistake(7, 1, 2, 0.9, 3.0), Mistake(2, 1, 0, 0.8, 2.0)], images)
    assert list(found) == [7, 2]
    for index, text in found.items():
        assert torch.equal(decoded(base64.b64decode(text)), images[index])


def test_only_the_best_trials_pictures_are_read():
    """Pictures of a trial that is the best no more are not shown; those of another take their place."""
    storage = memory()
    study = begin(storage, trials=6)
    assert study.thumbnails_trial is None
    assert read_record(storage, "study").thumbnails == {}
    assert run(study, make_train(study)) == "done"
    found = find_best_trial(study.results()).number
    study.keep_thumbnails(found, {3: "abc", 17: "def"})
    assert (study.thumbnails_trial, read_record(storage, "study").thumbnails) == (
        found,
        {3: "abc", 17: "def"},
    )
    study.keep_thumbnails(found + 1, {4: "ghi"})
    assert (study.thumbnails_trial, read_record(storage, "study").thumbnails) == (found + 1, {})


def check(folder, name):
    """Assert that the pictures of a study are the validation images that its best trial is wrong about."""
    found = record(folder, name)
    winner = found.best_trial
    images = load("digits", folder).val.images
    assert list(found.thumbnails) == [mistake.image for mistake in winner.mistakes]
    for index, text in found.thumbnails.items():
        assert torch.equal(decoded(base64.b64decode(text)), images[index])
    return found


@pytest.mark.slow
def test_a_sweep_keeps_them(folder):
    """A sweep keeps the best trial's, also where less is better and trials repeat; where one died too early, the next.

    An earlier process may have ended the best trial, and died with the pictures of another one in their place.
    """
    study = (folder / "tiny.yaml").read_text() + "objective: val_loss\n"
    study = study.replace("lr: {low: 1.0e-3, high: 1.0e-2, log: true}", "lr: [1.0e-3, 1.0e-2]")
    (folder / "tiny.yaml").write_text(study.replace("trials: 5", "trials: 8"))
    assert pipeline("sweep", "tiny.yaml") == 0
    whole = check(folder, "tiny-digits")
    assert whole.thumbnails
    assert not whole.maximize
    assert any(result.duplicate_of is not None for result in whole.results)
    storage = access.open_studies(locations.locate())
    kept = optuna.load_study(storage=storage, study_name="tiny-digits")
    kept.set_user_attr("pictures", {"trial": 99, "images": {"1": "abc"}})
    assert record(folder, "tiny-digits").thumbnails == {}
    assert pipeline("sweep", "tiny.yaml") == 0
    assert check(folder, "tiny-digits").thumbnails == whole.thumbnails
