"""What is checked and told before anything is written."""

import dataclasses
import math

import pytest
import torch

import models
from pipeline.data.search_data import Split
from pipeline.engines import local
from pipeline.engines.local import LocalFactory
from pipeline.jobs import preflight, train
from pipeline.jobs.estimate import (
    describe_plan,
    estimate,
    expected_time,
    first_images,
    left_over_text,
    plan_text,
)
from pipeline.jobs.preflight import check_networks, check_parts, resolve_runtime
from pipeline.jobs.studies import DEFAULT_STUDY, read_study, shipped_studies, study_name
from pipeline.jobs.sweep import Request, make_plan
from pipeline.system.errors import UsageFailure
from pipeline.training.cost import count_mflops, layer_costs
from sweeps.search.extent import Extent, extent
from sweeps.search.promotion import SHARE
from sweeps.search.stored import open_storage
from sweeps.search.study import Study
from sweeps.spec.study_spec import parse_budget
from sweeps.spec.studyfile import parse_study
from sweeps.trial import configure

QUICK = "epochs: 2\ntrials: 3\nfixed: {family: mlp, width: 8, depth: 1, batch_size: 20}\nsearch: {lr: [0.1, 0.2]}\n"


def spec(text):
    return parse_study(text, "test.yaml")


SHAPES = {
    "digits": (1, 8, 8),
    "few_digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "tiny_imagenet": (3, 64, 64),
}


@pytest.mark.parametrize("name", shipped_studies())
def test_shipped_studies(name):
    """Every shipped study reads, says where it comes from, and each of its networks takes its data set's images."""
    label, text, read = read_study(name, {})
    assert label == name
    assert parse_study(text, name) == read
    assert read.description
    assert read.source or name in ("default", DEFAULT_STUDY)
    check_networks(read, SHAPES[read.dataset], 200 if read.dataset == "tiny_imagenet" else 10)


@pytest.mark.parametrize("shape", SHAPES.values())
def test_the_default_study_takes_all_images(shape):
    """The study that runs on any data set has no network that cannot take its images."""
    check_networks(read_study(DEFAULT_STUDY, {})[2], shape, 10)


def test_study_of_a_file(tmp_path):
    """A path is read as a study file and gives its name; the command line's values come before its own."""
    path = tmp_path / "my study.yaml"
    path.write_text(QUICK)
    label, text, read = read_study(str(path), {"epochs": 5})
    assert (label, text) == ("my study", QUICK)
    assert (read.epochs, read.trials) == (5, 3)


def test_without_a_file_a_named_study_goes_on_with_its_own(tmp_path, monkeypatch):
    """A study of an earlier default goes on by its name alone; a new one is of the present default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIPELINE_STORAGE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    storage = open_storage(f"sqlite:///{tmp_path}/optuna.db", timeout=1)
    Study.open(storage, "default-digits", read_study("default", {})[2], {"study": "default"})
    plan = make_plan(Request(name="default-digits"))
    assert (plan.study, plan.spec.dataset, plan.spec.trials) == ("default", "digits", 24)
    plan = make_plan(Request())
    assert (plan.study, plan.name) == ("networks", "networks-few_digits")


def test_unknown_study():
    """An unknown study is refused, naming the nearest and that a path would do."""
    with pytest.raises(
        UsageFailure, match=r"no study file 'defualt'; did you mean default.*or the path of a file"
    ):
        read_study("defualt", {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\xff", "cannot read study file"),
        (b"# " + b"x" * 1_000_000, "a study file has at most 1,000,000 characters"),
        (b"epochs: 0\ndataset: mnits\n", r"test\.yaml:1: .*epochs"),
        (b"trials: 3\ndataset: mnits\n", r"test\.yaml:2: .*did you mean mnist"),
    ],
)
def test_bad_study_file(tmp_path, content, message):
    """A file that is no study is refused with exit code 2, its name and the line."""
    path = tmp_path / "test.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageFailure, match=message) as failure:
        read_study(str(path), {})
    assert failure.value.code == 2


@pytest.mark.parametrize(
    ("study", "dataset", "name"),
    [
        ("networks", "few_digits", "networks-few_digits"),
        ("depth", "folder:/data/my images", "depth-my images"),
        ("a", "folder:x/", "a-x"),
        ("a", "csv:photos/list.csv", "a-list"),
        ("a", "my/data.py:load", "a-data-load"),
    ],
)
def test_study_name(study, dataset, name):
    """A study is called after its file and its data set, which for a folder is the folder's own name."""
    assert study_name(study, dataset) == name


