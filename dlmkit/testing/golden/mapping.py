"""From a sampler and its settings to a preset and its options, as `samplers.yaml` says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import attrs
import yaml

from dlmkit.spec import Document, load_spec
from dlmkit.testing.golden.expressions import names_in, value_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SamplerMap", "load_sampler_map"]

GIVEN = "given"
"""In `when`: any value but null."""


@attrs.frozen
class SamplerMap:
    """Variants by sampler, as read from the file."""

    variants: Mapping[str, list[Mapping[str, Any]]]

    def document_for(
        self, sampler: str, settings: Mapping[str, Any], facts: Mapping[str, Any] | None = None
    ) -> Document | None:
        """Return the checked spec that decodes like the sampler, or None where nothing fits.

        `facts` about the case can be read as if they were settings: `id`, `rows`,
        `prompt_length`, `output_length`.

        Raises:
            RequestError: a division of settings leaves a remainder.
            SpecError: the variant names options that do not exist.
        """
        values = {**settings, **(facts or {})}
        variant = self._variant(sampler, settings, values)
        if variant is None or "differs" in variant:
            return None
        fixed = variant.get("fixed", {}).items()
        overrides = [f"{path}={json.dumps(value)}" for path, value in fixed]
        overrides += [
            f"{path}={json.dumps(value_of(rule, values))}" for path, rule in variant["set"].items()
        ]
        return load_spec(variant["preset"], overrides)

    def difference_for(
        self, sampler: str, settings: Mapping[str, Any], facts: Mapping[str, Any] | None = None
    ) -> str | None:
        """Say why dlmkit does not decode like the sampler on purpose, or return None."""
        variant = self._variant(sampler, settings, {**settings, **(facts or {})})
        return variant.get("differs") if variant else None

    def _variant(
        self, sampler: str, settings: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """The first that mentions every setting and agrees; one that differs need not mention."""
        for variant in self.variants.get(sampler, ()):
            knows = "differs" in variant or _knows(variant, settings)
            if knows and _agrees(variant["when"], values):
                return variant
        return None


def load_sampler_map(path: Path | None = None) -> SamplerMap:
    """Read the mapping that ships with this package, or another file of the same form."""
    source = path or files("dlmkit.testing.golden") / "samplers.yaml"
    return SamplerMap(yaml.safe_load(source.read_text(encoding="utf-8")))


def _knows(variant: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    rules = [*variant["set"].values()]
    return settings.keys() <= {*variant["when"], *variant.get("unread", ()), *names_in(rules)}


def _agrees(fixed: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    return all(
        values.get(name) is not None if value == GIVEN else values.get(name) == value
        for name, value in fixed.items()
    )
