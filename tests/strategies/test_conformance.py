"""Every registered component keeps the promises of its role."""

from __future__ import annotations

import pytest

from dlmkit.bundles import Bundle
from dlmkit.draft_verify.roles import Part
from dlmkit.plugins import get_plugins
from dlmkit.roles import Observer, Procedure, Strategy
from dlmkit.schedules import Linear
from dlmkit.testing.conformance import conformance_cases
from dlmkit.testing.examples import example_of
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Demote, Margin, Perturbed, Probability
from dlmkit_strategies.logits import Suppress
from dlmkit_strategies.sample import Categorical
from dlmkit_strategies.transfer import Quota, Threshold, TimeGrid

REGISTRY = get_plugins().registry
OFFERED = [offer.cls for role in REGISTRY.roles() for offer in REGISTRY.offers(role)]
CLASSES = [cls for cls in OFFERED if issubclass(cls, (Bundle, Strategy, Part, Procedure, Observer))]
VARIANTS = [
    Categorical(temperature=0.0),
    Demote(of=Margin()),
    FixedBlocks(length=3, partial=True),
    Perturbed(of=Probability(of="filtered"), temperature=0.1),
    Probability(of="filtered"),
    Quota(steps=3),
    Suppress(tokens="both"),
    Threshold(threshold=0.2),
    Threshold(threshold=Linear(start=0.9, stop=0.2)),
    TimeGrid(steps=8),
]


def id_of(component):
    return f"{component.role}-{component.name}"


def cases():
    components = [*(example_of(cls, OFFERED) for cls in CLASSES), *VARIANTS]
    for component in components:
        for case in conformance_cases(component):
            yield pytest.param(case, id=f"{id_of(component)}-{case}")


def test_the_built_in_strategies_are_registered():
    """Nothing here would be tested if discovery failed in silence."""
    assert not get_plugins().failures
    assert len(CLASSES) > 20


@pytest.mark.parametrize("case", list(cases()))
def test_conformance(case):
    """Each promise of each registered component is kept."""
    case.run()
