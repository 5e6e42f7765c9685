"""Study files are read whole, or refused with every error and its line."""

import io
import math
import re
from importlib import resources

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.studyfiles import outcome

from sweeps.spec.configurations import total_trials
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import Finalists, StudySpec
from sweeps.spec.studyfile import StudyFileError, parse_study
from sweeps.trial import config_fields

DEFAULT = resources.files("sweeps.studies").joinpath("default.yaml").read_text("utf-8")


def errors(text, **options):
    """The lines of what is wrong with a study file, without its label."""
    with pytest.raises(StudyFileError) as error:
        parse_study(text, "study.yaml", **options)
    lines = str(error.value).splitlines()
    assert all(line.startswith(("study.yaml:", "command line: ")) for line in lines)
    return [line.removeprefix("study.yaml:") for line in lines]


# Each file with one mistake, and the line it is reported with.
MALFORMED = [
    (
        "trails: 3\nsearch: {lr: [1, 2]}",
        "1: unknown key 'trails'; did you mean trials? known: description,",
    ),
    (
        "search:\n  lr: [1, 2]\n  momentun: [0.5]",
        "3: unknown key 'search.momentun'; did you mean momentum?",
    ),
    (
        "search: {lr: [1, 2]}\nfixed:\n  dropuot: 0.5",
        "3: unknown key 'fixed.dropuot'; did you mean dropout?",
    ),
    ("search: {lr: [1, 2]}\nfixed:\n  epochs: 5", "3: unknown key 'fixed.epochs'; "),
    ("search:\n  seed: [1, 2]", "2: unknown key 'search.seed'; known: family,"),
    (
        "search:\n  lr: [1, 2]\nstart_with:\n  - {lr: 1}\n  - {lrr: 1}",
        "5: unknown key 'start_with.1.lrr'; did you mean lr?",
    ),
    (
        "method: tpee\nsearch: {lr: [1, 2]}",
        "1: method is unknown: 'tpee'; did you mean tpe? known: tpe, gp, random, grid",
    ),
    ("\nobjective: acc\nsearch: {lr: [1, 2]}", "2: objective is unknown: 'acc'; "),
    (
        "search: {lr: [1, 2]}\npruner: no",
        "2: pruner is unknown: 'no'; did you mean none? known: asha, median, none",
    ),
    (
        "search: {lr: [1, 2]}\nfolds: 5\nrepeats: 3",
        "3: folds 5 makes as many repeats: leave out repeats: got 3",
    ),
    (
        "split_seeds: 5\nsearch: {lr: [1, 2]}\nfolds: 5",
        "3: split_seeds and folds both redraw train and validation: give one",
    ),
    ("folds: 1\nsearch: {lr: [1, 2]}", "1: folds must be greater than or equal to 2: got 1"),
    ("split_seeds: 101\nsearch: {lr: [1, 2]}", "1: split_seeds must be less than or equal to 100"),
    (
        "search: {lr: [1, 2]}\nfixed:\n  redraw: draw-1",
        "3: unknown key 'fixed.redraw'; ",
    ),
    ("search: {lr: [1, 2]}\ntrials: 0", "2: trials must be greater than or equal to 1: got 0"),
    (
        "search: {lr: [1, 2]}\ntrials: 1000000",
        "2: trials must be less than or equal to 100000: got 1000000",
    ),
    ("search: {lr: [1, 2]}\nepochs: ten", "2: epochs must be a whole number: got 'ten'"),
    ("search: {lr: [1, 2]}\nepochs: 1.5", "2: epochs must be a whole number: got 1.5"),
    ("search: {lr: [1, 2]}\nrepeats: true", "2: repeats must be a whole number: got True"),
    ("search: {lr: [1, 2]}\nseed: -1", "2: seed must be greater than or equal to 0: got -1"),
    ("search: {lr: [1, 2]}\ndescription: 3", "2: description must be string: got 3"),
    (
        "search: {lr: [1, 2]}\nfixed:\n  optimizer: sdg",
        "3: optimizer is unknown: 'sdg'; did you mean sgd? known: sgd,",
    ),
    (
        "search: {lr: [1, 2]}\nfixed:\n  batch_norm: no",
        "3: batch_norm must be true or false: got 'no'",
    ),
    ("search: {lr: [1, 2]}\nfixed:\n  dropout: 1", "3: dropout must be from 0 to 0.95: got 1"),
    ("search: {lr: [1, 2]}\nfixed:\n  width: .nan", "3: width must be a whole number: got nan"),
    ("search: {lr: [1, 2]}\nfixed: [adam]", "2: fixed must be a mapping: got ['adam']"),
    ("search: [lr]", "1: search must be a mapping: got ['lr']"),
    ("search: {lr: [1, 2]}\nstart_with: {lr: 1}", "2: start_with must be a list: got {'lr': 1}"),
    (
        "search:\n  family: [mlp, resnett]",
        "2: family is unknown: 'resnett'; did you mean resnet? known: mlp, cnn,",
    ),
    ("search:\n  family: [no.such:Net]", "2: cannot load 'no.such:Net': No module named 'no'"),
    (
        "search:\n  layer_order: [conv-act]",
        "2: layer_order must hold each of conv, norm, act, drop, pool once",
    ),
    (
        "search:\n  lr:\n    low: 1\n    high: 0.1\n    log: true",
        "2: lr: low must be below high: got 1 and 0.1",
    ),
    (
        "search:\n  lr: {low: 1.0e-4, hi: 1}",
        "2: lr has an unknown key 'hi'; did you mean high? known: choices,",
    ),
    (
        "search:\n\n  lr: 0.1",
        "3: lr must be a list of values or a range {low: ..., high: ...}: got 0.1",
    ),
    (
        "search:\n  lr: {low: 1, high: 2, when: {optimiser: sgd}}",
        "2: when names an unknown field 'optimiser'; did you mean optimizer?",
    ),
    (
        "search:\n  lr: [1, 2]\n  dropout: [0.1, 0.2]\nfixed: {lr: 1}",
        "2: lr is both fixed and searched: take it out of one",
    ),
    (
        "search:\n  epochs: [1, 2]\n  lr:\n    - {choices: [1]}\n    - {choices: [2]}",
        "3: lr is given several times under one condition",
    ),
    (
        "search:\n  epochs: {choices: [1], when: {schedule: none}}\n  schedule: {choices: [none], when: {epochs: 1}}",
        "1: conditions run in a circle: epochs, schedule",
    ),
    (
        "method: grid\nsearch:\n  lr: {low: 1, high: 2}",
        "2: lr needs a list of values or a step to be laid out as a grid",
    ),
    (
        "method: grid\nsearch: {epochs: {low: 1, high: 10000}, width: {low: 1, high: 8192}}",
        "2: the grid has over 100,000 trials: give trials, or fewer values",
    ),
    ("epochs: 3", "1: nothing is searched: give search at least one field"),
    ("epochs: 3\nsearch:", "2: nothing is searched: give search at least one field"),
    (
        "search: {lr: [1, 2]}\nstart_with:\n  - {lr: 1}\n  - {lr: 3}",
        "4: lr 3.0 is not among what is searched: 1.0, 2.0",
    ),
    (
        "search: {lr: [1, 2]}\nstart_with:\n  - {lr: 1}\n  - epochs: 9\n    lr: 2",
        "4: epochs 9 is not searched: every such trial has 10",
    ),
    (
        "search: {momentum: [0.5, 0.9]}\nfixed: {optimizer: sgd}\nstart_with:\n  - {optimizer: adam}",
        "4: optimizer adam is not searched: every such trial has sgd",
    ),
    ("dataset: digitz\nsearch: {lr: [1, 2]}", "1: digitz: no such data set"),
    ("search:\n  lr: [1, 2]\n  lr: [3]", "3: 'lr' is given twice, first on line 2"),
    (
        "search: &s\n  lr: [1, 2]\nfixed: *s",
        "3: aliases (*name) are not allowed: write the value out",
    ),
    ("search:\n\tlr: [1, 2]", "2: found character '\\t' that cannot start any token"),
    ("search:\n  lr: [1, 2", "2: expected ',' or ']', but got '<stream end>'"),
    ("", "1: must be a mapping of keys to values"),
    ("- search", "1: must be a mapping of keys to values"),
    ("search: {lr: [1, 2]}\n7: 8", "2: a key must be a word: got 7"),
]


