"""Random pipelines, networks and schedules, of which compositions are made."""

from __future__ import annotations

from hypothesis import strategies as st

from dlmkit.models.arch import AttentionPattern
from dlmkit_strategies.cache import DelayedDecode, Dual
from dlmkit_strategies.cache import Prefix as PrefixCache
from dlmkit_strategies.draft_verify import (
    AdaptiveLength,
    EveryBlocks,
    Fixed,
    GrowAndShrink,
    ModelSteps,
    MultiBlock,
    NgramTable,
    OwnTopChain,
    UntilUnsure,
)
from dlmkit_strategies.sample import Categorical, Greedy
from dlmkit_strategies.transfer import Quota, Threshold, TopK
from tests.draft_verify.pieces import alone, networks

__all__ = ["CAUSAL", "EXACT", "SCHEDULES", "drafters", "nets", "pipelines"]

LENGTHS = st.sampled_from([None, 2, 3, 4])
TRANSFERS = st.sampled_from([TopK(k=1), TopK(k=2), Quota(steps=2), Threshold(threshold=0.3)])
SAMPLERS = st.sampled_from([Greedy(), Categorical(temperature=0.7)])
EXACT = st.none()
APPROXIMATE = st.sampled_from([Dual(), Dual(before=2), PrefixCache()])
SCHEDULES = st.sampled_from(
    [
        Fixed(steps=1), Fixed(steps=3), Fixed(steps=8), GrowAndShrink(first=2),
        AdaptiveLength(first=2), UntilUnsure(threshold=0.3), EveryBlocks(blocks=1),
        MultiBlock(length=3, spawn=0.5),
    ]
)  # fmt: skip
CAUSAL = {"attention": AttentionPattern(kind="causal"), "logit_shift": 1}


def pipelines(model, cache=EXACT | APPROXIMATE, sample=SAMPLERS):
    """Ordinary pipelines of every block length, rule, sampler and cache."""
    return st.builds(alone, st.just(model), LENGTHS, transfer=TRANSFERS, sample=sample, cache=cache)


def drafters():
    """An unrelated network, the verifier's own with a stale cache, and two that need none."""
    stale = st.sampled_from([None, Dual(), DelayedDecode(refresh=3)])
    models = st.sampled_from(["drafter", "verifier"])
    steps = models.flatmap(lambda name: st.builds(ModelSteps, pipeline=pipelines(name, stale)))
    return steps | st.sampled_from([NgramTable(), OwnTopChain()])


@st.composite
def nets(draw, **options):
    """A verifier and an unrelated drafter, in families with a shift of the logits or without."""
    shift = options.pop("logit_shift", None)
    shift = draw(st.sampled_from([0, 1])) if shift is None else shift
    blocks = AttentionPattern(kind="block-causal", block=4)
    attention = options.pop("attention", None) or draw(st.sampled_from([None, blocks]))
    return networks(draw(st.integers(0, 99)), attention=attention, logit_shift=shift, **options)