def test_network_that_cannot_be():
    """A study whose deepest network has no pixel left of an 8x8 image is refused, naming the remedy."""
    deep = spec("search: {family: [mlp, cnn], depth: {low: 1, high: 4}, lr: [0.1, 0.2]}\n")
    with pytest.raises(
        UsageFailure, match=r"cnn of depth 4 cannot take 8x8 images.*use a depth of at most 3"
    ) as failure:
        check_networks(deep, (1, 8, 8), 10)
    assert failure.value.code == 2
    check_networks(deep, (1, 16, 16), 10)
    check_networks(spec("search: {family: [mlp], depth: {low: 1, high: 4}}\n"), (1, 8, 8), 10)


def test_network_that_seeds(tmp_path, monkeypatch):
    """A constructor that seeds PyTorch is refused: the seeds of a study would not differ."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def make(num_classes, seeds=True):\n"
        "    if seeds:\n"
        "        torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(num_classes))\n"
    )
    config = configure({"family": "net.py:make"})
    with pytest.raises(UsageFailure, match=r"net.py:make seeds PyTorch, .* \(with seeds True\)"):
        preflight.check_network(config, (1, 8, 8), 10)
    preflight.check_network(configure({"family": "net.py:make", "seeds": False}), (1, 8, 8), 10)


def test_fixed_network_that_cannot_be():
    """So is one whose every network is the same."""
    with pytest.raises(UsageFailure, match="cnn of depth 5"):
        check_networks(
            spec("fixed: {family: cnn, depth: 5}\nsearch: {lr: [0.1, 0.2]}\n"), (3, 16, 16), 10
        )


def test_checked_without_memory(monkeypatch):
    """Networks are checked without memory for weights, and once for each that can differ in shape."""
    made, build = [], models.build

    def watch(*args):
        made.append(build(*args))
        return made[-1]

    monkeypatch.setattr(models, "build", watch)
    wide = "search: {family: [mlp], width: [8, 8192], depth: [20], activation: [relu, tanh], lr: {low: 0.1, high: 1}}\n"
    check_networks(spec(wide), (1, 8, 8), 10)
    assert len(made) == 2
    assert {parameter.device.type for network in made for parameter in network.parameters()} == {
        "meta"
    }


@pytest.mark.parametrize(
    "text", [QUICK, "epochs: 1\ntrials: 1\nsearch: {family: [mlp, cnn], lr: [0.01]}\n"]
)
def test_estimate(text, tiny):
    """The estimate is of time and space above nothing, and grows with trials and epochs."""
    study = spec(text)
    found = estimate(study, tiny, resolve_runtime(study))
    assert found.seconds > 0
    assert found.bytes > 0


@pytest.mark.parametrize(
    ("text", "largest"),
    [
        ("search: {lr: [0.1, 0.2]}\nfixed: {train_images: 1199}", None),
        ("search: {lr: [0.1, 0.2]}\nfixed: {train_images: 1200}", 1199),
        ("search: {lr: [0.1, 0.2]}\nfixed: {train_images: 1199}\nfolds: 6", 1198),
        ("search: {lr: [0.1, 0.2]}\nfixed: {train_images: 1000}\nfinalists: {folds: 2}", 719),
        ("search: {train_images: [9, 100]}", 1199),
        ("search: {train_images: {low: 100, high: 1199}}", None),
        ("search: {train_images: {low: 100, high: 1200}}", 1199),
    ],
)
def test_parts_of_the_training_split(text, largest, digits):
    """No trial of a study, in any fold, asks for more training images than there are."""
    if largest is None:
        check_parts(spec(text), digits)
        return
    rule = f"train_images must be from 10, one of each class, to {largest}, "
    with pytest.raises(UsageFailure, match=rule):
        check_parts(spec(text), digits)


def test_estimate_of_parts(tiny):
    """A trial on a part of the images is estimated at the time of the part."""
    text = "epochs: 2\nfixed: {family: mlp, width: 8, batch_size: 20}\nmethod: grid\n"
    study = spec(text + "search: {train_images: [20, 160]}")
    plan = describe_plan("parts", study, tiny, workers=2)
    assert "\n2 trials at a time, 1 CPU thread each\n" in plan_text(plan)
    assert plan["images"] == 160
    assert plan["seconds"] > 0


def test_estimate_of_space(tiny):
    """The space is that of one network's weights for each trial, four bytes each."""
    found = estimate(
        spec(QUICK + "start_with: [{lr: 0.1}]\n"), tiny, {"device": "cpu", "precision": "fp32"}
    )
    weights = 64 * 8 + 2 * 8 + 8 * 10 + 10
    assert found.bytes == 3 * 4 * weights
    # Each trial can be paused, with a state of 16 bytes; one in training has two.
    assert found.peak_bytes == (3 * 16 + 32) * weights


