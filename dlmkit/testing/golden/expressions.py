"""What may stand behind a path in `samplers.yaml`: settings and a little arithmetic on them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from dlmkit.errors import RequestError

__all__ = ["names_in", "value_of"]


def names_in(rule: Any) -> set[str]:
    """Settings that a rule reads; of a setting with parts, `whole.part` names the whole."""
    if isinstance(rule, str):
        return {rule.partition(".")[0]}
    if isinstance(rule, (list, tuple)):
        return set().union(*map(names_in, rule))
    if isinstance(rule, dict):
        if "choose" in rule:
            return names_in(rule["choose"][0])
        return set() if "resource" in rule else names_in([*rule.values()])
    return set()


def value_of(rule: Any, settings: Mapping[str, Any]) -> Any:
    """Evaluate a rule.

    Raises:
        RequestError: a division of settings leaves a remainder.
    """
    if isinstance(rule, str):
        whole, _, part = rule.partition(".")
        return settings[whole][part] if part else settings[whole]
    if isinstance(rule, list):
        return [value_of(each, settings) for each in rule]
    if not isinstance(rule, dict):
        return rule
    ((operator, operands),) = rule.items()
    if operator == "resource":
        return str(files("dlmkit.testing.golden") / operands)
    if operator == "choose":
        return operands[1][value_of(operands[0], settings)]
    values = value_of(operands, settings)
    if operator == "whole_blocks":
        prompt, tokens, block = values
        return -(-(prompt + tokens) // block) * block - prompt
    if operator == "add":
        return sum(values)
    first, second = values
    return first - second if operator == "subtract" else _divided(first, second, settings)


def _divided(dividend: int, divisor: int, settings: Mapping[str, Any]) -> int:
    if dividend % divisor:
        raise RequestError(
            f"{dividend} / {divisor} leaves a remainder in the settings {dict(settings)}",
            hint="the reference asserts divisibility; check the trace or samplers.yaml",
        )
    return dividend // divisor
