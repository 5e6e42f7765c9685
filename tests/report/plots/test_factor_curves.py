import pytest
from support.records import DROPOUT, LR, POINTS, repeated_study

from pipeline.report.plots.factor_curves import factor_curves_alt, factor_curves_info


def test_curves_of_a_factor():
    """All values of a field lie over one another, numbers by size, each the mean over its seeds."""
    record = repeated_study(POINTS, (LR, DROPOUT), method="one_factor")
    info = factor_curves_info(record)
    for field in info.fields:
        values = [float(one.value) for one in field.values]
        assert values == sorted(set(values))
        assert len(values) > 1
        for one, value in zip(field.values, values, strict=True):
            at_value = [
                result
                for result in record.results
                if getattr(result.config, field.field) == value
                and record.at_centre(result.config, ignoring=field.field)
            ]
            assert one.trials == len(at_value)
            for key, curve in one.curves.items():
                lasts = [result.history[-1].metrics[key] for result in at_value]
                assert curve[-1] == pytest.approx(sum(lasts) / len(lasts))
    assert {field.field for field in info.fields} == {"lr", "dropout"}
    assert "by lr: " in factor_curves_alt(info)


def test_no_curves_of_fields_that_change_together():
    """A grid of two fields has no value whose curve is its own."""
    assert factor_curves_info(repeated_study(POINTS, (LR, DROPOUT), method="grid")) is None
