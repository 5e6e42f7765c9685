"""Published figures of a study's configurations, as the study file gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from sweeps.spec.keywords import context_keywords
from sweeps.trial import TrialConfig, Value

# What a report may publish of a configuration; all are of its last or best epoch.
FIGURES = ("train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc")

_Figure = Literal[
    "train_loss",
    "train_acc",
    "val_loss",
    "val_acc",
    "test_loss",
    "test_acc",
    "by_epoch",
    "per_class",
    "per_class_train",
]
_Share = Annotated[float, Field(ge=0, le=1)]
_Loss = Annotated[float, Field(ge=0)]


def _condition(raw: object, info: ValidationInfo) -> dict[str, Value]:
    """Check the field values that select the trials of a published configuration."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"when must be a mapping of fields to values: got {raw!r}")  # noqa: TRY004
    keywords = context_keywords(info)
    return {str(name): keywords.parse_condition(str(name), value) for name, value in raw.items()}


_Condition = Annotated[Any, BeforeValidator(_condition), WithJsonSchema({"type": "object"})]


class Reference(BaseModel):
    """Published figures of one configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(description="Name in the report.")] = ""
    when: Annotated[
        _Condition, Field(description="Field values of the trials to compare with.")
    ] = {}
    train_loss: Annotated[
        _Loss | None, Field(description="Cross-entropy of a training image, nats.")
    ] = None
    train_acc: Annotated[
        _Share | None, Field(description="Accuracy on the training images, 0 to 1.")
    ] = None
    val_loss: Annotated[
        _Loss | None, Field(description="Cross-entropy of a validation image, nats.")
    ] = None
    val_acc: Annotated[_Share | None, Field(description="Accuracy on the validation images.")] = (
        None
    )
    test_loss: Annotated[
        _Loss | None, Field(description="Cross-entropy of a test image, nats.")
    ] = None
    test_acc: Annotated[_Share | None, Field(description="Accuracy on the test images.")] = None
    by_epoch: Annotated[
        tuple[_Share, ...], Field(description="Test accuracy after each epoch.")
    ] = ()
    per_class: Annotated[
        tuple[_Share, ...], Field(description="Test accuracy of each class, in order.")
    ] = ()
    per_class_train: Annotated[
        tuple[_Share, ...],
        Field(description="Accuracy of each class on the training images, in order."),
    ] = ()
    incomparable: Annotated[
        tuple[_Figure, ...],
        Field(description="Figures measured in another way: shown without a difference."),
    ] = ()
    note: Annotated[str, Field(description="A remark for readers of the report.")] = ""

    @property
    def figures(self) -> dict[str, float]:
        """The published figures, by name."""
        figures = {name: getattr(self, name) for name in FIGURES}
        return {name: value for name, value in figures.items() if value is not None}

    @property
    def label(self) -> str:
        """The name, else the condition."""
        condition = ", ".join(f"{name} {value}" for name, value in self.when.items())
        return self.name or condition or "all"

    def matches(self, config: TrialConfig) -> bool:
        """Whether the figures are of trials with this configuration."""
        return all(config.value(name) == value for name, value in self.when.items())
