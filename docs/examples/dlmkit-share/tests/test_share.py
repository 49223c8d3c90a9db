"""The rule keeps the promises of its role, and does what it says."""

from types import SimpleNamespace

import pytest
import torch
from dlmkit_share.share import Share

from dlmkit.testing.conformance import conformance_cases


@pytest.mark.parametrize("case", conformance_cases(Share(0.5)), ids=str)
def test_conformance(case):
    """One test for each promise of a transfer rule."""
    case.run()


def test_half_of_three_masks_are_two():
    """The number is rounded up; a decided position does not count."""
    eligible_BP = torch.tensor([[True, True, False, True]])
    confidence_BP = torch.tensor([[0.2, 0.9, -torch.inf, 0.5]])
    commit_BP = Share(0.5).select(confidence_BP, SimpleNamespace(eligible_BP=eligible_BP))
    assert [[False, True, False, True]] == commit_BP.tolist()