def test_estimate_leaves_out_what_fails(tiny):
    """A family that cannot be trained does not lower the estimate of the others."""
    text = "trials: 2\nfixed: {width: 8, depth: 5}\nsearch: {family: [FAMILIES]}\n"
    alone, both = (
        estimate(spec(text.replace("FAMILIES", f)), tiny, {"device": "cpu"})
        for f in ("mlp", "mlp, cnn")
    )
    assert both.bytes == alone.bytes > 0


def test_estimate_of_a_study_that_cannot_be_trained(tiny):
    """Where no starting configuration can be trained, there is no estimate."""
    found = estimate(
        spec("fixed: {family: cnn, depth: 5}\nsearch: {lr: [0.1]}\n"), tiny, {"device": "cpu"}
    )
    assert (found.seconds, found.bytes, found.peak_bytes) == (0, 0, 0)


EXTENTS = {
    "trials: 24\nepochs: 12": (24, 24 * 12 * SHARE),
    "trials: 24\nepochs: 12\npruner: none": (24, 288),
    "trials: 4\nepochs: 12": (4, 3 * 12 + 1),  # what the leaders take
    "trials: 2\nepochs: 12": (2, 24),
    "trials: 24\nepochs: 12\nrepeats: 3": (24, 8 * 12 * 3 * SHARE),
    "trials: 24\nepochs: 12\nbudget: 6": (24, 72),
    "trials: 2\nepochs: 12\nbudget: 6": (2, 24),
    "epochs: 12\nbudget: 6": (34, 72),
    "epochs: 12\nbudget: 6\npruner: median": (6, 72),
    "epochs: 1\nbudget: 6.5": (7, 6.5),
    "epochs: 12\nbudget: 1min": (29, 60),
    "trials: 24\nepochs: 12\nbudget: 2min": (24, 120),
    "trials: 2\nepochs: 12\nbudget: 2min": (2, 24),
}


@pytest.mark.parametrize("text", EXTENTS)
def test_extent(text):
    """A plan knows how many trials and epochs a study has at most: by its rule, or by its budget."""
    found = extent(spec(text + "\nsearch: {lr: [0.1, 0.2]}\n"), epoch_seconds=1)
    assert (found.trials, found.epochs) == pytest.approx(EXTENTS[text])


