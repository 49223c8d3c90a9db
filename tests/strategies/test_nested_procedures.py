"""Slots whose type is one procedure and no other."""

from __future__ import annotations

import pytest

from dlmkit.spec import SpecError, load_spec

HEAD = """\
dlmkit: pipeline/1
name: nested
gen_length: 128
"""


def test_a_slot_for_one_procedure_takes_no_other() -> None:
    """What it takes is said at the name."""
    text = HEAD + ("pipeline:\n  use: free-dave\n  pipeline: {use: beam-search}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(text)
    (problem,) = caught.value.problems
    assert "pipeline.pipeline cannot be 'beam-search' here" == problem.message
    assert "write 'denoise'" == problem.hint
