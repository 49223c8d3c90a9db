"""Built-in strategies that work against each other are named when a spec is checked."""

from __future__ import annotations

from dlmkit.spec import load_spec
from dlmkit.spec.recipe import recipe_of
from dlmkit.spec.walk import simple

SPEC = """\
dlmkit: pipeline/1
name: rivals
models: {main: builtin/verifier}
gen_length: 64
pipeline:
  sample: greedy
  confidence: probability
"""


def warnings(text: str) -> list[tuple[str, str, str]]:
    """Id, message and hint of every warning."""
    return [(each.check, each.message, each.hint) for each in load_spec(SPEC + text).warnings]


def test_rules_of_opposite_locality_are_warned_about() -> None:
    """C15, at the rule that spreads."""
    found = warnings("  transfer: {use: union, of: [local-leap, dilated]}\n")
    message = (
        "transfer rule 'dilated' keeps commits apart, but 'local-leap' puts them beside each other"
    )
    hint = "use one of them, or each in its own part of the decode with `when`"
    assert [("C15", message, hint)] == found


def test_two_revisers_that_reopen_are_warned_about() -> None:
    """C16, at the second."""
    found = warnings(
        "  transfer: everything\n  revise: [reopen-recorded, backtrack]\n  max_steps: 64\n"
    )
    message = "'backtrack' and 'reopen-recorded' both put masks back"
    hint = "each counts on its own share of the steps; expect more of them, or use one"
    assert [("C16", message, hint)] == found


def test_one_reviser_and_one_rule_of_place_pass() -> None:
    """Nothing is wrong with either alone."""
    text = (
        "  transfer: {use: union, of: [dilated, threshold]}\n  revise: backtrack\n  max_steps: 64\n"
    )
    assert [] == warnings(text)


def test_exploration_and_revision_are_warned_about() -> None:
    """C24, at the reviser; what is committed in doubt is doubtful a step later too."""
    found = warnings("  transfer: explore\n  revise: reopen-faded\n  max_steps: 64\n")
    message = "'reopen-faded' may take back at once what 'explore' commits although it is uncertain"
    hint = "use one of them, or let the reviser begin later with `when`"
    assert [("C24", message, hint)] == found


def test_a_rule_with_a_rule_inside_is_looked_at_itself() -> None:
    """A combinator's members count, not the combinator; `otherwise` of KLASS is a part of it."""
    text = (
        "  transfer:\n    use: union\n    of:\n"
        "      - {use: steady-and-sure, otherwise: top-k}\n      - threshold\n"
    )
    pipeline = recipe_of(load_spec(SPEC + text).pipeline, "pipeline")
    rules = [each.component.name for each in simple(pipeline) if each.component.role == "transfer"]
    assert ["steady-and-sure", "top-k", "threshold"] == rules
