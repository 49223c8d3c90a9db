"""Unmasking, exit and revision methods decode like their public code, token for token."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlmkit.testing.golden import Networks, load_sampler_map, read_cases, run_cases

FIXTURES = Path(__file__).parents[2].parent / "shared/fixtures"
SAMPLERS = {
    "ccd": 24,
    "dparallel": 37,
    "eb_sampler": 34,
    "fastdllm_dream_threshold": 15,
    "klass": 24,
    "localleap": 30,
    "pc_sampler": 46,
    "prophet": 59,
    "rcr": 31,
    "remdm_loop": 5,
    "saber_dream": 12,
    "saber_llada": 30,
    "sched": 129,
    "wino": 23,
}
"""Samplers and the number of their decodes, without those of SchED that exit as a batch."""


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_reference_decode_agrees(sampler: str) -> None:
    """Tokens, commits of each pass, and no more forward passes than the reference."""
    if not FIXTURES.is_dir():
        pytest.skip(f"the reference decodes are not in {FIXTURES}")
    cases = read_cases([FIXTURES / f"traces/{sampler}.jsonl"])
    tally = run_cases(cases, load_sampler_map(), Networks(FIXTURES)).sound[sampler]
    assert (SAMPLERS[sampler], {}) == (tally.passed, tally.misses)


@pytest.mark.slow
def test_dream_over_a_cache_agrees_with_its_forced_first_tokens() -> None:
    """Every fourth decode of a sampler whose published loop is reproduced, oddity included."""
    if not FIXTURES.is_dir():
        pytest.skip(f"the reference decodes are not in {FIXTURES}")
    cases = read_cases([FIXTURES / "traces/fastdllm_dream_block.jsonl"])[::4]
    report = run_cases(cases, load_sampler_map(), Networks(FIXTURES), parity=True)
    tally = report.quirk["fastdllm_dream_block"]
    assert (11, {}) == (tally.passed, tally.misses)