def check_dataset(name):
    if name != "digits":
        raise ValueError(f"{name}: no such data set")


@pytest.mark.parametrize(("text", "expected"), MALFORMED)
def test_malformed(text, expected):
    """A mistake is one line with the number of its own, the rule, the value, and the nearest name."""
    (line,) = errors(text, check_dataset=check_dataset)
    assert line.startswith(expected)


def test_all_at_once():
    """Every mistake is told at once, in the order of the lines."""
    text = """\
trails: 5
method: best
search:
  lr: {low: 1, high: 0.5}
  activation: [rleu]
fixed:
  batch_size: 0
start_with:
  - {widht: 3}
"""
    assert [re.match(r"\d+: \S+", line).group() for line in errors(text)] == [
        "1: unknown",
        "2: method",
        "4: lr:",
        "5: activation",
        "7: batch_size",
        "9: unknown",
    ]


def test_conflicts_all_at_once():
    """What no single value shows is told at once as well."""
    text = "dataset: x\nsearch:\n  lr: [1, 2]\n  width: [8]\nfixed: {lr: 1, width: 9}\nstart_with:\n  - {lr: 7}\n"
    assert [line.split(":")[0] for line in errors(text, check_dataset=check_dataset)] == [
        "1",
        "3",
        "4",
        "7",
    ]


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ("{lr: {low: 0.01, high: 0.1}, batch_size: [32, 64]}", None),
        ("{family: [mlp, cnn], lr: [0.01, 0.1], dropout: {low: 0, high: 0.5}}", None),
        (
            "{family: [mlp, cnn], layer_order: [conv-norm-act-pool-drop]}",
            "layer_order .* family mlp",
        ),
        (
            "{optimizer: [sgd, adam], momentum: {low: 0.5, high: 0.9}}",
            "momentum does not apply to optimizer adam",
        ),
        (
            "{depth: {low: 1, high: 3}, width: [{choices: [8, 16], when: {depth: [1, 2]}}]}",
            r"width \[depth=1\|2\] does not apply to depth 3",
        ),
    ],
)
def test_gp_takes_no_conditions(search, problem):
    """A Gaussian process is for fields that all trials have; one that some lack is named."""
    text = f"method: gp\nsearch: {search}\n"
    if problem is None:
        assert parse_study(text, "test.yaml").method == "gp"
    else:
        (line,) = errors(text)
        assert re.match(f"1: gp takes no conditions, and {problem}", line)


