"""Cache policies keep the promises of their role with options other than their defaults."""

from __future__ import annotations

import pytest

from dlmkit.testing.conformance import conformance_cases
from dlmkit_strategies.cache import BlockCausal, ElasticCache, FeatureCache, Refresh
from tests.strategies.cache.decodes import POLICIES

NAMES = ["horizon", "vicinity", "dkv-pd", "recap", "refresh-stale", "sparse"]
NAMES += ["sparse-early", "d2cache", "d2cache-inflated"]
VARIANTS = {name: POLICIES[name] for name in NAMES} | {
    "refreshed-exact": Refresh(of=BlockCausal(), every=3),
    "dllm-cache": FeatureCache(prompt_every=4, answer_every=3, share=0.4),
    "elastic-cache": ElasticCache(window=2, likeness=0.95),
}
CASES = [
    pytest.param(case, id=f"{name}-{case}")
    for name, cache in VARIANTS.items()
    for case in conformance_cases(cache)
]


@pytest.mark.parametrize("case", CASES)
def test_a_variant_keeps_its_promises(case):
    """Each promise of each variant."""
    case.run()
