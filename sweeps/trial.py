"""The two frozen values that flow through everything: a trial's configuration and its result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, cast

import models
from models import libraries, usercode, weights
from models.own import Network, needs_text
from models.parameters import read_option
from models.suggestions import did_you_mean

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

Value = bool | int | float | str

COMPLETE = "complete"
PRUNED = "pruned"
PAUSED = "paused"
FAILED = "failed"
RUNNING = "running"
# Ends of failed trials that their configuration decides, and no accident.
BAD_CONFIGURATION = ("diverged", "oom")
AUGMENTATIONS = ("crop", "flip", "cutout")
_STATES = (COMPLETE, PRUNED, PAUSED, FAILED, RUNNING)
_RUN_ID = re.compile("[0-9a-zA-Z_-]{1,64}")
_LATEST = 10**14  # milliseconds since 1970: in the year 5138
# How pydantic reads the values below from a store: as they are declared here, and nothing else.
AS_DECLARED: Mapping[str, object] = {"extra": "forbid", "allow_inf_nan": False}
# The version of the rules that read and divide images of one's own, with which new studies are
# made. From this version on, copies of an image stay in one split, test images do not decide the
# size of the others, and folders of parts may have any usual name. 1 is of version 0.1.0.
DATA_VERSION = 2
SMALLEST_SHARE = 0.01  # of a whole, for fields that may be a share of one
# Fields in which the repeats of one configuration differ.
REPEAT_FIELDS = ("seed", "redraw")


@dataclass(frozen=True)
class ConfigField:
    """The declaration of a field of `TrialConfig`.

    The command's options, the keys of study files, the search space, MLflow's params and the
    columns of tables derive from it.
    """

    name: str
    type: type[Value]
    default: Value | None
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[str], object] | None = None  # raises ValueError for a value against the rule
    identity: bool = True  # whether the field decides the result of a training
    computed: bool = False  # whether nobody gives it: the network says it
    numeral: bool = False  # whether text may be a bare number, too
    has_shares: bool = False  # whether a whole number may be a share of one, too, such as 0.5
    boolean: bool = False  # whether text may be true or false, too
    # Whether version 0.1.0 lacked the field. At its default, which changes nothing, such a field is
    # no part of the signature, and configurations of 0.1.0 have the default.
    is_later: bool = False
    # The field applies only if each of these fields has one of its values.
    when: Mapping[str, tuple[Value | None, ...]] = dataclasses.field(default_factory=dict)
    # The field does not apply if one of these fields has one of its values.
    unless: Mapping[str, tuple[Value | None, ...]] = dataclasses.field(default_factory=dict)

    def parse(self, value: object) -> Value:
        """Return the value in the field's type.

        Raises:
            ValueError: with the rule and the value.
        """
        result: Any = self._convert(value)
        is_bool_for_int = self.type is int and isinstance(result, bool)
        if self.has_shares and isinstance(result, float) and SMALLEST_SHARE <= result < 1:
            return result
        if not isinstance(result, self.type) or is_bool_for_int:
            shares = f", or a share of one from {SMALLEST_SHARE}" if self.has_shares else ""
            raise ValueError(f"{self.name} must be {_TYPE_NAMES[self.type]}{shares}: got {value!r}")
        if self.choices and result not in self.choices:
            hint = did_you_mean(str(value), self.choices)
            raise ValueError(f"{self.name} is unknown: {value!r}; {hint}")
        low, high = self.bounds
        if isinstance(result, int | float) and not low <= result <= high:
            raise ValueError(f"{self.name} must be from {low:g} to {high:g}: got {value!r}")
        if self.check is not None:
            self.check(str(result))
        return result

    def read(self, value: object) -> Value:
        """Return a value that a store or a file says, as `parse` does, but look at no file.

        Neither a network is imported, nor are weights looked for.

        Raises:
            ValueError: with the rule and the value.
        """
        if self.name == "pretrained" and isinstance(value, str):
            return value
        if self.name != "family":
            return self.parse(value)
        is_known = isinstance(value, str) and any(
            (value in models.FAMILIES, models.is_own(value), models.is_backbone(value))
        )
        if not is_known:
            raise ValueError(f"family is unknown: {str(value)[:80]!r}")
        return str(value)

    def is_as_before(self, value: Value) -> bool:
        """Whether a value of the field is what version 0.1.0 did, which lacked the field."""
        return self.is_later and value == self.default

    def _convert(self, value: object) -> Any:
        """Convert text, or a number of the neighbouring type, to the field's type without loss."""
        is_int = isinstance(value, int) and not isinstance(value, bool)
        if (self.numeral and is_int) or (self.boolean and isinstance(value, bool)):
            return str(value).lower()
        if self.type is bool and isinstance(value, str):
            return {"true": True, "false": False}.get(value.lower(), value)
        if self.type in (int, float) and isinstance(value, str):
            value = _parse_number(value)
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            if abs(value) < 2**1000:
                return float(value)
            return math.nan  # is inside no bounds
        if self.type is int and isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value allowed."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return low, high