def test_a_list_takes_no_warm_start():
    """Methods that list all their trials take none from earlier studies."""
    (line,) = errors("method: grid\nwarm_start: [other]\nsearch: {lr: [0.01]}\n")
    assert line == "2: grid lists all its trials, and takes no warm_start: leave it out"


def test_default_study():
    """The study that 0.1.0 searched by default stays: every family on the digits, with conditional widths."""
    spec = parse_study(DEFAULT, "default", check_dataset=check_dataset)
    assert (spec.dataset, spec.method, spec.pruner, total_trials(spec)) == (
        "digits",
        "tpe",
        "asha",
        24,
    )
    assert spec.fixed.schedule == "cosine"
    assert [start["family"] for start in spec.starts] == ["cnn", "mlp", "resnet"]
    assert spec.dimensions[0] == Dimension(field="family", choices=("mlp", "cnn", "resnet"))
    assert {"width [family=mlp]", "width [family=cnn]"} <= {d.key for d in spec.dimensions}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trials", 3),
        ("epochs", 2),
        ("dataset", "mnist"),
        ("method", "random"),
        ("pruner", "none"),
        ("seed", 5),
    ],
)
def test_overrides(name, value):
    """A value of the command line stands in place of the file's, and None leaves the file's."""
    spec = parse_study(DEFAULT, "default")
    assert (
        getattr(parse_study(DEFAULT, "default", overrides={name: value}), name)
        == value
        != getattr(spec, name)
    )
    assert parse_study(DEFAULT, "default", overrides={name: None}) == spec


