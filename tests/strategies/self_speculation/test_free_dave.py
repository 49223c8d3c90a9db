"""FreeDave writes what its pipeline writes alone, in no more passes."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.denoise import Denoise
from dlmkit.models.arch import AttentionPattern
from dlmkit.spec import SpecError, load_spec
from dlmkit.testing.conformance import conformance_cases
from dlmkit.testing.conformance.decoding import PROMPTS, decode
from dlmkit.testing.golden import Networks, load_sampler_map, read_cases, run_cases
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.cache import BlockCausal, Dual, Prefix
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.self_speculation import FreeDave, WideFreeDave
from dlmkit_strategies.self_speculation.chain import agreement, furthest
from dlmkit_strategies.transfer import Quota, Threshold, TopK

WIDE = ["pipeline.use=free-dave-wide", "pipeline.layout=columns"]
FIXTURES = Path(__file__).parents[3].parent / "shared/fixtures"
BLOCKS = AttentionPattern(kind="block-causal", block=4)
CACHES = [(None, None), (Dual(), None), (Prefix(), None), (BlockCausal(), BLOCKS)]
TRANSFERS = [TopK(k=1), TopK(k=2), Quota(steps=3), Threshold(threshold=0.3)]


def static(cache=None, transfer=None, length=4):
    return Denoise(
        blocks=FixedBlocks(length=length, partial=True),
        cache=cache,
        sample=Greedy(),
        confidence=Probability(),
        transfer=transfer or TopK(k=1),
    )


@pytest.mark.parametrize(("cache", "attention"), CACHES, ids=["none", "dual", "prefix", "causal"])
@pytest.mark.parametrize("transfer", TRANSFERS, ids=str)
@pytest.mark.parametrize("drafts", [1, 3, 8])
def test_the_text_is_that_of_the_pipeline_alone(drafts, transfer, cache, attention):
    """Invariants 3 and 8: each prompt on its own, in no more passes."""
    pipeline = static(cache, transfer)
    networks = {"main": toy_network(attention=attention)}
    procedure = FreeDave(pipeline=pipeline, drafts=drafts)
    for number, prompt in enumerate(PROMPTS):
        alone = decode(pipeline, networks, [prompt], first_sample=number)
        found = decode(procedure, networks, [prompt], first_sample=number)
        assert alone.rows == found.rows
        assert found.executed["main"].forwards <= alone.executed["main"].forwards


@pytest.mark.parametrize(("cache", "attention"), CACHES, ids=["none", "dual", "prefix", "causal"])
def test_a_row_decodes_as_it_does_alone(cache, attention):
    """Rows that are in different blocks share passes."""
    networks = {"main": toy_network(attention=attention)}
    procedure = FreeDave(pipeline=static(cache), drafts=3)
    together = decode(procedure, networks)
    for number, prompt in enumerate(PROMPTS):
        alone = decode(procedure, networks, [prompt], first_sample=number)
        assert alone.rows[0] == together.rows[number]


@pytest.mark.parametrize("transfer", TRANSFERS, ids=str)
@pytest.mark.parametrize(("drafts", "ahead"), [(3, 1), (8, 2)])
def test_drafts_beyond_the_block_change_nothing(drafts, ahead, transfer):
    """With an exact cache, and with none, whose rows of the next block are true once it is next."""
    for cache, attention in ((BlockCausal(), BLOCKS), (None, None)):
        networks, pipeline = {"main": toy_network(attention=attention)}, static(cache, transfer)
        procedure = WideFreeDave(pipeline=pipeline, drafts=drafts, ahead=ahead)
        for number, prompt in enumerate(PROMPTS):
            alone = decode(pipeline, networks, [prompt], first_sample=number)
            found = decode(procedure, networks, [prompt], first_sample=number)
            assert alone.rows == found.rows
            assert found.executed["main"].forwards <= alone.executed["main"].forwards


@pytest.mark.parametrize(("cache", "attention"), [(Dual(), None), (BlockCausal(), BLOCKS)])
@pytest.mark.parametrize("agreement", ["exact", "subset"])
def test_columns_say_what_rows_say(cache, attention, agreement):
    """Tree attention: the same commits in as many passes of one row."""
    networks, pipeline = {"main": toy_network(attention=attention)}, static(cache, TRANSFERS[3])
    rows, columns = (
        decode(WideFreeDave(pipeline=pipeline, layout=layout, agreement=agreement), networks)
        for layout in ("rows", "columns")
    )
    assert rows.trace == columns.trace
    assert rows.executed["main"].forwards == columns.executed["main"].forwards
    assert rows.executed["main"].fed_positions == columns.executed["main"].fed_positions
    assert len(PROMPTS) * columns.executed["main"].forwards == columns.executed["main"].rows


def test_single_drafts_take_the_passes_of_the_pipeline():
    """Each pass looks at one step, and the last step of a block needs no look."""
    networks = {"main": toy_network()}
    found = decode(FreeDave(pipeline=static(), drafts=1), networks, PROMPTS[:1])
    alone = decode(static(), networks, PROMPTS[:1])
    assert alone.executed == found.executed


@st.composite
def agreements(draw):
    size = draw(st.integers(1, 6))
    rows = draw(st.lists(st.booleans(), min_size=size * size, max_size=size * size))
    return torch.tensor(rows).reshape(1, size, size)


@given(agreements())
def test_the_furthest_state_is_found_as_the_method_says(agree_BXX):
    """From the accepted state to the last later one that it leads to, until there is none."""
    reached, going = 0, True
    while going:
        later = [j for j in range(agree_BXX.shape[1]) if j > reached and agree_BXX[0, reached, j]]
        going = bool(later)
        reached = max(later, default=reached)
    assert [reached] == furthest(agree_BXX).tolist()


def test_a_subset_reveals_no_more_than_the_step():
    """Masks are no disagreement, other tokens are."""
    states = torch.tensor([[[1, 9, 9], [1, 2, 9]]])
    targets = torch.tensor([[[1, 2, 3], [1, 4, 3]]])
    assert [[[True, True], [True, False]]] == agreement(states, targets, 9, "subset").tolist()
    assert not agreement(states, targets, 9, "exact").any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pipeline.pipeline.guide=cfg", "has `guide`, which drafted steps cannot follow"),
        ("pipeline.pipeline.transfer=runners-up", "which remembers earlier steps"),
        ("pipeline.pipeline.cache=dllm-cache", "whose layers go on from a single draft"),
        ("pipeline.pipeline.cache=elastic-cache", "whose layers go on from a single draft"),
    ],
)
def test_pipelines_that_drafts_cannot_follow_are_refused(change, message):
    """At check time, before a model is loaded."""
    with pytest.raises(SpecError, match=message):
        load_spec("free-dave", [change])


def test_blocks_that_a_cache_would_rebuild_are_not_drafted_ahead():
    """The next block's rows are not what that cache will read."""
    with pytest.raises(SpecError, match="for which cache 'dual' is rebuilt first"):
        load_spec("free-dave", ["pipeline.use=free-dave-wide", "pipeline.ahead=1"])


