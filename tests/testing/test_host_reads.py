"""Reads of tensors by the host are seen, each once."""

from __future__ import annotations

import pytest
import torch

from dlmkit.testing.host_reads import host_reads, reads_by_step

READS = {
    "__bool__": lambda x: bool((x > 0).any()),
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "equal": lambda x: torch.equal(x, x),
    "nonzero": lambda x: x.nonzero(),
    "indexing with a boolean mask": lambda x: x[x > 0],
}


@pytest.mark.parametrize("name", READS)
def test_a_read_is_listed_once(name):
    """Under its own name, whatever operators it consists of."""
    with host_reads() as reads:
        READS[name](torch.arange(4))
    assert [name] == reads


def test_arithmetic_reads_nothing():
    """Selecting, sorting and scattering stay on the device."""
    with host_reads() as reads:
        x = torch.arange(4)
        torch.where(x > 1, x, 0).argsort().scatter(0, x, x)
    assert [] == reads


def test_reads_are_counted_by_step():
    """One list for each step, and one for what the end took."""

    def steps():
        for number in range(2):
            torch.arange(3).tolist()
            yield number
        bool(torch.ones(1))

    assert [["tolist"], ["tolist"], ["__bool__"]] == reads_by_step(steps())