def test_override_is_checked():
    """A wrong value of the command line is refused as one of the file is."""
    assert errors("trials: 3\nmethod: tpe\nsearch: {lr: [1]}", overrides={"method": "girds"}) == [
        (
            "command line: method is unknown: 'girds'; did you mean grid? "
            "known: tpe, gp, random, grid, zip, one_factor, ablate"
        )
    ]
    assert errors("search: {lr: [1, 2]}", overrides={"trials": 0}) == [
        "command line: trials must be greater than or equal to 1: got 0"
    ]
    assert errors("search: {lr: [1, 2]}", overrides={"set": {"momentun": "1"}})[0].startswith(
        "command line: unknown key 'fixed.momentun'; did you mean momentum?"
    )
    assert errors("search: {lr: [1, 2]}", overrides={"set": {"epochs": "-"}}) == [
        "command line: epochs must be a whole number: got '-'"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{top: 0}", "finalists.top must be greater than or equal to 1: got 0"),
        ("{seeds: 1.5}", "finalists.seeds must be a whole number"),
        ("{seed: 3}", "unknown key 'finalists.seed'; did you mean seeds"),
        ("3", "finalists must be a mapping"),
        ("{folds: 5, seeds: 3}", "folds 5 makes as many seeds: leave out seeds: got 3"),
        ("{folds: 5, split_seeds: 3}", "split_seeds and folds both redraw train and validation"),
        ("{folds: 1}", "finalists.folds must be greater than or equal to 2: got 1"),
    ],
)
def test_finalists_with_mistakes(text, expected):
    """What finalists cannot be is refused with the place and the rule."""
    (line,) = errors(f"search: {{lr: [1, 2]}}\nfinalists: {text}")
    assert line.startswith(f"2: {expected}")


def test_finalists_have_defaults():
    """Without the key there are none; an empty mapping is three with three seeds."""
    assert parse_study("search: {lr: [1, 2]}", "test").finalists is None
    text = "search: {lr: [1, 2]}\nfinalists: {}"
    assert parse_study(text, "test").finalists == Finalists(top=3, seeds=3)
    text = "search: {lr: [1, 2]}\nfinalists: {folds: 5}"
    assert parse_study(text, "test").finalists == Finalists(top=3, seeds=5, folds=5)


@pytest.mark.parametrize("key", ["search", "fixed", "start_with"])
def test_set_takes_no_sections(key):
    """A whole section cannot be set in one word: it is refused, not ignored."""
    (line,) = errors("search: {lr: [1, 2]}", overrides={"set": {key: "lr"}})
    assert line.startswith(f"command line: unknown key 'fixed.{key}'; ")


def test_families():
    """Families of the command line are what is searched, and starts of other ones go."""
    spec = parse_study(DEFAULT, "default", overrides={"families": ["resnet", "mlp"]})
    assert spec.dimensions[0] == Dimension(field="family", choices=("resnet", "mlp"))
    assert [start["family"] for start in spec.starts] == ["mlp", "resnet"]
    text = "fixed: {family: cnn}\nsearch: {lr: [1, 2]}\nstart_with: [{lr: 1}, {family: cnn, lr: 2}]"
    spec = parse_study(text, "test", overrides={"families": ["mlp", "cnn"]})
    assert spec.dimensions[0] == Dimension(field="family", choices=("mlp", "cnn"))
    assert spec.starts == ({"family": "cnn", "lr": 1}, {"family": "cnn", "lr": 2})
    assert "family" not in spec.base
    spec = parse_study(
        text.replace("start_with", "baselines"), "test", overrides={"families": ["cnn"]}
    )
    assert spec.given_baselines == ({"family": "cnn", "lr": 1}, {"family": "cnn", "lr": 2})
    assert parse_study(text, "test", overrides={"families": ["mlp"]}).starts == ()
    assert (
        parse_study(
            "search: {lr: [1]}\nstart_with: [{lr: 1}]", "test", overrides={"families": ["mlp"]}
        ).starts
        == ()
    )
    assert errors(text, overrides={"families": ["resnett"]})[0].startswith(
        "command line: family is unknown: 'resnett'; did"
    )


