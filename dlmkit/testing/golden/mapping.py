"""From a sampler and its settings to a preset and its options, as `samplers.yaml` says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import attrs
import yaml

from dlmkit.errors import RequestError
from dlmkit.spec import Document, load_spec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SamplerMap", "load_sampler_map"]

GIVEN = "given"
"""In `when`: any value but null."""


@attrs.frozen
class SamplerMap:
    """Variants by sampler, as read from the file."""

    variants: Mapping[str, list[Mapping[str, Any]]]

    def document_for(self, sampler: str, settings: Mapping[str, Any]) -> Document | None:
        """Return the checked spec that decodes like the sampler, or None where nothing fits.

        Raises:
            RequestError: a division of settings leaves a remainder.
            SpecError: the variant names options that do not exist.
        """
        for variant in self.variants.get(sampler, ()):
            if _agrees(variant, settings):
                overrides = [
                    f"{path}={json.dumps(_value(rule, settings))}"
                    for path, rule in variant["set"].items()
                ]
                fixed = variant.get("fixed", {}).items()
                overrides += [f"{path}={json.dumps(value)}" for path, value in fixed]
                return load_spec(variant["preset"], overrides)
        return None


def load_sampler_map(path: Path | None = None) -> SamplerMap:
    """Read the mapping that ships with this package, or another file of the same form."""
    source = path or files("dlmkit.testing.golden") / "samplers.yaml"
    return SamplerMap(yaml.safe_load(source.read_text(encoding="utf-8")))


def _agrees(variant: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    fixed = variant["when"]
    known = {*fixed, *variant.get("unread", ()), *_named(list(variant["set"].values()))}
    return settings.keys() <= known and all(
        settings.get(name) is not None if value == GIVEN else settings.get(name) == value
        for name, value in fixed.items()
    )


def _named(rule: Any) -> set[str]:
    """Settings that a rule reads."""
    if isinstance(rule, str):
        return {rule}
    if isinstance(rule, dict) and "resource" in rule:
        return set()
    operands = rule["divide"] if isinstance(rule, dict) else rule
    return set().union(*map(_named, operands))


def _value(rule: Any, settings: Mapping[str, Any]) -> Any:
    if isinstance(rule, str):
        return settings[rule]
    if "resource" in rule:
        return str(files("dlmkit.testing.golden") / rule["resource"])
    dividend, divisor = (_value(each, settings) for each in rule["divide"])
    if dividend % divisor:
        raise RequestError(
            f"{dividend} / {divisor} leaves a remainder in the settings {dict(settings)}",
            hint="the reference asserts divisibility; check the trace or samplers.yaml",
        )
    return dividend // divisor
