"""The registry: what may be registered, and how names are found."""

from __future__ import annotations

import attrs
import pytest

from dlmkit.component import Component, option
from dlmkit.errors import PluginError
from dlmkit.plugins import Registry, component_problems
from dlmkit.plugins.registry import role_base
from dlmkit.roles import StopRule, TransferRule


@attrs.frozen
class Never(StopRule):
    """Stop nothing."""

    name = "never"

    def stop(self, view): ...


@attrs.frozen
class Rival(StopRule):
    """Another of the same name."""

    name = "never"

    def stop(self, view): ...


def registry(*offers: tuple[type, str]) -> Registry:
    """A registry with these offers."""
    made = Registry()
    for cls, distribution in offers:
        made.add(cls, distribution)
    return made


def test_a_name_is_found_bare_and_qualified() -> None:
    """`distribution:name` is always accepted."""
    made = registry((Never, "one"))
    assert Never is made.find("stop", "never")
    assert Never is made.find("stop", "one:never")
    assert made.find("stop", "two:never") is None
    assert made.find("stop", "always") is None
    assert made.find("nothing", "never") is None


def test_a_collision_names_both_distributions_and_the_way_out() -> None:
    """Nobody wins silently; both stay reachable."""
    made = registry((Never, "one"), (Rival, "two"))
    with pytest.raises(PluginError) as caught:
        made.find("stop", "never")
    assert "stop component 'never' is offered by 'one' and 'two'" == caught.value.args[0]
    assert "write one:never or two:never" == caught.value.hint
    assert Rival is made.find("stop", "two:never")
    assert {"one:never": Never, "two:never": Rival} == dict(made.of_role("stop"))


def test_a_distribution_cannot_offer_a_name_twice() -> None:
    """No qualified name could tell the two apart."""
    with pytest.raises(PluginError, match="one offers two stop components named 'never'"):
        registry((Never, "one"), (Rival, "one"))


def test_roles_and_offers_are_listed_in_order() -> None:
    """Listings do not depend on the order of registration."""
    made = registry((Rival, "two"), (Never, "one"))
    assert ("stop",) == made.roles()
    assert ["one:never", "two:never"] == [offer.qualified for offer in made.offers("stop")]
    assert ("stop",) == made.roles_offering("never")


def test_a_plugin_may_define_a_role() -> None:
    """A new role needs no change in the core."""

    class Judge(Component):
        """Base of judges."""

        role = "judge"

    @attrs.frozen
    class Strict(Judge):
        """A strict judge."""

        name = "strict"

    made = registry((Strict, "court"))
    assert {"strict": Strict} == dict(made.of_role("judge"))
    assert Judge is role_base(Strict)


def test_the_base_of_a_role_is_the_class_that_names_it() -> None:
    """Intermediate classes do not count."""
    assert StopRule is role_base(Never)


def problems(cls: type) -> str:
    """Everything that is wrong with a class."""
    return "; ".join(component_problems(cls))


def test_what_is_no_component_is_refused() -> None:
    """Plain classes and instances are not components."""
    assert "is not a subclass of dlmkit.component.Component" in problems(int)


def test_a_component_needs_attrs() -> None:
    """Without the decorator its options would not be read."""

    class Plain(StopRule):
        """Plain."""

        name = "plain"

    assert "Plain needs the decorator @attrs.frozen" == problems(Plain)


def test_a_component_needs_a_name_a_version_a_docstring_and_its_method() -> None:
    """Every fault is listed."""

    @attrs.frozen
    class Faulty(TransferRule):
        name = "Not_Kebab"
        version = 0

    found = problems(Faulty)
    assert "Faulty needs a kebab-case `name`, for example 'top-k'; got 'Not_Kebab'" in found
    assert "Faulty needs a whole number of 1 or more as `version`" in found
    assert "Faulty needs a docstring" in found


def test_a_component_needs_a_role() -> None:
    """Deriving from Component alone is not enough."""

    @attrs.frozen
    class Homeless(Component):
        """No role."""

        name = "homeless"

    assert "Homeless has no role" in problems(Homeless)


def test_every_option_is_declared_and_documented() -> None:
    """A plain attrs field, or an option without words, does not register."""

    @attrs.frozen
    class Silent(StopRule):
        """Silent."""

        name = "silent"
        first: int = 3
        second: int = option(3, doc="")

        def stop(self, view): ...

    assert (
        "Silent.first must be declared with option(..., doc=...); Silent.second needs a doc"
        == problems(Silent)
    )


def test_an_option_type_that_cannot_be_resolved_is_explained() -> None:
    """The commonest mistake is an import under TYPE_CHECKING."""

    @attrs.frozen
    class Lost(StopRule):
        """Lost."""

        name = "lost"
        what: Elsewhere = option(doc="a type nobody imported")  # noqa: F821

        def stop(self, view): ...

    assert "import them at module level, not under TYPE_CHECKING" in problems(Lost).replace(
        "; ", " "
    )


def test_every_installed_component_follows_the_rules() -> None:
    """Ours do."""
    from dlmkit.plugins import get_plugins

    assert [] == get_plugins().failures
    for role in get_plugins().registry.roles():
        for offer in get_plugins().registry.offers(role):
            assert "" == problems(offer.cls)