def test_set():
    """A set value is fixed: no longer searched, and the starts have it too, but for those of other families."""
    spec = parse_study(
        DEFAULT, "default", overrides={"set": {"lr": "1e-2", "family": "cnn", "residual": "true"}}
    )
    assert (spec.fixed.lr, spec.fixed.family, spec.fixed.residual) == (0.01, "cnn", True)
    assert not {"lr", "family", "residual"} & {d.field for d in spec.dimensions}
    assert spec.starts == ({"width": 48, "depth": 3, "batch_size": 32},)
    assert spec.fixed.schedule == "cosine"


def test_set_of_the_study():
    """The study's own values can be set as well."""
    settings = {"trials": "5", "epochs": "2", "dataset": "mnist", "description": "no"}
    spec = parse_study(DEFAULT, "default", overrides={"set": settings})
    assert (spec.trials, spec.epochs, spec.dataset, spec.description) == (5, 2, "mnist", "no")


BUDGET_STUDY = "search: {lr: [1, 2]}"


@pytest.mark.parametrize(
    ("written", "trainings", "seconds"),
    [
        ("12", 12, None),
        ("2.5", 2.5, None),
        ("1.5h", None, 5400),
        ("90min", None, 5400),
        ("90 min", None, 5400),
        ("100min", None, 6000),
        (".5h", None, 1800),
    ],
)
def test_budgets(written, trainings, seconds):
    """A budget is a number of whole trainings, or a time, in the file as on the command line."""
    in_file = parse_study(f"{BUDGET_STUDY}\nbudget: {written}", "test")
    option = parse_study(BUDGET_STUDY, "test", overrides={"budget": written})
    setting = parse_study(BUDGET_STUDY, "test", overrides={"set": {"budget": written}})
    assert in_file.budget == (trainings, seconds)
    assert in_file.budget == option.budget == setting.budget
    assert parse_study(f"{BUDGET_STUDY}\nbudget: {in_file.budget}", "test") == in_file
    assert "budget" not in in_file.identity()


@pytest.mark.parametrize(
    "written",
    [
        "0",
        "-1",
        "0.5",
        ".nan",
        "nan",
        "1e400",
        "1.0e+400",
        "soon",
        "2 days",
        "true",
        "[]",
        "{}",
        "0h",
        "-1h",
        "h",
        "''",
        "1e300",
        "1 2",
        "2hours",
    ],
)
def test_no_budgets(written):
    """Anything else is refused in one line with its place, the rule and the value."""
    rule = "budget must be a number of whole trainings, 1 to 100,000, or a time such as 1.5h"
    with pytest.raises(StudyFileError, match=f"^test:2: {rule}[^\n]*$"):
        parse_study(f"{BUDGET_STUDY}\nbudget: {written}", "test")
    with pytest.raises(StudyFileError, match=f"^command line: {rule}[^\n]*$"):
        parse_study(BUDGET_STUDY, "test", overrides={"budget": written})


@pytest.mark.parametrize("method", ["", "\nmethod: ablate\nof: other"])
def test_a_budget_pays_for_all_repeats(method):
    """A budget that does not train one configuration with all its seeds is refused."""
    text = f"repeats: 3\nbudget: 2{method}" + ("" if method else f"\n{BUDGET_STUDY}")
    with pytest.raises(StudyFileError, match=r"test:2: budget must be at least 3, .*: got 2"):
        parse_study(text, "test")
    assert parse_study(text.replace("budget: 2", "budget: 3"), "test").budget == (3, None)


@pytest.mark.parametrize("overrides", [{"epochs": 3}, {"set": {"epochs": "3"}}])
def test_epochs_override_what_is_searched(overrides):
    """Epochs of the command line hold for every trial, even where the file searches them."""
    text = "search: {lr: [1, 2], epochs: [5, 9]}\nstart_with: [{lr: 1, epochs: 9}]"
    spec = parse_study(text, "test", overrides=overrides)
    assert (spec.epochs, [d.field for d in spec.dimensions], spec.starts) == (
        3,
        ["lr"],
        ({"lr": 1},),
    )


