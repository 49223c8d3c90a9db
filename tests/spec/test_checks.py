"""Composition checks: each finds its conflict, says where, and lets the rest pass."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from dlmkit.spec import Check, Document, Finding, SpecError, check_document, load_spec
from dlmkit.spec.checks import CHECKS

CASES = {
    "model": (
        "  sample: greedy", "  sample: greedy\n  model: drafter",
        "<text>:7:10: `models` has no model 'drafter'", "known: main",
    ),
    "block-length": (
        "gen_length: 64", "gen_length: 65",
        "<text>:5:11: 65 is not a multiple of 32",
        "change gen_length, or see the options of the blocks",
    ),
    "C2": (
        "confidence: probability", "confidence: entropy",
        "<text>:8:13: transfer rule 'threshold' reads probability, "
        "but confidence 'entropy' gives nats",
        "choose a confidence in that unit, or a transfer rule that only ranks",
    ),
    "C18": (
        "  sample: greedy", "  sample: greedy\n  revise: remask",
        "<text>:7:11: revise 'remask' may put masks back for ever",
        "set max_steps in the pipeline",
    ),
    "C23": (
        "{use: threshold, threshold: 0.9}", "{use: quota, steps_per_block: 16}\n  max_steps: 31",
        "<text>:9:14: the pipeline plans 32 steps, but max_steps is 31",
        "all that is left then is committed at once; plan fewer steps",
    ),
    "schedule-steps": (
        "threshold: 0.9", "threshold: {schedule: linear, from: 1, to: 0.5, over: steps}",
        "<text>:8:84: the schedule runs over steps, but their number is not fixed",
        "write `over: filled`",
    ),
}  # fmt: skip


def findings(text: str, plugins):
    """Everything the checks say about a document."""
    try:
        return load_spec(text, plugins=plugins).warnings
    except SpecError as error:
        return error.problems


@pytest.mark.parametrize("check", sorted(CASES))
def test_each_conflict_is_found_where_it_is(check: str, good, plugins) -> None:
    """One conflict gives one finding, with its id, position and hint."""
    old, new, message, hint = CASES[check]
    assert old in good
    (found,) = findings(good.replace(old, new), plugins)
    assert (check, message, hint) == (found.check, f"{found.mark}: {found.message}", found.hint)


def test_a_document_without_conflicts_passes_every_check(good, plugins) -> None:
    """Nothing is reported where nothing is wrong."""
    assert () == findings(good, plugins)


def test_a_rule_inside_a_combinator_is_checked_too(good, plugins) -> None:
    """The unit is compared at the leaves."""
    text = good.replace(
        "{use: threshold, threshold: 0.9}",
        "{use: union, of: [threshold, {use: quota, steps_per_block: 4}]}",
    ).replace("confidence: probability", "confidence: entropy")
    (found,) = findings(text, plugins)
    assert ("C2", "<text>:8:31") == (found.check, str(found.mark))


def test_a_combined_reviser_is_reported_once(good, plugins) -> None:
    """At the member that reopens, not at what combines it."""
    text = good.replace(
        "  sample: greedy",
        "  sample: greedy\n  revise: {use: when, condition: {step: [4, null]}, then: remask}",
    )
    (found,) = findings(text, plugins)
    assert ("C18", "<text>:7:59") == (found.check, str(found.mark))


def test_a_schedule_over_steps_passes_where_they_are_fixed(good, plugins) -> None:
    """A fixed number of steps gives the schedule its end."""
    text = good.replace(
        "{use: threshold, threshold: 0.9}",
        "{use: when, condition: {progress: [0, 0.5]}, then: {use: quota, steps_per_block: 8},"
        " otherwise: {use: quota, steps_per_block: 8}}",
    )
    assert () == findings(text, plugins)


def test_a_cap_allows_revisers(good, plugins) -> None:
    """With max_steps a decode ends whatever is put back."""
    text = good.replace("  sample: greedy", "  sample: greedy\n  revise: remask\n  max_steps: 64")
    assert () == findings(text, plugins)


def test_a_margin_exit_behind_guidance_is_warned_about() -> None:
    """C9: what the exit compares is no longer what its thresholds were set on."""
    from dlmkit.need import Need
    from dlmkit.plugins import get_plugins
    from dlmkit.roles import EarlyExit

    @attrs.frozen
    class Gap(EarlyExit):
        """Reads the two best."""

        name = "gap"
        need = Need(top=2)

        def decide(self, prediction, confidence_BP, view): ...

    document = load_spec("llada-cfg")
    pipeline = attrs.evolve(document.pipeline, exit=(Gap(),))
    checked = check_document(attrs.evolve(document, pipeline=pipeline), plugins=get_plugins())
    assert [("C9", "warning", None)] == [(w.check, w.severity, w.mark) for w in checked.warnings]
    assert "exit 'gap' compares candidates after 'cfg' changed them" in checked.warnings[0].message


def test_a_document_made_in_python_is_checked_without_positions(good, plugins) -> None:
    """The same findings, as errors without a line."""
    read = load_spec(good, plugins=plugins)
    made = Document(name="x", gen_length=65, pipeline=read.pipeline)
    with pytest.raises(SpecError, match="65 is not a multiple of 32"):
        check_document(made, plugins=plugins)


def test_a_plugin_can_add_a_check(good, plugins) -> None:
    """Its findings appear like ours."""

    def find(root):
        """Names are long."""
        yield Finding(root, "the name is short", "write more", "name")

    plugins.checks.append(Check("house-style", "warning", find))
    (found,) = findings(good, plugins)
    assert ("house-style", "<text>:2:7", "the name is short") == (
        found.check,
        str(found.mark),
        found.message,
    )


def test_every_check_explains_itself() -> None:
    """Ids are unique, and the first line of the docstring says what is found."""
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    assert all(check.summary.endswith(".") for check in CHECKS)


def test_every_check_is_documented() -> None:
    """The table of the reference page has one row for each."""
    page = (Path(__file__).parents[2] / "docs/reference/spec.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.endswith(("| error |", "| warning |"))]
    listed = {row.split("|")[1].strip(" `"): row.split("|")[-2].strip() for row in rows}
    assert {check.id: check.severity for check in CHECKS} | {"C1": "error"} == listed