def _parse_number(text: str) -> object:
    """Read text as a number; return it unchanged if it is none."""
    for number_type in (int, float):
        try:
            return number_type(text)
        except ValueError:
            continue
    return text


def parse_augmentation(text: str) -> tuple[str, ...]:
    """Split ``crop-flip`` into its parts; ``none`` has no parts.

    ``auto`` and the reference to a function are a part of their own.

    Raises:
        ValueError: unless the parts are distinct members of `AUGMENTATIONS`, or it is a reference
            to a function of the user's, such as ``changes.py:blur``.
    """
    if text == "auto" or usercode.is_reference(text):
        return (text,)
    if text == "none":
        return ()
    parts = tuple(text.split("-"))
    has_duplicates = len(set(parts)) < len(parts)
    if has_duplicates or not set(parts) <= set(AUGMENTATIONS):
        names = ", ".join(AUGMENTATIONS)
        raise ValueError(
            f"augment must be auto, none, some of {names} joined by '-', or FILE.py:function: "
            f"got {text!r}"
        )
    return parts


class Redraw(NamedTuple):
    """Which draw of the training and validation splits a trial has, instead of the study's own.

    The test split stays the study's. Either a random draw with as many validation images of each
    class as the study's own, or a fold of a stratified k-fold cross-validation.
    """

    number: int  # of a random draw, from 0; of a fold, from 1
    folds: int | None = None  # how many; None for a random draw

    def __str__(self) -> str:
        if self.folds is None:
            return f"draw-{self.number}"
        return f"fold-{self.number}-of-{self.folds}"


_MOST_FOLDS = 100
_LAST_DRAW = 2**31 - 1


def parse_redraw(text: str) -> Redraw:
    """Parse ``draw-3`` or ``fold-1-of-5``.

    Raises:
        ValueError: for anything else.
    """
    draw = re.fullmatch(r"draw-(0|[1-9][0-9]{0,9})", text)
    if draw and int(draw[1]) <= _LAST_DRAW:
        return Redraw(int(draw[1]))
    fold = re.fullmatch(r"fold-([1-9][0-9]{0,2})-of-([1-9][0-9]{0,2})", text)
    if fold and int(fold[1]) <= int(fold[2]) and 2 <= int(fold[2]) <= _MOST_FOLDS:
        return Redraw(int(fold[1]), int(fold[2]))
    raise ValueError(
        f"redraw must be draw-N, or fold-N-of-K with at most {_MOST_FOLDS} folds: got {text!r}"
    )


_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _field(default: Value | None, text: str, **declaration: Any) -> Any:
    """Declare a field; the keywords are attributes of `ConfigField`."""
    return dataclasses.field(default=default, metadata={"help": text, **declaration})


def _check_family(name: str) -> None:
    """Check that a family is there, and that no option of it is called as a field of a training.

    Raises:
        ValueError: if it is not.
    """
    if models.is_backbone(name):
        libraries.check(name)
    network = models.find_family(name).own
    if network is None:
        return
    options = [
        parameter
        for parameter in network.parameters.values()
        if not parameter.given and (parameter.required or parameter.default is not None)
    ]
    for parameter in options:
        field = config_fields().get(parameter.name)
        if field is not None and parameter.name not in network_options():
            raise ValueError(
                f"{name} has a parameter {parameter.name}, which is a field of every training "
                f"({field.help[:-1].lower()}): rename it in the network, such as "
                f"net_{parameter.name}"
            )


def _check_pretrained(text: str) -> None:
    """Check that a file of weights is there.

    Raises:
        ValueError: if it is not.
    """
    if text not in (weights.NONE, weights.PUBLISHED):
        weights.find(text)


def _check_freeze(text: str) -> None:
    """Check a number of stages, or a word for them.

    Raises:
        ValueError: for anything else.
    """
    if text not in ("none", "backbone") and not (text.isdecimal() and 1 <= int(text) <= 1000):
        raise ValueError(f"freeze must be none, backbone, or a number of stages: got {text!r}")


