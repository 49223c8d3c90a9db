"""What each policy feeds, pass by pass, in closed form: one row, blocks of 4, a token a step."""

from __future__ import annotations

import pytest

from dlmkit_strategies.cache import BlockCausal
from tests.strategies.cache.decodes import BLOCK, NEW, POLICIES, decode

PROMPT = [3, 1, 4, 1]
START, END = len(PROMPT), len(PROMPT) + NEW
BLOCKS = range(START, END, BLOCK)


def fed(cache, **slots):
    return [each["fed"] for each in decode(cache, [PROMPT], **slots)[1].passes]


def in_blocks(cached):
    """A whole pass at the start of each block, then three of `cached(start)`."""
    return [width for start in BLOCKS for width in [END, *[cached(start)] * (BLOCK - 1)]]


@pytest.mark.parametrize(
    ("name", "cached"),
    [
        ("prefix", lambda start: END - start),
        ("horizon", lambda start: min(BLOCK + 3, END - start)),
        ("dual", lambda start: BLOCK),
        ("vicinity", lambda start: 2 + BLOCK + 3),
    ],
)
def test_block_caches_feed_their_span(name, cached):
    """Everything at the start of a block, then the span, of one width up to the end."""
    assert in_blocks(cached) == fed(POLICIES[name])


def test_no_cache_feeds_everything():
    """In every step."""
    assert [END] * NEW == fed(None)


@pytest.mark.parametrize("name", ["prompt", "prompt-seeing"])
def test_a_prompt_cache_feeds_the_prompt_once(name):
    """Then the answer."""
    assert [END, *[NEW] * (NEW - 1)] == fed(POLICIES[name])


def test_free_cache_feeds_from_the_block_on():
    """One whole pass in all."""
    tails = [END - start for start in BLOCKS for _ in range(BLOCK)]
    assert [END, *tails[1:]] == fed(POLICIES["free-cache"])


def test_dkv_decode_feeds_masks_and_the_last_token():
    """The first two steps of a block and every third are whole; others skip what is stored."""
    expected = []
    for start in BLOCKS:
        known_before_step_1 = start + 1
        expected += [END, END, END - known_before_step_1, END]
    assert expected == fed(POLICIES["dkv-decode"])


def test_dkv_greedy_feeds_three_positions():
    """The last token, the next one, and one mask beside it as long as there is one."""
    expected = [END, 3] * (NEW // 2)
    expected[-1] = 2
    assert expected == fed(POLICIES["dkv-greedy"])


def test_recap_feeds_its_group():
    """One full pass alone, then a full and two light ones, which together decide three tokens."""
    assert [END, END, 3, 3] * len(BLOCKS) == fed(POLICIES["recap"])


def test_the_exact_cache_feeds_the_finished_block_with_the_next():
    """No pass of its own for a finished block; the last block is never stored."""
    first = [START + BLOCK, *[BLOCK] * (BLOCK - 1)]
    other = [2 * BLOCK, *[BLOCK] * (BLOCK - 1)]
    assert [*first, *other, *other] == fed(BlockCausal())


def test_a_refresh_is_a_whole_pass():
    """Every second step after the first, and at each block as the inner policy says."""
    assert in_blocks(lambda start: BLOCK)[:2] == fed(POLICIES["refresh"])[:2]
    assert [END, BLOCK] * (NEW // 2) == fed(POLICIES["refresh"])
