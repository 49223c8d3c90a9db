"""Every method at the end of its range is another one: whole decodes, pass by pass.

These are the identities of the unmasking literature read together.  Those of single calls stand
with the tests of each method; those of block schedules in test_adaptive_blocks.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.denoise import Denoise
from dlmkit.roles import Procedure
from dlmkit.schedules import Cosine, Piecewise
from dlmkit.testing.conformance.decoding import decode
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.adaptive_blocks import DelimiterBlocks, PolicyBlocks
from dlmkit_strategies.annealed import Annealed
from dlmkit_strategies.averaging import AveragedEntropy
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.bundles import PathPlanning, Rcr, RefillLoop
from dlmkit_strategies.confidence import NegativeEntropy, Probability
from dlmkit_strategies.credit import Credit
from dlmkit_strategies.editing import TokenEdit
from dlmkit_strategies.entropy_rules import EntropyBound
from dlmkit_strategies.episodes import BestOf
from dlmkit_strategies.exits import Gap, Settled
from dlmkit_strategies.exploration import Explore, SlidingBlocks
from dlmkit_strategies.explore_ahead import ExploreAhead
from dlmkit_strategies.guide import ClassifierFree
from dlmkit_strategies.locality import Dilated, LocalLeap
from dlmkit_strategies.penalties import EndPenalty, RepetitionPenalty
from dlmkit_strategies.ratio_rules import Everything
from dlmkit_strategies.sample import Categorical, Greedy
from dlmkit_strategies.soft_mask import SoftMask
from dlmkit_strategies.transfer import Factor, Quota, Threshold, TopK
from dlmkit_strategies.wino import AtMostShare, Unsupported

BLOCK = 4
NEVER = 1e9
STAGES = Piecewise(points=((0.0, NEVER), (0.5, NEVER)))


def pipeline(**slots: Any) -> Denoise:
    """Blocks of four, greedy, by probability, one position in each step; changed by the slots."""
    plain = {"blocks": FixedBlocks(length=BLOCK), "sample": Greedy(), "confidence": Probability()}
    return Denoise(**({**plain, "transfer": TopK(k=1), "max_steps": 99} | slots))


HALF = pipeline(transfer=Threshold(threshold=0.5))
ONE = pipeline()
ALL = pipeline(transfer=Everything())
SPREAD = pipeline(confidence=NegativeEntropy(), transfer=TopK(k=1))
CAPPED = pipeline(transfer=Threshold(threshold=0.4), guard=(AtMostShare(),))
FOURS = {"sample": Greedy(), "confidence": Probability(), "blocks": SlidingBlocks(length=BLOCK)}
IDENTITIES: dict[str, tuple[Procedure, Procedure]] = {
    "LocalLeap without reach is a threshold": (
        pipeline(transfer=LocalLeap(threshold=0.5, relaxed=0.1, radius=0)), HALF,
    ),
    "LocalLeap that relaxes nothing is a threshold": (
        pipeline(transfer=LocalLeap(threshold=0.5, relaxed=0.5, radius=3)), HALF,
    ),
    "a threshold that nothing reaches is top-1": (pipeline(transfer=Threshold(threshold=1.0)), ONE),
    "a factor that nothing meets is top-1": (pipeline(transfer=Factor(factor=1e-9)), ONE),
    "a threshold of nothing is everything": (pipeline(transfer=Threshold(threshold=0.0)), ALL),
    "EB-Sampler with gamma 0 is top-1 by entropy": (
        pipeline(confidence=NegativeEntropy(), transfer=EntropyBound(gamma=0.0)), SPREAD,
    ),
    "EB-Sampler without bound is everything": (
        pipeline(confidence=NegativeEntropy(), transfer=EntropyBound(gamma=NEVER)),
        pipeline(confidence=NegativeEntropy(), transfer=Everything()),
    ),
    "DUS from its finest stride is everything": (
        pipeline(transfer=Dilated(base=2, skip=9)), ALL,
    ),
    "CCD over one step is the entropy": (
        pipeline(confidence=AveragedEntropy(depth=1), transfer=TopK(k=2)),
        pipeline(confidence=NegativeEntropy(), transfer=TopK(k=2)),
    ),
    "credit of weight 0": (pipeline(logits=(Credit(alpha=0.0),)), ONE),
    "an end penalty of strength 0": (pipeline(logits=(EndPenalty(strength=0.0),)), ONE),
    "a repetition penalty of 1": (pipeline(logits=(RepetitionPenalty(penalty=1.0),)), ONE),
    "a draw at temperature 0": (pipeline(sample=Categorical(temperature=0.0)), ONE),
    "soft masks of strength 0": (pipeline(inputs=(SoftMask(strength=0.0),)), ONE),
    "RCR in one step is everything": (
        pipeline(**(Rcr(length=BLOCK, steps=1).slots() | {"blocks": FixedBlocks(length=BLOCK)})),
        ALL,
    ),
    "P2 in one step is everything": (pipeline(**PathPlanning(steps=1).slots()), ALL),
    "ReMDM without a loop is top-k": (pipeline(**RefillLoop(fill=1.0, loops=0).slots()), ONE),
    "token editing that nothing exceeds": (
        pipeline(transfer=Threshold(0.5), revise=(TokenEdit(threshold=1.0, passes=0),)), HALF,
    ),
    "Prophet that nothing convinces": (
        pipeline(exit=(Gap(threshold=STAGES, start=2, length=3),)), ONE,
    ),
    "SchED that nothing convinces": (
        pipeline(exit=(Gap(threshold=Cosine(start=NEVER, stop=NEVER)), Settled(progress=1.0))), ONE,
    ),
    "AdaBlock without a delimiter that is sure is fixed blocks": (
        pipeline(blocks=DelimiterBlocks(delimiters=(3,), threshold=1.1, length=BLOCK)), ONE,
    ),
    "CtrlDiff with one size is fixed blocks": (pipeline(blocks=PolicyBlocks(sizes=(BLOCK,))), ONE),
    "ETE over one block with floor and threshold alike is a threshold": (
        pipeline(
            blocks=SlidingBlocks(length=BLOCK, count=1),
            transfer=Explore(threshold=0.5, floor=0.5, enough=1),
        ),
        HALF,
    ),
    "ETE with one branch tries nothing": (
        ExploreAhead(**FOURS, transfer=Explore(floor=0.1), branches=1),
        Denoise(**FOURS, transfer=Explore(floor=0.1)),
    ),
    "the best of one": (BestOf(pipeline=ONE, n=1), ONE),
    "a quota of a block's length is top-1": (pipeline(transfer=Quota(steps=BLOCK)), ONE),
    "annealed confidence without noise orders by probability": (
        pipeline(confidence=Annealed(randomness=0.0)), ONE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("identity", IDENTITIES)
@given(weights=st.integers(0, 2**16))
@settings(max_examples=2)
def test_a_method_at_its_limit_is_another(identity: str, weights: int) -> None:
    """The same tokens in the same passes, at the same cost, on any network."""
    one, other = IDENTITIES[identity]
    networks = {"main": toy_network(weights)}
    assert decode(other, networks) == decode(one, networks)


COSTLIER = {
    "WINO that believes every token is its capped threshold": (
        pipeline(
            transfer=Threshold(threshold=0.4), guard=(AtMostShare(),),
            revise=(Unsupported(threshold=0.0),),
        ),
        CAPPED,
    ),
    "guidance of scale 0": (pipeline(guide=ClassifierFree(scale=0.0)), ONE),
}  # fmt: skip


@pytest.mark.parametrize("identity", COSTLIER)
@given(weights=st.integers(0, 2**16))
@settings(max_examples=2)
def test_a_method_at_its_limit_decides_as_another_and_costs_more(
    identity: str, weights: int
) -> None:
    """Shadows and second inputs are fed though they change nothing."""
    one, other = COSTLIER[identity]
    networks = {"main": toy_network(weights)}
    found, plain = decode(one, networks), decode(other, networks)
    assert (plain.rows, plain.trace) == (found.rows, found.trace)
    assert plain.executed["main"].fed_positions < found.executed["main"].fed_positions
