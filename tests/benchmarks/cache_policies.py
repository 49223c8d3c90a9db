"""Every cache policy, with the attention and the pipeline that it is measured with."""

from __future__ import annotations

import attrs

from dlmkit.denoise import Denoise
from dlmkit.models.arch import AttentionPattern
from dlmkit.roles import Blocks, CachePolicy
from dlmkit_strategies.aligned import AlignedBlocks
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.cache import (
    BlockCausal,
    CausalPrefix,
    D2Cache,
    DelayedDecode,
    DelayedGreedy,
    Dual,
    ElasticCache,
    FeatureCache,
    FreeCache,
    Prefix,
    Prompt,
    Recap,
    Refresh,
    Sparse,
    SubBlock,
)
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.order import DrawnOrder
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Quota

__all__ = ["POLICIES", "Policy"]

FULL = AttentionPattern()
CAUSAL = AttentionPattern(kind="block-causal", block=32)
HYBRID = AttentionPattern(kind="prefix-causal")


@attrs.frozen
class Policy:
    """A policy and what its networks see; `aligned` blocks begin where attention blocks do."""

    cache: CachePolicy | None
    attention: AttentionPattern = FULL
    aligned: bool = False

    def pipeline(self, block: int, steps: int) -> Denoise:
        """Blocks from left to right, each in so many steps."""
        blocks: Blocks = AlignedBlocks(length=block) if self.aligned else FixedBlocks(length=block)
        drawn = isinstance(self.cache, DelayedGreedy)
        return Denoise(
            blocks=blocks,
            cache=self.cache,
            sample=Greedy(),
            confidence=DrawnOrder() if drawn else Probability(),
            transfer=Quota(steps=steps),
        )


POLICIES = {
    "none": Policy(None),
    "prefix": Policy(Prefix()),
    "prefix-horizon": Policy(Prefix(horizon=32)),
    "lavida-prefix": Policy(Prompt()),
    "dual": Policy(Dual()),
    "vicinity": Policy(Refresh(of=Dual(before=16, after=16), every=8)),
    "free-cache": Policy(FreeCache()),
    "dkv-decode": Policy(DelayedDecode()),
    "dkv-greedy": Policy(DelayedGreedy()),
    "dkv-pd": Policy(DelayedDecode(keep="used", prompt=True)),
    "recap": Policy(Recap()),
    "sparse": Policy(Sparse()),
    "d2cache": Policy(D2Cache()),
    "dllm-cache": Policy(FeatureCache()),
    "elastic-cache": Policy(ElasticCache()),
    "block-causal": Policy(BlockCausal(), CAUSAL),
    "sub-block": Policy(SubBlock(), CAUSAL, aligned=True),
    "sub-block-draft": Policy(SubBlock(reuse=True), CAUSAL, aligned=True),
    "causal-prefix": Policy(CausalPrefix(), HYBRID),
}
"""By the names of the table; refresh is around the vicinity, as published."""
