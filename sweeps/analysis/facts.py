"""The data of a study in its store, apart from the trials, as typed values.

Each `from_dict` reads the store's JSON data, which may have been edited, or be of a newer version.
Older versions did not store all keys, so missing keys have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from sweeps.spec.study_spec import Repeats
from sweeps.trial import AS_DECLARED, Value, read_data

SELECTION = 2  # the version of the rules of selection that new studies are made with
# From this version on, the best of a trial's epochs with equal values is that of the lowest
# validation loss; before, it was the first of them.
TIES_BY_LOSS = 2

# The version of the use of places since which none stands empty at the end of a study with
# promotion, if the order in which trials end may decide.
FILLED = 2


@dataclass(frozen=True, kw_only=True)
class StoredSpec:
    """The parts of a study's specification that reports show."""

    __pydantic_config__: ClassVar = AS_DECLARED

    method: str | None = None
    of: str | None = None  # the study whose winner is ablated
    objective: str | None = None
    objectives: tuple[str, ...] = ()  # it and a cost, if the study has two
    pruner: str | None = None
    repeats: int = 1  # seeds of each configuration
    split_seeds: int | None = None  # as many repeats, each on its own draw of train and validation
    folds: int | None = None  # as many repeats, each on its own fold of train and validation
    epochs: int | None = None
    seed: int = 0
    split_seed: int | None = None
    split_file: str | None = None
    image_size: int | None = None
    constraints: Mapping[str, Value | None] = field(default_factory=dict)  # limits of a network
    fixed: Mapping[str, Value] = field(default_factory=dict)  # values that all trials share
    # Given values of the configurations tried first, after the baselines.
    start_with: tuple[Mapping[str, Value], ...] = ()

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> StoredSpec:
        """Read the identity of a `sweeps.spec.study_spec.StudySpec`.

        Raises:
            ValueError: if it is none.
        """
        names = [field.name for field in fields(StoredSpec)]
        return read_data(StoredSpec, {name: data[name] for name in names if is_given(data, name)})


@dataclass(frozen=True, kw_only=True)
class AblationStart:
    """The configuration of another study that an ablation starts from."""

    __pydantic_config__: ClassVar = AS_DECLARED

    best: Mapping[str, Value]  # that study's best configuration
    searched: tuple[str, ...]  # the fields that it searched

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> AblationStart:
        """Read the JSON data of `dataclasses.asdict`.

        Raises:
            ValueError: if they are not as declared.
        """
        return read_data(AblationStart, data)


@dataclass(frozen=True, kw_only=True)
class WarmSource:
    """What a study has taken from an earlier one."""

    __pydantic_config__: ClassVar = AS_DECLARED

    name: str  # the earlier study, in the same store
    dataset: str  # its images
    configurations: int  # that it had with a result
    moved: int  # of these, whose numbers were moved to the nearest searched value
    unfit: Mapping[str, int]  # how many of these cannot be said in the space of the study, by why
    # The searched values of the others, the best first, and the place of each in the earlier
    # study's ranking: from 0 to 1, the best. At most `sweeps.search.warm_start.OBSERVED`; none if
    # the sampler learns from no earlier study.
    observations: tuple[tuple[Mapping[str, Value], float], ...]


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """What a study has taken from earlier studies when it was made."""

    __pydantic_config__: ClassVar = AS_DECLARED

    sources: tuple[WarmSource, ...]
    first: tuple[Mapping[str, Value], ...]  # the searched values of the configurations tried first

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> WarmStart:
        """Read the JSON data of `dataclasses.asdict`.

        Raises:
            ValueError: if they are not as declared.
        """
        return read_data(WarmStart, data)


