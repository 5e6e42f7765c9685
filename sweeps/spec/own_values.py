"""Reads the keys of a raw study that are keywords of its own networks, and no fields."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from models.suggestions import did_you_mean
from sweeps.spec.dimension import parse_dimensions
from sweeps.spec.keywords import Keywords, families_of, stored_keywords
from sweeps.spec.study_spec import Fixed, Search, Start, StudySpec
from sweeps.spec.yamlfile import KeyPath

Problem = tuple[KeyPath, str]  # where, and the message


def read_document(document: Mapping[str, Any]) -> StudySpec:
    """Make a study from a document whose values have been checked before: no network is loaded.

    Raises:
        ValueError: for a value against its rule.
    """
    keywords = stored_keywords(families_of(document))
    raw, problems = read_own_values(document, keywords)
    for _, message in problems:
        raise ValueError(message)
    return StudySpec.model_validate(raw, context=keywords)


def read_own_values(
    raw: Mapping[str, Any],
    keywords: Keywords,
    dropped: Keywords | None = None,
    given: Container[str] = (),
) -> tuple[dict[str, Any], list[Problem]]:
    """Parse the values of keywords in ``fixed``, ``search``, ``baselines`` and ``start_with``.

    Args:
        raw: a study by its keys.
        keywords: of its own networks.
        dropped: if the command line chooses the families, those of the networks that the study file
            names: keywords of networks that are not chosen are left out. So are options of built-in
            families that the chosen networks take only because they take any keyword.
        given: what the command line sets, which stays.

    Returns:
        The study with the parsed values, and without those that have a problem; the problems.
    """
    result = dict(raw)
    problems: list[Problem] = []
    for path, values, model in _parts(raw):
        read = dict(values)
        if dropped is not None and keywords.alone:
            read = {
                name: value
                for name, value in read.items()
                if name in given or not keywords.may_take(name)
            }
        for name in read.keys() - model.model_fields.keys():
            del read[name]
            place = (*path, name)
            if dropped is not None and not keywords.take(name) and dropped.take(name):
                continue
            if not keywords.take(name):
                problems.append((place, _unknown(place, model, keywords)))
                continue
            try:
                if model is Search:
                    read[name] = parse_dimensions(name, values[name], keywords)
                elif values[name] is not None:
                    read[name] = keywords.parse(name, values[name])
            except ValueError as error:
                problems.append((place, str(error)))
        if model is Start:
            key = str(path[0])
            result[key] = [read if start is values else start for start in result[key]]
        else:
            result[str(path[0])] = read
    return result, problems


def _parts(raw: Mapping[str, Any]) -> Iterator[tuple[KeyPath, dict[str, Any], Any]]:
    """Yield each well-formed part that may hold keywords: its path, values and model."""
    for key, model in (("fixed", Fixed), ("search", Search)):
        if isinstance(raw.get(key), dict):
            yield (key,), raw[key], model
    for key in ("baselines", "start_with"):
        starts = raw.get(key)
        for index, start in enumerate(starts if isinstance(starts, list) else ()):
            if isinstance(start, dict):
                yield (key, index), start, Start


def _unknown(path: KeyPath, model: Any, keywords: Keywords) -> str:
    """Say that a key is unknown, with what the networks take if the study has some of its own."""
    name = str(path[-1])
    key = ".".join(map(str, path))
    named = [option for network in keywords.networks for option in network.parameters]
    text = f"unknown key {key!r}; {did_you_mean(name, [*named, *model.model_fields])}"
    return "; ".join([text, *(network.describe_options() for network in keywords.networks)])
