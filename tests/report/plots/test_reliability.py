from support.records import make_record, make_result

from pipeline.report.plots.reliability import reliability_alt, reliability_info
from sweeps.trial import ConfidenceBin

BINS = (*[ConfidenceBin(0, 0, 0.0)] * 13, ConfidenceBin(30, 24, 27.0), ConfidenceBin(70, 63, 67.9))


def test_reliability():
    """The winner's calibration is told in words, with the interval that holds most images."""
    record = make_record([make_result(3, 0.87, confidences=BINS), make_result(4, 0.5)])
    assert reliability_alt(reliability_info(record)) == (
        "#3 cnn relu on 100 validation images: expected calibration error 7.90 points in 15 equal "
        "intervals; on average too sure by 7.90 points; 70 images with a mean probability of 97.0 %: "
        "90.0 % right."
    )
    assert reliability_info(make_record([make_result(3, 0.87)])) is None
