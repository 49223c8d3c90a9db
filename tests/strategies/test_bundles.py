"""Bundles: one name in a spec that stands for several slots."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from dlmkit.cli.main import main
from dlmkit.plugins import get_plugins
from dlmkit.spec import SpecError, load_spec
from dlmkit.spec.schema import json_schema
from dlmkit.spec.write import to_yaml
from dlmkit_strategies.saber_rules import AboveMean

BUNDLES = [offer.cls for offer in get_plugins().registry.offers("bundle")]
HEAD = """\
dlmkit: pipeline/1
name: bundled
gen_length: 128
pipeline:
  sample: greedy
  confidence: probability
"""


def problems(text: str) -> list[tuple[str, str, str | None]]:
    """Place, message and hint of every problem of a spec."""
    with pytest.raises(SpecError) as caught:
        load_spec(HEAD + text)
    return [
        (f"{each.mark.line}:{each.mark.column}", each.message, each.hint)
        for each in caught.value.problems
    ]


@pytest.mark.parametrize(
    ("bundle", "preset"),
    [
        ("saber", "saber"),
        ("{use: saber, rounding: down}", "saber-paper"),
        ("rcr", "rcr"),
        ("path-planning", "p2"),
        ("refill-loop", "remdm-loop"),
        ("wino", "wino"),
        ("token-edit", "llada2-edit"),
    ],
)
def test_a_bundle_says_what_the_preset_says(bundle: str, preset: str) -> None:
    """Every slot that it fills holds what the preset has there."""
    bundled, whole = load_spec(f"{HEAD}  bundle: {bundle}\n").pipeline, load_spec(preset).pipeline
    name = bundle.removeprefix("{use: ").partition(",")[0]
    filled = next(cls for cls in BUNDLES if cls.name == name)().slots()
    assert [getattr(whole, slot) for slot in filled] == [getattr(bundled, slot) for slot in filled]


def test_a_bundle_gives_the_identity_of_what_it_stands_for() -> None:
    """The spec id is that of the slots."""
    bundled = load_spec(HEAD + "  bundle: saber\n")
    assert load_spec("saber").spec_id == bundled.spec_id


def test_reading_what_was_written_gives_the_same_document() -> None:
    """What is written are the slots, whoever filled them."""
    document = load_spec(HEAD + "  bundle: {use: saber, least: 4}\n")
    assert document == load_spec(to_yaml(document))
    assert "bundle:" not in to_yaml(document)


def test_lists_hold_the_components_of_both() -> None:
    """Those of the bundle come first."""
    text = "  bundle: saber\n  revise: [{use: reopen-faded, low: 0.1}]\n"
    names = [each.name for each in load_spec(HEAD + text).pipeline.revise]
    assert ["backtrack", "reopen-faded"] == names


def test_an_option_that_is_no_slot_may_be_replaced() -> None:
    """The bundle's cap of the steps is a default."""
    document = load_spec(HEAD + "  bundle: saber\n  max_steps: 99\n")
    assert 99 == document.pipeline.max_steps


def test_overrides_reach_the_options_of_a_bundle() -> None:
    """They are applied before it expands."""
    document = load_spec(HEAD + "  bundle: saber\n", ["pipeline.bundle.least=4"])
    assert AboveMean(least=4) == document.pipeline.transfer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "  bundle: saber\n  transfer: top-k\n",
            (
                "8:3",
                "bundle 'saber' fills the slot 'transfer' itself",
                "leave 'transfer' out, set the options of the bundle, or use no bundle",
            ),
        ),
        (
            "  bundle: {use: saber, least: 1}\n",
            ("7:31", "pipeline.bundle.least must be at least 2; got 1", None),
        ),
        ("  bundle: saver\n", ("7:11", "no bundle is called 'saver'", "did you mean 'saber'?")),
    ],
)
def test_problems_are_at_the_text_that_is_wrong(
    text: str, expected: tuple[str, str, str | None]
) -> None:
    """In the bundle's own options, its name, or the slot that is given twice."""
    assert [expected] == problems(text)


def test_what_a_bundle_fills_is_checked_at_the_bundle() -> None:
    """Its confidence is of another unit than the rule that it brings."""
    text = HEAD.replace("confidence: probability", "confidence: entropy")
    with pytest.raises(SpecError) as caught:
        load_spec(text + "  bundle: saber\n")
    (problem,) = caught.value.problems
    assert ("C2", 7) == (problem.check, problem.mark.line if problem.mark else None)


def test_the_schema_takes_a_bundle_for_the_slots_that_it_fills() -> None:
    """A pipeline needs its slots, or a bundle."""
    schema = json_schema(get_plugins().registry)
    spec: dict[str, Any] = {"dlmkit": "pipeline/1", "name": "x", "gen_length": 8}
    rest = {"sample": "greedy", "confidence": "probability"}
    jsonschema.validate(spec | {"pipeline": rest | {"bundle": "saber"}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec | {"pipeline": rest}, schema)


def test_show_says_what_a_bundle_fills() -> None:
    """As text and as JSON."""
    shown = CliRunner().invoke(main, ["show", "saber", "--role", "bundle"]).output
    assert "fills transfer: " in shown, shown
    text = CliRunner().invoke(main, ["show", "refill-loop", "--role", "bundle", "--json"]).output
    (facts,) = json.loads(text)["components"]
    assert {"transfer": "fill-and-refill", "revise": ["reopen-unlikely"], "max_steps": 1024} == (
        facts["expands"]
    )
