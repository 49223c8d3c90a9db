"""Weights in the layout that matrix products read, without holding a second copy in memory."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

__all__ = ["transpose_weights"]


def transpose_weights(model: ir.Model) -> None:
    """Turn every transposed matrix of weights into a stored one, `NAME.T`.

    Run times would do it at every start, and keep both copies for a while.  The values are
    transposed when they are written, one at a time.
    """
    made: dict[str, ir.Value] = {}
    for node in list(model.graph):
        weight = node.inputs[0] if node.op_type == "Transpose" else None
        if weight is None or not weight.is_initializer() or len(weight.shape or ()) != 2:
            continue
        name = f"{weight.name}.T"
        if name not in made:
            made[name] = _transposed(weight, name)
            model.graph.register_initializer(made[name])
        ir.convenience.replace_all_uses_with(node.outputs[0], made[name])
        model.graph.remove(node, safe=True)
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        del model.graph.initializers[name]


def _transposed(weight: ir.Value, name: str) -> ir.Value:
    source: Any = weight.const_value
    shape = ir.Shape(tuple(reversed(source.shape.numpy())))
    lazy = ir.LazyTensor(
        lambda: ir.tensor(source.numpy().T.copy(), dtype=source.dtype, name=name),
        dtype=source.dtype,
        shape=shape,
        name=name,
    )
    return ir.Value(name=name, shape=shape, type=ir.TensorType(source.dtype), const_value=lazy)
