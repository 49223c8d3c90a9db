"""Rewriting what PyTorch's exporter spells out into the operators of opset 23.

Fewer nodes, and engines have kernels of their own for these.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import RewriteRuleClassBase, RewriteRuleSet, rewrite

__all__ = ["fuse"]


def fuse(model: ir.Model) -> None:
    """Fuse norms with their gains, and rotary embeddings, in place."""
    rules: Any = (_Norm, _Rotary)
    rewrite(model, pattern_rewrite_rules=RewriteRuleSet([rule.rule() for rule in rules]))


class _Norm(RewriteRuleClassBase):
    """A norm with a gain of ones, times a gain."""

    def pattern(self, op: Any, x: Any, weight: Any) -> Any:
        ones = op.ConstantOfShape(op.Shape(x, start=0), _allow_other_attributes=True)
        normed = op.RMSNormalization(x, ones, _allow_other_attributes=True, _outputs=["normed"])
        return op.Mul(weight, normed)

    def rewrite(self, op: Any, x: ir.Value, weight: ir.Value, normed: ir.Value, **_: Any) -> Any:
        node: Any = normed.producer()
        epsilon = node.attributes["epsilon"].as_float()
        return op.RMSNormalization(x, weight, axis=-1, epsilon=epsilon, stash_type=1)


class _Rotary(RewriteRuleClassBase):
    """`x * cos + turned(x) * sin`, the second half of `x` negated and put before the first."""

    def pattern(self, op: Any, x: Any, cos: Any, sin: Any) -> Any:
        first, second = op.Split(x, axis=3, num_outputs=2, _outputs=2)
        turned = op.Concat(op.Neg(second), first, axis=-1)
        return op.Add(op.Mul(x, cos), op.Mul(turned, sin))

    def check(self, op: Any, *_: Any, cos: Any, sin: Any, **__: Any) -> Any:
        """Both tables have a dimension of one for the heads."""
        return all(table.producer().op_type == "Unsqueeze" for table in (cos, sin))

    def rewrite(self, op: Any, x: Any, cos: Any, sin: Any, **_: Any) -> Any:
        half = x.shape[3] // 2
        bounds = [op.Constant(value_ints=[place]) for place in (0, half, 2)]
        tables = (op.Slice(table.producer().inputs[0], *bounds) for table in (cos, sin))
        return op.RotaryEmbedding(x, *tables, interleaved=0)