@dataclass(frozen=True, kw_only=True)
class ChosenFinalists:
    """The configurations of a study that its finalists train again."""

    __pydantic_config__: ClassVar = AS_DECLARED

    of: str  # the study's name in the stores
    top: int  # configurations asked for
    # Fresh seeds of each configuration, as first asked for. Later commands may add some: then
    # `StoredSpec.repeats` is the present number.
    seeds: int
    seed: int  # the first of them
    # What gives each repeat its own draw of train and validation: split_seeds or folds; None if all
    # have the splits of their study.
    redraw: str | None = None
    objective: str
    objectives: tuple[str, ...] = ()  # it and a cost, if the study has two
    runtime: Mapping[str, Value]  # the study's settings: device, threads, ...
    trials: tuple[int, ...]  # the number of each configuration's best trial
    configs: tuple[Mapping[str, Value], ...]  # as `TrialConfig.to_dict` gives them

    @property
    def repeats(self) -> Repeats:
        """How often each of them is trained, and on which splits."""
        return Repeats(self.seeds, self.redraw)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> ChosenFinalists:
        """Read the JSON data of `dataclasses.asdict`.

        Raises:
            ValueError: if they are not as declared.
        """
        return read_data(ChosenFinalists, data)


@dataclass(frozen=True, kw_only=True)
class Copies:
    """How many images of the three splits are copies of others, with equal pixels.

    A validation or test image that is a copy of a training image tells what a network has
    remembered, not what it has learned.
    """

    __pydantic_config__: ClassVar = AS_DECLARED

    images: int  # in all three splits
    different: int  # pictures among them
    val_of_train: int  # validation images that are copies of training images
    test_of_train: int
    test_of_val: int
    other_label: int  # images with a copy of another label
    # Validation and test images that nearly equal a training image, without copies; None if that
    # was not looked for.
    near_val: int | None = None
    near_test: int | None = None
    groups_apart: int = 0  # groups of images, as the user has named them, in several splits
    together: bool = True  # whether splits that are drawn keep copies together

    @property
    def leaks(self) -> int:
        """How many images are copies of those of another split; one may count twice."""
        return self.val_of_train + self.test_of_train + self.test_of_val

    @property
    def misleads(self) -> bool:
        """Whether scores may tell what was remembered, or a label must be wrong."""
        return self.leaks + self.groups_apart + self.other_label > 0


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What was resolved when a study was made, and never changes."""

    __pydantic_config__: ClassVar = AS_DECLARED

    study: str | None = None  # the study file's name
    description: str | None = None
    classes: tuple[str, ...] = ()  # the true class names
    shape: tuple[int, ...] = ()  # of an image: channels, height, width
    images: Mapping[str, int] = field(default_factory=dict)  # their number, by split
    digest: str | None = None  # of the images
    runtime: Mapping[str, Value] = field(default_factory=dict)  # device, threads, ...
    versions: Mapping[str, str] = field(default_factory=dict)  # of Python and libraries
    workers: int = 1  # trials at a time
    deterministic: bool = True  # whether the list of trials does not depend on their duration
    scheduler: int = 1  # the version of the rule that decides which trial goes on; 1 is of 0.1.0
    # How many decisions, with the present one, do not know of one another's results; None for as
    # many as there are workers.
    window: int | None = None
    # The version of the rules that select the best epoch of a trial and rank trials; 1 is of 0.1.0.
    selection: int = 1
    # The version of the order of trials, as `sweeps.spec.configurations.lists_come_first` has it.
    order: int = 1
    places: int = 1  # the version of the use of places, as `FILLED` has it
    # The searched values of each baseline, a configuration to compare with.
    baselines: tuple[Mapping[str, Value], ...] = ()
    copies: Copies | None = None  # among the images; None if they were not looked for
    ablated: AblationStart | None = None  # only of an ablation
    warm_start: WarmStart | None = None  # only of a study that begins from earlier ones
    finalists: ChosenFinalists | None = None  # only of a study of finalists

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> StudyFacts:
        """Read the facts that `sweeps.search.study.Study.open` has stored.

        Their dimensions are the study's own, and no part of these facts.

        Raises:
            ValueError: if they are not as declared, or hold a key of a newer version.
        """
        names = [name for name in data if name != "dimensions" and is_given(data, name)]
        return read_data(StudyFacts, {name: data[name] for name in names})


@dataclass(frozen=True, kw_only=True)
class Refit:
    """The winner of finalists, trained once on training and validation images together."""

    __pydantic_config__: ClassVar = AS_DECLARED

    run_id: str
    epochs: int
    acc: float  # accuracy on the test split


def is_given(data: Mapping[str, Any], name: str) -> bool:
    """Whether data have a value of a name: None stands for a missing one."""
    return data.get(name) is not None
