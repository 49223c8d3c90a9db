"""Jacobi decoding writes what greedy decoding does, and in the passes of the published code."""

from __future__ import annotations

import functools
import json

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit_strategies.draft_verify import Fixed, MultiBlock
from dlmkit_strategies.jacobi import JacobiTail
from dlmkit_strategies.jacobi.pool import NOTHING, Pool
from tests.models.checkpoints import FIXTURES, loaded

VOCABULARY = 512


@functools.cache
def network():
    return loaded("qwen2_ar", dtype="float32").network


def cases(sampler):
    path = FIXTURES / f"traces/{sampler}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [pytest.param(row, id=row["id"]) for row in rows]


@attrs.frozen(kw_only=True)
class Given(JacobiTail):
    """Opens blocks with the drafts that a stored decode was given."""

    name = "given"

    drafts: tuple[tuple[int, ...], ...]

    def opening(self, start):
        canvas = start.canvas
        guess_BN = super().opening(start)
        begin = int(canvas.start_B[0])
        blocks = [self.drafts[0], *self.drafts[2:]]
        for number, draft in enumerate(blocks):
            for place, token in enumerate(draft, begin + number * self.length):
                if place < guess_BN.shape[1]:
                    guess_BN[0, place] = token
        return guess_BN


def decoded(pipeline, prompts, new, eos=None, first_sample=0):
    """The new tokens of each row and the passes, with an end token of one's own."""
    model = network()
    info = attrs.evolve(model.info, eos_ids=() if eos is None else (eos,), eot_ids=())
    session = Session(type(model)(model.decoder, info))
    canvas = Canvas.create(prompts, new, VOCABULARY, first_sample=first_sample)
    for _ in pipeline.steps(Context({"main": session}), canvas):
        pass
    rows = zip(canvas.tokens_BN.tolist(), prompts, strict=True)
    return [row[len(prompt) :][:new] for row, prompt in rows], session.counts.forwards


@pytest.mark.slow
@pytest.mark.parametrize("case", cases("jacobi_greedy"))
def test_one_block_at_a_time_decodes_as_the_published_code(case):
    """The same text, and no more passes, from the same first guesses."""
    told = case["settings"]
    length = told["n_token_seq_len"]
    drafts = tuple(map(tuple, case["initial_drafts"]))
    spec = load_spec("jacobi", [f"pipeline.schedule.steps={length}"])
    pipeline = attrs.evolve(spec.pipeline, draft=Given(length=length, drafts=drafts))
    new = told["max_new_tokens"]
    found, passes = decoded(pipeline, case["prompt"], new, told["eos_id"])
    expected = case["output"][0]
    assert expected == found[0][: len(expected)]
    assert passes <= case["nfe"]


@pytest.mark.slow
@pytest.mark.parametrize("case", cases("jacobi_multiblock_greedy"))
def test_several_blocks_decode_as_the_published_code(case):
    """The same text from the same first guesses, with rejected drafts tried again.

    The published code drops the block that it has drafted ahead when it gets there, and begins
    with the next first guess; where that is mostly right, it needs fewer passes.
    """
    told = case["settings"]
    length = told["n_token_seq_len"]
    draft = Given(
        length=length,
        blocks=told["K"],
        spawn=told["r"],
        pool=told["n_gram_pool_size"],
        drafts=tuple(map(tuple, case["initial_drafts"])),
    )
    schedule = Fixed(steps=length * told["K"])
    spec = load_spec("jacobi-forcing")
    pipeline = attrs.evolve(spec.pipeline, draft=draft, schedule=schedule)
    found, passes = decoded(pipeline, case["prompt"], told["max_new_tokens"])
    assert case["output"] == found
    assert passes <= case["nfe"] or told["draft_source"].startswith("greedy")


PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5, 8, 9, 7]]


@functools.cache
def greedily():
    """What greedy decoding writes, and its passes."""
    pipeline = load_spec("autoregressive", ["pipeline.stop=[]"]).pipeline
    return decoded(pipeline, PROMPTS, 20)


