"""Short names of configurations."""

from support.records import make_record, make_result

from sweeps.analysis.naming import config_text
from sweeps.spec.dimension import Dimension

LR = Dimension(field="lr", choices=(0.01, 0.1, 1.0))


def test_configurations_are_named_by_what_varies():
    """A configuration's short name has the fields that vary and apply; without any it is its trial."""
    results = [
        make_result(0, 0.9, lr=0.1, family="mlp"),
        make_result(1, 0.8, lr=0.1, family="cnn", batch_norm=True),
    ]
    dimensions = [
        LR,
        *(Dimension(field=name, choices=("a", "b")) for name in ("family", "batch_norm")),
    ]
    fields = make_record(results, dimensions=dimensions).varied_fields
    assert "lr" not in fields
    assert config_text(results[1], ("family", "batch_norm", "momentum")) == "cnn, batch_norm true"
    assert config_text(results[1], ()) == "trial 1"
