"""Block diffusion families decode like their published samplers, token for token."""

from __future__ import annotations

import pytest

from dlmkit.testing.golden import Networks, load_sampler_map, read_cases, run_cases

SAMPLERS = {"llada2_20": 46, "llada2_21": 33, "sdar": 74}
"""Samplers and the number of their decodes."""


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_reference_decode_agrees(sampler, fixtures):
    """Tokens, commits of each pass, and no more forward passes than the reference."""
    cases = read_cases([fixtures / f"traces/{sampler}.jsonl"])
    report = run_cases(cases, load_sampler_map(), Networks(fixtures))
    assert report.lines() == [f"{sampler} {SAMPLERS[sampler]}/{SAMPLERS[sampler]}"]
