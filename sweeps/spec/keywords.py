"""The keywords of a study's own networks: what may be fixed and searched beside the fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import models
from models.own import Network
from models.parameters import read_option
from models.suggestions import did_you_mean
from sweeps.trial import Value, config_fields, is_network_option, network_options

if TYPE_CHECKING:
    from pydantic import ValidationInfo


@dataclass(frozen=True)
class Keywords:
    """What the own networks of a study take.

    Without built-in families beside them, they also declare the options that are called as a field:
    a network's own ``width`` may be 1.5.
    """

    networks: tuple[Network, ...] = ()
    alone: bool = False  # whether the study has no built-in family
    stored: bool = False  # whether the values were checked before, and no network is loaded

    def take(self, name: str) -> bool:
        """Whether some network takes a name that is no field as a keyword."""
        if self.stored:
            return is_network_option(name)
        return any(network.takes(name) for network in self.networks)

    def may_take(self, name: str) -> bool:
        """Whether networks take an option of built-in families only because they take any."""
        is_option = name in network_options()
        named = any(name in network.parameters for network in self.networks)
        return is_option and not named and self.take(name)

    def declare(self, name: str) -> bool:
        """Whether a name is declared by the networks, and not by `TrialConfig`."""
        if name in config_fields():
            return self.alone and name in network_options() and self.take(name)
        return self.take(name)

    def is_float(self, name: str) -> bool:
        """Whether some network says that a keyword is a float."""
        declared = [network.parameters.get(name) for network in self.networks]
        return any(parameter is not None and parameter.kind == "float" for parameter in declared)

    def parse_condition(self, name: str, value: object) -> Value:
        """Return the value of a field or a keyword that a key ``when`` names.

        Raises:
            ValueError: with the rule and the value.
        """
        if name not in config_fields() and not self.take(name):
            own = [option for network in self.networks for option in network.parameters]
            hint = did_you_mean(name, [*own, *config_fields()])
            raise ValueError(f"when names an unknown field {name!r}; {hint}")
        return self.parse(name, value)

    def parse(self, name: str, value: object) -> Value:
        """Return a value of a field or a keyword in its type.

        Raises:
            ValueError: with the rule and the value.
        """
        if not self.declare(name):
            field = config_fields()[name]
            return field.read(value) if self.stored else field.parse(value)
        for network in self.networks:
            if network.takes(name):
                return network.option(name, value)
        return read_option(name, value)


NO_KEYWORDS = Keywords()


def context_keywords(info: ValidationInfo) -> Keywords:
    """Return the keywords of the study, which are the context of a validation."""
    return info.context if isinstance(info.context, Keywords) else NO_KEYWORDS


def keywords_of(families: Iterable[str]) -> Keywords:
    """Return the keywords of a study's families, whose own networks are loaded.

    Raises:
        ValueError: if a network cannot be loaded.
    """
    own = [family for family in families if models.is_own(family)]
    networks = [models.find_family(family).own for family in own]
    found = tuple(network for network in networks if network is not None)
    return Keywords(found, alone=bool(own) and len(own) == len(list(families)))


def stored_keywords(families: Iterable[str]) -> Keywords:
    """Return the keywords of a stored study, whose networks are not loaded."""
    own = [models.is_own(family) for family in families]
    return Keywords(alone=bool(own) and all(own), stored=any(own))


def families_of(study: Mapping[str, object]) -> list[str]:
    """Return the families that a raw study names, as far as it is well formed.

    Args:
        study: by its keys; ``search`` as in a study file, or as in its stored identity.
    """
    search = study.get("search")
    fixed = study.get("fixed")
    found: list[object] = []
    if isinstance(search, Mapping) and "family" in search:
        found = _choices(search["family"])
    elif isinstance(fixed, Mapping) and fixed.get("family"):
        found = [fixed["family"]]
    names = [family for family in found if isinstance(family, str)]
    return names or [str(config_fields()["family"].default)]


def _choices(raw: object) -> list[object]:
    """Return the values that a key of ``search`` lists, in any of its forms."""
    if isinstance(raw, Mapping):
        return _choices(raw.get("choices", []))
    if isinstance(raw, list):
        return [
            value
            for item in raw
            for value in (_choices(item) if isinstance(item, Mapping) else [item])
        ]
    return []
