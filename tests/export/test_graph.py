"""Exported graphs: names, operators, and nothing about the machine that made them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import onnx
import pytest

from dlmkit_export.contract import CURRENT, FRESH, INPUTS, LOGITS, PACK
from tests.export.compiled import bundle, make, source

LAYERS = 2


def graph(name: str = "model.onnx", **options) -> onnx.GraphProto:
    return onnx.load(str(bundle("tiny", **options) / name), load_external_data=False).graph


def test_names_and_their_order_are_the_contract():
    """Engines bind by name; a graph with logits has no use for current tokens."""
    packed, plain = graph(), graph("logits.onnx")
    assert [*INPUTS, CURRENT] == [value.name for value in packed.input]
    assert [*PACK, *FRESH] == [value.name for value in packed.output]
    assert list(INPUTS) == [value.name for value in plain.input]
    assert [LOGITS, *FRESH] == [value.name for value in plain.output]


def test_free_dimensions_are_named():
    """Rows, fed positions, cache slots, wanted rows; nothing else is free."""
    names = {
        dim.dim_param
        for value in (*graph().input, *graph().output)
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_param
    }
    assert {"rows", "fed", "slots", "wanted"} == names


def test_opset_23_uses_its_operators():
    """One attention and two rotary embeddings per layer, and every norm."""
    kinds = Counter(node.op_type for node in graph().node)
    assert LAYERS == kinds["Attention"]
    assert 2 * LAYERS == kinds["RotaryEmbedding"]
    assert 2 * LAYERS + 1 == kinds["RMSNormalization"]
    assert {""} == {node.domain for node in graph().node}


def test_opset_20_spells_everything_out():
    """For run times that do not know the operators."""
    kinds = {node.op_type for node in graph(opset=20).node}
    assert not kinds & {"Attention", "RotaryEmbedding", "RMSNormalization"}
    model = onnx.load(str(bundle("tiny", opset=20) / "model.onnx"), load_external_data=False)
    assert [20] == [each.version for each in model.opset_import]


def test_the_head_computes_wanted_rows_only():
    """They are gathered before the last norm."""
    makers = {name: node for node in graph("logits.onnx").node for name in node.output}
    node = makers[LOGITS]
    kinds = [node.op_type]
    while node.op_type != "GatherElements":
        node = makers[node.input[0]]
        kinds.append(node.op_type)
    assert ["MatMul", "RMSNormalization", "GatherElements"] == kinds


def test_weights_are_stored_as_products_read_them():
    """No matrix is transposed when a graph is loaded."""
    stored = {tensor.name for tensor in graph().initializer}
    transposed = [node for node in graph().node if node.op_type == "Transpose"]
    assert not [node for node in transposed if node.input[0] in stored]


def test_both_graphs_share_one_file_of_weights():
    """The same places in it, so that weights are on the disk once."""

    def places(name):
        return {
            tensor.name: tuple((entry.key, entry.value) for entry in tensor.external_data)
            for tensor in graph(name).initializer
            if tensor.external_data
        }

    assert places("logits.onnx") == places("model.onnx")


def test_nothing_tells_where_a_graph_was_made():
    """No source paths, stack traces or metadata; a fifth of a file without care."""
    for path in bundle("tiny").iterdir():
        found = re.findall(rb"/[a-z]+/[\w/.-]*\.py|site-packages", path.read_bytes())
        assert [] == found, path.name
        assert str(Path(source("tiny"))).encode() not in path.read_bytes()
    model = onnx.load(str(bundle("tiny") / "model.onnx"), load_external_data=False)
    assert not model.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


@pytest.mark.slow
def test_two_exports_are_equal_byte_for_byte(tmp_path):
    """So that a digest identifies a compiled network."""
    first, second = bundle("tiny"), make("tiny", tmp_path / "again")
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
