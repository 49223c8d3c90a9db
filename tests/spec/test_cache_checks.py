"""Composition checks of caches: what they freeze, what they do not predict, what they blur."""

from __future__ import annotations

import pytest

from dlmkit.spec import SpecError, load_spec

FIXED = ("{use: threshold, threshold: 0.9}", "{use: quota, steps_per_block: 32}")


def findings(text: str, plugins) -> list[tuple[str, str, str]]:
    """Id, place and message of everything the checks say about a document."""
    try:
        found = load_spec(text, plugins=plugins).warnings
    except SpecError as error:
        found = error.problems
    return [(each.check, str(each.mark), each.message) for each in found]


@pytest.fixture
def with_cache(good):
    """A document with a cache, and further lines of the pipeline behind it."""

    def make(cache: str, *lines: str, fixed: bool = True) -> str:
        text = good.replace(*FIXED) if fixed else good
        return text + "".join(f"  {line}\n" for line in (f"cache: {cache}", *lines))

    return make


def test_a_cache_alone_is_fine(with_cache, plugins) -> None:
    """Nothing beside it reads what it leaves out."""
    assert [] == findings(with_cache("stale"), plugins)
    assert [] == findings(with_cache("frozen"), plugins)


def test_reopening_frozen_tokens_is_refused(with_cache, plugins) -> None:
    """C3: their keys and values would stay those of the old token."""
    text = with_cache("frozen", "revise: remask", "max_steps: 99")
    message = "revise 'remask' may put masks back, but cache 'frozen' freezes decided tokens"
    assert [("C3", "<text>:10:11", message)] == findings(text, plugins)


def test_reopening_inside_the_block_is_fine_where_blocks_are_frozen(with_cache, plugins) -> None:
    """C3: the block itself is computed in every step."""
    assert [] == findings(with_cache("stale", "revise: remask", "max_steps: 99"), plugins)


def test_reading_outside_the_block_is_refused(with_cache, plugins) -> None:
    """C4: there is no prediction; C5 warns of the comparison with earlier steps."""
    message = (
        "exit 'everywhere' reads predictions outside the current block, but cache 'stale' "
        "does not compute them in every step"
    )
    assert ("C4", "<text>:10:9", message) in findings(
        with_cache("stale", "exit: everywhere"), plugins
    )


def test_rating_decided_tokens_is_refused_where_only_masks_are_computed(
    with_cache, plugins
) -> None:
    """C4: a decided token gets no prediction."""
    message = (
        "revise 'doubt' reads predictions of decided tokens, but cache 'frozen' "
        "does not compute them in every step"
    )
    assert [("C4", "<text>:10:11", message)] == findings(
        with_cache("frozen", "revise: doubt"), plugins
    )
    assert [] == findings(with_cache("stale", "revise: doubt"), plugins)


def test_comparing_steps_over_a_cache_is_warned_about(with_cache, plugins) -> None:
    """C5: without blocks the whole region is computed, and only the warning is left."""
    text = with_cache("stale", "exit: everywhere").replace(
        "  blocks: {use: fixed, length: 32}\n", ""
    )
    message = (
        "exit 'everywhere' compares steps, and cache 'stale' makes them more alike than they are"
    )
    assert [("C5", "<text>:9:9", message)] == findings(text, plugins)


def test_a_cache_that_needs_fixed_steps_says_so(with_cache, plugins) -> None:
    """A threshold fixes none."""
    message = "cache 'frozen' needs a transfer rule with a fixed number of steps"
    text = with_cache("frozen", fixed=False)
    assert [("fixed-steps", "<text>:9:10", message)] == findings(text, plugins)
