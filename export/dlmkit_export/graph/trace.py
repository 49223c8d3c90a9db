"""Tracing a network into an ONNX graph and giving the graph its final form."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
import torch
from onnx_ir.passes import common as passes
from onnxscript import optimizer

from dlmkit.errors import EngineError
from dlmkit_export.bundle.options import OPSETS
from dlmkit_export.contract import inputs_of, outputs_of
from dlmkit_export.graph.attention import decomposed_attention
from dlmkit_export.graph.call import NetworkCall, dynamic_shapes, example_inputs
from dlmkit_export.graph.fusion import fuse
from dlmkit_export.graph.in_place import write_in_place
from dlmkit_export.graph.sorting import stable_sort
from dlmkit_export.graph.weights import transpose_weights

if TYPE_CHECKING:
    from dlmkit.models.text_module import TextModule

__all__ = ["trace_network"]


def trace_network(
    decoder: TextModule, opset: int, cache_slots: int | None = None, ability: str | None = None
) -> ir.Model:
    """Return the network call as a graph whose weights are views of the decoder's.

    With `cache_slots` it writes into a cache of that size; with an `ability` it has the inputs and
    outputs for it.  The decoder is taken over and must not
    be used afterwards.

    Raises:
        EngineError: PyTorch cannot export this network, or it cannot write into a cache.
    """
    model = _exported(decoder, opset, ability)
    transpose_weights(model)
    optimizer.optimize(model, input_size_limit=1024, output_size_limit=4096)
    if opset >= OPSETS[0]:
        fuse(model)
    if cache_slots is not None:
        write_in_place(model, cache_slots)
    return _finished(model)


def _exported(decoder: TextModule, opset: int, ability: str | None) -> ir.Model:
    table: dict[Any, Any] = {torch.ops.aten.sort.stable: stable_sort}
    if opset < OPSETS[0]:
        table[torch.ops.aten.scaled_dot_product_attention.default] = decomposed_attention
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                NetworkCall(decoder, ability).eval(),
                args=example_inputs(decoder, ability),
                dynamic_shapes={"given": dynamic_shapes(ability)},
                input_names=list(inputs_of(ability)),
                output_names=list(outputs_of(ability)),
                opset_version=opset,
                custom_translation_table=table,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise EngineError(
            f"PyTorch {torch.__version__} cannot export this network: {reason}",
            hint="run it with --engine torch",
        ) from error
    assert program is not None  # noqa: S101 - dynamo always returns one
    return program.model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about itself from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _finished(model: ir.Model) -> ir.Model:
    """Drop what no output needs, and everything that tells where the graph was made."""
    unused: Any = (passes.RemoveUnusedNodesPass, passes.RemoveUnusedFunctionsPass)
    tidy = ir.passes.Sequential(
        passes.CommonSubexpressionEliminationPass(),
        *(each() for each in unused),
        passes.RemoveUnusedOpsetsPass(),
        passes.TopologicalSortPass(),
        passes.ClearMetadataAndDocStringPass(),
    )
    tidy(model)
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.graph.name = "network"
    model.producer_name, model.producer_version = "dlmkit", None
    return model
