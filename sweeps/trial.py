"""The two frozen values that flow through everything: what a trial trains, and what came of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple, cast

import models

Value = bool | int | float | str

COMPLETE = "complete"
PRUNED = "pruned"
FAILED = "failed"
RUNNING = "running"
AUGMENTATIONS = ("crop", "flip", "cutout")


@dataclass(frozen=True)
class ConfigField:
    """What is declared once of a field; options, study files, search space, params and columns derive from it."""

    name: str
    type: type[Value]
    default: Value | None
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[str], object] | None = None
    identity: bool = True
    numeral: bool = False  # text that may be a bare number, too
    when: Mapping[str, tuple[Value | None, ...]] = dataclasses.field(default_factory=dict)

    def parse(self, value: object) -> Value:
        """Return the value in the field's type.

        Raises:
            ValueError: saying the rule and the value.
        """
        result: Any = self._convert(value)
        if not isinstance(result, self.type) or (self.type is int and isinstance(result, bool)):
            raise ValueError(f"{self.name} must be {_TYPE_NAMES[self.type]}: got {value!r}")
        if self.choices and result not in self.choices:
            raise ValueError(
                f"{self.name} is unknown: {value!r}; {models.did_you_mean(str(value), self.choices)}"
            )
        low, high = self.bounds
        if isinstance(result, int | float) and not low <= result <= high:
            raise ValueError(f"{self.name} must be from {low:g} to {high:g}: got {value!r}")
        if self.check is not None:
            self.check(str(result))
        return result

    def _convert(self, value: object) -> Any:
        """Bring text, and numbers of the neighbouring type, to the field's type where nothing is lost."""
        if self.numeral and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if self.type is bool and isinstance(value, str):
            return {"true": True, "false": False}.get(value.lower(), value)
        if self.type in (int, float) and isinstance(value, str):
            value = _number(value)
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            # which no bounds hold
            if abs(value) < 2**1000:
                return float(value)
            return math.nan
        if self.type is int and isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value allowed."""
        return (
            -math.inf if self.low is None else self.low,
            math.inf if self.high is None else self.high,
        )


def _number(text: str) -> object:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def parse_augmentation(text: str) -> tuple[str, ...]:
    """Split ``crop-flip`` into its parts; ``none`` has no parts, ``auto`` is itself.

    Raises:
        ValueError: unless each part is one of `AUGMENTATIONS` and stands there once.
    """
    if text in ("auto", "none"):
        if text == "auto":
            return ("auto",)
        return ()
    parts = tuple(text.split("-"))
    if not set(parts) <= set(AUGMENTATIONS) or len(set(parts)) < len(parts):
        known = ", ".join(AUGMENTATIONS)
        raise ValueError(
            f"augment must be auto, none, or some of {known} joined by '-': got {text!r}"
        )
    return parts


_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _field(default: Value | None, text: str, **facts: Any) -> Any:
    return dataclasses.field(default=default, metadata={"help": text, **facts})


_NO_PRESET: dict[str, tuple[Value | None, ...]] = {
    "preset": (None, "none")
}  # None: the family has no presets


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that decides one training run. A field that does not apply is None.

    Made by `configure`, which fills in the defaults. Network options take their default from their family.
    """

    dataset: str = _field("digits", "Data set: a known name or folder:PATH.")
    split_file: str | None = _field(
        None, "CSV of path or index, and split (train, val, test), instead of split_seed's."
    )
    image_size: int | None = _field(
        None, "Side in pixels to which a folder's images are brought.", low=1, high=4096
    )
    family: str = _field(
        "cnn", "Family of networks, or module:Class of your own.", check=models.find_family
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
        None, "Put out probabilities: the loss then takes the softmax twice."
    )
    optimizer: str = _field("adam", "Optimiser.", choices=("sgd", "adam", "adamw"))
    lr: float = _field(1e-3, "Learning rate.", low=1e-8, high=100)
    momentum: float | None = _field(
        0.9, "Momentum.", low=0, high=0.999, when={"optimizer": ("sgd",)}
    )
    weight_decay: float = _field(0.0, "Weight decay.", low=0, high=10)
    label_smoothing: float = _field(
        0.0, "Share of each label spread over all classes.", low=0, high=0.9
    )
    grad_clip: float = _field(0.0, "Largest norm of the gradient; 0 for no limit.", low=0, high=1e6)
    batch_size: int = _field(64, "Images a step.", low=1, high=65536)
    augment: str = _field(
        "auto",
        "Random changes of training images: crop, flip, cutout, joined by '-'; none.",
        check=parse_augmentation,
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
    precision: str = _field(
        "auto",
        "Arithmetic: auto is bf16 where GPU or CPU compute in it (on CPUs: built-in families, not digits), else fp32.",
        choices=("auto", "fp32", "bf16"),
    )
    device: str = _field(
        "auto", "Where to train.", choices=("auto", "cpu", "cuda", "mps"), identity=False
    )
    threads: int = _field(1, "CPU threads of a process.", low=1, high=1024, identity=False)
    gpus_per_trial: int | None = _field(
        None,
        "GPUs, or processes of a CPU, that train one trial together; else one.",
        low=1,
        high=64,
        identity=False,
    )
    eval_batch_size: int = _field(
        512, "Images a step when scoring.", low=1, high=65536, identity=False
    )

    def to_dict(self) -> dict[str, Value]:
        """The fields that apply, by name."""
        return {
            name: value for name in config_fields() if (value := getattr(self, name)) is not None
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TrialConfig:
        """Read back what `to_dict` gave: what is not among the values does not apply."""
        return TrialConfig(**{**dict.fromkeys(config_fields()), **values})

    @property
    def options(self) -> dict[str, Value]:
        """The options of the network, as `models.build` takes them."""
        values = self.to_dict()
        return {
            name: values.get(name, default)
            for name, default in models.find_family(self.family).options.items()
        }

    @property
    def processes(self) -> int:
        """How many processes train it together."""
        return self.gpus_per_trial or 1

    @cached_property
    def signature(self) -> str:
        """Short hash of what decides the result: equal wherever the same experiment appears."""
        return self._hash(lambda f: f.identity)

    @cached_property
    def group(self) -> str:
        """The signature without the seed: equal for the repeats of one configuration; kept, for rankings ask often."""
        return self._hash(lambda f: f.identity and f.name != "seed")

    def _hash(self, counts: Callable[[ConfigField], bool]) -> str:
        values = {k: v for k, v in self.to_dict().items() if counts(config_fields()[k])}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


@cache
def config_fields() -> dict[str, ConfigField]:
    """The declared facts of each field of `TrialConfig`, in order."""
    types: dict[str, type[Value]] = {
        "str": str,
        "int": int,
        "float": float,
        "bool": bool,
    }
    return {
        f.name: ConfigField(
            name=f.name,
            type=types[str(f.type).split(" |")[0]],
            default=cast("Value | None", f.default),
            **f.metadata,
        )
        for f in dataclasses.fields(TrialConfig)
    }


def applies(name: str, values: Mapping[str, Value | None]) -> bool:
    """Whether a field applies beside the given values of the others."""
    options = models.find_family(str(values["family"])).options
    field = config_fields()[name]
    if name in network_options() and name not in options:
        return False
    return all(values.get(other) in allowed for other, allowed in field.when.items())


@cache
def network_options() -> frozenset[str]:
    """The fields that are options of a network."""
    return frozenset(option for family in models.FAMILIES.values() for option in family.options)


def configure(values: Mapping[str, object], *, strict: bool = False) -> TrialConfig:
    """Make a `TrialConfig`: check the values, fill in defaults, leave out what does not apply.

    Args:
        values: by field name; None counts as not given.
        strict: refuse a value whose field does not apply, instead of leaving it out.

    Raises:
        ValueError: for an unknown name or a value against its rule.
    """
    for name in values:
        if name not in config_fields():
            raise ValueError(
                f"unknown field {name!r}: {models.did_you_mean(name, list(config_fields()))}"
            )
    given = {
        name: config_fields()[name].parse(value)
        for name, value in values.items()
        if value is not None
    }
    result: dict[str, Any] = {"family": given.get("family", config_fields()["family"].default)}
    defaults = models.find_family(result["family"]).options
    for name, field in config_fields().items():
        if applies(name, result):
            result[name] = given.get(name, defaults.get(name, field.default))
        elif strict and name in given:
            needs = ", ".join(
                f"{k} {' or '.join(str(x) for x in v if x is not None)}"
                for k, v in field.when.items()
            )
            raise ValueError(
                f"{name} does not apply to {result['family']}"
                + (f": it needs {needs}" if needs else "")
            )
        else:
            result[name] = None
    return TrialConfig(**result)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of a trial's history."""

    epoch: int  # counted from 1
    time: int  # when it ended: milliseconds since 1970, UTC
    metrics: Mapping[str, float]  # by MLflow key: train/loss, val/acc, ...
    per_class: tuple[
        float | None, ...
    ]  # validation accuracy of each class; None where it has no images
    train_per_class: tuple[float | None, ...] = ()  # the same of the training images, as trained
    predicted: tuple[int, ...] = ()  # how many validation images were taken for each class

    @staticmethod
    def from_dict(row: Mapping[str, Any]) -> Epoch:
        """Read back what `dataclasses.asdict` gave, or JSON made of it."""
        values: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in row.items()
        }
        return Epoch(**values)


class Mistake(NamedTuple):
    """An image of the validation split that was classified wrongly. A tuple: in JSON it is these five, in order."""

    image: int  # its index in the validation split
    true: int  # its class
    predicted: int  # the class that it was taken for
    probability: float  # of that class
    loss: float  # cross-entropy, nats


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What came of one trial. A plain value: every ranking, table and plot is a function of a sequence of these."""

    number: int
    config: TrialConfig
    state: str  # COMPLETE, PRUNED, FAILED or RUNNING
    end: str  # how it ended: complete, pruned, diverged, oom, timeout, error:<class>, ...
    value: float | None = None  # the objective at the best epoch; None unless COMPLETE or PRUNED
    best_epoch: int | None = None  # counted from 1
    history: tuple[Epoch, ...] = ()
    confusion: tuple[tuple[int, ...], ...] | None = (
        None  # validation counts [true][predicted] at the best epoch
    )
    mistakes: tuple[
        Mistake, ...
    ] = ()  # the worst at the best epoch, and some of the most confused pairs of classes
    seconds: float = 0.0
    parameters: int | None = None
    mflops: float | None = None  # of one image's forward pass, in millions
    latency_ms: float | None = None  # of one image's forward pass; measured where it is constrained
    duplicate_of: int | None = None  # the earlier trial of the same signature whose result this is
    # On the test split, once someone has evaluated it: acc, loss, images (how many), acc@3 (after epoch 3), class@3.
    test: Mapping[str, float] | None = None
    checkpoint: str | None = None  # folder or URI of the best epoch's weights
    run_id: str | None = None
    error: str | None = None

    @property
    def best(self) -> Epoch | None:
        """The best epoch's line of the history."""
        return next((e for e in self.history if e.epoch == self.best_epoch), None)

    def to_json(self) -> str:
        """Write it as JSON text, whose data `from_dict` reads back equal."""
        return json.dumps(
            {**dataclasses.asdict(self), "config": self.config.to_dict()}, allow_nan=False
        )

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> TrialResult:
        """Read back the data that `to_json` wrote."""
        history = tuple(map(Epoch.from_dict, data["history"]))
        if data["confusion"] is None:
            confusion = data["confusion"]
        else:
            confusion = tuple(tuple(row) for row in data["confusion"])
        config = TrialConfig.from_dict(data["config"])
        mistakes = tuple(
            Mistake(*values) for values in data.get("mistakes", ())
        )  # version 0.1.0 kept none
        changes = {
            "config": config,
            "history": history,
            "confusion": confusion,
            "mistakes": mistakes,
        }
        return TrialResult(**{**data, **changes})


def began_at(result: TrialResult) -> int | None:
    """When its training began: milliseconds since 1970, UTC. None for one that was not trained."""
    if not result.history or result.duplicate_of is not None:
        return None
    first = result.history[0]
    return first.time - round(1000 * first.metrics.get("time/epoch_seconds", 0.0))


def ended_at(result: TrialResult) -> int | None:
    """When its training ended: milliseconds since 1970, UTC. None for one that was not trained."""
    if result.history:
        return result.history[-1].time
    return None
