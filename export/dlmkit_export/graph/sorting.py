"""Stable sorting, which PyTorch's exporter does not know."""

from __future__ import annotations

from typing import Any

from onnxscript import opset20

__all__ = ["stable_sort"]

op: Any = opset20  # its types speak of single operators, not of arrays passed between them


def stable_sort(values: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """Stand in for PyTorch's operator: values and places, equal values in their order.

    ONNX defines that among equal values the one that comes first stays first.
    """
    count = op.Shape(values, start=dim) if dim == -1 else op.Shape(values, start=dim, end=dim + 1)
    return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)
