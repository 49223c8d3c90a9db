"""Decodes on the toy network in float64, with a list of what every pass fed, read and kept.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import attrs
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.key_values.store import Store
from dlmkit.models.arch import AttentionPattern
from dlmkit.passes.session import Session
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.cache import (
    BlockCausal,
    D2Cache,
    DelayedDecode,
    DelayedGreedy,
    Dual,
    FreeCache,
    Prefix,
    Prompt,
    Recap,
    Refresh,
    Sparse,
)
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.order import DrawnOrder
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Quota

CAUSAL = AttentionPattern(kind="block-causal", block=4)
PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6, 5], [7]]
NEW = 12
BLOCK = 4

POLICIES = {
    "prefix": Prefix(),
    "horizon": Prefix(horizon=3),
    "dual": Dual(),
    "vicinity": Dual(before=2, after=3),
    "prompt": Prompt(),
    "prompt-seeing": Prompt(isolated=False),
    "free-cache": FreeCache(),
    "free-cache-settled": FreeCache(settle=True),
    "dkv-decode": DelayedDecode(refresh=3),
    "dkv-used": DelayedDecode(refresh=3, whole=1, keep="used"),
    "dkv-both": DelayedDecode(refresh=3, whole=1, keep="both"),
    "dkv-pd": DelayedDecode(refresh=3, whole=1, keep="used", prompt=True),
    "dkv-greedy": DelayedGreedy(refresh=2, window=1),
    "recap": Recap(light=2, full=1),
    "refresh": Refresh(of=Dual(), every=2),
    "refresh-stale": Refresh(of=FreeCache(), stale=1),
    "refresh-block": Refresh(of=FreeCache(), at_block=True),
    "sparse": Sparse(),
    "sparse-early": Sparse(keep=0.3, kernel=1, delay=0),
    "d2cache": D2Cache(masks=3, sigma=2.0, rollout=0.3),
    "d2cache-inflated": D2Cache(masks=2, sigma=2.0, rollout=0.2, inflate=3, confidence="first"),
}


@attrs.define(eq=False)
class Noted(Session):
    """A session that notes each plan: width, and marks on the canvas."""

    passes: list = attrs.field(factory=list)

    def __init__(self, network, *, poison=False):
        super().__init__(network)
        self.passes = []
        self.poison = poison

    def predict(self, variants, canvas, positions_BP, plan, need, required_BP=None, **more):
        """Note the plan, then run it."""
        if self.store is None and self.poison:
            self.store = poisoned(self.info, canvas)
        columns = canvas.tokens_BN.shape[1]
        fed_BN = plan.computed_BN(columns)
        none_BN = torch.zeros_like(fed_BN)
        read_BN = none_BN if plan.cached_BN is None else plan.cached_BN & canvas.inside_BN & ~fed_BN
        tags_BN = none_BN.long() - 1 if self.store is None else self.store.tag_BN
        before = self.counts
        found = super().predict(variants, canvas, positions_BP, plan, need, required_BP, **more)
        self.passes.append(
            {
                "fed": self.counts.fed_positions - before.fed_positions,
                "fed_BN": fed_BN,
                "width": plan.width,
                "reads": self.reads,
                "read_BN": read_BN,
                "tags_BN": tags_BN,
                "tokens_BN": canvas.tokens_BN,
            }
        )
        return found


def poisoned(info, canvas):
    """A store whose empty slots hold large numbers, which nothing may ever read."""
    store = Store.allocate(info, *canvas.tokens_BN.shape)
    store.room.keys_YBGCE.fill_(1e4)
    store.room.values_YBGCE.fill_(1e4)
    return store


def pipeline(cache, *, steps=BLOCK, length=BLOCK, confidence=None, transfer=None, blocks=None):
    """Quota decoding in blocks, in a drawn order where the policy needs one."""
    if confidence is None:
        confidence = DrawnOrder() if isinstance(cache, DelayedGreedy) else Probability()
    return Denoise(
        blocks=blocks or FixedBlocks(length=length),
        cache=cache,
        sample=Greedy(),
        confidence=confidence,
        transfer=transfer or Quota(steps=steps),
    )


def decode(cache, prompts=PROMPTS, *, network=None, poison=False, first_sample=0, **slots):
    """Return each row's tokens, and the session with its notes."""
    network = network or toy_network(attention=CAUSAL if isinstance(cache, BlockCausal) else None)
    canvas = Canvas.create(prompts, NEW, network.info.mask_id, first_sample=first_sample)
    session = Noted(network, poison=poison)
    procedure = pipeline(cache, **slots)
    for _ in procedure.steps(Context({"main": session}, 5), canvas):
        pass
    lengths = canvas.length_B.tolist()
    rows = [row[:end] for row, end in zip(canvas.tokens_BN.tolist(), lengths, strict=True)]
    return rows, session
