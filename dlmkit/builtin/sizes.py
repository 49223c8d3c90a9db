"""Sizes of the built-in networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.models.arch import ArchSpec, AttentionPattern, RotarySpec

if TYPE_CHECKING:
    from dlmkit.builtin import CheckpointName

__all__ = ["SIZES", "VOCAB_ROWS"]

VOCAB_ROWS = 800
"""Embedding rows: the tokenizer's vocabulary, rounded up to a multiple of 32."""


def _arch(hidden: int, layers: int, head_dim: int, ffn: int, *, causal: bool = False) -> ArchSpec:
    """A network with untied head; a causal one has the biases of Qwen2."""
    heads = hidden // head_dim
    return ArchSpec(
        vocab_rows=VOCAB_ROWS,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        ffn=ffn,
        rotary=RotarySpec(dim=head_dim),
        max_positions=512,
        qkv_bias=causal,
        attention=AttentionPattern(kind="causal" if causal else "full"),
    )


SIZES: dict[CheckpointName, ArchSpec] = {
    "verifier": _arch(256, 4, 32, 704),
    "drafter": _arch(96, 4, 32, 256),
    "guide": _arch(96, 4, 32, 256, causal=True),
}
"""Architecture of every built-in checkpoint."""