@pytest.mark.parametrize("cache", ["null", "prefix"])
def test_columns_need_a_text_that_stands_still_around_the_block(cache):
    """Invariant 15: columns of a network that sees everything, and nothing frozen behind them."""
    with pytest.raises(SpecError, match="share the rest of the text") as caught:
        load_spec("free-dave", [*WIDE, f"pipeline.pipeline.cache={cache}"])
    (problem,) = caught.value.problems
    assert problem.hint.startswith("use `dual`")


def cases():
    pipeline = static(Dual(), Threshold(threshold=0.3))
    yield from conformance_cases(FreeDave(pipeline=pipeline))
    yield from conformance_cases(
        FreeDave(pipeline=attrs.evolve(pipeline, cache=None), agreement="subset", unseen="single")
    )
    yield from conformance_cases(WideFreeDave(pipeline=pipeline, layout="columns"))
    yield from conformance_cases(WideFreeDave(pipeline=attrs.evolve(pipeline, cache=None), ahead=1))


@pytest.mark.parametrize("case", list(cases()), ids=str)
def test_conformance(case):
    """The promises of every procedure."""
    case.run()


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "count"), [("freedave", 31), ("freedave_sdar", 26)])
def test_every_reference_decode_agrees(sampler, count):
    """Tokens, commits of each pass, and no more passes; also where drafts go beyond the block."""
    if not FIXTURES.is_dir():
        pytest.skip(f"the reference decodes are not in {FIXTURES}")
    stored = read_cases([FIXTURES / f"traces/{sampler}.jsonl"])
    tally = run_cases(stored, load_sampler_map(), Networks(FIXTURES)).sound[sampler]
    assert (count, {}) == (tally.passed, tally.misses)
