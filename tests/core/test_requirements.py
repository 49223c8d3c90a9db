"""A pipeline that is not for its network is refused before anything is decoded."""

from __future__ import annotations

import attrs
import pytest

from dlmkit.errors import EngineError, StrategyError
from dlmkit.models.arch import AttentionPattern
from dlmkit.requirements import asked_of, refuse_unmet
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.cache import BlockCausal, D2Cache, Dual, FeatureCache, Refresh, Sparse
from tests.draft_verify.pieces import alone, drafter, procedure
from tests.strategies.cache.decodes import pipeline

INFO = toy_network().info


def info_of(kind):
    block = 4 if kind == "block-causal" else None
    return attrs.evolve(INFO, attention=AttentionPattern(kind=kind, block=block))


@pytest.mark.parametrize("cache", [BlockCausal(), Refresh(of=BlockCausal(), every=2)])
def test_a_cache_for_other_attention_is_refused(cache):
    """Also inside another policy; under attention that looks back only, it is not."""
    with pytest.raises(StrategyError, match="'block-causal' is for networks with block-causal"):
        refuse_unmet(pipeline(cache), {"main": info_of("full")})
    refuse_unmet(pipeline(cache), {"main": info_of("block-causal")})
    left = attrs.evolve(pipeline(cache), blocks=FixedBlocks(length=1))
    refuse_unmet(left, {"main": info_of("causal")})


def test_a_causal_model_decodes_one_token_after_the_other():
    """It was never shown a mask; drafters are pipelines too."""
    many, one = pipeline(None), attrs.evolve(pipeline(None), blocks=FixedBlocks(length=1))
    with pytest.raises(StrategyError, match="model 'main' is causal: it predicts one token"):
        refuse_unmet(many, {"main": info_of("causal")})
    refuse_unmet(one, {"main": info_of("causal")})
    guessing = procedure(alone(), drafter(length=4))
    infos = {"verifier": info_of("full"), "drafter": info_of("causal")}
    with pytest.raises(StrategyError, match="model 'drafter' is causal"):
        refuse_unmet(guessing, infos)


def test_an_ability_that_the_engine_lacks_is_named():
    """With the engine, the model, and what it cannot do."""
    sealed = attrs.evolve(INFO, engine="sealed", capabilities=frozenset())
    with pytest.raises(EngineError, match=r"'sparse' needs attention-taps, .* 'sealed'") as caught:
        refuse_unmet(pipeline(Sparse()), {"main": sealed})
    assert "it does not tell what attention saw; use the torch engine" in caught.value.hint
    with pytest.raises(EngineError, match="needs layer-steps") as caught:
        refuse_unmet(pipeline(FeatureCache()), {"main": sealed})
    assert "the same positions in every layer" in caught.value.hint
    refuse_unmet(pipeline(Sparse()), {"main": INFO})
    refuse_unmet(pipeline(Dual()), {"main": sealed})


def test_what_a_model_is_asked_for_is_known_before_it_is_loaded():
    """What strategies require, of that model alone."""
    assert {"attention-taps"} == asked_of(pipeline(Sparse()), {"main"})
    assert frozenset() == asked_of(pipeline(Sparse()), {"other"})
    assert frozenset() == asked_of(pipeline(Dual()), {"main"})


def test_reading_taps_is_needing_them():
    """Also for a strategy that does not say so twice."""

    @attrs.frozen
    class Brief(D2Cache):
        requires = frozenset()

    assert {"attention-taps"} == asked_of(pipeline(Brief()), {"main"})
