"""Block diffusion families decode like their published samplers, token for token."""

from __future__ import annotations

import pytest

from dlmkit.testing.golden import Networks, load_sampler_map, read_cases, run_cases

SAMPLERS = {"fast_dllm_v2": 68, "llada2_20": 46, "llada2_21": 33, "sdar": 74}
"""Samplers and the number of their decodes, without the one in which rows affect one another."""


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_reference_decode_agrees(sampler, fixtures):
    """Tokens, commits of each pass, and no more forward passes than the reference."""
    cases = read_cases([fixtures / f"traces/{sampler}.jsonl"])
    tally = run_cases(cases, load_sampler_map(), Networks(fixtures)).sound[sampler]
    assert (SAMPLERS[sampler], {}, 0) == (tally.passed, tally.misses, tally.unknown)
