"""Attention spelled out, for opsets and run times without an operator for it.

Legend: B rows, H query heads, G key/value heads, R = H / G, Q queries, K keys, E head dimension.
"""

from __future__ import annotations

from typing import Any

from onnxscript import opset20

__all__ = ["decomposed_attention"]

op: Any = opset20  # its types speak of single operators, not of arrays passed between them

_HIDDEN = -30_000.0
"""Score of what a query may not see: finite, and representable in half precision."""


def decomposed_attention(
    query_BHQE: Any,
    key_BGKE: Any,
    value_BGKE: Any,
    attn_mask: Any,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Stand in for PyTorch's operator of the same arguments, with a boolean mask.

    Query heads that share keys are laid out as further queries, so that keys are not copied.
    Hidden scores are replaced, not lowered: whatever an invisible slot holds has no influence.
    """
    heads, width = query_BHQE.shape[1], query_BHQE.shape[3]
    groups = key_BGKE.shape[1]
    scaled_BHQE = op.Mul(query_BHQE, op.CastLike(op.Constant(value_float=width**-0.5), query_BHQE))
    queries = op.Shape(query_BHQE, start=2, end=3)
    folded_BGXE = op.Reshape(scaled_BHQE, op.Constant(value_ints=[0, groups, -1, width]))
    scores_BGXK = op.MatMul(folded_BGXE, op.Transpose(key_BGKE, perm=[0, 1, 3, 2]))
    keys = op.Shape(key_BGKE, start=2, end=3)
    spread = op.Concat(op.Constant(value_ints=[0, heads]), queries, keys, axis=0)
    scores_BHQK = op.Reshape(scores_BGXK, spread)
    hidden = op.CastLike(op.Constant(value_float=_HIDDEN), scores_BHQK)
    weights_BHQK = op.Softmax(op.Where(attn_mask, scores_BHQK, hidden), axis=-1)
    back = op.Concat(op.Constant(value_ints=[0, groups, -1]), keys, axis=0)
    mixed_BGXE = op.MatMul(op.Reshape(weights_BHQK, back), value_BGKE)
    return op.Reshape(
        mixed_BGXE,
        op.Concat(
            op.Constant(value_ints=[0, heads]), queries, op.Constant(value_ints=[width]), axis=0
        ),
    )
