"""Severity and priority of a mapping of inputs, as plain data: for the API and the command."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from services.escalate.nciss import NcissPolicy, score
from services.escalate.policy import SeverityPolicy
from services.escalate.priority import CORE, PriorityPolicy, assess_priority
from services.escalate.severity import InputError, Value, assess

__all__ = ["InputError", "nciss_from_mapping", "priority_from_mapping", "severity_from_mapping"]


def severity_from_mapping(mapping: Mapping[str, object], policy: SeverityPolicy) -> dict[str, Any]:
    """Return the assessment of *mapping*; InputError names the input that is wrong.

    An input that is null counts like one that is missing: as unknown.
    """
    inputs: dict[str, Value] = {}
    for name, value in mapping.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise InputError(name, f"{value!r} is neither a word nor a whole number")
        inputs[name] = value
    return asdict(assess(policy, inputs))


def priority_from_mapping(mapping: Mapping[str, object], policy: PriorityPolicy) -> dict[str, Any]:
    """Return the priority of *mapping*; InputError names the input that is wrong.

    A factor may be a list where several values apply; the highest counts (§2.2).
    """
    inputs: dict[str, tuple[str, ...]] = {}
    for name, value in mapping.items():
        if value is None:
            continue
        values = value if isinstance(value, list | tuple) else [value]
        if not values or not all(isinstance(v, str) for v in values):
            raise InputError(name, f"{value!r} is neither a word nor a list of words")
        inputs[name] = tuple(str(v) for v in values)
    for name in CORE:
        if name not in inputs:
            raise InputError(name, "is missing")
    return asdict(assess_priority(policy, inputs))


def nciss_from_mapping(mapping: Mapping[str, object], policy: NcissPolicy) -> dict[str, Any]:
    """Return the NCISS score of *mapping*; InputError names the category that is wrong."""
    inputs: dict[str, str] = {}
    for name, value in mapping.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise InputError(name, f"{value!r} is no word")
        inputs[name] = value
    return asdict(score(policy, inputs))
