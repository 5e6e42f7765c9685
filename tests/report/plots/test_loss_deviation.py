import dataclasses

from support.records import make_record, make_result

from pipeline.report.plots.loss_deviation import deviation_alt, deviation_info


def test_deviation():
    """The deviations of both splits are told; a split of one batch, which has none, is left out."""
    result = make_result(0, 0.5)
    assert deviation_alt(deviation_info(make_record([result]))) == (
        "Deviation of the batches' losses of 1 trial after the last epoch; "
        "#0 cnn relu 0.1 in training and 0.0333 in validation."
    )
    history = tuple(
        dataclasses.replace(row, metrics={**row.metrics, "val/loss_std": 0.0})
        for row in result.history
    )
    single = dataclasses.replace(result, history=history)
    assert deviation_info(make_record([single])).splits == ["training"]
    assert deviation_info(make_record([make_result(0, 0.5, epochs=1)])) is None
