"""A network of the user's own: a class, or a function that makes a module, with any parameters."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import usercode
from models.parameters import (
    GIVEN,
    Option,
    Parameter,
    given_parameters,
    read_option,
    read_parameter,
)

if TYPE_CHECKING:
    from torch import nn

# What a function that takes any keyword is given, as far as it takes them: torchvision's functions
# take the first, timm's both.
_ANY_KEYWORD = {"num_classes": "classes", "in_chans": "channels"}

# Names of parameters that usually take a mapping, or an object with attributes.
_MAPPINGS = frozenset(("config", "configs", "conf", "cfg", "hparams", "args", "opt", "params"))


@dataclass(frozen=True, eq=False)
class Network:
    """A network of the user's own, loaded."""

    reference: str  # as it was named
    make: Callable[..., Any]
    parameters: Mapping[str, Parameter]
    takes_any: bool  # whether it takes keywords that it does not name (**options)
    source: usercode.Source
    signature: inspect.Signature = field(repr=False)

    @property
    def options(self) -> dict[str, Option]:
        """The defaults of its options, as far as they are values of a study file."""
        return {
            name: parameter.default
            for name, parameter in self.parameters.items()
            if parameter.default is not None and not parameter.given
        }

    def takes(self, name: str) -> bool:
        """Whether it has an option of this name; what the images decide may be set, too."""
        return name in self.parameters or (self.takes_any and name.isidentifier())

    def option(self, name: str, value: object) -> Option:
        """Return a value of an option in the type that its parameter declares.

        Raises:
            ValueError: with the rule and the value.
        """
        read = read_option(name, value)
        parameter = self.parameters.get(name)
        return read if parameter is None else parameter.convert(read)

    def missing(self, names: Container[str]) -> list[str]:
        """Return the options without a default that are not among these names."""
        return [
            name
            for name, parameter in self.parameters.items()
            if parameter.required and not parameter.given and name not in names
        ]

    def describe_options(self) -> str:
        """Name what can be set: the end of an error about an unknown word."""
        names = [name for name, parameter in self.parameters.items() if not parameter.given]
        text = f"{self.reference} takes {', '.join(names) or 'no options'}"
        return f"{text} and any other keyword" if self.takes_any else text

    def build(
        self, shape: tuple[int, int, int], classes: int, options: Mapping[str, Option]
    ) -> nn.Module:
        """Build the network, with random weights.

        Args:
            shape: channels, height and width of an image, in pixels.
            classes: number of logits.
            options: values of its options.

        Raises:
            ValueError: in one line, if an option is missing or the constructor fails.
        """
        missing = self.missing(options)
        if missing:
            raise ValueError(needs_text(self.reference, missing))
        facts = _facts(shape, classes)
        arguments = {
            name: facts[parameter.given]
            for name, parameter in self.parameters.items()
            if parameter.given
        }
        more: dict[str, object] = {}
        for name, value in options.items():
            if name in self.parameters:
                arguments[name] = self.parameters[name].argument(value)
            else:
                more[name] = Parameter(name, "", required=False).argument(value)
        tried = self._any_keywords(facts, {*arguments, *more})
        while True:
            try:
                made = self._call(arguments, {**tried, **more})
            except (Exception, SystemExit) as error:  # argparse, for instance, exits
                unknown = _unexpected_keyword(error, tried)
                if unknown is None:
                    raise ValueError(
                        f"{self.reference} cannot be made with {_arguments_text(options)}: "
                        f"{error_text(error)}"
                    ) from error
                del tried[unknown]
            else:
                return _ready(self.reference, made, shape)

    def _any_keywords(self, facts: Mapping[str, object], named: set[str]) -> dict[str, object]:
        """Return what a network that takes any keyword is given besides its parameters."""
        if not self.takes_any:
            return {}
        given = {parameter.given for parameter in self.parameters.values()}
        return {
            name: facts[fact]
            for name, fact in _ANY_KEYWORD.items()
            if fact not in given and "shape" not in given and name not in named
        }

    def _call(self, arguments: Mapping[str, object], more: Mapping[str, object]) -> object:
        bound = inspect.BoundArguments(self.signature, dict(arguments))
        return self.make(*bound.args, **bound.kwargs, **more)


def needs_text(reference: str, missing: Sequence[str]) -> str:
    """Say which options a network needs, and how to give them."""
    names = " and ".join(missing)
    are = "have" if len(missing) > 1 else "has"
    text = (
        f"{reference} needs {names}, which {are} no default: give --set {missing[0]}=VALUE, or "
        "fixed or search of a study file"
    )
    if any("class" in name.lower() for name in missing):
        known = ", ".join(GIVEN["classes"][:3])
        text += f"; the number of classes is given to a parameter that is called {known}, ..."
    if _MAPPINGS.isdisjoint(missing):
        return text
    return f"{text}; for a mapping or an object, name a function that makes the network of values"