@given(st.text(alphabet=st.sampled_from("ab1-:?[]{},&*!|>'\"%@`#~=<. \n\t\x00\u2028")) | st.text())
@example("search: {lr: [1, 2]}\nfixed: {lr: " + "9" * 400 + "}")
@example("search: {lr: {low: 1, high: 2, step: .inf}}")
@example("search: {lr: {low: 1, high: 2, step: 1.0e-320}}")
@example("search: {width: {low: 1, high: 8, step: 0.5}}")
@example("method: grid\nsearch: {lr: {low: 1.0e-8, high: 100, step: 1.0e-8}}")
@example("search: {lr: [1]}\nepochs: !!timestamp never")
@example('search: {lr: [1]}\n"a\\nb": 1\n"a\\nb": 2')
@example('search: {lr: [1]}\n"a\\nb": 1')
@example("search: {momentum: [0.5]}\nfixed: {optimizer: sgd}\nstart_with: [{optimizer: adam}]")
def test_any_text(text):
    """Any text is a study or is refused with lines, and nothing else is ever raised."""
    assert all(outcome(text))


WORDS = st.sampled_from(
    [
        *config_fields(),
        *StudySpec.model_fields,
        "choices",
        "low",
        "high",
        "step",
        "log",
        "when",
        "mlp",
        "resnet",
        "sgd",
        "none",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 70_000)
    | st.integers()
    | st.floats()
    | WORDS
    | st.text(max_size=5)
)
TREES = st.recursive(
    LEAVES, lambda t: st.lists(t, max_size=3) | st.dictionaries(WORDS, t, max_size=4), max_leaves=12
)
# A range or list, as likely right as wrong.
DIMENSION = st.lists(LEAVES, max_size=3) | st.fixed_dictionaries(
    {"low": st.floats(0, 2) | st.integers(0, 9), "high": st.floats(1, 200) | st.integers(1, 99)},
    optional={
        "step": LEAVES,
        "log": st.booleans(),
        "when": st.dictionaries(WORDS, LEAVES, max_size=2),
    },
)
STUDIES = st.fixed_dictionaries(
    {
        "search": st.dictionaries(
            st.sampled_from(list(config_fields())), DIMENSION | TREES, max_size=3
        )
    },
    optional={
        "method": st.sampled_from(["tpe", "random", "grid"]),
        "trials": st.integers(0, 50) | LEAVES,
        "fixed": st.dictionaries(st.sampled_from(list(config_fields())), LEAVES, max_size=2),
        "start_with": st.lists(
            st.dictionaries(st.sampled_from(list(config_fields())), LEAVES, max_size=2), max_size=2
        ),
    },
)


@given(TREES | STUDIES | st.dictionaries(WORDS, TREES, max_size=4))
def test_any_mapping(data):
    """Any data written as YAML is a study or is refused with lines, and nothing else is ever raised."""
    stream = io.StringIO()
    yaml.safe_dump(data, stream, allow_unicode=True)
    assert all(outcome(stream.getvalue()))


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["trials", "epochs", "dataset", "method", "families", "set"]),
        TREES,
        max_size=0,
    )
    | st.fixed_dictionaries(
        {"set": st.dictionaries(WORDS | st.text(max_size=5), st.text(max_size=5), max_size=3)},
        optional={
            "families": st.lists(WORDS, max_size=2),
            "trials": st.integers(),
            "method": WORDS,
        },
    )
)
def test_any_overrides(overrides):
    """Any values of the command line make a study or are refused with lines, and nothing else is ever raised."""
    assert all(outcome(DEFAULT, overrides=overrides))


