"""Token editing decodes as LLaDA2.1's published loop, whatever is computed or stored."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.denoise import Denoise
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.network import NetworkInputs
from dlmkit.testing.conformance.decoding import GEN_LENGTH, PROMPTS, decode
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.aligned import AlignedBlocks
from dlmkit_strategies.cache import BlockCausal
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.editing import TokenEdit
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.stop import EndOfText
from dlmkit_strategies.transfer import Threshold, TopK

BLOCK = 4
NETWORK = toy_network(attention=AttentionPattern(kind="block-causal", block=BLOCK))
MASK = NETWORK.info.mask_id or 0


def pipeline(threshold: float, edit: float, passes: int, **slots: Any) -> Denoise:
    """The sampler as a composition."""
    return Denoise(
        blocks=AlignedBlocks(length=BLOCK),
        sample=Greedy(),
        confidence=Probability(),
        transfer=Threshold(threshold) | TopK(1),
        revise=(TokenEdit(threshold=edit, passes=passes),),
        **slots,
    )


def best(tokens: list[int]) -> tuple[list[int], list[float]]:
    """The most probable token of each position that is not the mask, and its probability."""
    ids = torch.tensor([tokens])
    places = torch.arange(len(tokens))[None]
    seen = places[:, None, :] // BLOCK <= places[:, :, None] // BLOCK
    inputs = NetworkInputs(
        ids_BQ=ids, positions_BQ=places, want_BS=places, mask_new_B1QQ=seen[:, None]
    )
    logits = NETWORK.forward(inputs, Need(logits=True)).logits_BSV
    assert logits is not None
    chances = logits[0].softmax(dim=-1)
    chosen = chances.index_fill(-1, torch.tensor(MASK), -1).argmax(dim=-1)
    return chosen.tolist(), chances.gather(1, chosen[:, None])[:, 0].tolist()


def published(prompt: tuple[int, ...], threshold: float, edit: float, passes: int) -> Any:
    """The published loop over one row; tokens and forward passes."""
    tokens = [*prompt, *[MASK] * GEN_LENGTH]
    forwards = 0
    for first in range(len(prompt) // BLOCK * BLOCK, len(tokens), BLOCK):
        block = [p for p in range(first, first + BLOCK) if len(prompt) <= p < len(tokens)]
        post = 0
        while True:
            masked = [p for p in block if tokens[p] == MASK]
            post += not masked
            if post > passes:
                break
            chosen, sure = best(tokens)
            forwards += 1
            filled = [p for p in masked if sure[p] > threshold]
            filled = filled or sorted(masked, key=lambda p: -sure[p])[:1]
            edited = [
                p for p in block if p not in masked and sure[p] > edit and chosen[p] != tokens[p]
            ]
            for p in [*filled, *edited]:
                tokens[p] = chosen[p]
            if not masked and not edited:
                break
    return tuple(tokens), forwards


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 1), st.floats(0, 0.5), st.integers(0, 5))
def test_editing_decodes_as_the_published_loop(threshold: float, edit: float, passes: int) -> None:
    """Tokens of every row, and the passes of the busiest one."""
    expected = [published(prompt, threshold, edit, passes) for prompt in PROMPTS]
    for cache in (None, BlockCausal()):
        found = decode(pipeline(threshold, edit, passes, cache=cache), {"main": NETWORK})
        assert [tokens for tokens, _ in expected] == list(found.rows)
        assert max(forwards for _, forwards in expected) == found.executed["main"].forwards


def test_edits_happen_in_the_first_pass_over_a_token_too() -> None:
    """Not only once the block is full."""
    trace = decode(pipeline(1.0, 0.0, 4), {"main": NETWORK}).trace
    seen: set[tuple[int, int]] = set()
    mixed = False
    for changes in trace:
        places = {(row, position) for row, position, _ in changes}
        for row in {row for row, _ in places}:
            mine = {place for place in places if place[0] == row}
            mixed = mixed or bool(mine & seen and mine - seen)
        seen |= places
    assert mixed


def test_an_edited_block_is_final_before_an_end_token_stops_the_row() -> None:
    """With `wait: block` a token that editing takes away again stops nothing."""
    whole = decode(pipeline(0.5, 0.0, 5), {"main": NETWORK})
    row = whole.rows[0]
    given, final = len(PROMPTS[0]), set(row)
    gone = next(t for changes in whole.trace for r, _, t in changes if not r and t not in final)
    untouched = pipeline(0.5, 0.0, 5, stop=(EndOfText(wait="block", ids=(gone,)),))
    assert row == decode(untouched, {"main": NETWORK}, PROMPTS[:1]).rows[0]
    stopped = pipeline(0.5, 0.0, 5, stop=(EndOfText(wait="block", ids=(row[given],)),))
    found = decode(stopped, {"main": NETWORK}, PROMPTS[:1]).rows[0]
    assert (row[:BLOCK], {MASK}) == (found[:BLOCK], set(found[BLOCK:]))


@pytest.mark.parametrize("passes", [0, 3])
def test_a_threshold_of_one_edits_nothing(passes: int) -> None:
    """The decode is that without editing; a look at each full block costs a pass."""
    plain = Denoise(
        blocks=AlignedBlocks(length=BLOCK),
        sample=Greedy(),
        confidence=Probability(),
        transfer=Threshold(0.5) | TopK(1),
    )
    without = decode(plain, {"main": NETWORK}, PROMPTS[:1])
    found = decode(pipeline(0.5, 1.0, passes), {"main": NETWORK}, PROMPTS[:1])
    assert without.rows == found.rows
    blocks = -(-len(without.rows[0]) // BLOCK)
    more = found.executed["main"].forwards - without.executed["main"].forwards
    assert (blocks if passes else 0) == more