def _facts(shape: tuple[int, int, int], classes: int) -> dict[str, object]:
    """Return what the images decide, by the keys of `GIVEN`."""
    channels, height, width = shape
    side: object = height if height == width else (height, width)
    return {
        "classes": classes,
        "channels": channels,
        "shape": shape,
        "side": side,
        "height": height,
        "width": width,
        "values": channels * height * width,
    }


def _unexpected_keyword(error: BaseException, tried: Mapping[str, object]) -> str | None:
    """Return the keyword of those tried that a constructor refuses by this error; None if none."""
    if not isinstance(error, TypeError) or "unexpected keyword argument" not in str(error):
        return None
    return next((name for name in tried if f"'{name}'" in str(error)), None)


def _ready(reference: str, made: object, shape: tuple[int, int, int]) -> nn.Module:
    """Return a network that is made, whose lazy layers have seen an image."""
    import torch
    from torch import nn

    if not isinstance(made, nn.Module):
        raise ValueError(  # noqa: TRY004
            f"{reference} must make a torch.nn.Module: it made {_type_name(made)}"
        )
    if any(nn.parameter.is_lazy(parameter) for parameter in made.parameters()):
        try:
            with torch.no_grad():
                made.eval()(torch.zeros(1, *shape))
        except Exception as error:
            raise ValueError(
                f"the lazy layers of {reference} cannot take an image: {error_text(error)}"
            ) from error
        made.train()
    return made


def _type_name(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _arguments_text(options: Mapping[str, Option]) -> str:
    text = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return f"{text[:300]}" if text else "its defaults"


def error_text(error: BaseException) -> str:
    """Describe an error of the user's code in one line, with the last line of the user's in it."""
    text = " ".join(str(error).split())[:300]
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        module = Path(frame.filename)
        if usercode.is_users(module):
            return f"{text} in line {frame.lineno} of {module.name}"
    return text


def load(reference: str) -> Network:
    """Load a network of the user's own.

    Args:
        reference: ``FILE.py:Class`` or ``module:Class``.

    Raises:
        ValueError: in one line, if there is no such network, or it cannot be one.
    """
    return _load(reference, usercode.working_folder())


def forget() -> None:
    """Forget all networks of the user's, and all other code, as `usercode.forget`."""
    _load.cache_clear()
    usercode.forget()


@cache
def _load(reference: str, _folder: Path) -> Network:
    from torch import nn

    loaded = usercode.load(reference)
    make = loaded.value
    is_class = isinstance(make, type)
    if isinstance(make, nn.Module):
        raise ValueError(  # noqa: TRY004
            f"{reference!r} is a network that is made already: name its class"
        )
    if not callable(make) or (is_class and not issubclass(make, nn.Module)):
        raise ValueError(
            f"{reference!r} must be a class of torch.nn.Module, or a function that makes one: "
            f"got {repr(make)[:100]}"
        )
    try:
        signature = _signature(make)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the parameters of {reference!r} cannot be read: {error}") from None
    declared = signature.parameters.values()
    named = [
        parameter
        for parameter in declared
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    given = given_parameters(named)
    parameters = {
        parameter.name: read_parameter(parameter, given.get(parameter.name, ""))
        for parameter in named
    }
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in declared)
    return Network(reference, make, parameters, takes_any, loaded.source, signature)


def _signature(make: Callable[..., Any]) -> inspect.Signature:
    """Return what a class or a function takes.

    A class whose constructor hands ``*args`` on takes what the class takes from which it inherits;
    if that cannot be known, the shape of an image and the number of classes.

    Raises:
        TypeError, ValueError: if it cannot be read.
    """
    from torch import nn

    signature = inspect.signature(make)
    own = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind is not parameter.VAR_POSITIONAL
    ]
    is_handed_on = len(own) < len(signature.parameters) and not given_parameters(own)
    if not isinstance(make, type) or not is_handed_on:
        return signature
    if vars(nn.Module)["__init__"] is inspect.getattr_static(make, "__init__"):
        return signature  # it has no constructor of its own
    names = {parameter.name for parameter in own}
    passed_on = [
        parameter for parameter in _inherited_parameters(make) if parameter.name not in names
    ]
    first = [one for one in own if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    # What follows `*args` can be given by its name alone.
    rest = [one for one in own if one not in first]
    positional = [one.replace(kind=one.POSITIONAL_ONLY) for one in (*first, *passed_on)]
    if sorted(positional, key=_has_default) != positional:
        raise TypeError("parameters without a default follow others that have one")
    return inspect.Signature([*positional, *rest])


def _has_default(parameter: inspect.Parameter) -> bool:
    return parameter.default is not parameter.empty


def _inherited_parameters(make: type) -> list[inspect.Parameter]:
    """Return the positional parameters of the nearest class above that names all that it takes."""
    from torch import nn

    for base in make.__mro__[1:]:
        if base is nn.Module:
            break
        parameters = list(inspect.signature(base).parameters.values())
        if not any(one.kind is one.VAR_POSITIONAL for one in parameters):
            kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            return [one for one in parameters if one.kind in kinds]
    return [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("shape", "classes")
    ]