def test_extent_of_a_time():
    """As long as the time of an epoch is not known, a time alone is no number of trials."""
    assert extent(spec("budget: 2h\nsearch: {lr: [0.1]}\n")) == Extent(None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "3 trials of at most 2 epochs on 160 images: at most about"),
        (
            "",
            "all workers share\n1 trial at a time, 1 CPU thread each\n3 trials of",
        ),
        (
            "budget: 2",
            "3 trials of at most 2 epochs within a budget of 2 whole trainings, 4 in all",
        ),
        (
            "finalists: {top: 2, seeds: 4}",
            "\nthen at most 2 promising paused trials to the end, 2 epochs, and finalists: the best 2",
        ),
        (
            "pruner: none\nfinalists: {top: 9}",
            "\nthen finalists: the best 3 with 3 fresh seeds each, 9 trials",
        ),
        ("repeats: 3", "3 trials (1 configuration x 3 seeds) of at most 2 epochs on 160 images"),
        (
            "repeats: 2",
            "3 trials (1 configuration x 2 seeds + 1 trial left over) of at most 2 epochs on 160 images",
        ),
    ],
)
def test_plan_of_trials(text, expected, tiny):
    """A plan says how many trials there are, and what they may take."""
    plan = describe_plan("quick", spec(QUICK + text + "\n"), tiny)
    assert expected in plan_text(plan)
    assert plan_text(plan).endswith("; nothing was run")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            (
                "; accuracy misleads, as always answering 1 is right on 0.800: "
                "set objective: balanced_acc and class_weights: balanced"
            ),
        ),
        ("objective: macro_f1", " is right on 0.800: set class_weights: balanced"),
        ("objective: macro_f1\nsearch: {class_weights: [none, sqrt]}", "0 20.0 %"),
    ],
)
def test_plan_of_unequal_classes(text, expected, tiny):
    """A plan says when accuracy misleads, and what of it the study has not set."""
    labels = (torch.arange(len(tiny.train)) % 5 > 0).long()
    data = dataclasses.replace(tiny, train=dataclasses.replace(tiny.train, labels=labels))
    study = QUICK if "search" not in text else QUICK.rsplit("search", maxsplit=1)[0]
    lines = plan_text(describe_plan("quick", spec(f"{study}{text}\n"), data)).splitlines()
    found = [line for line in lines if line.startswith("classes of unequal size: 1 has 80.0 %")]
    assert len(found) == 1
    assert found[0].endswith(expected)


@pytest.mark.parametrize(
    ("trials", "repeats", "listed_first", "said"),
    [
        (4, 3, None, "4 trials are 1 configuration x 3 seeds + 1 trial left over"),
        (4, 3, None, "; --trials 3 or --trials 6 leaves none over"),
        (5, 3, None, "1 configuration x 3 seeds + 2 trials left over"),
        (2, 3, None, "; --trials 3 leaves none over"),
        (6, 3, None, ""),
        (5, 1, None, ""),
        (4, 3, 4, ""),
        (5, 3, 4, "5 trials are 4 configurations x 1 seed + 1 trial left over"),
        (5, 3, 4, "; --trials 4 or --trials 8 leaves none over"),
        (3, 3, 4, "3 trials are 3 of 4 configurations x 1 seed; --trials 4 trains all 4"),
        (3, 1, 4, ""),
    ],
)
def test_left_over_trials(trials, repeats, listed_first, said):
    """A total that leaves configurations with fewer seeds is said, with the totals that do not."""
    text = left_over_text(trials, repeats, listed_first)
    assert said in text
    assert bool(text) == bool(said)


@pytest.mark.parametrize(
    ("extent", "said"),
    [
        ("trials: 2", "--trials 3 or more to search"),
        ("trials: 3", ""),
        ("budget: 2", "--budget 3 or more to search"),
        ("budget: 2.5", ""),
        ("budget: 1h", ""),
        ("{trials: 9, budget: 1}", "--budget 3 or more to search"),
    ],
)
def test_a_plan_says_that_nothing_is_searched(extent, said):
    """Baselines come first: where nothing else can follow, the plan has the remedy."""
    text = "dataset: digits\nepochs: 2\nsearch: {lr: {low: 0.001, high: 0.1, log: true}}\n"
    text += "baselines: [{lr: 0.001}, {lr: 0.01}]\n" + extent.strip("{}").replace(", ", "\n")
    plan = describe_plan("quick", spec(text), None)
    sentences = [line for line in plan_text(plan).splitlines() if "nothing is searched" in line]
    assert [line.endswith(said) for line in sentences] == [True] * bool(said)