@settings(max_examples=8)
@given(
    st.integers(1, 9), st.integers(1, 3), st.floats(0.1, 1.0), st.integers(0, 5), st.integers(1, 40)
)
def test_the_text_is_that_of_greedy_decoding(length, blocks, spawn, pool, steps):
    """Whatever the blocks and the pool are, and no slower than a token a pass."""
    draft = JacobiTail(length=length, blocks=blocks, spawn=spawn, pool=pool)
    spec = load_spec("jacobi-forcing", ["pipeline.verifier.stop=[]"])
    rows, passes = greedily()
    pipeline = attrs.evolve(spec.pipeline, draft=draft, schedule=Fixed(steps=steps))
    found, taken = decoded(pipeline, PROMPTS, 20)
    assert rows == found
    assert taken <= passes


@attrs.frozen(kw_only=True)
class Listening(MultiBlock):
    """The schedule, with a note of each limit beside what was drafted under it."""

    name = "listening"

    heard: list = attrs.field(factory=list, eq=False)

    def after(self, level_B, result):
        budget_B, canvas = result.round.budget_B, result.round.canvas
        room_B = (canvas.masked_BN & canvas.undone_B1).sum(dim=1)
        self.heard.append((budget_B.minimum(room_B).tolist(), result.proposed_B.tolist()))
        return super().after(level_B, result)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.floats(0.1, 1.0))
def test_the_schedule_drafts_as_far_as_the_blocks_of_the_drafter(length, blocks, spawn):
    """Neither further nor less far, in each round; without it nothing changes."""
    draft = JacobiTail(length=length, blocks=blocks, spawn=spawn)
    spec = load_spec("jacobi-forcing", ["pipeline.verifier.stop=[]"])
    bound = Listening(length=length, blocks=blocks, spawn=spawn)
    free, found = (
        decoded(attrs.evolve(spec.pipeline, draft=draft, schedule=each), PROMPTS, 20)
        for each in (Fixed(steps=40), bound)
    )
    assert free == found
    assert all(limit == drafted for limit, drafted in bound.heard)


def test_blocks_are_begun_behind_blocks_that_are_guessed():
    """A third one, before the first is decided."""
    spec = load_spec("jacobi-forcing", ["pipeline.verifier.stop=[]"])
    bound = Listening(length=3, blocks=3, spawn=0.3)
    draft = JacobiTail(length=3, blocks=3, spawn=0.3)
    decoded(attrs.evolve(spec.pipeline, draft=draft, schedule=bound), PROMPTS, 20)
    assert max(max(limits) for limits, _ in bound.heard) > 6


def test_a_row_decodes_as_it_does_alone():
    """Together they take the passes of the slowest."""
    pipeline = load_spec("jacobi-forcing", ["pipeline.draft.length=6"]).pipeline
    together, passes = decoded(pipeline, PROMPTS, 20)
    alone = [decoded(pipeline, [row], 20, first_sample=n) for n, row in enumerate(PROMPTS)]
    assert [rows[0] for rows, _ in alone] == together
    assert max(taken for _, taken in alone) == passes


def test_continuations_begin_where_the_token_first_stood():
    """The latest sequence is passed over; short ones are filled up from the draft in use."""
    pool = Pool.empty(1, 3, 6, torch.device("cpu"))
    for sequence in (
        [7, 8, 9, 7, 5, NOTHING],
        [1, 7, 2, NOTHING, NOTHING, NOTHING],
        [7, 7, 7, 7, 7, 7],
    ):
        pool = pool.pushed(torch.tensor([sequence]), torch.tensor([True]))
    drafts, found = pool.continuations(torch.tensor([7]), torch.tensor([[40, 41, 42]]))
    assert [[[2, 41, 42], [8, 9, 7]]] == drafts.tolist()
    assert [[True, True]] == found.tolist()


def test_rows_push_for_themselves():
    """A row that put nothing in keeps its oldest sequence."""
    pool = Pool.empty(2, 1, 2, torch.device("cpu"))
    pool = pool.pushed(torch.tensor([[1, 2], [3, 4]]), torch.tensor([True, True]))
    pool = pool.pushed(torch.tensor([[5, 6], [7, 8]]), torch.tensor([False, True]))
    assert [[[1, 2]], [[7, 8]]] == pool.tokens_BCL.tolist()
