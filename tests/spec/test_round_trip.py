"""Python object, YAML, Python object: the identity, over random trees of every component."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import HealthCheck, given, settings

from dlmkit.plugins import get_plugins
from dlmkit.schedules import Linear
from dlmkit.spec import Document, load_spec
from dlmkit.spec.write import to_yaml
from tests.spec.trees import documents

UNCHECKED = attrs.evolve(get_plugins(), checks=[])
"""The installed components without the composition checks, which random trees need not pass."""


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(documents(get_plugins().registry, Document))
def test_writing_and_reading_gives_the_same_document(document: Document) -> None:
    """Whatever the components and options, nothing is lost and nothing is added."""
    text = to_yaml(document)
    again = load_spec(text, plugins=UNCHECKED)
    assert document == again
    assert text == to_yaml(again)
    assert document.spec_id == again.spec_id


def test_defaults_are_not_written() -> None:
    """The shortest spec is the clearest."""
    document = load_spec("llada")
    assert "max_steps" not in to_yaml(document)
    assert "models" not in to_yaml(document)


@pytest.mark.parametrize("name", sorted(get_plugins().presets))
def test_every_preset_survives_the_round_trip(name: str) -> None:
    """Presets are documents like any other."""
    document = load_spec(name)
    again = load_spec(to_yaml(document))
    assert (document, document.spec_id) == (again, again.spec_id)


def test_a_schedule_is_written_with_its_own_keys() -> None:
    """`from` and `to` are no Python names; the spec uses them all the same."""
    document = load_spec("fast-dllm")
    ramp = Linear(start=0.95, stop=0.7)
    transfer = attrs.evolve(document.pipeline.transfer, threshold=ramp)
    changed = attrs.evolve(document, pipeline=attrs.evolve(document.pipeline, transfer=transfer))
    assert "threshold: {schedule: linear, from: 0.95, to: 0.7}" in to_yaml(changed)
