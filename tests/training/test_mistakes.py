"""The images that a network gets most wrong, and their thumbnails.

The mistakes are compared with a recomputation by hand and with the weights that are kept; the
thumbnails with the pixels of the images.
"""

import base64
import dataclasses
import io
import json
import math
from collections import Counter

import optuna
import pytest
import torch
from PIL import Image
from support import searches
from support.endtoend import pipeline, record
from support.trainings import run

from pipeline.checkpoints import load_model
from pipeline.data.search_data import load
from pipeline.stores import access, locations
from pipeline.training.metrics import Scores
from pipeline.training.mistakes import (
    CONFUSED_PAIRS,
    IMAGES_PER_PAIR,
    THUMBNAIL_SIDE,
    WORST_IMAGES,
    encode_thumbnail,
    encode_thumbnails,
    find_mistakes,
)
from pipeline.training.prepare import Prepare
from sweeps.analysis.ranking import find_best_trial
from sweeps.search.stored import read_record
from sweeps.trial import COMPLETE, FAILED, Mistake, TrialResult


def by_hand(logits, labels):
    """The same by plain Python: every wrong image, sorted, and the pairs counted."""
    wrong = []
    for image, (row, true) in enumerate(zip(logits.tolist(), labels.tolist(), strict=True)):
        predicted = row.index(max(row))
        total = math.fsum(math.exp(value - max(row)) for value in row)
        if predicted != true:
            loss = math.log(total) + max(row) - row[true]
            wrong.append((image, true, predicted, 1 / total, loss))
    wrong.sort(key=lambda one: (-one[4], one[0]))
    counts = Counter((true, predicted) for _, true, predicted, _, _ in wrong)
    pairs = sorted(counts, key=lambda pair: (-counts[pair], pair))[:CONFUSED_PAIRS]
    chosen = wrong[:WORST_IMAGES]
    for pair in pairs:
        of_pair = [one for one in wrong if one[1:3] == pair][:IMAGES_PER_PAIR]
        chosen += [one for one in of_pair if one not in chosen]
    return chosen


def scores_of(logits, labels, batch_size):
    """The scores that these logits are of."""
    classes = logits.shape[1]
    confusion = torch.bincount(labels * classes + logits.argmax(dim=1), minlength=classes**2).view(
        classes, classes
    )
    return Scores(1.0, confusion, logits=logits.split(batch_size))


def alike(found, expected):
    """Assert that these are the mistakes, in this order, with their figures to the 6 digits that are kept."""
    assert [one[:3] for one in found] == [one[:3] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.probability == pytest.approx(other[3], rel=1e-5)
        assert one.loss == pytest.approx(other[4], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 10, 200])
@pytest.mark.parametrize("batch_size", [7, 1000])
def test_as_by_hand(classes, batch_size):
    """They are those of a sorting by hand, whatever the classes and batches."""
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(400, classes, generator=generator) * 3
    labels = torch.randint(0, classes, (400,), generator=generator)
    found = find_mistakes(scores_of(logits, labels, batch_size), labels)
    alike(found, by_hand(logits, labels))
    assert WORST_IMAGES <= len(found) <= WORST_IMAGES + CONFUSED_PAIRS * IMAGES_PER_PAIR
    assert len({one.image for one in found}) == len(found)


def test_equal_losses_stand_in_the_order_of_the_images():
    """Of images that are equally wrong the earlier comes first, of equally frequent pairs that of the lower classes."""
    logits = torch.tensor([[2.0, 0.0, 0.0]] * 40 + [[0.0, 2.0, 0.0]] * 40)
    labels = torch.tensor([1, 2] * 20 + [0, 2] * 20)
    found = find_mistakes(scores_of(logits, labels, 16), labels)
    alike(found, by_hand(logits, labels))
    assert [one.image for one in found[:WORST_IMAGES]] == list(range(WORST_IMAGES))
    assert [one[:3] for one in found[WORST_IMAGES:]] == [
        *((image, 0, 1) for image in (40, 42, 44, 46)),
        *((image, 2, 1) for image in (41, 43, 45, 47)),
    ]


def test_without_mistakes():
    """A network that is always right has none, and neither has a split without images."""
    logits = torch.eye(4) * 9
    assert find_mistakes(scores_of(logits, torch.arange(4), 3), torch.arange(4)) == ()
    nothing = torch.zeros(0).long()
    assert find_mistakes(Scores(0.0, torch.zeros(4, 4).long()), nothing) == ()


@pytest.mark.parametrize(
    "values", [{}, {"family": "cnn"}, {"objective": "val_loss"}, {"eval_batch_size": 7}], ids=str
)
def test_those_of_the_weights_that_are_kept(values, tiny, tmp_path):
    """A trial's mistakes are those that its best epoch's weights make on the validation split."""
    result = run(tmp_path, tiny, **{"lr": 0.1, "epochs": 6, **values})
    assert result.state == COMPLETE
    network, card = load_model(tmp_path)
    prepare = Prepare(card.mean, card.std, torch.device("cpu"), "fp32")
    with torch.no_grad():
        parts = tiny.val.images.split(result.config.eval_batch_size)
        logits = torch.cat([network(prepare(images)) for images in parts])
    assert result.mistakes
    alike(result.mistakes, by_hand(logits, tiny.val.labels))
    assert TrialResult.from_dict(json.loads(result.to_json())) == result


def test_a_failed_trial_has_none(tiny, tmp_path):
    """Where there is no best epoch nothing is said of its images."""
    result = run(tmp_path, tiny, family="support.trainings:Unsound")
    assert (result.state, result.mistakes) == (FAILED, ())


def test_the_best_epoch_decides(tiny, tmp_path):
    """An epoch that is not better changes nothing: they stay those of the epoch whose weights are kept."""
    result = run(tmp_path / "a", tiny, lr=0.1, epochs=8)
    until = run(tmp_path / "b", tiny, lr=0.1, epochs=result.best_epoch)
    assert result.best_epoch < 8
    assert result.mistakes == until.mistakes


def test_a_result_of_an_earlier_version(tiny, tmp_path):
    """A result that was kept without them reads as one without."""
    result = run(tmp_path, tiny, epochs=1)
    kept = json.loads(result.to_json())
    del kept["mistakes"]
    assert TrialResult.from_dict(kept) == dataclasses.replace(result, mistakes=())


# Thumbnails


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
    storage = searches.memory()
    study = searches.begin(storage, trials=6)
    assert study.thumbnails_trial is None
    assert read_record(storage, "study").thumbnails == {}
    assert searches.run(study, searches.make_train(study)) == "done"
    found = find_best_trial(study.results(), study.ranking_rule).number
    thumbnails = {
        image: encode_thumbnail(torch.full((1, 2, 2), image, dtype=torch.uint8))
        for image in (3, 17)
    }
    texts = {image: base64.b64encode(png).decode() for image, png in thumbnails.items()}
    study.keep_thumbnails(found, texts)
    assert (study.thumbnails_trial, read_record(storage, "study").thumbnails) == (found, texts)
    study.keep_thumbnails(found + 1, {4: texts[3]})
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
    kept.set_user_attr("pictures", {"trial": 99, "images": dict(whole.thumbnails)})
    assert record(folder, "tiny-digits").thumbnails == {}
    assert pipeline("sweep", "tiny.yaml") == 0
    assert check(folder, "tiny-digits").thumbnails == whole.thumbnails
