"""What a checkpoint's network looks like: sizes and switches, no tensors.

One shared decoder serves every text family; an `ArchSpec` is the complete list of the
switches by which they differ.  It is produced by a pure function from a checkpoint's
`config.json`, so that it can be tested without weights.
"""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = [
    "ArchSpec",
    "AttentionPattern",
    "Llama3Scaling",
    "MoeSpec",
    "QueryScale",
    "RotarySpec",
    "YarnScaling",
]


@attrs.frozen(kw_only=True)
class AttentionPattern:
    """Which earlier or later positions a query may see.

    `full`: every position.  `causal`: positions up to its own.  `block-causal`: every position
    whose block, counted from position 0 in steps of `block`, is not later than its own.
    `masks-last`: known positions see known ones up to their own, masked positions see every known
    one and masked ones up to their own, as if masks came after the text.
    `prefix-causal`: positions of a finished prefix see those up to their own, later ones every
    position; the plan says where the prefix ends, and `block` positions follow it at a time.
    """

    kind: Literal["full", "causal", "block-causal", "masks-last", "prefix-causal"] = "full"
    block: int | None = None


@attrs.frozen(kw_only=True)
class Llama3Scaling:
    """Llama 3's stretching of slow rotary frequencies (arXiv:2407.21783).

    Wavelengths beyond `original / low` positions are stretched by `factor`, those below
    `original / high` are kept, the ones between are blended.
    """

    factor: float
    low: float
    high: float
    original: int


@attrs.frozen(kw_only=True)
class YarnScaling:
    """YaRN (Peng et al., arXiv:2309.00071): interpolate slow frequencies, keep fast ones.

    Dimensions that turn more than `beta_fast` times within `original` positions are kept, those
    that turn less than `beta_slow` times are divided by `factor`; `magnitude` multiplies cosines
    and sines.  `truncate` rounds the two borders outwards to whole dimensions.
    """

    factor: float
    original: int
    beta_fast: float
    beta_slow: float
    magnitude: float
    truncate: bool = True


@attrs.frozen(kw_only=True)
class RotarySpec:
    """Rotary position embedding in the two-halves layout.

    `dim` is the number of leading head dimensions that rotate; `base` is the frequency base.
    """

    base: float = 10_000.0
    dim: int
    scaling: Llama3Scaling | YarnScaling | None = None


@attrs.frozen(kw_only=True)
class QueryScale:
    """Queries at position p are multiplied by `1 + beta * ln(1 + floor(p / original))`."""

    beta: float
    original: int


@attrs.frozen(kw_only=True)
class MoeSpec:
    """A mixture of gated feed-forwards, of which each token uses a few.

    `experts` of width `ffn` exist, a token uses `chosen` of them.  Their weights are the scores,
    `softmax` over all experts or `sigmoid` of each (then routed in float32), divided by their sum
    where `renormalise` is set, times `scale`.  Experts lie in `groups` equal groups; only the
    `kept_groups` with the largest sum of their two best scores take part.  `selection_bias` adds
    a learned bias to the scores for choosing alone.  `shared_ffn` is the width of an expert that
    every token uses (0: none), and the first `dense_layers` layers have no experts.
    """

    experts: int
    chosen: int
    ffn: int
    score: Literal["softmax", "sigmoid"] = "softmax"
    renormalise: bool = False
    scale: float = 1.0
    groups: int = 1
    kept_groups: int = 1
    selection_bias: bool = False
    shared_ffn: int = 0
    dense_layers: int = 0


@attrs.frozen(kw_only=True)
class ArchSpec:
    """Sizes and switches of a pre-norm decoder (RMSNorm, rotary attention, gated SiLU).

    `vocab_rows` counts embedding rows, which may exceed the tokenizer's vocabulary.
    `max_positions` is the context limit in tokens.  `ffn` is the width of dense feed-forwards.
    """

    vocab_rows: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    rotary: RotarySpec
    max_positions: int
    norm_eps: float = 1e-5
    qkv_bias: bool = False
    qk_norm: bool = False
    tied_head: bool = False
    attention: AttentionPattern = AttentionPattern()
    moe: MoeSpec | None = None
    query_scale: QueryScale | None = None

    @property
    def active_ffn(self) -> int:
        """Feed-forward width that one token passes through in the widest layer."""
        moe = self.moe
        if moe is None:
            return self.ffn
        sparse = moe.chosen * moe.ffn + moe.shared_ffn
        return max(sparse, self.ffn) if moe.dense_layers else sparse

    def kv_bytes_per_token(self, bytes_per_value: int) -> int:
        """Bytes that one token occupies in a key/value store over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_per_value
