"""Checks of length controllers, of blocks that choose their end, and of episodes."""

from __future__ import annotations

import pytest

from dlmkit.spec import SpecError, load_spec

HEAD = """\
dlmkit: pipeline/1
name: checked
gen_length: 64
pipeline:
"""
SLOTS = """\
  sample: greedy
  confidence: probability
  transfer: {use: threshold, threshold: 0.9}
"""
GAP = "  exit: {use: gap, threshold: 5.0, start: 3}\n"


def findings(text):
    """Ids of everything that the checks say."""
    try:
        return [problem.check for problem in load_spec(text).warnings]
    except SpecError as error:
        return [problem.check for problem in error.problems]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (SLOTS + "  length: daedal\n", []),
        (SLOTS + "  length: daedal\n  cache: prompt\n", ["C7"]),
        (SLOTS + "  length: eotp\n  cache: prompt\n", []),
        (SLOTS + "  length: daedal\n" + GAP, ["moved-span"]),
        (SLOTS + "  length: eotp\n" + GAP, []),
        (SLOTS + "  length: daedal\n  exit: {use: gap, threshold: 5.0}\n", []),
        (
            "  sample: greedy\n  confidence: probability\n  transfer: {use: time-grid, steps: 8}\n"
            "  length: daedal\n",
            ["C14"],
        ),
        (
            "  use: best-of\n  pipeline:\n    use: denoise\n"
            + SLOTS.replace("\n  ", "\n    ").replace("  sample", "    sample", 1),
            ["same-texts"],
        ),
        (
            "  use: best-of\n  pipeline:\n    use: denoise\n"
            + SLOTS.replace("\n  ", "\n    ")
            .replace("  sample", "    sample", 1)
            .replace("greedy", "categorical"),
            [],
        ),
    ],
)
def test_each_conflict_is_found_and_nothing_else(lines, expected):
    """By the id of its check."""
    assert expected == findings(HEAD + lines)


def test_two_length_controllers_are_one_too_many():
    """C17: they would pull in opposite directions, and the slot takes one."""
    with pytest.raises(SpecError, match="length"):
        load_spec(HEAD + SLOTS + "  length: [eotp, daedal]\n")