def test_a_plan_says_what_is_left_over():
    """A plan has the remedy on a line of its own, also without images."""
    plan = describe_plan("quick", spec(QUICK + "repeats: 2\n"), None)
    assert left_over_text(3, 2, None) in plan_text(plan).splitlines()


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("2", "a budget of 2 whole trainings, in trials of at most 2 epochs, 4 in all"),
        ("1", "a budget of 1 whole training, in trials of at most 2 epochs, 2 in all"),
        ("90min", "a budget of 1.5h of training, in trials of at most 2 epochs"),
    ],
)
def test_plan_of_a_budget(budget, expected, tiny):
    """A budget alone is no number of trials."""
    study = spec(QUICK.replace("trials: 3", f"budget: {budget}"))
    without_images = describe_plan("quick", study, None)
    assert f"\n{expected}; no estimate without the images" in plan_text(without_images)
    plan = describe_plan("quick", study, tiny)
    text = plan_text(plan)
    assert f"\n{expected}" in text
    assert "100000" not in text
    assert (plan["trials"], plan["budget"]) == (None, str(parse_budget(budget)))
    assert budget != "90min" or "at most about 90 min" in text or "1.5 h" in text


def test_runtime(monkeypatch):
    """Device, arithmetic, threads, scoring batch and augmentation are settled once: a resume's machine decides none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_runtime(spec(QUICK)) == {
        "device": "cpu",
        "precision": "fp32",
        "eval_batch_size": 512,
        "augment": "none",
    }
    fixed = spec(
        "fixed: {device: cpu, precision: bf16, threads: 2, eval_batch_size: 50}\nsearch: {lr: [0.1]}\n"
    )
    assert resolve_runtime(fixed) == {
        "device": "cpu",
        "precision": "bf16",
        "threads": 2,
        "eval_batch_size": 50,
        "augment": "none",
    }
    named = (
        "fixed: {device: cpu, gpus_per_trial: 2, cudnn_deterministic: true}\nsearch: {lr: [0.1]}\n"
    )
    settled = resolve_runtime(spec(named))
    assert (settled["gpus_per_trial"], settled["cudnn_deterministic"]) == (2, True)
    with pytest.raises(UsageFailure, match="device cuda is not there: cpu"):
        resolve_runtime(spec("fixed: {device: cuda}\nsearch: {lr: [0.1]}\n"))


def of_shape(data, *shape):
    """The same classes, with an image of another shape."""
    image = torch.zeros(1, *shape, dtype=torch.uint8)
    return dataclasses.replace(data, train=Split(image, data.train.labels[:1]))


@pytest.mark.parametrize(
    ("shape", "network", "size"),
    [
        ((1, 8, 8), "{family: mlp, width: 8}", 512),
        ((3, 32, 32), "{family: cnn, width: 128}", 512),  # as before there was a rule
        ((3, 64, 64), "{family: cnn, width: 16}", 512),
        ((3, 224, 224), "{family: cnn, width: 32}", 32),
        ((3, 224, 224), "{family: cnn, width: 128}", 8),
        ((3, 224, 224), "{family: mlp, width: 8}", 512),
        ((3, 224, 224), "{family: cnn, width: 128, eval_batch_size: 300}", 300),
    ],
)
def test_images_are_scored_in_as_many_as_fit(tiny, shape, network, size):
    """No layer needs more than 512 MB for the images of a batch when scoring; a number that is given stays."""
    study = spec(f"fixed: {network}\nsearch: {{lr: [0.1]}}\n")
    assert resolve_runtime(study, data=of_shape(tiny, *shape))["eval_batch_size"] == size


def test_the_largest_searched_network_decides_how_many_are_scored(tiny):
    """All trials of a study are scored alike."""
    study = spec("fixed: {family: cnn}\nsearch: {width: [8, 64, 16], lr: [0.1]}\n")
    assert resolve_runtime(study, data=of_shape(tiny, 3, 224, 224))["eval_batch_size"] == 16


@pytest.mark.parametrize(
    ("fixed", "workers", "threads"),
    [
        ("{dataset}family: cnn", 1, 4),  # of eight cores: the most that are chosen
        ("{dataset}family: cnn", 3, 2),
        ("{dataset}family: cnn", 8, 1),
        ("{dataset}family: cnn", 9, 1),
        ("{dataset}family: cnn, gpus_per_trial: 4", 1, 2),
        ("{dataset}family: cnn, threads: 7", 1, 7),
        ("{dataset}family: mlp", 1, 1),
        ("family: cnn", 1, 1),  # on the bundled digits
    ],
)
def test_threads(fixed, workers, threads, tiny, monkeypatch):
    """What convolves has the cores that the trials at a time leave to each of its processes, unless the file says."""
    monkeypatch.setattr(local, "thread_cores", lambda: 8)
    dataset = "dataset: mnist\n" if "{dataset}" in fixed else ""
    values = fixed.replace("{dataset}", "")
    study = spec(f"{dataset}fixed: {{device: cpu, {values}}}\nsearch: {{lr: [0.1]}}\n")
    settled = preflight.settle(study, tiny, LocalFactory(), workers)
    assert (settled.workers, settled.runtime["threads"]) == (workers, threads)


def test_threads_of_one_training(monkeypatch):
    """It has all cores, unless its number is given, as that of a recorded trial is."""
    monkeypatch.setattr(local, "thread_cores", lambda: 2)
    values = {"dataset": "mnist", "family": "resnet", "device": "cpu"}
    assert train._resolve_config(values).threads == 2
    assert train._resolve_config({**values, "threads": 1}).threads == 1
    assert train._resolve_config({**values, "family": "mlp"}).threads == 1


def test_few_images(tiny):
    """The estimate is made on the first images of both splits, in their proportion, and at least one of each."""
    few = first_images(tiny, 80)
    assert (len(few.train), len(few.val)) == (80, 20)
    assert torch.equal(few.train.images, tiny.train.images[:80])
    assert len(first_images(tiny, 1).val) == 1
    assert len(first_images(tiny, 10**6).train) == 160


def test_only_the_networks_of_a_layout_are_built():
    """Combinations that a zip does not have are no reason to refuse it."""
    text = "method: zip\nsearch: {family: [mlp, cnn], depth: [6, 2]}\n"
    check_networks(spec(text), (1, 8, 8), 10)
    with pytest.raises(UsageFailure, match="a cnn of depth 6 cannot take 8x8 images"):
        check_networks(spec(text.replace("zip", "grid")), (1, 8, 8), 10)


@pytest.mark.parametrize(
    ("cores", "text", "images", "expected"),
    [
        (2, "trials: 24\nepochs: 12\nsearch: {lr: [0.1]}", 50_000, 2),
        (
            2,
            "trials: 24\nepochs: 12\nsearch: {lr: [0.1]}",
            1_197,
            1,
        ),  # the default study on the digits
        (1, "trials: 24\nepochs: 12\nsearch: {lr: [0.1]}", 50_000, 1),
        (16, "trials: 24\nepochs: 12\nsearch: {lr: [0.1]}", 50_000, 6),
        (16, "trials: 24\nepochs: 12\nfixed: {threads: 4}\nsearch: {lr: [0.1]}", 50_000, 4),
        (
            16,
            "trials: 24\nepochs: 12\nfixed: {threads: 2, gpus_per_trial: 4}\nsearch: {lr: [0.1]}",
            50_000,
            2,
        ),
        (2, "trials: 24\nepochs: 12\nfixed: {gpus_per_trial: 4}\nsearch: {lr: [0.1]}", 50_000, 1),
        (16, "method: grid\nepochs: 12\nsearch: {lr: [0.1, 0.2, 0.3]}", 50_000, 3),
        (16, "trials: 3\nepochs: 1\nsearch: {lr: [0.1]}", 1_000_000, 1),
        # finalists, whose list is known, of the default study
        (
            4,
            "method: random\npruner: none\ntrials: 12\nepochs: 24\nsearch: {lr: [0.1]}",
            287,
            2,
        ),
        (4, "method: random\ntrials: 12\nepochs: 24\nsearch: {lr: [0.1]}", 287, 1),
        (16, "budget: 12\nepochs: 12\nsearch: {lr: [0.1]}", 2_000, 1),
        (16, "budget: 12\nepochs: 12\nsearch: {lr: [0.1]}", 50_000, 16),
        (16, "budget: 2\nepochs: 12\nsearch: {lr: [0.1]}", 50_000, 3),
        (16, "budget: 2h\nepochs: 12\nsearch: {lr: [0.1]}", 2_000, 16),
    ],
)
def test_workers(cores, text, images, expected, monkeypatch):
    """As many as there are cores for, but no more than the work is worth, or than leave most trials to learn from."""
    monkeypatch.setattr(preflight, "available_cores", lambda: cores)
    study = spec(text + "\n")
    assert (
        preflight.default_workers(study, images, {"device": "cpu", "threads": 1, **study.base})
        == expected
    )


def test_gpus_have_a_worker_each(monkeypatch):
    """On GPUs their number counts, and not that of cores; where a machine has one device of a kind, one.

    A trial on several leaves room for as many fewer.
    """
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    study = spec("trials: 24\nepochs: 12\nsearch: {lr: [0.1]}\n")
    assert preflight.default_workers(study, 50_000, {"device": "cuda", "threads": 1}) == 4
    assert preflight.default_workers(study, 50_000, {"device": "mps", "threads": 1}) == 1
    assert (
        preflight.default_workers(
            study, 50_000, {"device": "cuda", "threads": 1, "gpus_per_trial": 2}
        )
        == 2
    )
    assert (
        preflight.default_workers(
            study, 50_000, {"device": "cuda", "threads": 1, "gpus_per_trial": 3}
        )
        == 1
    )


def test_more_gpus_than_there_are(monkeypatch):
    """A trial on more GPUs than the machine has is refused, and so is going on with such a study there."""
    for name, found in (
        ("is_available", lambda: True),
        ("device_count", lambda: 2),
        ("is_bf16_supported", lambda **_: True),
        ("get_device_capability", lambda: (9, 0)),
    ):
        monkeypatch.setattr(torch.cuda, name, found)
    asked = "fixed: {{device: cuda, gpus_per_trial: {}}}\nsearch: {{lr: [0.1]}}\n"
    assert resolve_runtime(spec(asked.format(2)))["gpus_per_trial"] == 2
    with pytest.raises(
        UsageFailure, match="gpus_per_trial must be at most 2, the cuda devices here: got 3"
    ):
        resolve_runtime(spec(asked.format(3)))
    with pytest.raises(
        UsageFailure,
        match="gpus_per_trial must be at most 2, the cuda devices here: got 3; --device chooses",
    ):
        preflight.check_device({"device": "cuda", "gpus_per_trial": 3})
    preflight.check_device({"device": "cuda", "gpus_per_trial": 2})


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        ({"family": "mlp", "width": 64}, {"family": "mlp", "width": 512}),
        ({"family": "mlp", "depth": 1}, {"family": "mlp", "depth": 3}),
        ({"family": "mlp"}, {"family": "cnn"}),
        ({"family": "cnn", "batch_size": 128}, {"family": "cnn", "batch_size": 32}),
        ({"family": "cnn", "epochs": 5}, {"family": "cnn", "epochs": 6}),
        ({"family": "cnn", "train_images": 100}, {"family": "cnn"}),
    ],
)
def test_which_of_two_trials_is_expected_to_take_longer(tiny, shorter, longer):
    """Larger networks, smaller batches, and more epochs or images take longer."""
    time = expected_time(tiny)
    assert time(configure(shorter)) < time(configure(longer))


def test_a_network_that_cannot_be_built_is_tried_first(tiny):
    """Nothing fails before its trial, which is not left to the end."""
    config = dataclasses.replace(configure({"family": "cnn"}), family="no_such_module:Network")
    assert expected_time(tiny)(config) == math.inf


def test_the_work_of_a_network_is_counted_as_torch_counts_it():
    """Without torch's counter, the FLOPs of built-in networks are the same; layers without weights count as layers."""
    for family in ("mlp", "cnn", "resnet"):
        network = models.build(family, (1, 8, 8), 10, configure({"family": family}).options)
        mflops, layers = layer_costs(network, (1, 8, 8))
        assert mflops == pytest.approx(count_mflops(network, (1, 8, 8)))
        assert layers > 3
