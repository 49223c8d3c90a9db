"""From a name in a spec to a component class, with a hint where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.component import Component, options_of
from dlmkit.errors import PluginError
from dlmkit.spec.kinds import article, is_slot, item_type, role_label
from dlmkit.spec.report import Mark, Problem, nearest, one_of
from dlmkit.spec.source import MappingNode, Node, ScalarNode

if TYPE_CHECKING:
    from dlmkit.plugins.manager import Plugins

__all__ = ["DEFAULT_NAMES", "NameFinder", "combinators"]

DEFAULT_NAMES = {"procedure": "denoise"}
"""Names that a role assumes when a mapping gives none."""


class NameFinder:
    """Looks names up in the registry; what is wrong goes to `problems`."""

    def __init__(self, plugins: Plugins, problems: list[Problem]) -> None:
        self.plugins = plugins
        self.registry = plugins.registry
        self.problems = problems

    def component(self, node: Node, base: type[Component], path: str) -> type[Component] | None:
        """Return the class that a slot names, or None after reporting why there is none."""
        named = self._name_node(node, base, path)
        if named is None:
            return None
        if not isinstance(named.value, str):
            message = f"{path}.{base.selector} must be the name of {article(role_label(base))}"
            self._report(named.mark, message, self.known(base))
            return None
        try:
            found = self.registry.find(base.role, named.value)
        except PluginError as error:
            self._report(named.mark, str(error.args[0]), error.hint)
            return None
        if found is None:
            self._unknown(named.value, named.mark, base)
        elif not issubclass(found, base):
            hint = f"write {base.name!r}"
            self._report(named.mark, f"{path} cannot be {found.name!r} here", hint)
            return None
        return found

    def _name_node(self, node: Node, base: type[Component], path: str) -> ScalarNode | None:
        if isinstance(node, ScalarNode):
            return node
        named = node.get(base.selector) if isinstance(node, MappingNode) else None
        if named is not None:
            return named if isinstance(named, ScalarNode) else ScalarNode(named.mark, None)
        if base.role in DEFAULT_NAMES:
            return ScalarNode(node.mark, DEFAULT_NAMES[base.role])
        message = f"{path} needs {base.selector!r}, the name of {article(role_label(base))}"
        self._report(node.mark, message, self.known(base))
        return None

    def known(self, base: type[Component]) -> str | None:
        """Return a hint with the names of a role, where they are few."""
        return one_of(list(self.registry.of_role(base.role)))

    def several(self, mark: Mark, base: type[Component], path: str) -> None:
        """Report a list in a slot that takes one component (check C1)."""
        known = combinators(self.plugins, base)
        names = " or ".join(repr(name) for name in known)
        slot = path.rpartition(".")[2]
        hint = "keep one of them"
        if known:
            hint = f"combine them with {names}: `{slot}: {{use: {known[0]}, of: [...]}}`"
        message = f"{path} takes one {role_label(base)}, not a list"
        self.problems.append(Problem(mark, message, hint, check="C1"))

    def _unknown(self, name: str, mark: Mark, base: type[Component]) -> None:
        known = list(self.registry.of_role(base.role))
        message = f"no {role_label(base)} is called {name!r}"
        self._report(mark, message, self._unknown_hint(name, known, base))

    def _unknown_hint(self, name: str, known: list[str], base: type[Component]) -> str | None:
        guess = nearest(name, known)
        if guess:
            return f"did you mean {guess!r}?"
        for role in self.registry.roles_offering(name):
            cls = self.registry.offers(role)[0].cls
            return f"{name!r} is {article(role_label(cls))}"
        for failure in self.plugins.failures:
            return f"it may be missing because of {failure}"
        advice = (one_of(known), base.elsewhere)
        return "; ".join(each for each in advice if each) or None

    def _report(self, mark: Mark, message: str, hint: str | None) -> None:
        self.problems.append(Problem(mark, message, hint))


def combinators(plugins: Plugins, base: type[Component]) -> list[str]:
    """Names of the components that hold several components of their own role."""
    found = []
    for offer in plugins.registry.offers(base.role):
        lists = [each for each in options_of(offer.cls) if each.key == "of"]
        if any(is_slot(item_type(each.type, 0, 2)) for each in lists):
            found.append(offer.cls.name)
    order = {"union": 0, "intersect": 1, "fallback": 2, "chain": 3}
    return sorted(found, key=lambda name: (order.get(name, len(order)), name))
