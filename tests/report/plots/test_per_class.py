import dataclasses

import numpy as np
from support.records import make_record, make_result

from pipeline.report.plots.per_class import per_class_alt, per_class_info


def test_per_class():
    """Ten trials at most stand beside the true class names; a class without images has no number."""
    results = [make_result(i, 0.05 * i, lr=0.01 + i / 100, classes=3) for i in range(12)]
    last = results[11].history[-1]
    history = (*results[11].history[:-1], dataclasses.replace(last, per_class=(0.5, None, 1.0)))
    results[11] = dataclasses.replace(results[11], history=history)
    info = per_class_info(make_record(results, classes=("ant", "bee", "cat")))
    assert info.classes == ["ant", "bee", "cat"]
    assert [words[0] for words in info.trials] == [f"#{i}" for i in range(11, 1, -1)]
    np.testing.assert_equal(info.accuracy[:, 0], [0.5, np.nan, 1.0])


def test_per_class_in_words():
    """The text alternative names the classes that do worst."""
    result = make_result(0, 0.9, classes=3)
    last = dataclasses.replace(result.history[-1], per_class=(0.75, None, 0.5))
    result = dataclasses.replace(result, history=(*result.history[:-1], last))
    record = make_record([result], classes=("ant", "bee\x1b[1m", "cat"))
    assert per_class_alt(per_class_info(record)) == (
        "3 classes in 1 trial; #0 cnn: from 0.500 (cat) to 0.750; "
        "lowest on average: cat 0.500, ant 0.750."
    )
