"""The JSON Schema: editors accept what we accept and underline what we refuse."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings

from dlmkit.plugins import get_plugins
from dlmkit.spec import Document
from dlmkit.spec.report import Source
from dlmkit.spec.schema import json_schema
from dlmkit.spec.source import MappingNode, ScalarNode, parse
from dlmkit.spec.write import to_yaml
from tests.spec.trees import documents

PLUGINS = get_plugins()
SCHEMA = json_schema(PLUGINS.registry)
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


def plain(node):
    """A node as plain data, read by our own reader."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, MappingNode):
        return {key: plain(value) for key, (_, value) in node.entries.items()}
    return [plain(item) for item in node.items]


def data(text: str):
    """A document as plain data."""
    return plain(parse(Source("x", text))[0])


def preset(name: str):
    """A preset as plain data."""
    return data(PLUGINS.presets[name].read_text(encoding="utf-8"))


def test_the_schema_is_valid_draft_07() -> None:
    """The dialect that YAML language servers read."""
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert "http://json-schema.org/draft-07/schema#" == SCHEMA["$schema"]


@pytest.mark.parametrize("name", sorted(PLUGINS.presets))
def test_every_preset_is_accepted(name: str) -> None:
    """No preset is underlined in an editor."""
    VALIDATOR.validate(preset(name))


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(documents(PLUGINS.registry, Document, depth=3))
def test_whatever_the_reader_accepts_the_schema_accepts(document: Document) -> None:
    """Random pipelines, as they are written."""
    VALIDATOR.validate(data(to_yaml(document)))


@pytest.mark.parametrize(
    "change",
    [
        {"gen_lenght": 3},
        {"gen_length": "64"},
        {"dlmkit": "pipeline/2"},
        {"pipeline": "zzz"},
        {"models": {"main": {"repo": "x", "dtyp": "float32"}}},
        {"models": {"main": {"repo": "x", "dtype": "float8"}}},
    ],
)
def test_a_mistake_in_the_document_is_refused(change) -> None:
    """Misspelt keys, wrong types, unknown values."""
    assert not VALIDATOR.is_valid(preset("llada") | change)


@pytest.mark.parametrize(
    "change",
    [
        {"transfer": {"use": "quota", "steps_per_blok": 32}},
        {"transfer": {"use": "quotta"}},
        {"transfer": {"use": "greedy"}},
        {"sample": "probability"},
        {"sampl": "greedy"},
        {"transfer": ["quota"]},
        {"transfer": {"use": "threshold", "threshold": "0.9"}},
        {"transfer": {"use": "threshold", "threshold": {"schedule": "linaer"}}},
    ],
)
def test_a_mistake_in_the_pipeline_is_refused(change) -> None:
    """Misspelt options, unknown names, names of another role, lists in a single slot."""
    document = preset("llada")
    document["pipeline"] |= change
    assert not VALIDATOR.is_valid(document)


def test_every_option_is_described() -> None:
    """Editors show the documentation of each option while one types."""
    for role in SCHEMA["definitions"].values():
        for arm in role["anyOf"]:
            for each in arm.get("properties", {}).values():
                assert each["description"]
