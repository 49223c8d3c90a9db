"""Every preset on toys: fewer tokens, and networks with the attention that it is for."""

from __future__ import annotations

from itertools import islice

import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.errors import DlmkitError
from dlmkit.models.arch import AttentionPattern
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit.testing.toy import toy_network

__all__ = ["PRESETS", "PROMPTS", "decoded", "differences", "short", "toys_for"]

PRESETS = (
    *("adablock", "credit", "dkv-greedy", "dllm-cache", "dream-entropy", "eb-sampler"),
    *("elastic-cache", "fast-dllm", "fast-dllm-dual", "fast-dllm-prefix", "klass", "llada"),
    *("llada-cfg", "llada-sampling", "llada2-edit", "prophet", "rcr", "saber", "sdar"),
    *("soft-mask", "sparse-dllm", "vicinity-refresh", "wino"),
)
"""Fixed and free numbers of steps, each kind of cache, memories, exits, revisers, noise."""
PROMPTS = [[3, 1, 4, 2], [2, 5, 6, 7, 1, 3], [9]]
STEPS = 24

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


def decoded(document, *, rows=3, steps=STEPS, device="cpu", **how):
    """The canvas, its first records, and the session, which is made as `how` says."""
    network = toys_for(document)["main"]
    if device != "cpu":
        network = network.to(device)
    canvas = Canvas.create(
        PROMPTS[:rows], document.gen_length, network.info.mask_id, device=network.info.device
    )
    session = Session(network, checked=False, **how)
    records = document.pipeline.steps(Context({"main": session}), canvas)
    return canvas, list(islice(records, steps)), session


def differences(expected, found):
    """What two decodes do not have in common, by step; and their stores."""
    (one, before, session), (other, after, another) = expected, found
    tensors = ("before_BN", "after_BN", "positions_BP", "proposals_BP", "confidence_BP", "live_B")
    unlike = [
        (mine.step, name)
        for mine, its in zip(before, after, strict=False)
        for name in tensors
        if not torch.equal(getattr(mine, name), getattr(its, name))
    ]
    unlike += [
        (mine.step, "counts or block")
        for mine, its in zip(before, after, strict=False)
        if (mine.step, mine.counts) != (its.step, its.counts)
        or not torch.equal(mine.block.index_B, its.block.index_B)
    ]
    ends = {
        "steps": len(before) == len(after),
        "commits": torch.equal(one.commit_step_BN, other.commit_step_BN),
        "counts": session.counts == another.counts,
        "store": session.store is None or torch.equal(session.store.tag_BN, another.store.tag_BN),
    }
    return unlike + [name for name, same in ends.items() if not same]