# The preset is None for a family without presets.
_NO_PRESET: dict[str, tuple[Value | None, ...]] = {"preset": (None, "none")}


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """The configuration of one training run. A field that does not apply is None.

    `configure` makes it, and fills in the defaults. Network options take their default from their
    family. All options of a network of the user's own are in `keywords`, whatever they are called.
    """

    dataset: str = _field(
        "digits", "Data set: a known name, folder:PATH, csv:FILE, FILE.py:function."
    )
    split_file: str | None = _field(
        None, "CSV of path or index, and split (train, val, test), instead of split_seed's."
    )
    image_size: int | None = _field(
        None, "Side in pixels to which a folder's images are brought.", low=1, high=4096
    )
    data_version: int | None = _field(
        None,
        "Rules by which own images are read and divided: 2 for new studies; not given, as 0.1.0.",
        low=2,
        high=DATA_VERSION,
    )
    copies: str | None = _field(
        None,
        "Whether copies among own images are kept in one split; together, if not given.",
        choices=("together", "apart"),
    )
    family: str = _field(
        "cnn",
        "Family of networks; or torchvision:NAME, timm:NAME; or your own: FILE.py:Class, "
        "module:Class.",
        check=_check_family,
    )
    source_digest: str | None = _field(
        None, "Digest of the source of your own network.", computed=True
    )
    activation: str | None = _field(None, "Activation function.", choices=tuple(models.ACTIVATIONS))
    dropout: float | None = _field(None, "Dropout probability.", low=0, high=0.95)
    batch_norm: bool | None = _field(None, "Batch normalisation.")
    bias: bool | None = _field(None, "Keep the biases that batch normalisation cancels.")
    init: str | None = _field(
        None, "Initial weights; auto follows the activation.", choices=models.INITS
    )
    preset: str | None = _field(
        None, "A CNN of a published report, instead of width and depth.", choices=models.PRESETS
    )
    width: int | None = _field(
        None,
        "Hidden units of an MLP, or channels of the first block.",
        low=1,
        high=8192,
        when=_NO_PRESET,
    )
    depth: int | None = _field(
        None,
        "Hidden layers of an MLP, blocks of a CNN, stages of a ResNet.",
        low=1,
        high=20,
        when=_NO_PRESET,
    )
    blocks: str | None = _field(
        None,
        "Blocks of a ResNet's stages: 1, or 3-4-4-3.",
        check=models.parse_block_counts,
        numeral=True,
    )
    stem: str | None = _field(None, "What stands before a ResNet's stages.", choices=models.STEMS)
    head: str | None = _field(None, "What stands behind a ResNet's stages.", choices=models.HEADS)
    layer_order: str | None = _field(
        None, "Order of the layers in a CNN's block.", check=models.parse_layer_order
    )
    residual: bool | None = _field(None, "Add a ResNet block's input to its output.")
    shortcut: str | None = _field(
        None,
        "Shortcut where a ResNet's shape changes: 1x1 convolution, or strided and zero-padded.",
        choices=models.SHORTCUTS,
        when={"residual": (True,)},
    )
    softmax_output: bool | None = _field(
        None, "Put out probabilities: cross-entropy then takes the softmax twice."
    )
    pretrained: str | None = _field(
        weights.NONE,
        "Weights to begin with: those that torchvision or timm publishes (true), or those of a "
        "FILE; the head is new.",
        check=_check_pretrained,
        boolean=True,
        is_later=True,
    )
    weights_digest: str | None = _field(
        None, "Digest or name of the weights to begin with.", computed=True
    )
    freeze: str | None = _field(
        "none",
        "What is not trained: none, all but the head (backbone), or so many first stages.",
        check=_check_freeze,
        numeral=True,
        unless={"pretrained": (None, weights.NONE)},
    )
    backbone_lr: float | None = _field(
        1.0,
        "Learning rate of all but the head, as a factor of lr.",
        low=1e-6,
        high=1000,
        unless={"pretrained": (None, weights.NONE), "freeze": ("backbone",)},
    )
    optimizer: str = _field("adam", "Optimiser.", choices=("sgd", "adam", "adamw"))
    lr: float = _field(1e-3, "Learning rate.", low=1e-8, high=100)
    momentum: float | None = _field(
        0.9, "Momentum.", low=0, high=0.999, when={"optimizer": ("sgd",)}
    )
    weight_decay: float = _field(0.0, "Weight decay.", low=0, high=10)
    loss: str = _field(
        "cross_entropy",
        "What is minimised: cross-entropy, or the squared error of the probabilities, summed over "
        "the classes (Brier score).",
        choices=("cross_entropy", "squared_error"),
        is_later=True,
    )
    class_weights: str = _field(
        "none",
        "Weight of an image in the training loss: one over its class's number of images (balanced) "
        "or over the root of that (sqrt), scaled to a mean of 1.",
        choices=("none", "balanced", "sqrt"),
        is_later=True,
    )
    label_smoothing: float = _field(
        0.0, "Share of each label spread over all classes.", low=0, high=0.9
    )
    grad_clip: float = _field(0.0, "Largest norm of the gradient; 0 for no limit.", low=0, high=1e6)
    batch_size: int = _field(64, "Images a step.", low=1, high=65536)
    augment: str = _field(
        "auto",
        "Random changes of training images: crop, flip, cutout, joined by '-'; none; or "
        "FILE.py:function of your own.",
        check=parse_augmentation,
    )
    rotate: float | None = _field(
        None,
        "Degrees by which training images are turned at most; none by default.",
        low=0,
        high=180,
    )
    zoom: float | None = _field(
        None,
        "Share by which training images are enlarged or made smaller at most; none by default.",
        low=0,
        high=0.9,
    )
    color_jitter: float | None = _field(
        None,
        "Share by which brightness, contrast and saturation of training images change at most; "
        "none by default.",
        low=0,
        high=1,
    )
    mixup: float | None = _field(
        None,
        "Mixes pairs of training images and their labels, with shares drawn from "
        "Beta(mixup, mixup); none by default.",
        low=0,
        high=100,
    )
    cutmix: float | None = _field(
        None,
        "Replaces a rectangle of each training image by that of another, and its share of the "
        "label, with areas drawn from Beta(cutmix, cutmix); none by default.",
        low=0,
        high=100,
    )
    ema: float | None = _field(
        None,
        "Decay, a step, of the moving average of the weights that is scored and kept in place of "
        "the weights; none by default.",
        low=0,
        high=0.99999,
    )
    normalize: bool = _field(
        True, "Bring the training split's mean and deviation to 0 and 1, else pixels to 0..1."
    )
    schedule: str = _field(
        "none", "Learning-rate schedule.", choices=("none", "cosine", "onecycle", "plateau", "step")
    )
    lr_patience: int | None = _field(
        3,
        "Epochs without a lower loss before a plateau's decay.",
        low=0,
        high=10000,
        when={"schedule": ("plateau",)},
    )
    lr_step: int | None = _field(
        10, "Epochs between decays.", low=1, high=10000, when={"schedule": ("step",)}
    )
    lr_factor: float | None = _field(
        0.3, "Factor of one decay.", low=1e-6, high=0.999, when={"schedule": ("plateau", "step")}
    )
    min_lr: float | None = _field(
        0.0,
        "Lowest learning rate of the schedule.",
        low=0,
        high=100,
        when={"schedule": ("plateau", "cosine")},
    )
    epochs: int = _field(10, "Epochs at most.", low=1, high=10000)
    patience: int = _field(
        0, "Stop after this many epochs without a better one; 0 never.", low=0, high=10000
    )
    seed: int = _field(0, "Decides weights, order and dropout.", low=0, high=2**31 - 1)
    split_seed: int = _field(
        0, "Decides the train, validation and test split.", low=0, high=2**31 - 1
    )
    redraw: str | None = _field(
        None,
        "Another draw of train and validation, the test split unchanged: draw-3, fold-1-of-5.",
        check=parse_redraw,
    )
    train_images: int | None = _field(
        None,
        "So many images of the training split train, of each class its share; else all.",
        low=1,
        high=10**9,
    )
    precision: str = _field(
        "auto",
        "Arithmetic: auto is bf16 where GPU or CPU are faster in it (on CPUs: built-in families, "
        "not digits), else fp16 on GPUs and fp32 on CPUs.",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    compile: bool = _field(
        False,
        "Compile the network's training steps (torch.compile): a wait at the beginning of each "
        "trial, which pays for long trainings alone.",
        is_later=True,
    )
    device: str = _field(
        "auto", "Where to train.", choices=("auto", "cpu", "cuda", "mps"), identity=False
    )
    threads: int | None = _field(
        None,
        "CPU threads of a process; else by a rule: as many as the machine has cores for, where "
        "they pay.",
        low=1,
        high=1024,
        identity=False,
    )
    gpus_per_trial: int | float | None = _field(
        None,
        "GPUs, or processes of a CPU, that train one trial together; else one. On Ray a share such "
        "as 0.5.",
        low=1,
        high=64,
        identity=False,
        has_shares=True,
    )
    cudnn_deterministic: bool | None = _field(
        None,
        "On GPUs, cuDNN computes the same sums each time, which may be slower; not, if not given.",
        identity=False,
    )
    eval_batch_size: int = _field(
        512,
        "Images a step when scoring; fewer, if not given, where a layer would need over 512 MB.",
        low=1,
        high=65536,
        identity=False,
    )
    log_every: int = _field(
        0,
        "Log the mean training loss of every so many steps, too; 0 for that of epochs alone.",
        low=0,
        high=1_000_000,
        identity=False,
        is_later=True,
    )
    # The options of a network of the user's own, sorted by their names.
    keywords: tuple[tuple[str, Value], ...] = ()

    def to_dict(self) -> dict[str, Value]:
        """Return the values of the fields and keywords that apply, by name."""
        values = {name: getattr(self, name) for name in config_fields()}
        given = {name: value for name, value in values.items() if value is not None}
        return given | dict(self.keywords)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TrialConfig:
        """Read the values of `to_dict`: a field without a value does not apply.

        Raises:
            ValueError: for values that no command could have written.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"must be a mapping: got {str(values)[:80]!r}")  # noqa: TRY004
        fields = config_fields()
        is_own = models.is_own(str(values.get("family")))
        result: dict[str, Any] = dict.fromkeys(fields)
        for name, field in fields.items():
            if field.is_later and not (is_own and is_network_option(name)):
                result[name] = field.default
        keywords: dict[str, Value] = {}
        for name, value in values.items():
            if is_own and is_network_option(str(name)):
                keywords[name] = read_option(str(name), value)
                continue
            if name not in fields:
                raise ValueError(
                    f"holds the field {str(name)[:80]!r}, which this version does not know: "
                    "a newer one may"
                )
            if value is not None:
                result[name] = _read_value(name, type(value), value)
        missing = [name for name in _always_given() if result[name] is None]
        if missing:
            raise ValueError(f"has no {', '.join(missing)}")
        return TrialConfig(**result, keywords=_sorted_items(keywords))

    def value(self, name: str) -> Value | None:
        """Return the value of a field or keyword; None if it does not apply."""
        for keyword, value in self.keywords:
            if keyword == name:
                return value
        field: Value | None = getattr(self, name, None) if name in config_fields() else None
        return field

    @property
    def options(self) -> dict[str, Value]:
        """The options of the network, for `models.build`."""
        if models.is_own(self.family):
            return dict(self.keywords)
        if models.is_backbone(self.family):
            is_published = self.pretrained == weights.PUBLISHED
            return {"published": is_published, "resizes": is_published and self.image_size is None}
        values = self.to_dict()
        defaults = models.find_family(self.family).options
        return {name: values.get(name, default) for name, default in defaults.items()}

    @property
    def cpu_threads(self) -> int:
        """The number of CPU threads of each process: one until it is settled."""
        return self.threads or 1

    @property
    def processes(self) -> int:
        """The number of processes that train the trial together."""
        return processes_of(self.gpus_per_trial)

    @cached_property
    def signature(self) -> str:
        """Short hash of the fields that decide the result: equal for the same experiment."""
        return self._hash(lambda field: field.identity)

    @cached_property
    def group(self) -> str:
        """The signature without seed and redraw: equal for the repeats of a configuration.

        Cached, because rankings ask for it often.
        """
        return self._hash(lambda field: field.identity and field.name not in REPEAT_FIELDS)

    def _hash(self, includes: Callable[[ConfigField], bool]) -> str:
        fields = config_fields()
        values = {
            name: value
            for name, value in without_later_fields(self.to_dict()).items()
            if name not in fields or includes(fields[name])  # else a keyword of an own network
        }
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def processes_of(gpus_per_trial: Value | None) -> int:
    """Return how many processes train a trial together: one with a share of a GPU, too."""
    return max(1, int(gpus_per_trial or 1))


@cache
def config_fields() -> dict[str, ConfigField]:
    """Return the declarations of `TrialConfig`'s fields, by name and in order."""
    types: dict[str, type[Value]] = {"str": str, "int": int, "float": float, "bool": bool}
    result = {}
    for field in dataclasses.fields(TrialConfig):
        if not field.metadata:  # the keywords, which the network declares
            continue
        annotation = str(field.type)  # for instance: int | None
        result[field.name] = ConfigField(
            name=field.name,
            type=types[annotation.split(" |", maxsplit=1)[0]],
            default=cast("Value | None", field.default),
            **field.metadata,
        )
    return result


def without_later_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the fields that do what an earlier version did, which lacked them.

    Args:
        values: by field, or by keyword of the user's own network.
    """
    fields = config_fields()
    return {
        name: value
        for name, value in values.items()
        if name not in fields or not fields[name].is_as_before(value)
    }


@lru_cache(10_000)
def _cached_value(name: str, _kind: type, value: Value) -> Value:
    return config_fields()[name].read(value)


def _read_value(name: str, kind: type, value: object) -> Value:
    """Read a field's value; most values of a study are those of many trials.

    The type tells 1 from True and 1.0, which are equal as keys of the cache.
    """
    if isinstance(value, bool | int | float | str):
        return _cached_value(name, kind, value)
    raise ValueError(f"{name} must be one value: got {str(value)[:80]!r}")


@cache
def _always_given() -> tuple[str, ...]:
    """The fields that have a value in every configuration."""
    return tuple(
        field.name
        for field in dataclasses.fields(TrialConfig)
        if field.metadata and "None" not in str(field.type)
    )


def applies(name: str, values: Mapping[str, Value | None]) -> bool:
    """Whether a field or keyword applies, given the values of other fields."""
    family = str(values["family"])
    if is_network_option(name) and not models.find_family(family).takes(name):
        return False
    if models.is_own(family) and is_network_option(name):
        return True
    field = config_fields()[name]
    if name == "source_digest":
        return models.is_own(family)
    if name == "weights_digest":
        return values.get("pretrained") not in (None, weights.NONE)
    is_excluded = any(values.get(other) in refused for other, refused in field.unless.items())
    return not is_excluded and all(
        values.get(other) in allowed for other, allowed in field.when.items()
    )


@cache
def network_options() -> frozenset[str]:
    """Return the names of the fields that are options of a network.

    A network of the user's own may have an option of its own that is called so.
    """
    of_families = (option for family in models.FAMILIES.values() for option in family.options)
    return frozenset((*of_families, *models.TRANSFER))


def is_network_option(name: str) -> bool:
    """Whether a name is that of an option of a network: one of the fields, or a keyword."""
    return name in network_options() or name not in config_fields()


def value_names(configs: Iterable[TrialConfig]) -> list[str]:
    """Return the names of all fields, and of the keywords that some configuration has."""
    keywords = {name for config in configs for name, _ in config.keywords}
    return [*config_fields(), *sorted(keywords - config_fields().keys())]


def _sorted_items(keywords: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(keywords.items()))


def configure(
    values: Mapping[str, object], *, strict: bool = False, others: Container[str] = ()
) -> TrialConfig:
    """Make a `TrialConfig`: check the values, fill in the defaults, drop fields that do not apply.

    Args:
        values: by field name or keyword of the user's own network; None stands for a missing value.
        strict: refuse the value of a field that does not apply, instead of dropping it, and the
            lack of a keyword that has no default.
        others: keywords of other families, which are dropped, too.

    Raises:
        ValueError: for an unknown name, or a value against its rule.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if _is_plain(given):
        items = tuple((name, type(value), value) for name, value in given.items())
        return _configure_plain(items, strict)
    return _configure(given, strict=strict, others=others)


def _is_plain(given: Mapping[str, object]) -> bool:
    """Whether a configuration depends on the values alone, and on no file or network of a user."""
    fields = config_fields()
    for name, value in given.items():
        if name not in fields or not isinstance(value, bool | int | float | str):
            return False
        is_checked = fields[name].check is not None or fields[name].computed
        if is_checked and not (name == "family" and value in models.FAMILIES):
            return False
    return True


@lru_cache(10_000)
def _configure_plain(items: tuple[tuple[str, type, Value], ...], strict: bool) -> TrialConfig:
    """Configure plain values: a study asks for the same ones again and again.

    The types tell 1 from True and 1.0, which are equal as keys of the cache.
    """
    return _configure({name: value for name, _, value in items}, strict=strict)


def _configure(
    given: Mapping[str, object], *, strict: bool = False, others: Container[str] = ()
) -> TrialConfig:
    """Make a `TrialConfig` of values, none of which is missing, as `configure` says."""
    fields = config_fields()
    family = given.get("family")
    family = fields["family"].default if family is None else fields["family"].parse(family)
    network = models.find_family(str(family)).own
    keywords, parsed = _parse_values(network, given, () if strict else others)
    result: dict[str, Any] = {"family": family}
    family_defaults = models.find_family(str(family)).options
    for name, field in fields.items():
        is_keyword = network is not None and name in network_options()
        if field.computed:
            result[name] = _computed(name, result, parsed)
        elif not is_keyword and applies(name, result):
            result[name] = parsed.get(name, family_defaults.get(name, field.default))
        elif strict and name in parsed:
            why = _needs(field) if network is None else f": {network.describe_options()}"
            raise ValueError(f"{name} does not apply to {family}{why}")
        else:
            result[name] = None
        if result[name] == weights.PUBLISHED and name == "pretrained":
            result[name] = _pretrained(str(family), strict=strict)
    if strict and network is not None and network.missing(keywords):
        raise ValueError(needs_text(network.reference, network.missing(keywords)))
    return TrialConfig(**result, keywords=_sorted_items(keywords))


def _pretrained(family: str, *, strict: bool) -> str:
    """Return the value of ``pretrained: true`` for a family, which may have no published weights.

    Raises:
        ValueError: if it has none, and values that do not apply are refused.
    """
    if models.is_backbone(family):
        return weights.PUBLISHED
    if strict:
        raise ValueError(
            f"pretrained true is for torchvision:NAME and timm:NAME, and nobody publishes weights "
            f"of {family}: give a FILE, or leave it out"
        )
    return weights.NONE


def _computed(name: str, values: Mapping[str, Any], parsed: Mapping[str, Value]) -> Value | None:
    """Return the value of a field that nobody gives.

    Args:
        name: of the field.
        values: of the fields before it.
        parsed: the given values. A recorded configuration has the digest of its weights, whose file
            may be elsewhere now.
    """
    if not applies(name, values):
        return None
    family = str(values["family"])
    if name == "weights_digest":
        return parsed.get(name) or weights.digest(str(values["pretrained"]), family)
    network = models.find_family(family).own
    return None if network is None else network.source.digest


def _parse_values(
    network: Network | None, given: Mapping[str, object], others: Container[str]
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Parse values as keywords of the user's own network, if there is one, and as fields.

    The keywords that are not given have their defaults.
    """
    fields = config_fields()
    parsed: dict[str, Value] = {}
    keywords = {} if network is None else network.options
    for name, value in given.items():
        if network is not None and is_network_option(name) and network.takes(name):
            keywords[name] = network.option(name, value)
        elif name in fields:
            parsed[name] = fields[name].parse(value)
        elif name not in others:
            raise ValueError(f"unknown field {name!r}: {_known_names(network, name)}")
    return keywords, parsed


def _known_names(network: Network | None, name: str) -> str:
    """Suggest the nearest name of a field or keyword: the end of an error."""
    names = [field.name for field in config_fields().values() if not field.computed]
    if network is None:
        return did_you_mean(name, names)
    return f"{did_you_mean(name, [*network.parameters, *names])}; {network.describe_options()}"


def _needs(field: ConfigField) -> str:
    """The conditions of a field, as the end of an error message."""
    conditions = []
    for name, allowed in field.when.items():
        alternatives = " or ".join(str(value) for value in allowed if value is not None)
        conditions.append(f"{name} {alternatives}")
    for name, refused in field.unless.items():
        alternatives = " or ".join(str(value) for value in refused if value is not None)
        conditions.append(f"{name} other than {alternatives}")
    return f": it needs {', '.join(conditions)}" if conditions else ""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """An epoch of a trial's history."""

    __pydantic_config__: ClassVar = AS_DECLARED

    epoch: int  # counted from 1
    time: int  # the end of the epoch: milliseconds since 1970, UTC
    metrics: Mapping[str, float]  # by MLflow key: train/loss, val/acc, ...
    per_class: tuple[float | None, ...]  # validation accuracy of each class; None without images
    train_per_class: tuple[float | None, ...] = ()  # the same of the training images, as trained
    predicted: tuple[int, ...] = ()  # how many validation images were taken for each class
    # With `TrialConfig.log_every`: steps, counted over all epochs from 1, and the mean loss of the
    # steps since the one before.
    step_losses: tuple[tuple[int, float], ...] = ()

    @staticmethod
    def from_dict(row: Mapping[str, Any]) -> Epoch:
        """Read the data of `dataclasses.asdict`, also after a round trip through JSON.

        Raises:
            ValueError: if it is no epoch, or of a newer version.
        """
        return read_data(Epoch, row)


class Mistake(NamedTuple):
    """A validation image that was classified wrongly.

    A tuple: its JSON is a list of these values, in order.
    """

    image: int  # index in the validation split
    true: int  # class of the image
    predicted: int  # class that the image was taken for
    probability: float  # of the predicted class
    loss: float  # cross-entropy, nats


class ConfidenceBin(NamedTuple):
    """The validation images to which a network gives an answer of about the same probability.

    A tuple: its JSON is a list of these values, in order.
    """

    images: int
    right: int  # of these
    confidence: float  # sum of the probabilities of the answers


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """The result of a trial, ended or not.

    A plain value: every ranking, table and plot is a function of a sequence of results.
    """

    __pydantic_config__: ClassVar = AS_DECLARED

    number: int
    config: TrialConfig
    state: str  # COMPLETE, PRUNED, PAUSED, FAILED or RUNNING
    end: str  # how the trial ended: complete, pruned, diverged, oom, timeout, error:<class>, ...
    # The objective at the best epoch so far; None for a failed trial, and if it is not finite.
    value: float | None = None
    best_epoch: int | None = None  # counted from 1
    history: tuple[Epoch, ...] = ()
    # Validation counts [true][predicted] at the best epoch.
    confusion: tuple[tuple[int, ...], ...] | None = None
    # The worst at the best epoch, and some of the most confused pairs of classes.
    mistakes: tuple[Mistake, ...] = ()
    # Which validation images are classified correctly at the best epoch, as `sweeps.analysis.bits`
    # packs them; None where it is not known.
    correct: str | None = None
    # The validation images by the probability of the answer, at the best epoch: equal intervals
    # from 0 to 1; None where it is not known.
    confidences: tuple[ConfidenceBin, ...] | None = None
    # By how much the best epoch flatters, in the unit of the value: `sweeps.analysis.optimism`
    # estimates it; None where it does not.
    optimism: float | None = None
    seconds: float = 0.0
    parameters: int | None = None
    mflops: float | None = None  # of an image's forward pass, in millions
    # Of an image's forward pass: a measurement, which decides nothing unless the study has it as a
    # constraint or an objective.
    latency_ms: float | None = None
    duplicate_of: int | None = None  # earlier trial of the same signature that gave this result
    # On the test split, once it is evaluated: acc, loss, images (their number), top5_acc of many
    # classes, class@3; and acc@3 (after epoch 3), if all epochs are evaluated.
    test: Mapping[str, float] | None = None
    test_correct: str | None = None  # as `correct`, of the test images
    checkpoint: str | None = None  # folder or URI of the best epoch's weights
    run_id: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        """Drop a value that is infinite or not a number: it has no place in a ranking or a file."""
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)

    @property
    def has_ended(self) -> bool:
        """Whether the trial is neither in training nor paused."""
        return self.state not in (RUNNING, PAUSED)

    @property
    def best(self) -> Epoch | None:
        """The best epoch of the history; None if there is none."""
        for row in self.history:
            if row.epoch == self.best_epoch:
                return row
        return None

    def to_json(self) -> str:
        """Return JSON text; `from_dict` reads its data back as an equal result."""
        data = {**dataclasses.asdict(self), "config": self.config.to_dict()}
        return json.dumps(data, allow_nan=False)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> TrialResult:
        """Read the data of `to_json`.

        Raises:
            ValueError: if they are no result, or of a newer version.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"must be a mapping: got {str(data)[:80]!r}")  # noqa: TRY004
        # Version 0.1.0 stored no mistakes, and not which images are classified correctly.
        values = {**data, "config": TrialConfig.from_dict(data.get("config", ()))}
        value = values.get("value")
        if isinstance(value, float) and not math.isfinite(value):
            values["value"] = None  # as it is in the result, too
        result = read_data(TrialResult, values)
        _check_values(result)
        return result


def _check_values(result: TrialResult) -> None:
    """Check the values of a result that types do not.

    Raises:
        ValueError: with the rule and the value.
    """
    if result.state not in _STATES:
        raise ValueError(f"state must be one of {', '.join(_STATES)}: got {result.state[:80]!r}")
    if result.run_id is not None and not _RUN_ID.fullmatch(result.run_id):
        raise ValueError(f"run_id must be the id of a run: got {result.run_id[:80]!r}")
    if not 0 <= result.seconds <= _LATEST:
        raise ValueError(f"seconds must be 0 or more: got {result.seconds}")
    for row in result.history:
        if not 0 <= row.time <= _LATEST:
            raise ValueError(f"time of epoch {row.epoch} must be in milliseconds: {row.time}")
    _check_counts(result)
    for name in ("parameters", "mflops", "latency_ms"):
        held = getattr(result, name)
        if held is not None and held < 0:
            raise ValueError(f"{name} must be 0 or more: got {held}")


def _check_counts(result: TrialResult) -> None:
    """Check the counts of images of a result, as `_check_values` does."""
    counts = [count for row in result.confusion or () for count in row]
    indices = [index for mistake in result.mistakes for index in mistake[:3]]
    predicted = [count for row in result.history for count in row.predicted]
    if min((*counts, *indices, *predicted), default=0) < 0:
        raise ValueError("confusion, mistakes and predicted must be 0 or more")
    for one in result.confidences or ():
        if not (0 <= one.right <= one.images and 0 <= one.confidence <= one.images + 1):
            raise ValueError(f"confidences must be counts and sums of probabilities: got {one}")


def began_at(result: TrialResult) -> int | None:
    """Return the start of a training, in milliseconds since 1970, UTC; None without a training."""
    if not result.history or result.duplicate_of is not None:
        return None
    first_epoch = result.history[0]
    seconds = first_epoch.metrics.get("time/epoch_seconds", 0.0)
    return first_epoch.time - round(1000 * seconds)


def ended_at(result: TrialResult) -> int | None:
    """Return the end of a training, in milliseconds since 1970, UTC; None without a training."""
    if result.history:
        return result.history[-1].time
    return None


_T = TypeVar("_T")


@cache
def _reader(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def read_data(kind: type[_T], data: object) -> _T:
    """Read JSON data as a value of a dataclass, whose nested values are read alike.

    Args:
        kind: the dataclass.
        data: by the names of its fields.

    Raises:
        ValueError: naming the first part that is not as it should be.
    """
    from pydantic import ValidationError

    try:
        value: _T = _reader(cast("Any", kind)).validate_python(data)
    except ValidationError as error:
        raise ValueError(problem(error)) from None
    return value


def problem(error: ValidationError) -> str:
    """Return what is wrong with data in one line, and where.

    Args:
        error: of their reader.
    """
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    got = " ".join(repr(first["input"])[:80].split())
    if first["type"] == "unexpected_keyword_argument" or first["type"] == "extra_forbidden":
        return f"holds {place[:80]!r}, which this version does not know: a newer one may"
    if not place:
        return f"{first['msg']}: got {got}"
    return f"{place[:80]}: {first['msg']}: got {got}"
