"""The parameters of a network of the user's own: what they are given, and what they take.

What the images decide (their shape, the number of classes) is given to the parameters that are
called so in the field, see `GIVEN`; every other parameter is an option.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

Option = bool | int | float | str

MOST_CHARACTERS = 500  # of the value of an option, as text
LARGEST = 2**53  # of a whole number: larger ones are not exact as floats

# What the images decide of a network, and the names of parameters that it is given to.
GIVEN: dict[str, tuple[str, ...]] = {
    "classes": (
        "num_classes",
        "classes",
        "n_classes",
        "nb_classes",
        "nclasses",
        "num_class",
        "num_labels",
        "n_labels",
        "num_outputs",
        "n_outputs",
        "output_size",
        "output_dim",
        "out_dim",
        "out_features",
    ),
    "channels": (
        "in_channels",
        "in_chans",
        "in_ch",
        "input_channels",
        "image_channels",
        "img_channels",
        "c_in",
    ),
    "shape": ("shape", "input_shape", "in_shape", "image_shape", "img_shape"),
    "side": ("image_size", "img_size"),
    "height": ("image_height", "img_height", "in_height", "img_h"),
    "width": ("image_width", "img_width", "in_width", "img_w"),
    "values": ("input_size", "input_dim", "in_dim", "in_features", "n_features", "n_inputs"),
}
# Names that may mean an option, too: they are given only if they have no default.
_GIVEN_WITHOUT_DEFAULT = {
    "channels": "channels",
    "num_channels": "channels",
    "n_channels": "channels",
    "height": "height",
}
_TYPE_RULES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "number": "a number",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a network's constructor."""

    name: str
    kind: str  # a key of `_TYPE_RULES`; empty for any value
    required: bool  # whether it has no default
    default: Option | None = None  # None also for one that is no value of a study file
    given: str = ""  # what of the images it is given, a key of `GIVEN`; empty for an option

    def convert(self, value: Option) -> Option:
        """Return a value in the parameter's type.

        Raises:
            ValueError: with the rule and the value.
        """
        converted = _convert(self.kind, value)
        if converted is None:
            raise ValueError(f"{self.name} must be {_TYPE_RULES[self.kind]}: got {value!r}")
        return converted

    def argument(self, value: Option) -> object:
        """Return a value as the constructor takes it: the text of a list becomes a list."""
        if self.kind == "str" or not is_list(value):
            return value
        items = json.loads(str(value))
        return tuple(items) if self.kind == "tuple" else items


def is_list(value: object) -> bool:
    """Whether a value is the text of a list, as `list_text` writes it."""
    if not isinstance(value, str) or not value.startswith("["):
        return False
    try:
        return isinstance(json.loads(value), list)
    except ValueError:
        return False


