"""Fast-dLLM v2's caches decode as its published loop does, at its cost.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.need import Need
from dlmkit.network import NetworkInputs
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.aligned import AlignedBlocks
from dlmkit_strategies.cache import SubBlock
from dlmkit_strategies.transfer import Threshold
from tests.strategies.cache.decodes import CAUSAL, NEW, PROMPTS, decode

BLOCK = 4
NETWORK = toy_network(attention=CAUSAL, logit_shift=1)
MASK = NETWORK.info.mask_id


def rated(tokens):
    """The best token that is not the mask for the position after each, and its probability."""
    places = torch.arange(len(tokens))[None]
    seen = places[:, None, :] // BLOCK <= places[:, :, None] // BLOCK
    inputs = NetworkInputs(
        ids_BQ=torch.tensor([tokens]),
        positions_BQ=places,
        want_BS=places,
        mask_new_B1QQ=seen[:, None],
    )
    chances = NETWORK.forward(inputs, Need(logits=True)).logits_BSV[0].softmax(dim=-1)
    best = chances.index_fill(-1, torch.tensor(MASK), -1).argmax(dim=-1)
    return best.tolist(), chances.gather(1, best[:, None])[:, 0].tolist()


def published(prompt, small, threshold):
    """The published loop over one row with exact keys and values; tokens and forward passes."""
    tokens, passes = [*prompt, *[MASK] * NEW], 0
    for begin in range(len(prompt) // BLOCK * BLOCK, len(tokens), BLOCK):
        if begin and tokens[begin] == MASK:
            # The clean pass of the block before also gives the first token.
            tokens[begin] = rated(tokens[:begin])[0][-1]
            passes += 1
        block = range(begin, min(begin + BLOCK, len(tokens)))
        for part in range(begin, block.stop, small):
            places = [p for p in range(part, part + small) if p in block]
            while masked := [p for p in places if tokens[p] == MASK]:
                best, sure = rated(tokens[: block.stop])
                passes += 1
                chosen = {p for p in masked if sure[p - 1] >= threshold}
                chosen.add(max(masked, key=lambda p: (sure[p - 1], -p)))
                for p in chosen:
                    tokens[p] = best[p - 1]
    return tokens, passes


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=9),
    st.sampled_from([1, 2, 4]),
    st.floats(0.05, 1),
)
def test_it_decodes_as_the_published_loop(prompt, small, threshold):
    """Tokens and forward passes, wherever the prompt ends."""
    slots = {"blocks": AlignedBlocks(length=small), "transfer": Threshold(threshold)}
    (row,), session = decode(SubBlock(), [prompt], network=NETWORK, **slots)
    assert published(prompt, small, threshold) == (row, session.counts.forwards)


def test_a_draft_of_whole_blocks_changes_nothing():
    """With sub-blocks as long as the attention block, its own part is all there is to replace."""
    slots = {"blocks": AlignedBlocks(length=BLOCK), "transfer": Threshold(0.3), "network": NETWORK}
    exact, _ = decode(SubBlock(), **slots)
    drafted, _ = decode(SubBlock(reuse=True), **slots)
    assert exact == drafted


@pytest.mark.parametrize(("reuse", "expected"), [(False, {3, 4, 8}), (True, {2, 3, 4, 8})])
def test_a_pass_computes_a_block_or_a_sub_block(reuse, expected):
    """The first pass adds the prompt's finished block; the last block is one short."""
    slots = {"blocks": AlignedBlocks(length=2), "transfer": Threshold(1.0), "network": NETWORK}
    _, session = decode(SubBlock(reuse=reuse), [PROMPTS[1][:1] * 7], **slots)
    assert expected == {each["fed"] for each in session.passes}


def test_without_a_shift_a_finished_block_is_stored_along_the_way():
    """Nothing is decided by the block before, so no pass is spent on it alone."""
    network = toy_network(attention=CAUSAL)
    slots = {"blocks": AlignedBlocks(length=BLOCK), "network": network, "steps": BLOCK}
    _, session = decode(SubBlock(), [PROMPTS[1]], **slots)
    assert session.counts.forwards == NEW
    plain, _ = decode(None, [PROMPTS[1]], **slots)
    assert plain == decode(SubBlock(), [PROMPTS[1]], **slots)[0]
