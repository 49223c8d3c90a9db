"""What a checkpoint's network looks like: sizes and switches, no tensors.

One shared decoder serves every text family; an `ArchSpec` is the complete list of the
switches by which they differ.  It is produced by a pure function from a checkpoint's
`config.json`, so that it can be tested without weights.
"""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["ArchSpec", "AttentionPattern", "RotarySpec"]


@attrs.frozen(kw_only=True)
class AttentionPattern:
    """Which earlier or later positions a query may see.

    `full`: every position.  `causal`: positions up to its own.  `block-causal`: every position
    whose block, counted from position 0 in steps of `block`, is not later than its own.
    """

    kind: Literal["full", "causal", "block-causal"] = "full"
    block: int | None = None


@attrs.frozen(kw_only=True)
class RotarySpec:
    """Rotary position embedding in the two-halves layout.

    `dim` is the number of leading head dimensions that rotate; `base` is the frequency base.
    """

    base: float = 10_000.0
    dim: int


@attrs.frozen(kw_only=True)
class ArchSpec:
    """Sizes and switches of a pre-norm decoder (RMSNorm, rotary attention, gated SiLU).

    `vocab_rows` counts embedding rows, which may exceed the tokenizer's vocabulary.
    `max_positions` is the context limit in tokens.
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

    def kv_bytes_per_token(self, bytes_per_value: int) -> int:
        """Bytes that one token occupies in a key/value store over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_per_value
