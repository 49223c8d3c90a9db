"""What is worked out once for the steps inside a block is what each of them would work out."""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.host.kept import Kept
from dlmkit.view import View
from dlmkit_strategies.cache import Dual
from dlmkit_strategies.transfer import Threshold
from tests.strategies.cache.decodes import POLICIES, decode

NAMES = ("dual", "vicinity", "prefix")


@pytest.mark.parametrize("name", NAMES)
def test_steps_that_work_everything_out_are_the_same(name, monkeypatch):
    """Rows of different length, which enter blocks and finish at different steps."""
    rows, session = decode(POLICIES[name], transfer=Threshold(0.4))
    monkeypatch.setattr(Kept, "of", lambda self, name, parts, work: work())
    again, plain = decode(POLICIES[name], transfer=Threshold(0.4))
    assert again == rows
    assert len(plain.passes) == len(session.passes)
    for first, second in zip(session.passes, plain.passes, strict=True):
        for field in ("fed_BN", "read_BN", "tags_BN"):
            assert torch.equal(first[field], second[field]), field


def test_a_plan_is_made_when_a_block_is_entered_and_once_after_that():
    """Three blocks of four steps each."""
    made = []

    @attrs.frozen
    class Noting(Dual):
        def _plan(self, view: View):
            made.append(view.step)
            return super()._plan(view)

    decode(Noting(), [[1, 2, 3]])
    assert [0, 1, 4, 5, 8, 9] == made
