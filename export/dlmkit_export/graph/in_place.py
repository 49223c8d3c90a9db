"""From a graph that reads its cache to one that writes into it.

Where the one puts fresh keys behind those of the cache, the other scatters them into it.  Each
layer has a cache of its own, which is an input and, with the fed positions in it, an output.

Legend: B rows, Q fed positions, C cache slots, G key/value heads, E head dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx_ir as ir

from dlmkit.errors import EngineError
from dlmkit_export.contract import FRESH, IN_PLACE, caches, written

__all__ = ["write_in_place"]


def write_in_place(model: ir.Model, cache_slots: int) -> None:
    """Let a graph write into caches of that many slots.

    Raises:
        EngineError: the graph does more with what is cached than to put what is fresh behind it.
    """
    graph = model.graph
    values: dict[Any, ir.Value] = {value.name: value for value in graph.inputs}
    layers = int(_dims(values["past_keys"])[0])
    values["write_index"] = _input("write_index", _dims(values["ids"])[:1], ir.DataType.INT64)
    _join_masks(values, cache_slots)
    for kind in ("keys", "values"):
        past = values[f"past_{kind}"]
        _, rows, heads, _, width = _dims(past)
        for gather in _users(past, "Gather"):
            name = f"{kind}.{_layer(gather)}"
            values[name] = _input(name, [rows, heads, cache_slots, width], past.dtype)
            values[f"written_{name}"] = _scattered(gather, values[name], values["write_index"])
    missing = [name for name in caches(layers) if name not in values]
    if missing:
        raise _refusal(f"no layer reads {missing[0]}")
    graph.inputs[:] = [values[name] for name in (*IN_PLACE, *caches(layers))]
    kept = [value for value in graph.outputs if value.name not in FRESH]
    graph.outputs[:] = [*kept, *(values[name] for name in written(layers))]


def _join_masks(values: dict[Any, ir.Value], cache_slots: int) -> None:
    """One mask over all slots, in place of one over the cache and one over what is fed."""
    past, new = values["mask_past"], values["mask_new"]
    mask = _input("mask", [*_dims(past)[:3], cache_slots], past.dtype)
    for node in _users(past, "Concat", "Shape"):
        if node.op_type == "Concat":
            ir.convenience.replace_all_uses_with(node.outputs[0], mask)
        elif "end" not in node.attributes or node.attributes["end"].as_int() > 3:
            raise _refusal("it reads how many slots are cached")
        else:  # as many rows, and as many queries
            node.replace_input_with(0, mask)
    for node in _users(new, "Concat", "Shape"):
        if node.op_type == "Shape":  # as many keys are fed as queries
            node.replace_input_with(0, mask)
            node.attributes["start"] = ir.AttrInt64("start", 2)
            node.attributes["end"] = ir.AttrInt64("end", 3)
    values["mask"] = mask


def _scattered(gather: ir.Node, cache: ir.Value, index: ir.Value) -> ir.Value:
    """Put what is fresh into a layer's cache, where it was put behind what is cached."""
    join, *more = _users(gather.outputs[0], "Concat")
    before, *fresh = join.inputs
    if more or before is not gather.outputs[0] or len(fresh) != 1:
        raise _refusal("a layer orders its keys in another way")
    node = ir.node("TensorScatter", [cache, fresh[0], index], attributes={"axis": 2})
    join.prepend(node)
    found = node.outputs[0]
    found.name, found.shape, found.type = f"written_{cache.name}", cache.shape, cache.type
    ir.convenience.replace_all_uses_with(join.outputs[0], found)
    return found


def _layer(gather: ir.Node) -> int:
    index = gather.inputs[1]
    axis = gather.attributes.get("axis")
    if index is None or index.const_value is None or (axis is not None and axis.as_int() != 0):
        raise _refusal("it reads layers in another way than one by one")
    return int(index.const_value.numpy())


def _users(value: ir.Value, *kinds: str) -> Iterator[ir.Node]:
    """The nodes that read a value; all of them have to be of these kinds."""
    for node in tuple(usage.node for usage in value.uses()):
        if node.op_type not in kinds:
            raise _refusal(f"{node.op_type} reads {value.name}")
        yield node


def _input(name: str, shape: list[Any], dtype: ir.DataType | None) -> ir.Value:
    assert dtype is not None  # noqa: S101 - inputs have types
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))


def _dims(value: ir.Value) -> list[Any]:
    return list(value.shape or ())


def _refusal(reason: str) -> EngineError:
    return EngineError(
        f"this network cannot write into its cache: {reason}", hint="export it without --in-place"
    )
