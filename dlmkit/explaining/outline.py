"""A pipeline as a sequence of steps in the order in which they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.component import Component, options_of
from dlmkit.plugins import get_plugins
from dlmkit.spec.describe import summary
from dlmkit.spec.write import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dlmkit.component import Option

__all__ = ["Step", "outline"]


@attrs.frozen(kw_only=True)
class Step:
    """A filled slot: what stands there, what that does, its plain options, its own slots.

    `purpose` is what the slot is for.
    """

    slot: str
    purpose: str
    use: str
    summary: str
    options: Mapping[str, Any]
    inner: tuple[Step, ...]

    def as_json(self) -> dict[str, Any]:
        """The step as plain data."""
        return {
            "slot": self.slot,
            "purpose": self.purpose,
            "use": self.use,
            "summary": self.summary,
            "options": dict(self.options),
            "steps": [step.as_json() for step in self.inner],
        }


def outline(component: Component, slot: str = "pipeline", purpose: str = "") -> Step:
    """Describe a component and everything in its slots, in the order of its options.

    Options of a procedure are declared in the order in which it asks them.
    """
    registry = get_plugins().registry
    inner: list[Step] = []
    options: dict[str, Any] = {}
    for each in options_of(type(component)):
        value = getattr(component, each.name)
        parts = list(_parts(each, value))
        inner += parts
        if not parts and value not in (None, ()):
            options[each.key] = plain(value, registry)
    return Step(
        slot=slot,
        purpose=purpose,
        use=registry.spelling(type(component)),
        summary=summary(type(component)),
        options=options,
        inner=tuple(inner),
    )


def _parts(each: Option, value: Any) -> Iterator[Step]:
    several = isinstance(value, tuple)
    for part in value if several else (value,):
        if isinstance(part, Component):
            yield outline(part, each.key, each.doc)
