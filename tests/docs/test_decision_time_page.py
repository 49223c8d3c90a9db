"""The page of decision times lists every rule that there is."""

from __future__ import annotations

import re
from pathlib import Path

from dlmkit.plugins import get_plugins
from tests.benchmarks.decision_time import BAR_MS, ROLES

PAGE = Path(__file__).parents[2] / "docs/reference/decision-time.md"
AGAIN = "run python tests/benchmarks/decision_time.py --write"
UNTIMED = {"bonus", "bridge", "draft", "judge", "refine", "resolve", "schedule", "scope", "view"}
"""Roles of draft-verify: they decide about drafts, not about a step's proposals."""
NO_RULES = {
    "bundle", "cache", "engine", "family", "numeric-schedule", "procedure", "rope", "split",
}  # fmt: skip
"""Roles that decide no step: what computes, loads, runs, or expands."""


def sections() -> list[dict[tuple[str, str], tuple[float, float]]]:
    """Wall and processor time by role and name: from the score pack, and from full logits."""
    row = re.compile(r"^\| (\S+) \| (\S+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)
    pages = PAGE.read_text("utf-8").split("## From ")[1:]
    return [
        {(role, name): (float(wall), float(cpu)) for role, name, wall, cpu in row.findall(page)}
        for page in pages
    ]


def test_every_role_is_timed_or_is_none_that_decides_a_step() -> None:
    """A new role has to be put on one side."""
    known = {*ROLES, *UNTIMED, *NO_RULES}
    assert set(get_plugins().registry.roles()) <= known
    assert not set(ROLES) & (UNTIMED | NO_RULES)


def test_every_rule_has_a_row() -> None:
    """And none that is gone."""
    registry = get_plugins().registry
    rules = {(role, offer.cls.name) for role in ROLES for offer in registry.offers(role)}
    from_pack, from_logits = sections()
    assert rules == {*from_pack, *from_logits}, AGAIN
    assert not from_pack.keys() & from_logits.keys()


def test_rules_that_read_the_score_pack_keep_the_bar() -> None:
    """In processor time of all threads, which other processes do not stretch."""
    from_pack, _ = sections()
    assert max(cpu for _, cpu in from_pack.values()) <= BAR_MS
