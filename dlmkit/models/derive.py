"""Making a model from one that is loaded: fewer layers, or eight-bit linear maps.

What is not changed is the same memory: parameters of the new module are views of the old ones.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import nn

from dlmkit.errors import EngineError, ModelError
from dlmkit.models.decoder import Decoder
from dlmkit.models.prompt_tokens import give_prompt_tokens

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.derivation import Derivation
    from dlmkit.models.text_module import TextModule

__all__ = ["derive_module", "derived_facts", "layers_problem"]


def derive_module(source: TextModule, derivation: Derivation) -> TextModule:
    """Return a module that shares the weights of `source` which it does not change.

    Raises:
        ModelError: a layer to be left out does not exist, or none is left, or the model repeats
            some; prompt tokens are not for this model.
        EngineError: the quantisation library is not installed.
    """
    problem = layers_problem(derivation.skip_layers, source.arch.layers)
    if problem:
        raise ModelError(f"skip_layers {problem}", hint="layers are counted from 0")
    if derivation.skip_layers and "latents" in source.abilities:
        raise ModelError(
            "skip_layers is for models that run each layer once; this one repeats some",
            hint="leave out `skip_layers`",
        )
    made = _without_layers(source, derivation.skip_layers)
    if derivation.quantize:
        _quantize(made)
    if derivation.prompt_file:
        if not isinstance(made, Decoder):
            raise ModelError(
                "prompt tokens are for models that the shared decoder runs; this is another",
                hint="leave out `prompt_tokens`",
            )
        give_prompt_tokens(made, derivation.prompt_file)
    return made


def derived_facts(source: TextModule, derivation: Derivation) -> dict[str, Any]:
    """Say what the derived model is, and the bytes it takes beside its source.

    The source may be a module without memory.
    """
    made = derive_module(source, attrs.evolve(derivation, quantize=None))
    maps = [part for name, part in made.named_modules() if _is_map(part, name, made)]
    return {
        "from": derivation.source,
        "text": derivation.text,
        "layers": made.arch.layers,
        "parameters": sum(value.numel() for value in made.parameters()),
        "extra_bytes": sum(map(_int8_bytes, maps)) if derivation.quantize else 0,
    }


def layers_problem(skipped: Collection[int], layers: int) -> str | None:
    """Say why a network of that many layers cannot do without these; None where it can."""
    beyond = max(skipped, default=0)
    if beyond >= layers:
        return f"names layer {beyond}, but the model has layers 0 to {layers - 1}"
    return f"leaves none of the {layers} layers" if len(skipped) == layers else None


def _without_layers(source: TextModule, skipped: Collection[int]) -> TextModule:
    """Build the module anew around the parameters of the layers that stay."""
    kept = [layer for layer in range(source.arch.layers) if layer not in skipped]
    numbers = {str(old): str(new) for new, old in enumerate(kept)}
    layer = re.compile(rf"{re.escape(_layer_list(source))}\.(\d+)\.")
    state = {}
    for name, value in source.state_dict().items():
        found = layer.match(name)
        if found is None:
            state[name] = value
        elif found[1] in numbers:
            state[f"{name[: found.start(1)]}{numbers[found[1]]}{name[found.end(1) :]}"] = value
    with torch.device("meta"):
        made = type(source)(_smaller(source.arch, kept))
    made.load_state_dict(state, assign=True)
    return made.requires_grad_(False).eval()


def _layer_list(module: TextModule) -> str:
    """Name of the outermost list of modules: the layers."""
    lists = (name for name, part in module.named_modules() if isinstance(part, nn.ModuleList))
    outermost: str = next(lists)
    return outermost


def _smaller(arch: ArchSpec, kept: Collection[int]) -> ArchSpec:
    """Return the sizes with the kept layers only; dense ones stay dense."""
    moe = arch.moe
    if moe is not None:
        moe = attrs.evolve(moe, dense_layers=sum(layer < moe.dense_layers for layer in kept))
    return attrs.evolve(arch, layers=len(kept), moe=moe)


def _quantize(module: TextModule) -> None:
    """Replace the linear maps inside the layers; embedding, norms and head stay as they are."""
    with _quiet():
        try:
            from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
        except ImportError as error:
            raise EngineError(
                "`quantize: int8` needs torchao, which is not installed",
                hint="install it: pip install 'dlmkit[quantize]'",
            ) from error
    quantize_(
        module,
        Int8DynamicActivationInt8WeightConfig(),
        filter_fn=lambda part, name: _is_map(part, name, module),
    )
    module.requires_grad_(False)


def _is_map(part: nn.Module, name: str, module: TextModule) -> bool:
    """Whether a part of a module is a linear map inside its layers."""
    return isinstance(part, nn.Linear) and name.startswith(f"{_layer_list(module)}.")


def _int8_bytes(part: nn.Module) -> int:
    """Bytes of a map in eight bits: a byte for each weight, a scale for each output."""
    weight = part.get_parameter("weight")
    return weight.numel() + weight.shape[0] * weight.element_size()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep notices about optional CUDA parts, which torchao logs on import, off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
