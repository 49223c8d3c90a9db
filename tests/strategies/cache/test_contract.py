"""Every cache policy keeps the contract between planners and engines.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.errors import EngineError, StrategyError
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.roles import CachePolicy
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import BlockCausal, DelayedGreedy, Dual, Recap, Refresh, SubBlock
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.order import DrawnOrder
from dlmkit_strategies.transfer import Quota, Threshold
from tests.strategies.cache.decodes import (
    BLOCK,
    CAUSAL,
    NEW,
    POLICIES,
    PROMPTS,
    decode,
    pipeline,
)

ALL = {
    **POLICIES,
    "block-causal": BlockCausal(),
    "sub-block": SubBlock(),
    "sub-block-draft": SubBlock(reuse=True),
}
each_policy = pytest.mark.parametrize("cache", ALL.values(), ids=ALL.keys())


class Rolled:
    """A network with the answers of another, one row earlier: row i-1 predicts token i."""

    def __init__(self, network):
        self.network = network
        self.info = attrs.evolve(network.info, logit_shift=1)

    def forward(self, inputs, need):
        """Answer for the fed position after the wanted one."""
        positions_BQ = inputs.positions_BQ
        wanted_BS = positions_BQ.gather(1, inputs.want_BS) + 1
        found_BSQ = wanted_BS[..., None] == positions_BQ[:, None]
        assert bool((found_BSQ.any(-1) | (wanted_BS > positions_BQ.amax())).all())
        rows_BS = found_BSQ.int().argmax(-1)
        return self.network.forward(attrs.evolve(inputs, want_BS=rows_BS), need)


def confidence_for(cache):
    return DrawnOrder() if isinstance(cache, DelayedGreedy) else Probability()


@each_policy
@pytest.mark.parametrize("rule", [Quota(steps=2), Threshold(threshold=0.4)], ids=["quota", "thr"])
def test_refreshing_in_every_step_is_no_cache(cache, rule):
    """Whatever the policy, a whole pass in every step gives the uncached tokens."""
    if isinstance(cache, DelayedGreedy | Recap) and isinstance(rule, Threshold):
        rule = Quota(steps=3)
    network = toy_network(attention=CAUSAL)
    slots = {"confidence": confidence_for(cache), "transfer": rule, "network": network}
    plain, _ = decode(None, **slots)
    cached, _ = decode(Refresh(of=cache, every=1), **slots)
    assert plain == cached


@each_policy
def test_a_row_decodes_as_it_does_alone(cache):
    """Rows differ in length and in the steps they need; none sees another."""
    rule = {} if isinstance(cache, DelayedGreedy | Recap) else {"transfer": Threshold(0.4)}
    together, _ = decode(cache, **rule)
    for number, prompt in enumerate(PROMPTS):
        (alone,), _ = decode(cache, [prompt], first_sample=number, **rule)
        assert alone == together[number]


@each_policy
def test_empty_slots_are_never_read(cache):
    """Large numbers in every unused slot change nothing."""
    assert decode(cache)[0] == decode(cache, poison=True)[0]


@each_policy
def test_a_fed_position_is_not_read(cache):
    """Each position is seen once: fresh, or from the store, or not at all."""
    for each in decode(cache)[1].passes:
        assert not bool((each["fed_BN"] & each["read_BN"]).any())


@each_policy
def test_fed_positions_are_counted_as_run(cache):
    """The width that a plan states, or else that of the busiest row, times the rows."""
    for each in decode(cache)[1].passes:
        width = each["width"] or int(each["fed_BN"].sum(1).max())
        assert width * len(PROMPTS) == each["fed"]


@each_policy
def test_a_stated_width_is_never_exceeded(cache):
    """No row feeds more than the plan allows for."""
    for each in decode(cache)[1].passes:
        assert each["width"] is None or int(each["fed_BN"].sum(1).max()) <= each["width"]


@each_policy
def test_a_shifted_network_is_served(cache):
    """The row that predicts a position is computed: with whole passes, shifting changes nothing."""
    network = toy_network(attention=CAUSAL)
    slots = {"confidence": confidence_for(cache), "steps": 2}
    plain, _ = decode(Refresh(of=cache, every=1), network=network, **slots)
    shifted, _ = decode(Refresh(of=cache, every=1), network=Rolled(network), **slots)
    assert plain == shifted
    attention = CAUSAL if isinstance(cache, BlockCausal) else None
    decode(cache, network=toy_network(attention=attention, logit_shift=1))


@pytest.mark.parametrize(
    "name", ["prefix", "dual", "vicinity", "dkv-decode", "dkv-greedy", "recap"]
)
def test_no_read_token_has_changed_since(name):
    """These policies compute every token again after it was decided, before they store it."""
    for each in decode(POLICIES[name])[1].passes:
        assert not bool((each["read_BN"] & (each["tags_BN"] != each["tokens_BN"])).any())


def test_free_cache_freezes_the_last_commits_of_a_block_as_masks():
    """Of each finished block exactly what its last step decided is read as a mask."""
    _, session = decode(POLICIES["free-cache"], [PROMPTS[0]], steps=2)
    stale = [
        int((each["read_BN"] & (each["tags_BN"] != each["tokens_BN"])).sum())
        for each in session.passes
    ]
    per_step = BLOCK // 2
    assert [0, 0, per_step, per_step, 2 * per_step, 2 * per_step] == stale


def test_a_settled_free_cache_reads_no_mask():
    """What a block's last step decided is computed with the next block's first pass."""
    _, session = decode(POLICIES["free-cache-settled"], [PROMPTS[0]], steps=2)
    for each in session.passes:
        assert not bool((each["read_BN"] & (each["tags_BN"] != each["tokens_BN"])).any())
    plain = decode(POLICIES["free-cache"], [PROMPTS[0]], steps=2)[1].counts
    more = session.counts.fed_positions - plain.fed_positions
    assert (plain.forwards, 2 * BLOCK // 2) == (session.counts.forwards, more)


def test_a_bound_on_stale_reads_holds():
    """With `stale`, a policy never reads more outdated tokens than allowed."""
    for bound in (0, 1, 3):
        _, session = decode(Refresh(of=POLICIES["free-cache"], stale=bound), steps=2)
        for each in session.passes:
            stale_B = (each["read_BN"] & (each["tags_BN"] != each["tokens_BN"])).sum(1)
            assert int(stale_B.max()) <= bound


def test_a_plan_that_reads_an_empty_slot_is_refused():
    """A policy that reads before it stores is a mistake, and is named."""
    network = toy_network()
    canvas = Canvas.create([[1, 2]], 2, network.info.mask_id)
    everything_BN = torch.ones_like(canvas.tokens_BN, dtype=torch.bool)
    plan = Plan.of(canvas.masked_BN, cached_BN=everything_BN)
    positions_BP = torch.tensor([[2, 3]])
    with pytest.raises(EngineError, match="never stored"):
        Session(network).predict([canvas.tokens_BN], canvas, positions_BP, plan, Need())


def test_a_plan_that_computes_nothing_decidable_is_refused():
    """A row that could not go on ends the decode with a message, not with a loop."""

    @attrs.frozen
    class Idle(CachePolicy):
        def plan(self, view):
            return Plan.of(view.canvas.given_BN & view.canvas.inside_BN)

    with pytest.raises(EngineError, match="no position that could be decided"):
        decode(Idle())


def test_a_policy_that_needs_a_fixed_number_of_steps_says_so():
    """Threshold rules fix none."""
    network = toy_network()
    canvas = Canvas.create([[1, 2]], NEW, network.info.mask_id)
    steps = pipeline(Recap(), transfer=Threshold(0.4)).steps(
        Context({"main": Session(network)}), canvas
    )
    with pytest.raises(StrategyError, match="does not fix the number of steps"):
        list(steps)


def test_the_exact_cache_refuses_full_attention():
    """Under full attention nothing is ever final."""
    with pytest.raises(StrategyError, match="block-causal"):
        decode(BlockCausal(), network=toy_network())


def test_rows_enter_blocks_on_their_own():
    """A row that starts a block computes everything; its neighbours only their spans."""
    _, session = decode(Dual(), transfer=Threshold(0.4))
    widths = [tuple(each["fed_BN"].sum(1).tolist()) for each in session.passes]
    assert any(len(set(width)) > 1 for width in widths)