@pytest.mark.parametrize(
    ("text", "families", "family", "searched"),
    [
        (
            "method: one_factor\nfixed: {family: mlp}\nsearch: {lr: [0.1, 0.2]}",
            ["resnet"],
            "resnet",
            ["lr"],
        ),
        (
            "method: one_factor\nfixed: {family: mlp}\nsearch: {lr: [0.1]}",
            ["cnn", "mlp"],
            "mlp",
            ["family", "lr"],
        ),
        ("method: zip\nsearch: {lr: [0.1, 0.2], width: [8, 9]}", ["mlp"], "mlp", ["width", "lr"]),
        ("method: grid\nsearch: {lr: [0.1, 0.2]}", ["mlp"], "mlp", ["lr"]),
    ],
)
def test_families_of_a_layout(text, families, family, searched):
    """One family of the command line is fixed in a layout; of several the file's own, else the first, is the centre."""
    found = parse_study(text, "test", overrides={"families": families})
    assert found.fixed.family == family
    assert [dimension.field for dimension in found.dimensions] == searched
    assert found.dimensions[0].first == (family if len(families) > 1 else found.dimensions[0].first)


def test_another_method_has_no_centre():
    """A method given instead of one_factor searches what the file holds at the centre."""
    text = "method: one_factor\nfixed: {lr: 0.1, width: 8}\nsearch: {lr: [0.1, 0.2]}"
    found = parse_study(text, "test", overrides={"method": "random"})
    assert (found.fixed.lr, found.fixed.width) == (None, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "search: {augment: [auto, none]}",
            "augment auto is settled once for a study: search the others by their names",
        ),
        ("search: {precision: [auto, bf16]}", "precision auto is settled once for a study"),
        (
            "search: {lr: [0.1]}\nstop: {target: 95}",
            "target must be from 0 to 1, as val_acc is: got 95",
        ),
        ("search: {lr: [0.1]}\nstop: {target: .nan}", "stop.target must be a finite number"),
        (
            "search: {lr: [0.1]}\nconstraints: {parameters: true}",
            "constraints.parameters must be a number: got True",
        ),
        (
            "search: {lr: [0.1]}\nreference: [{incomparable: [tst_acc]}]",
            "an entry of incomparable is unknown: 'tst_acc'; did you mean test_acc?",
        ),
    ],
)
def test_values_that_would_do_nothing(text, message):
    """What could never hold, or would silently do nothing, is refused."""
    (line,) = errors(text)
    assert message in line


OBJECTIVES_STUDY = "objectives: [{}]\nsearch: {{lr: [0.1, 0.01]}}\n"


def test_two_objectives():
    """The first ranks; both are part of the study's identity, which one objective leaves as it was."""
    two = parse_study(OBJECTIVES_STUDY.format("macro_f1, latency_ms"), "test.yaml")
    assert (two.objective, two.cost) == ("macro_f1", "latency_ms")
    assert two.limits == {"latency_ms": math.inf}
    assert two.identity()["objectives"] == ["macro_f1", "latency_ms"]
    assert StudySpec.from_identity(two.identity()).identity() == two.identity()
    one = parse_study("search: {lr: [0.1, 0.01]}\n", "test.yaml")
    assert "objectives" not in one.identity()
    assert (one.cost, one.limits) == (None, {})


@pytest.mark.parametrize(
    ("objectives", "more", "message"),
    [
        ("val_acc", "", "objectives must be two, a metric (val_acc, "),
        ("val_acc", "", "and a cost (parameters, mflops, latency_ms): got [val_acc]"),
        ("parameters, val_acc", "", "got [parameters, val_acc]"),
        ("val_acc, parameters, mflops", "", "got [val_acc, parameters, mflops]"),
        ("val_acc, parameters", "objective: val_loss\n", "objective val_loss is not the first"),
        ("val_acc, parameters", "pruner: median\n", "with objectives, take asha or none"),
        ("val_acc, size", "", "test.yaml:1: an entry of objectives is unknown: 'size'"),
    ],
)  # fmt: skip
def test_wrong_objectives_are_refused(objectives, more, message):
    """Two objectives are a metric and a cost."""
    with pytest.raises(StudyFileError) as failure:
        parse_study(OBJECTIVES_STUDY.format(objectives) + more, "test.yaml")
    assert message in str(failure.value)