def read_option(name: str, value: object) -> Option:
    """Return a value that is given for an option, as a configuration holds it: a list is text.

    Args:
        name: of the option.
        value: as a study file or a store has it.

    Raises:
        ValueError: with the rule and the value.
    """
    if not name.isidentifier() or len(name) > 100:
        raise ValueError(f"an option must be called as a parameter of Python: got {name[:100]!r}")
    if isinstance(value, list | tuple):
        value = _list_text(name, value)
    if not isinstance(value, bool | int | float | str):
        shown = "null" if value is None else repr(value)[:80]
        raise ValueError(  # noqa: TRY004
            f"{name} must be text, a number, true, false, or a list: got {shown}"
        )
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        raise ValueError(
            f"{name} must have at most {MOST_CHARACTERS} characters: got {len(value)}, "
            f"{value[:40]!r}..."
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite: got {value}")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"{name} must be at most 2 to the 53rd: got {value}")
    return value


def _list_text(name: str, items: Sequence[object]) -> str:
    """Write a list, possibly of lists, in the one form in which equal lists are equal texts."""
    flat = list(items)
    while any(isinstance(item, list | tuple) for item in flat):
        flat = [
            part for item in flat for part in (item if isinstance(item, list | tuple) else [item])
        ]
    for item in flat:
        if not isinstance(item, bool | int | float | str) or item in (math.inf, -math.inf):
            raise ValueError(
                f"{name} must be a list of text, numbers, true and false: got {item!r} in it"
            )
    return json.dumps(items)


def _convert(kind: str, value: Option) -> Option | None:
    """Return a value in a kind of parameter; None if it is not of the kind."""
    is_text = isinstance(value, str)
    if kind == "bool":
        words = {"true": True, "false": False}
        return words.get(value.lower()) if isinstance(value, str) else _only(value, bool)
    if kind in ("list", "tuple"):
        return value if is_list(value) else None
    if kind in ("int", "float", "number"):
        return None if isinstance(value, bool | str) else _number(kind, value)
    if kind == "str" and not is_text:
        return None if isinstance(value, bool | float) else str(value)
    return value


def _only(value: Option, kind: type[Option]) -> Option | None:
    return value if isinstance(value, kind) else None


def _number(kind: str, value: float) -> Option | None:
    if kind == "int":
        return int(value) if float(value).is_integer() else None
    return float(value) if kind == "float" else value


def given_parameters(parameters: Sequence[inspect.Parameter]) -> dict[str, str]:
    """Return which parameters are given what of the images, a key of `GIVEN`.

    Each is given once: beside ``num_classes``, ``out_features`` is an option.
    """
    names = {parameter.name for parameter in parameters}
    given = {}
    for fact, known in GIVEN.items():
        present = [name for name in known if name in names]
        if present:
            given[present[0]] = fact
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    for name in required:
        if name in _GIVEN_WITHOUT_DEFAULT and _GIVEN_WITHOUT_DEFAULT[name] not in given.values():
            given[name] = _GIVEN_WITHOUT_DEFAULT[name]
    if given.get("input_size") == "values" and "channels" in given.values():
        given["input_size"] = "side"  # of what takes images and no flat values
    return given


def read_parameter(parameter: inspect.Parameter, given: str) -> Parameter:
    """Read a parameter of a signature.

    Args:
        parameter: of the signature.
        given: what of the images it is given, as `given_parameters` says; empty for an option.
    """
    has_default = parameter.default is not parameter.empty
    default: Option | None = None
    if has_default:
        try:
            default = read_option(parameter.name, parameter.default)
        except ValueError:  # such as None, or a class of layers: it stays as it is
            default = None
    return Parameter(
        name=parameter.name,
        kind=_kind(parameter, default),
        required=not has_default,
        default=default,
        given=given,
    )


def _kind(parameter: inspect.Parameter, default: Option | None) -> str:
    """Return the kind of a parameter's values: as it is annotated, else that of its default."""
    if parameter.annotation is not parameter.empty:
        return _annotated_kind(parameter.annotation)
    for kind in (tuple, list):
        if isinstance(parameter.default, kind):
            return kind.__name__
    if default is None:
        return ""
    is_whole = isinstance(default, int) and not isinstance(default, bool)
    return "number" if is_whole else type(default).__name__  # 1 may stand for 1.0


def _annotated_kind(annotation: object) -> str:
    """Return the kind that an annotation means, as text or not; empty for any other."""
    text = annotation if isinstance(annotation, str) else str(annotation)
    if isinstance(annotation, type) and "[" not in text:
        text = annotation.__name__
    text = text.replace("typing.", "").replace("collections.abc.", "").replace(" ", "")
    text = text.replace("|None", "").replace("None|", "").lower()
    if text.startswith("optional["):
        text = text.removeprefix("optional[")[:-1]
    if "|" in text or "union" in text:
        return ""
    word = text.partition("[")[0]
    kind = {"sequence": "list", "iterable": "list"}.get(word, word)
    return kind if kind in _TYPE_RULES else ""
