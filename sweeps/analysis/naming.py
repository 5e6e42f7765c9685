"""Short names for configurations: the fields in which they differ, as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sweeps.trial import TrialConfig, TrialResult, Value

_UNNAMED = ("family", "activation")  # fields whose values speak for themselves


def differing_fields(searched: Sequence[str], results: Iterable[TrialResult]) -> tuple[str, ...]:
    """Return the searched fields that do not have the same value in all of the results."""
    configs = [result.config for result in results]
    differing = []
    for name in searched:
        values = {config.value(name) for config in configs}
        if len(values) > 1:
            differing.append(name)
    return tuple(differing)


def config_text(result: TrialResult, names: Sequence[str]) -> str:
    """Describe a trial's configuration in short.

    Args:
        result: the trial.
        names: the fields to mention. Fields that do not apply to the trial are left out.

    Returns:
        Text such as ``cnn, lr 0.01``, or ``trial 3`` if none of the fields applies.
    """
    words = []
    for name in names:
        value = result.config.value(name)
        if value is None:
            continue
        text = value_text(value)
        words.append(text if name == "family" else f"{name} {text}")
    return ", ".join(words) or f"trial {result.number}"


def setting_words(config: TrialConfig, names: Iterable[str]) -> list[str]:
    """Write settings in a few characters each: ``cnn``, ``relu``, ``lr=0.01``.

    Args:
        config: has the settings.
        names: the fields to mention. Fields that do not apply are left out.
    """
    names = dict.fromkeys(names)
    unnamed = [name for name in _UNNAMED if name in names]
    named = [name for name in names if name not in _UNNAMED]
    words = []
    for name in [*unnamed, *named]:
        value = config.value(name)
        if value is not None:
            text = value_text(value)
            words.append(text if name in _UNNAMED else f"{name}={text}")
    return words


def value_text(value: Value) -> str:
    """Format the value of a field: floats with 4 significant digits, truth values as in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
