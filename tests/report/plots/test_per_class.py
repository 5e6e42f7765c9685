import dataclasses

import numpy as np
from support.records import make_record, make_result

from pipeline.report.plots.per_class import per_class_alt, per_class_info


def _with_accuracies(result, per_class):
    """A trial with the given accuracies of classes at its last epoch."""
    *before, last = result.history
    last = dataclasses.replace(last, per_class=per_class)
    return dataclasses.replace(result, history=(*before, last))


def test_per_class():
    """At most ten trials are shown, with the class names; a class without images has no number."""
    results = [make_result(i, 0.05 * i, lr=0.01 + i / 100, classes=3) for i in range(12)]
    results[11] = _with_accuracies(results[11], (0.5, None, 1.0))
    info = per_class_info(make_record(results, classes=("ant", "bee", "cat")))
    assert info.classes == ["ant", "bee", "cat"]
    assert [words[0] for words in info.trials] == [f"#{i}" for i in range(11, 1, -1)]
    np.testing.assert_equal(info.accuracy[:, 0], [0.5, np.nan, 1.0])


def test_per_class_in_words():
    """The text alternative names the hardest classes."""
    result = _with_accuracies(make_result(0, 0.9, classes=3), (0.75, None, 0.5))
    record = make_record([result], classes=("ant", "bee\x1b[1m", "cat"))
    assert per_class_alt(per_class_info(record)) == (
        "3 classes in 1 trial; #0 cnn: from 50.0 % (cat) to 75.0 %; "
        "lowest on average: cat 50.0 %, ant 75.0 %."
    )
