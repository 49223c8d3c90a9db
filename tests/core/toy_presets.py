"""Every preset on toys: fewer tokens, and networks with the attention that it is for."""

from __future__ import annotations

from dlmkit.errors import DlmkitError
from dlmkit.models.arch import AttentionPattern
from dlmkit.spec import load_spec
from dlmkit.testing.toy import toy_network

_SHORT = (["gen_length=8", "pipeline.blocks.length=4"], ["gen_length=8"], [])


def short(preset):
    """A preset over eight tokens in blocks of four, or as near to that as it can be."""
    for options in _SHORT:
        try:
            return load_spec(preset, options)
        except DlmkitError:
            continue
    raise AssertionError(preset)


def toys_for(document):
    """A toy for each model of a document."""
    cache = getattr(document.pipeline, "cache", None)
    required = cache.requires if cache else frozenset()
    kinds = {
        "block-causal": AttentionPattern(kind="block-causal", block=4),
        "prefix-causal": AttentionPattern(kind="prefix-causal"),
    }
    (pattern,) = [kinds[each] for each in required if each in kinds] or [None]
    return {name: toy_network(seed, attention=pattern) for seed, name in enumerate(document.models)}
