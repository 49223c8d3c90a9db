"""Text before the block is read causally and stored, and the block sees all of it.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.errors import StrategyError
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.network import NetworkInputs
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import CausalPrefix
from dlmkit_strategies.transfer import Threshold
from tests.strategies.cache.decodes import NEW, PROMPTS, decode

BLOCK = 4
NETWORK = toy_network(attention=AttentionPattern(kind="prefix-causal", block=BLOCK))
MASK = NETWORK.info.mask_id


def plain(prompt, threshold):
    """Whole passes over the text up to the end of the block, under the mask spelled out."""
    tokens, passes = [*prompt, *[MASK] * NEW], 0
    for begin in range(len(prompt), len(tokens), BLOCK):
        block = range(begin, begin + BLOCK)
        while masked := [place for place in block if tokens[place] == MASK]:
            places = torch.arange(block.stop)[None]
            seen = [[k <= q or q >= begin for k in range(block.stop)] for q in range(block.stop)]
            inputs = NetworkInputs(
                ids_BQ=torch.tensor([tokens[: block.stop]]),
                positions_BQ=places,
                want_BS=places,
                mask_new_B1QQ=torch.tensor(seen)[None, None],
            )
            chances = NETWORK.forward(inputs, Need(logits=True)).logits_BSV[0].softmax(dim=-1)
            best = chances.index_fill(-1, torch.tensor(MASK), -1).argmax(dim=-1)
            sure = chances.gather(1, best[:, None])[:, 0].tolist()
            chosen = {place for place in masked if sure[place] >= threshold}
            chosen.add(max(masked, key=lambda place: (sure[place], -place)))
            for place in chosen:
                tokens[place] = int(best[place])
            passes += 1
    return tokens, passes


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=9), st.floats(0.05, 1))
def test_it_decodes_as_whole_passes_under_the_mask(prompt, threshold):
    """Tokens and forward passes: storing a finished block costs no pass of its own."""
    slots = {"transfer": Threshold(threshold), "network": NETWORK}
    (row,), session = decode(CausalPrefix(), [prompt], **slots)
    assert plain(prompt, threshold) == (row, session.counts.forwards)


def test_a_row_decodes_as_it_does_alone_and_reads_nothing_empty():
    """Rows differ in length and in the passes they need; unused slots hold large numbers."""
    slots = {"transfer": Threshold(0.4), "network": NETWORK}
    together, session = decode(CausalPrefix(), poison=True, **slots)
    for number, prompt in enumerate(PROMPTS):
        assert [together[number]] == decode(CausalPrefix(), [prompt], **slots)[0]
    for each in session.passes:
        stale_BN = each["read_BN"] & (each["tags_BN"] != each["tokens_BN"])
        assert not bool((stale_BN | (each["fed_BN"] & each["read_BN"])).any())


def test_a_pass_computes_the_block_and_what_was_finished_before_it():
    """The prompt in the first pass, a finished block in the first pass of the next."""
    _, session = decode(CausalPrefix(), [PROMPTS[0]], network=NETWORK, steps=2)
    fed = [each["fed"] for each in session.passes]
    assert [len(PROMPTS[0]) + BLOCK, BLOCK, 2 * BLOCK, BLOCK, 2 * BLOCK, BLOCK] == fed


@pytest.mark.parametrize("kind", ["full", "causal"])
def test_other_attention_is_refused(kind):
    """It would not be exact there."""
    with pytest.raises(StrategyError, match=f"prefix-causal attention; this one's is {kind}"):
        decode(CausalPrefix(), network=toy_network(attention=AttentionPattern(kind=kind)))
