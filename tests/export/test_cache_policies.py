"""Every cache policy keeps the caching contract on ONNX Runtime, as it does on PyTorch.

Policies that look inside the network need graphs of their own, see tests/export/test_abilities.py.
"""

from __future__ import annotations

import functools

import attrs
import pytest

from dlmkit.models.arch import AttentionPattern
from dlmkit.models.loading import load_model
from dlmkit_strategies.cache import BlockCausal, CausalPrefix, Refresh, SubBlock
from tests.export.compiled import network, source
from tests.strategies.cache.decodes import CAUSAL, POLICIES, decode

PROMPTS = [[8, 6, 9], [6, 10, 14, 7, 11, 10], [12]]
INSIDE = ("sparse", "d2cache")
FULL, HYBRID = AttentionPattern(), AttentionPattern(kind="prefix-causal")
CASES = {name: (cache, FULL) for name, cache in POLICIES.items() if not name.startswith(INSIDE)} | {
    "block-causal": (BlockCausal(), CAUSAL),
    "sub-block": (SubBlock(), CAUSAL),
    "sub-block-draft": (SubBlock(reuse=True), CAUSAL),
    "causal-prefix": (CausalPrefix(), HYBRID),
}
each_policy = pytest.mark.parametrize(("cache", "attention"), CASES.values(), ids=CASES.keys())


@functools.cache
def engines():
    """The same network on ONNX Runtime and on PyTorch."""
    plain = load_model(source("tiny"), device="cpu", dtype="float32")
    return network("tiny"), plain.network


class Seeing:
    """A network whose queries see what a pattern allows; masks are inputs of every graph."""

    def __init__(self, inner, attention):
        self.inner = inner
        self.info = attrs.evolve(inner.info, attention=attention)

    def forward(self, inputs, need):
        """What the network inside says."""
        return self.inner.forward(inputs, need)


@each_policy
def test_poisoned_slots_are_never_read(cache, attention):
    """1e4 in every slot that holds nothing changes no token."""
    graph = Seeing(engines()[0], attention)
    assert (
        decode(cache, PROMPTS, network=graph)[0]
        == decode(cache, PROMPTS, network=graph, poison=True)[0]
    )


@each_policy
def test_both_engines_decode_the_same_at_the_same_cost(cache, attention):
    """Tokens and fed positions, pass by pass."""
    (found, session), (expected, before) = (
        decode(cache, PROMPTS, network=Seeing(each, attention)) for each in engines()
    )
    assert expected == found
    assert before.counts == session.counts


@each_policy
def test_a_row_decodes_as_it_does_alone(cache, attention):
    """Dummy queries of other rows change nothing."""
    graph = Seeing(engines()[0], attention)
    together, _ = decode(cache, PROMPTS, network=graph)
    for number, prompt in enumerate(PROMPTS):
        (alone,), _ = decode(cache, [prompt], network=graph, first_sample=number)
        assert alone == together[number]


@each_policy
def test_refreshing_in_every_step_is_no_cache(cache, attention):
    """Whatever the policy."""
    graph = Seeing(engines()[0], attention)
    hybrid = attention.kind == "prefix-causal"  # where a whole pass would see other things
    plain = CausalPrefix(store=False) if hybrid else None
    refreshed = cache if hybrid else Refresh(of=cache, every=1)
    assert decode(plain, PROMPTS, network=graph)[0] == decode(refreshed, PROMPTS, network=graph)[0]
