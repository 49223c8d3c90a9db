"""The registry: which component classes exist, by role and name, and who offers them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.component import Component, options_of
from dlmkit.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Offer", "Registry", "component_problems", "role_base"]

KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@attrs.frozen
class Offer:
    """One component class and the distribution that offers it."""

    cls: type[Component]
    distribution: str

    @property
    def qualified(self) -> str:
        """The name that is never ambiguous, `distribution:name`."""
        return f"{self.distribution}:{self.cls.name}"


def role_base(cls: type[Component]) -> type[Component]:
    """Return the base class that defines the role of a component class."""
    return next(
        base
        for base in reversed(cls.__mro__)
        if issubclass(base, Component) and base.role == cls.role
    )


def component_problems(cls: type[Any]) -> Iterator[str]:
    """Say what keeps a class from being registered; nothing when it may be.

    The rules: a frozen attrs class with a role, a kebab-case name, a version of 1 or more, a
    docstring of its own, and a documented option for each of its fields.
    """
    if not (isinstance(cls, type) and issubclass(cls, Component)):
        yield f"{cls!r} is not a subclass of dlmkit.component.Component"
        return
    if "__attrs_attrs__" not in vars(cls):
        yield f"{cls.__name__} needs the decorator @attrs.frozen"
        return
    if not cls.role:
        yield f"{cls.__name__} has no role; derive it from one of the classes in dlmkit.roles"
    if not KEBAB.fullmatch(cls.name):
        yield f"{cls.__name__} needs a kebab-case `name`, for example 'top-k'; got {cls.name!r}"
    if type(cls.version) is not int or cls.version < 1:
        yield f"{cls.__name__} needs a whole number of 1 or more as `version`"
    if not vars(cls).get("__doc__"):
        yield f"{cls.__name__} needs a docstring"
    if abstract := sorted(getattr(cls, "__abstractmethods__", ())):
        yield f"{cls.__name__} does not implement {', '.join(abstract)}"
    yield from _option_problems(cls)


def _option_problems(cls: type[Any]) -> Iterator[str]:
    for field in attrs.fields(cls):
        meta = field.metadata.get("dlmkit")
        if meta is None:
            yield f"{cls.__name__}.{field.name} must be declared with option(..., doc=...)"
        elif not meta["doc"]:
            yield f"{cls.__name__}.{field.name} needs a doc"
    try:
        options_of(cls)
    except (NameError, TypeError) as problem:
        yield f"the option types of {cls.__name__} cannot be resolved ({problem}); import them"
        yield "at module level, not under TYPE_CHECKING"


class Registry:
    """Role -> name -> the offers of that name; more than one offer is a collision."""

    def __init__(self) -> None:
        self._offers: dict[str, dict[str, list[Offer]]] = {}

    def add(self, cls: type[Component], distribution: str) -> None:
        """Register a class.

        Raises:
            PluginError: when it breaks the rules, or its distribution offers the name twice.
        """
        problems = list(component_problems(cls))
        if problems:
            raise PluginError("; ".join(problems))
        same = self._offers.setdefault(cls.role, {}).setdefault(cls.name, [])
        if any(offer.distribution == distribution for offer in same):
            raise PluginError(f"{distribution} offers two {cls.role} components named {cls.name!r}")
        same.append(Offer(cls, distribution))

    def roles(self) -> tuple[str, ...]:
        """Known roles in alphabetical order."""
        return tuple(sorted(self._offers))

    def offers(self, role: str) -> tuple[Offer, ...]:
        """Every offer of a role, by name and then by distribution."""
        found = [offer for same in self._offers.get(role, {}).values() for offer in same]
        return tuple(sorted(found, key=lambda offer: (offer.cls.name, offer.distribution)))

    def of_role(self, role: str) -> Mapping[str, type[Component]]:
        """Classes of a role by name; names offered twice appear in their qualified form only."""
        return {self.spelling(offer.cls): offer.cls for offer in self.offers(role)}

    def find(self, role: str, name: str) -> type[Component] | None:
        """Return the class of that bare or qualified name, or None.

        Raises:
            PluginError: when two distributions offer the bare name.
        """
        distribution, _, bare = name.rpartition(":")
        same = self._offers.get(role, {}).get(bare, [])
        if distribution:
            return next((o.cls for o in same if o.distribution == distribution), None)
        if len(same) > 1:
            names = " and ".join(repr(offer.distribution) for offer in same)
            forms = " or ".join(offer.qualified for offer in same)
            message = f"{role} component {name!r} is offered by {names}"
            raise PluginError(message, hint=f"write {forms}")
        return same[0].cls if same else None

    def roles_offering(self, name: str) -> tuple[str, ...]:
        """Roles in which the bare name is known."""
        return tuple(role for role in self.roles() if name in self._offers[role])

    def offer_of(self, cls: type[Component]) -> Offer | None:
        """Return the offer of a class; None for a class that no plugin offers."""
        same = self._offers.get(cls.role, {}).get(cls.name, [])
        return next((offer for offer in same if offer.cls is cls), None)

    def spelling(self, cls: type[Component]) -> str:
        """Return the name to write in a spec: bare, or qualified where bare is ambiguous."""
        offer = self.offer_of(cls)
        if offer is None or len(self._offers[cls.role][cls.name]) == 1:
            return cls.name
        return offer.qualified
