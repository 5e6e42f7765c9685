import dataclasses

import numpy as np
from support.records import make_record, make_result

from pipeline.report.plots.confusion import confusion_alt, confusion_info, draw_confusion


def test_confusion():
    """The best trial's counts are shown; a class without images has no shares."""
    worse = make_result(0, 0.2, classes=3, with_confusion=True)
    better = dataclasses.replace(
        make_result(1, 0.9, lr=0.1), confusion=((3, 1, 0), (0, 0, 0), (0, 2, 2))
    )
    info = confusion_info(make_record([worse, better], classes=("ant", "bee", "cat")))
    assert info.trial == "#1 cnn relu"
    assert info.counts.tolist() == [[3, 1, 0], [0, 0, 0], [0, 2, 2]]
    image = draw_confusion(info).axes[0].images[0].get_array()
    np.testing.assert_allclose(image[0], [0.75, 0.25, 0])
    assert np.isnan(image.filled(np.nan)[1]).all()


def test_classes_without_names():
    """If the number of names does not match, classes are numbered, never named wrongly."""
    record = make_record(
        [make_result(0, 0.9, classes=3, with_confusion=True)], classes=("ant", "bee")
    )
    assert confusion_info(record).classes == ["0", "1", "2"]


def test_confusion_in_words():
    """The text alternative tells which classes are taken for which, and how often."""
    result = dataclasses.replace(
        make_result(0, 0.9, classes=3), confusion=((3, 1, 0), (0, 0, 0), (0, 2, 2))
    )
    record = make_record([result], classes=("ant", "bee\x1b[1m", "cat"))
    assert confusion_alt(confusion_info(record)) == (
        "Trial #0 cnn relu of test: 5 of 8 images right; "
        "cat taken for bee (2 times), ant taken for bee (1 time)."
    )
